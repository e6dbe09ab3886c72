"""What there is of services on Cloud Run: ours, what the others hold, and whether the server would take ours. Changes nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from relight.cloud.calls import is_disabled, is_missing, plain, status_of
from relight.cloud.states import json_of, service_from, short, state_of, template_of
from relight.config.deploy import Gpu
from relight.deploy import quota
from relight.deploy.body import SETTINGS_MASK, TEMPLATE_MASK, service_body, settings_over, template_over
from relight.deploy.desired import Desired
from relight.deploy.observed import Refusal, ServiceState
from relight.deploy.service import Template, merged, merged_settings
from relight.deploy.shapes import Shape
from relight.errors import CloudError

if TYPE_CHECKING:
    from google.cloud.run_v2 import Service

    from relight.cloud.google import Google
    from relight.cloud.work import Show

INVOKER: Final = "roles/run.invoker"
PLACEHOLDER: Final = "us-docker.pkg.dev/cloudrun/container/hello"
"""An image that is always there, for a dry run before ours is built."""
POLL_S: Final = 5.0
SLACK_S: Final = 600.0
"""Beside its startup probe: until an image is pulled, an instance is found, and the traffic is moved."""
_REFUSED: Final = frozenset({400, 403, 412, 429})
# `template.containers[0].image: …` and `…annotations[autoscaling.knative.dev/maxScale]: …` begin with it, others hold it.
_FIELD: Final = re.compile(
    r"^([a-z][\w.]*(?:\[[^\]]*\][\w.]*)*): |\b((?:template|scaling)\.\w[\w.]*|invokerIamDisabled|invoker_iam_disabled)"
)
_TRIED_INSTEAD: Final = {"invokerIamDisabled": False, "ingress": "INGRESS_TRAFFIC_INTERNAL_ONLY"}
"""What policies forbid most, and what they always allow."""


def found_service(google: Google, name: str, show: Show) -> ServiceState | None:
    """The service; None where there is none, or no API that could have one.

    While somebody changes it (a deployment that was killed goes on over there) it is waited for, as long as its startup probe may
    last. Raises `CloudError` when it is not at rest by then.
    """
    service = settled(google, name, show)
    return None if service is None else state_of(service, invokers_of(google, service.name))


def settled(google: Google, name: str, show: Show) -> Service | None:
    """The service as Google has it, when it is at rest; see `found_service`."""
    service, waited = read_service(google, name), 0.0
    while service is not None and service.reconciling:
        limit = SLACK_S + template_of(json_of(service).get("template", {}), project="").startup_probe.budget_s
        if waited >= limit:
            raise CloudError(
                f"cloud: {name} is still being changed after {limit:.0f} s", hint="wait until it is at rest, and run it again"
            )
        show.doing(f"waiting for {name}: {progress(service) or 'it is being changed'}")
        google.sleep(POLL_S)
        waited += POLL_S
        service = read_service(google, name)
    return service


def read_service(google: Google, name: str) -> Service | None:
    """The service as Google has it at this moment; None where there is none."""
    try:
        return google.call(f"read the service {name}", google.services.get_service, request={"name": full(google, name)})
    except CloudError as error:
        if is_missing(error) or is_disabled(error):
            return None
        raise


def invokers_of(google: Google, full_name: str) -> tuple[str, ...]:
    """Who may call a service, by bindings without a condition."""
    request = {"resource": full_name, "options": {"requested_policy_version": 3}}
    policy = google.call(f"read who may call {short(full_name)}", google.services.get_iam_policy, request=request)
    return tuple(sorted(plain_members(policy)))


def plain_members(policy: Any) -> set[str]:
    """The members who have the role without a condition."""
    return {member for one in policy.bindings if one.role == INVOKER and not one.HasField("condition") for member in one.members}


def full(google: Google, name: str) -> str:
    """`projects/P/locations/R/services/NAME`."""
    return f"{google.location}/services/{name}"


def progress(service: Service) -> str:
    """What a service says that it waits for; empty when it says nothing."""
    every = [*service.conditions, service.terminal_condition]
    return next((one.message for one in every if one.message and one.state.name != "CONDITION_SUCCEEDED"), "")


# --- what others hold


def held_quotas(google: Google, except_service: str) -> dict[str, int]:
    """The GPUs that the other services of the region may take at most, by quota, in the unit of each (`deploy.quota`).

    CPUs and memory are metered as instances run, and most instances of a service are seldom all there: nothing is held of those.
    """
    held: dict[str, int] = {}
    for service in every_service(google):
        if short(service.name) != except_service:
            for name, amount in _holds(json_of(service)):
                held[name] = held.get(name, 0) + amount
    return held


def every_service(google: Google) -> Iterator[Service]:
    """The services of the region; none where the API is not enabled."""
    token = ""
    while True:
        request = {"parent": google.location, "page_token": token}
        try:
            page = google.call("list the services", google.services.list_services, request=request)
        except CloudError as error:
            if is_disabled(error):
                return
            raise
        yield from page.services  # of this page: the client would ask for the next one without `call`
        token = page.next_page_token
        if not token:
            return


def _holds(said: dict[str, Any]) -> Iterator[tuple[str, int]]:
    known, scaling = template_of(said.get("template", {}), project=""), said.get("scaling", {})
    if known.accelerator not in {gpu.value for gpu in Gpu}:
        return
    most = min(known.max_instances, scaling.get("maxInstanceCount") or known.max_instances)
    if scaling.get("scalingMode") == "MANUAL":
        most = scaling.get("manualInstanceCount", 0)
    shape = Shape(cpu=0, memory=0, gpu=Gpu(known.accelerator))
    need = quota.needs(shape, most, zonal_redundancy=not known.gpu_zonal_redundancy_disabled)[0]
    yield need.quota, need.total


# --- whether it would be taken


def refusals_of(google: Google, desired: Desired, there: ServiceState | None) -> tuple[Refusal, ...]:
    """What the server refuses about the service, before anything is built or made: policies, quotas, shapes.

    A dry run with an image that is always there, and without what earlier steps of a plan make (account, secrets, bucket).
    """
    service = None if there is None else read_service(google, desired.service)
    body = _create_body(desired.template, desired) if service is None else _update_body(service, desired)
    found: list[Refusal] = []
    while True:
        try:
            _ask(google, desired.service, service, body)
        except CloudError as error:
            refusal = _refusal(error)
            if refusal is None:
                break
            found.append(refusal)
            # Only the first thing that is wrong is told: without it, the next.
            if not _instead(body, refusal):
                break
        else:
            break
    return tuple(found)


def _ask(google: Google, name: str, service: Service | None, body: dict[str, Any]) -> None:
    from google.protobuf.field_mask_pb2 import FieldMask

    sent = service_from(body)
    if service is None:
        fields: dict[str, Any] = {"parent": google.location, "service_id": name, "service": sent}
        method: Callable[..., Any] = google.services.create_service
    else:
        fields = {"service": sent, "update_mask": FieldMask(paths=[*SETTINGS_MASK, *TEMPLATE_MASK])}
        method = google.services.update_service
    dry(google, f"try the service {name} out", method, fields)


def dry(google: Google, what: str, method: Callable[..., Any], fields: dict[str, Any], **how: Any) -> None:
    """A change that is only checked. Raises `CloudError` for what would be refused."""
    operation = google.call(what, method, request={**fields, "validate_only": True}, **how)
    # It is not polled: nothing goes on, and the server keeps no such operation.
    if operation.operation.HasField("error"):
        said = plain(operation.operation.error.message)
        raise CloudError(f"cloud: could not {what}: {said}")


def _create_body(template: Template, desired: Desired) -> dict[str, Any]:
    body = service_body(_buildable(template), desired.settings)
    del body["template"]["serviceAccount"]
    return body


def _update_body(service: Service, desired: Desired) -> dict[str, Any]:
    said, there = json_of(service), state_of(service)
    whole = merged(there.template, _buildable(desired.template), desired.service)
    account = there.template.service_account
    return {
        "name": service.name,
        **settings_over(said, merged_settings(there.settings, desired.settings)),
        "template": template_over(said.get("template", {}), replace(whole, service_account=account)),
    }


def _buildable(template: Template) -> Template:
    """Without what may not be there yet."""
    return replace(template, image=PLACEHOLDER, secrets={}, volumes={})


def _refusal(error: CloudError) -> Refusal | None:
    """What was refused; None when it is about what is not there yet. Raises what is no refusal."""
    cause: Any = error.__cause__
    if cause is not None and (getattr(cause, "code", None) not in _REFUSED or status_of(cause) == "UNAUTHENTICATED"):
        raise error
    message = error.message.partition(": could not ")[2].partition(": ")[2] or error.message
    if is_disabled(error) or "service account" in message.lower():
        return None
    named = [violation.field for detail in getattr(cause, "details", None) or () for violation in _violations(detail)]
    found = _FIELD.search(message)
    return Refusal(field=named[0] if named else found[1] or found[2] if found else "service", message=message)


def _violations(detail: Any) -> list[Any]:
    return [one for one in getattr(detail, "field_violations", ()) if one.field]


def _instead(body: dict[str, Any], refusal: Refusal) -> bool:
    """Put what is always allowed in the place of a setting that was refused; whether there was one."""
    about = f"{refusal.field} {refusal.message}".replace("_", "").lower()
    for field, allowed in _TRIED_INSTEAD.items():
        if field.lower() in about and body[field] != allowed:
            body[field] = allowed
            return True
    return False
