"""A service made, given a new revision, opened, given traffic, switched off and on, deleted: one function a step.

What others set stays: each change sends the fields that it is about and no others, put over what was read, with its etag.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from msgspec.structs import replace

from relight.cloud.calls import FRESH_ACCOUNT, is_missing, is_there
from relight.cloud.changing import RevisionFailed, awaited, conflict, created, patched, updated
from relight.cloud.opening import ANYBODY, is_open, need_own_doors
from relight.cloud.reading import INVOKER, SLACK_S, full, invokers_of, plain_members, settled
from relight.cloud.states import OFF, is_off, json_of, limits_before, note_of_test, short, state_of, traffic_body
from relight.cloud.work import Silent
from relight.deploy.body import SETTINGS_MASK, TEMPLATE_MASK, service_body, settings_over, template_over
from relight.deploy.names import CANDIDATE, TESTED
from relight.deploy.observed import ServiceState
from relight.deploy.plan import UNBUILT
from relight.deploy.service import Settings, Template, Traffic, merged, merged_settings
from relight.errors import CloudError

if TYPE_CHECKING:
    from google.api_core.operation import Operation
    from google.cloud.run_v2 import Service

    from relight.cloud.google import Google
    from relight.cloud.work import Show
    from relight.deploy.steps import DeployRevision, SetInvokers, ShiftTraffic, UpdateService

_ROUNDS: Final = 3
_ALL: Final = (Traffic(revision=None, percent=100),)
_EVERYWHERE: Final = "INGRESS_TRAFFIC_ALL"

# --- a deployment


def deploy_revision(google: Google, step: DeployRevision, *, digest: str | None, show: Show) -> str:
    """Make the service, or a new revision of it, and wait until that is ready; returns its name.

    `digest` is that of the image when this deployment built it. Raises `RevisionFailed`, after which the traffic is where it was;
    `CloudLost` when the service is no longer as the plan found it.
    """
    template = _with_digest(step, digest)
    show.doing(f"making a revision of {step.name}")
    service = settled(google, step.name, show)
    if service is None and step.settings is not None:
        revision, operation = _create(google, step.name, template, step.settings)
    elif service is not None and step.settings is None:
        revision, operation = _update(google, step, template, service)
    else:
        raise conflict(step.name)
    limit_s = template.startup_probe.budget_s + SLACK_S
    awaited(google, step.name, revision, operation, limit_s=limit_s, show=show)
    return revision


def _create(google: Google, name: str, template: Template, settings: Settings) -> tuple[str, Operation]:
    body = service_body(template, settings)
    revision = revision_name(name, 1, body["template"])
    body["template"]["revision"] = revision
    return revision, created(google, name, {**body, "traffic": traffic_body(_ALL)})


def _update(google: Google, step: DeployRevision, template: Template, service: Service) -> tuple[str, Operation]:
    said, there = json_of(service), state_of(service)
    whole = template_over(said.get("template", {}), merged(there.template, template, step.name))
    revision = revision_name(step.name, service.generation + 1, {**whole, "etag": service.etag})
    traffic = with_tags(_ALL, there) if step.is_first else with_tags(held(there), there, candidate=revision)
    body = {
        "name": service.name,
        "etag": service.etag,
        "template": {**whole, "revision": revision},
        "traffic": traffic_body(traffic),
    }
    return revision, updated(google, f"make a revision of {step.name}", body, (*TEMPLATE_MASK, "traffic"))


def revision_name(service: str, number: int, content: Any) -> str:
    """`SERVICE-00007-f3a`: new for each change of a service, as its own number grows with every one of them."""
    return f"{service}-{number:05d}-{hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:3]}"


def held(there: ServiceState) -> tuple[Traffic, ...]:
    """The traffic as it is, with what goes to "the latest" pinned to the revision that is the latest now."""
    shares: dict[str | None, int] = {}
    for item in there.traffic:
        if item.percent:
            revision = item.revision or there.latest_ready
            shares[revision] = shares.get(revision, 0) + item.percent
    return tuple(Traffic(revision=revision, percent=percent) for revision, percent in shares.items())


def with_tags(shares: Iterable[Traffic], there: ServiceState, *, candidate: str | None = None) -> tuple[Traffic, ...]:
    """These shares, the tags of others without any, and the tag of the candidate, if there is one."""
    tags = (
        Traffic(revision=item.revision, percent=0, tag=item.tag) for item in there.traffic if item.tag not in (None, CANDIDATE)
    )
    ours = () if candidate is None else (Traffic(revision=candidate, percent=0, tag=CANDIDATE),)
    return (*shares, *tags, *ours)


def _with_digest(step: DeployRevision, digest: str | None) -> Template:
    image = step.template.image
    if UNBUILT not in image:
        return step.template
    if digest is None:
        raise CloudError(f"cloud: the image {step.reference} is not built", hint="run it again: the plan builds it first")
    return replace(step.template, image=image.replace(UNBUILT, digest))


def update_service(google: Google, step: UpdateService) -> None:
    """Change what belongs to the service as a whole; the labels of others stay.

    Raises `CloudError`, also where it would open a revision that was made for being closed.
    """
    service = _there(google, step.name)
    said, there = json_of(service), state_of(service)
    if step.settings.invoker_iam_disabled and not there.settings.invoker_iam_disabled:
        need_own_doors(google, step.name, there)
    change = settings_over(said, merged_settings(there.settings, step.settings))
    patched(google, f"change the settings of {step.name}", service, change, SETTINGS_MASK)


def set_invokers(google: Google, step: SetInvokers) -> None:
    """Let exactly these members call the service; other roles, and bindings with a condition, stay.

    Raises `CloudError`, also where it would open a revision that was made for being closed.
    """
    from google.iam.v1 import policy_pb2

    if ANYBODY & set(step.added):
        there = state_of(_there(google, step.name))
        if not there.settings.invoker_iam_disabled:
            need_own_doors(google, step.name, there)

    what, name = f"set who may call {step.name}", full(google, step.name)
    for _ in range(_ROUNDS):
        request = {"resource": name, "options": {"requested_policy_version": 3}}
        policy = google.call(what, google.services.get_iam_policy, request=request)
        if plain_members(policy) == set(step.members):
            return
        others = [one for one in policy.bindings if one.role != INVOKER or one.HasField("condition")]
        wanted = policy_pb2.Policy(version=3, etag=policy.etag, bindings=others)
        wanted.bindings.add(role=INVOKER, members=sorted(step.members))
        try:
            google.call(what, google.services.set_iam_policy, request={"resource": name, "policy": wanted}, settles=FRESH_ACCOUNT)
        except CloudError as error:
            if not is_there(error):
                raise
        else:
            return
    raise conflict(step.name)


def shift_traffic(google: Google, step: ShiftTraffic, show: Show) -> None:
    """Give the latest revision its share, the rest to the one before; all of it goes to "the latest".

    Raises `CloudError`; `CloudLost` when the latest is not the one that answered: somebody else made another meanwhile.
    """
    show.doing(f"giving {step.percent} % of the traffic to the latest revision of {step.name}")
    service = _there(google, step.name)
    there = state_of(service)
    if there.tested is None or there.tested.revision != there.latest_ready:
        raise conflict(step.name)
    shares: tuple[Traffic, ...] = _ALL
    if step.percent < 100:
        if step.previous in (None, there.latest_ready):
            raise conflict(step.name)
        shares = (
            Traffic(revision=there.latest_ready, percent=step.percent, tag=CANDIDATE),
            Traffic(revision=step.previous, percent=100 - step.percent),
        )
    _shift(google, service, with_tags(shares, there))


def mark_tested(google: Google, name: str, percent: int, *, revision: str | None = None) -> None:
    """Note on the service that its latest revision (or `revision`) answered while it had this share of the traffic."""
    service = _there(google, name)
    note = note_of_test(revision or short(service.latest_ready_revision), percent)
    annotations = {**service.annotations, TESTED: note}
    patched(google, f"note that {name} answered", service, {"annotations": annotations}, ("annotations",))


class Door(NamedTuple):
    """How the service can be asked at this moment: its latest revision, whether Google asks who comes, whether from anywhere."""

    revision: str
    is_guarded: bool
    is_reachable: bool


def door_of(google: Google, name: str) -> Door:
    """How it stands now, and not as it should in the end: what opens a service comes after its test. Raises `CloudError`."""
    service = _there(google, name)
    there = state_of(service)
    is_guarded = not is_open(there, ()) and "allUsers" not in invokers_of(google, service.name)
    return Door(there.latest_ready or "", is_guarded, there.settings.ingress == _EVERYWHERE)


def address_of(google: Google, name: str, *, percent: int) -> tuple[str, str]:
    """Where the latest revision is asked, and the audience of a token for it: always the service, also at a tag's address.

    With 0 percent of the traffic it is the address of its tag, which it gets when it has none (somebody gave the traffic to
    another by hand). Raises `CloudError` when there is no address.
    """
    service = _there(google, name)
    latest = short(service.latest_ready_revision)
    url = service.uri if percent else _tagged(service, latest) or _tagged(_with_tag(google, service))
    if not (url and service.uri):
        where = "no address" if percent else f'no address for the tag "{CANDIDATE}"'
        raise CloudError(f"cloud: {name} has {where}", hint="is its default URL switched off? then it cannot be tested")
    return url, service.uri


def _tagged(service: Service, revision: str | None = None) -> str:
    """The address of the candidate's tag, if `revision` has it; empty without one."""
    found = (one for one in service.traffic_statuses if one.tag == CANDIDATE and revision in (None, one.revision))
    return next((one.uri for one in found), "")


def _with_tag(google: Google, service: Service) -> Service:
    """The service after its latest revision was given the tag of a candidate."""
    name, there = short(service.name), state_of(service)
    shares = [replace(item, tag=None) for item in there.traffic if item.percent]
    _shift(google, service, with_tags(shares, there, candidate=there.latest_ready))
    return _there(google, name)


# --- afterwards


def set_off(google: Google, name: str) -> None:
    """Hold the service at no instance: nothing that is sent to it wakes it, and nothing is paid for.

    How many instances it may have is noted, in case the server forgets it meanwhile. A revision that has a tag can still be woken
    at the address of that tag, one instance of it.
    """
    service = _there(google, name)
    said = json_of(service)
    if is_off(said):
        return
    scaling = said.get("scaling", {})
    note = f"{scaling.get('minInstanceCount', 0)}-{scaling.get('maxInstanceCount', 0)}"
    change = {
        "scaling": {**scaling, "scalingMode": "MANUAL", "manualInstanceCount": 0},
        "annotations": {**service.annotations, OFF: note},
    }
    patched(google, f"switch {name} off", service, change, ("scaling", "annotations"))


def set_on(google: Google, name: str) -> None:
    """Let the service have as many instances again as before it was switched off."""
    service = _there(google, name)
    said = json_of(service)
    if not is_off(said):
        return
    scaling = said.get("scaling", {})
    least, most = scaling.get("minInstanceCount", 0), scaling.get("maxInstanceCount", 0)
    if not most:
        least, most = limits_before(said)
    change = {
        "scaling": {"scalingMode": "AUTOMATIC", "minInstanceCount": least, "maxInstanceCount": most},
        "annotations": {key: text for key, text in service.annotations.items() if key != OFF},
    }
    patched(google, f"switch {name} on", service, change, ("scaling", "annotations"))


def delete_service(google: Google, name: str, show: Show) -> None:
    """Delete the service with all of its revisions; one that is gone already is fine. Raises `CloudError`."""
    what = f"delete the service {name}"
    show.doing(f"deleting the service {name}")
    try:
        operation = google.call(what, google.services.delete_service, request={"name": full(google, name)})
        google.wait(what, operation, limit_s=SLACK_S)
    except CloudError as error:
        if not is_missing(error):
            raise


def _shift(google: Google, service: Service, traffic: tuple[Traffic, ...]) -> None:
    what = f"shift the traffic of {short(service.name)}"
    patched(google, what, service, {"traffic": traffic_body(traffic)}, ("traffic",))


def _there(google: Google, name: str) -> Service:
    """The service, at rest. Raises `CloudError` when there is none."""
    service = settled(google, name, Silent())
    if service is None:
        raise CloudError(f"cloud: there is no service {name} in {google.project}, {google.region}", hint="run: relight deploy")
    return service


__all__ = [
    "Door",
    "RevisionFailed",
    "address_of",
    "delete_service",
    "deploy_revision",
    "door_of",
    "mark_tested",
    "set_invokers",
    "set_off",
    "set_on",
    "shift_traffic",
    "update_service",
]
