"""One change of a service: sent with the etag of what was read, waited for, and told in the revision's own words when it fails.

Every change that is sent names the state that it changes, so asking twice does no harm: the second time it is refused as a
conflict, and whoever applies looks anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from relight.cloud.calls import FRESH_API, either, is_missing, is_there, plain, unsettled
from relight.cloud.reading import SLACK_S, dry, full, progress, read_service
from relight.cloud.states import service_from, short
from relight.deploy.causes import cause
from relight.errors import CloudError, CloudLost

if TYPE_CHECKING:
    from google.api_core.operation import Operation
    from google.cloud.run_v2 import Revision, Service

    from relight.cloud.google import Google
    from relight.cloud.work import Show

SETTLES: Final = either([FRESH_API, unsettled("service account", "permission denied on secret")])
"""What a plan did a moment ago, and Cloud Run does not know yet: the API, the account, its right to read a secret."""
_VAGUE: Final = frozenset({"", "UNKNOWN", "REVISION_FAILED", "COMMON_REASON_UNDEFINED", "REVISION_REASON_UNDEFINED"})


class RevisionFailed(CloudError):
    """A revision did not become ready; whatever served before it still does. `said` are the platform's words."""

    code = "revision_failed"

    def __init__(self, service: str, revision: str, reason: str, said: str) -> None:
        found = cause(reason, said)
        told = ": ".join(part for part in (reason, said) if part)
        super().__init__(
            f"cloud: the revision {revision} of {service} did not become ready: {told}",
            hint=None if found is None else found.do,
        )
        self.service, self.revision, self.reason, self.said = service, revision, reason, said


def created(google: Google, name: str, body: dict[str, Any]) -> Operation:
    """Try a new service out, then make it. Raises `CloudLost` when it is there by now."""
    fields = {"parent": google.location, "service_id": name, "service": service_from(body)}
    return _sent(google, name, f"make the service {name}", google.services.create_service, fields)


def updated(google: Google, what: str, body: dict[str, Any], mask: Sequence[str]) -> Operation:
    """Try a change out, then make it; `body` has the name and the etag of what was read. Raises `CloudLost` for a conflict."""
    from google.protobuf.field_mask_pb2 import FieldMask

    fields = {"service": service_from(body), "update_mask": FieldMask(paths=list(mask))}
    return _sent(google, short(body["name"]), what, google.services.update_service, fields)


def patched(google: Google, what: str, service: Service, change: dict[str, Any], mask: Sequence[str]) -> None:
    """Change a few fields of a service that was read, and wait until it is at rest again. Makes no revision.

    A service whose last revision failed says so after every change; that is no failure of this one.
    """
    body = {"name": service.name, "etag": service.etag, **change}
    operation = updated(google, what, body, mask)
    try:
        google.wait(what, operation, limit_s=SLACK_S)
    except CloudLost:
        raise
    except CloudError as error:
        if is_there(error):
            raise conflict(short(service.name)) from error
        after = read_service(google, short(service.name))
        if not (after is not None and _failed_before(service, after) and _flows(after, is_shifted="traffic" in mask)):
            raise


def awaited(  # noqa: PLR0913 - all of it is about one wait
    google: Google, name: str, revision: str, operation: Operation, *, limit_s: float, show: Show
) -> None:
    """Wait until a new revision is ready, saying what the service says.

    Raises `RevisionFailed`; `CloudLost` when somebody else changed the service meanwhile; `CloudError` after `limit_s`.
    """

    def tick() -> None:
        with suppress(CloudError):  # it is only about what to show
            service = read_service(google, name)
            said = "" if service is None else progress(service)
            show.doing(f"starting {revision}" + (f": {said}" if said else ""))

    try:
        google.wait(f"start the revision {revision}", operation, limit_s=limit_s, tick=tick)
    except CloudLost:
        raise
    except CloudError as error:
        if is_there(error):
            raise conflict(name) from error
        failed = failure_of(google, name, revision)
        raise (failed or error) from error


def failure_of(google: Google, name: str, revision: str) -> RevisionFailed | None:
    """Why a revision failed; None when it did not."""
    made, service = read_revision(google, name, revision), read_service(google, name)
    conditions = [] if made is None else [_said(one) for one in made.conditions]
    if made is None and service is not None and short(service.latest_created_revision) == revision:
        conditions.append(_said(service.terminal_condition))
    failed = [(reason, said) for state, reason, said in conditions if state == "CONDITION_FAILED"]
    if not failed:
        return None
    reason, said = min(failed, key=lambda one: (one[0] in _VAGUE, not one[1]))
    return RevisionFailed(name, revision, reason, said)


def read_revision(google: Google, name: str, revision: str) -> Revision | None:
    """A revision by its short name; None when there is no such."""
    try:
        return google.call(
            f"read the revision {revision}",
            google.revisions.get_revision,
            request={"name": f"{full(google, name)}/revisions/{revision}"},
        )
    except CloudError as error:
        if is_missing(error):
            return None
        raise


def is_ready(revision: Revision) -> bool:
    """Whether a revision can serve."""
    return any(one.type_ == "Ready" and one.state.name == "CONDITION_SUCCEEDED" for one in revision.conditions)


def conflict(name: str) -> CloudLost:
    """Somebody changed it at the same moment, or an answer that was lost had been a yes."""
    return CloudLost(
        f"cloud: the service {name} was changed at the same moment", hint="run it again: it goes on from what is there"
    )


def _sent(google: Google, name: str, what: str, method: Callable[..., Operation], fields: dict[str, Any]) -> Operation:
    try:
        dry(google, what, method, fields, settles=SETTLES)
        return google.call(what, method, request=fields, settles=SETTLES)
    except CloudError as error:
        if is_there(error):
            raise conflict(name) from error
        raise


def _failed_before(before: Service, after: Service) -> bool:
    """Whether the last revision is the same one that had failed already."""
    latest = after.latest_created_revision
    return latest == before.latest_created_revision != before.latest_ready_revision and not after.reconciling


def _flows(service: Service, *, is_shifted: bool) -> bool:
    """Whether the traffic is distributed as it should be."""
    if not is_shifted:
        return True
    wished = [(one.type_, one.revision, one.percent, one.tag) for one in service.traffic]
    return wished == [(one.type_, one.revision, one.percent, one.tag) for one in service.traffic_statuses]


def _said(condition: Any) -> tuple[str, str, str]:
    """State, reason and message; a reason that the client does not know is its number."""
    from google.protobuf.json_format import MessageToDict

    said = MessageToDict(type(condition).pb(condition))
    reason = str(said.get("revisionReason") or said.get("reason") or "")
    return said.get("state", ""), reason, plain(said.get("message", ""))


__all__ = [
    "RevisionFailed",
    "awaited",
    "conflict",
    "created",
    "failure_of",
    "is_ready",
    "patched",
    "read_revision",
    "updated",
]
