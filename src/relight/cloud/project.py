"""The project itself: who asks, whether it pays, what is enabled, what it may use. Knows nothing of a service of ours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from relight.cloud.calls import TIMEOUT_S, asked, is_disabled, is_missing
from relight.cloud.seen import is_denied, seen
from relight.errors import CloudError

if TYPE_CHECKING:
    from relight.cloud.google import Google
    from relight.cloud.work import Show
    from relight.deploy.steps import EnableApis

_PROJECTS: Final = "cloudresourcemanager.googleapis.com"
_BILLING: Final = "cloudbilling.googleapis.com"
_QUOTAS: Final = "cloudquotas.googleapis.com"
_LOGGING: Final = "logging.googleapis.com"
_TOKENS: Final = "oauth2.googleapis.com"
_CONSOLE: Final = "https://console.cloud.google.com"

_MOST_LOOKED_AT: Final = 30
_MOST_ENABLED: Final = 20
_MOST_PERMISSIONS: Final = 100
_ENABLE_LIMIT_S: Final = 300.0
_UNLIMITED: Final = 2**63 - 1
_UNKNOWN_TOKEN: Final = 400
_NOT_OF_A_PROJECT: Final = 400
_RETENTION_DAYS: Final = 30
"""Of a bucket of logs that says nothing else."""

# --- looking


def principal_of(google: Google) -> str | None:
    """The e-mail address of who asks; None when the credentials do not say. Raises `CloudError` when they are not taken.

    Credentials of a service account know it; those of a machine or a person are signed in first, and Google is asked whose the
    token is. The token goes in a body, never in an address: addresses stand in logs and errors.
    """
    return _account(google) or seen(lambda: _owner(google, _token(google)), None)


def found_project(google: Google) -> str | None:
    """The project's number; None when no API that would tell it is enabled.

    Raises `CloudError` when there is no such project, it is about to be deleted, or whoever asks may not see it.
    """
    what = f"look at the project {google.project}"
    try:
        said = google.rest(what, "GET", _PROJECTS, f"/v3/projects/{google.project}")
    except CloudError as error:
        if not (is_disabled(error) or is_denied(error) or is_missing(error)):
            raise
        # The resource manager is not enabled in a new project, and there are people who may deploy to one and not look at it.
        return _number(google, what)
    if said.get("state", "ACTIVE") != "ACTIVE":
        raise CloudError(f"cloud: the project {google.project} is about to be deleted", hint="name another one")
    return str(said["name"]).removeprefix("projects/")


def billing_enabled(google: Google) -> bool | None:
    """Whether a billing account pays for the project; None where it cannot be asked."""
    what, path = "see whether the project has a billing account", f"/v1/projects/{google.project}/billingInfo"
    said = seen(lambda: google.rest(what, "GET", _BILLING, path), None)
    return None if said is None else bool(said.get("billingEnabled"))


def permissions_of(google: Google, wanted: frozenset[str]) -> frozenset[str] | None:
    """Those of `wanted` that whoever asks has on the project; None where it cannot be asked.

    One that a project knows nothing of counts as held: it may be given on the thing itself, and nobody is stopped for it.
    """
    found: set[str] = set()
    for some in _batches(sorted(wanted), _MOST_PERMISSIONS):
        held = seen(lambda names=some: _held(google, names), None)  # type: ignore[misc]
        if held is None:
            return None
        found |= held
    return frozenset(found)


def enabled_apis(google: Google, wanted: Iterable[str]) -> frozenset[str]:
    """Those of `wanted` (`run.googleapis.com`) that are enabled.

    Where whoever asks may not see it, all of them are taken to be: one that is not says so itself.
    """
    names = tuple(wanted)
    try:
        return frozenset(api for some in _batches(names, _MOST_LOOKED_AT) for api in _enabled(google, some))
    except CloudError as error:
        if is_disabled(error):
            return frozenset()
        if is_denied(error):
            return frozenset(names)
        raise


def found_quotas(google: Google, wanted: Iterable[str], held: Mapping[str, int] | None = None) -> dict[str, int] | None:
    """The limits of Cloud Run's quotas in the region, by id, less what is `held`; each in its own unit (`deploy.quota`).

    One that cannot be asked is left out; None when none can. A quota without limit is a very large number.
    """
    found = {}
    for quota in wanted:
        limit = seen(lambda name=quota: _limit(google, name), None)  # type: ignore[misc]
        if limit is not None:
            found[quota] = max(0, limit - (held or {}).get(quota, 0))
    return found or None


def log_retention_days(google: Google) -> int | None:
    """How long logs of the project are kept; None where it cannot be asked."""
    path = f"/v2/projects/{google.project}/locations/global/buckets/_Default"
    said = seen(lambda: google.rest("see how long logs are kept", "GET", _LOGGING, path), None)
    return None if said is None else int(said.get("retentionDays", _RETENTION_DAYS))


# --- doing


def enable_apis(google: Google, step: EnableApis, show: Show) -> None:
    """Enable them, 20 at a time; one that is enabled already stays so.

    What asks one of them next waits by `calls.FRESH_API`: it takes a while until all of Google knows.
    """
    for apis in _batches(step.apis, _MOST_ENABLED):
        names = ", ".join(api.removesuffix(".googleapis.com") for api in apis)
        what = f"enable {names}"
        show.doing(f"enabling {names}")
        request = {"parent": f"projects/{google.project}", "service_ids": apis}
        try:
            operation = google.call(what, google.apis.batch_enable_services, request=request)
            google.wait(what, operation, limit_s=_ENABLE_LIMIT_S)
        except CloudError as error:
            raise _not_enabled(google, what, error) or error from error.__cause__


def _not_enabled(google: Google, what: str, error: CloudError) -> CloudError | None:
    if "billing account" in error.message.lower():
        do = f"link one: {_CONSOLE}/billing/linkedaccount?project={google.project}"
        return CloudError(f"cloud: could not {what}: the project {google.project} has no billing account", hint=do)
    if is_disabled(error):
        do = f"enable it by hand, once: {_CONSOLE}/apis/library/serviceusage.googleapis.com?project={google.project}"
        return CloudError(f"cloud: could not {what}: the Service Usage API is itself not enabled", hint=do)
    return None


# --- who asks


def _account(google: Google) -> str | None:
    # On a machine of Google's it is called "default" until it is signed in.
    found = getattr(google.credentials, "service_account_email", None)
    return str(found) if found and "@" in str(found) else None


def _token(google: Google) -> str | None:
    from google.auth.transport.requests import Request

    credentials = google.credentials
    if not credentials.valid:
        asked("sign in", lambda: credentials.refresh(Request()), sleep=google.sleep)
    return credentials.token


def _owner(google: Google, token: str | None) -> str | None:
    """Whose a token is. Not asked by `google.rest`, which sends JSON and the token itself in a header."""
    import requests
    from google.api_core.exceptions import from_http_response

    if (found := _account(google)) or token is None:
        return found

    def ask() -> str | None:
        address = f"{google.endpoint or f'https://{_TOKENS}'}/tokeninfo"
        reply = requests.post(address, data={"access_token": token}, timeout=TIMEOUT_S, allow_redirects=False)
        if reply.status_code == _UNKNOWN_TOKEN:
            return None
        if not reply.ok:
            raise from_http_response(reply)
        email: str | None = reply.json().get("email")
        return email

    return asked("see whose the credentials are", ask, sleep=google.sleep)


# --- pieces


def _no_project(google: Google) -> CloudError:
    do = "look at its id (not its name) at https://console.cloud.google.com, or ask its owner for a role on it"
    return CloudError(f"cloud: there is no project {google.project}, or no right to see it", hint=do)


def _number(google: Google, what: str) -> str | None:
    """From Service Usage, which is enabled in every new project, as the resource manager is not."""
    name = f"projects/{google.project}/services/serviceusage.googleapis.com"
    try:
        found = google.call(what, google.apis.get_service, request={"name": name})
    except CloudError as error:
        if is_disabled(error):
            return None
        if is_denied(error) or is_missing(error):
            raise _no_project(google) from error
        raise
    return str(found.parent).removeprefix("projects/")


def _enabled(google: Google, apis: Sequence[str]) -> Iterator[str]:
    parent = f"projects/{google.project}"
    request = {"parent": parent, "names": [f"{parent}/services/{api}" for api in apis]}
    reply = google.call("see which APIs are enabled", google.apis.batch_get_services, request=request)
    # The names of the answer hold the project's number.
    return (one.name.rpartition("/")[2] for one in reply.services if one.state.name == "ENABLED")


def _held(google: Google, permissions: list[str]) -> set[str]:
    path = f"/v3/projects/{google.project}:testIamPermissions"
    try:
        said = google.rest("see what is allowed", "POST", _PROJECTS, path, body={"permissions": permissions})
    except CloudError as error:
        if getattr(error.__cause__, "code", None) != _NOT_OF_A_PROJECT:
            raise
        if len(permissions) == 1:
            return set(permissions)
        return {held for permission in permissions for held in _held(google, [permission])}
    return set(said.get("permissions", ()))


def _limit(google: Google, quota: str) -> int | None:
    path = f"/v1/projects/{google.project}/locations/global/services/run.googleapis.com/quotaInfos/{quota}"
    said = google.rest(f"read the quota {quota}", "GET", _QUOTAS, path)
    infos: list[dict[str, Any]] = said.get("dimensionsInfos", [])
    own = [one for one in infos if one.get("dimensions", {}).get("region") == google.region]
    # One without the dimension holds for all regions that have none of their own.
    general = [one for one in infos if "region" not in one.get("dimensions", {}) and _applies(one, google.region)]
    if not (own or general):
        return None
    # A limit of 0 is left out of the JSON, as every 0 is; -1 is "as much as you like".
    value = int((own + general)[0].get("details", {}).get("value", 0))
    return _UNLIMITED if value < 0 else value


def _applies(info: Mapping[str, Any], region: str) -> bool:
    places = info.get("applicableLocations", ())
    return not places or region in places or "global" in places


def _batches(names: Sequence[str], most: int) -> Iterator[list[str]]:
    return (list(names[at : at + most]) for at in range(0, len(names), most))


__all__ = [
    "billing_enabled",
    "enable_apis",
    "enabled_apis",
    "found_project",
    "found_quotas",
    "log_retention_days",
    "permissions_of",
    "principal_of",
]
