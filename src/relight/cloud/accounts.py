"""Service accounts: which are there, which are ours, made and deleted. Knows nothing of what they may do (`grants`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from relight.cloud.calls import FRESH_API, is_disabled, is_missing, is_there
from relight.cloud.seen import is_denied, seen
from relight.errors import CloudError

if TYPE_CHECKING:
    from google.api_core.exceptions import GoogleAPICallError

    from relight.cloud.google import Google
    from relight.deploy.steps import CreateServiceAccount

_IAM: Final = "iam.googleapis.com"
_PAGE: Final = "100"


def found_accounts(google: Google, wanted: Iterable[str]) -> frozenset[str]:
    """Those of `wanted` (e-mail addresses) that are there.

    One that belongs to another project and may not be looked at counts as there: the dry run of the server says more.
    """
    return frozenset(email for email in wanted if _is_found(google, email))


def accounts_of(google: Google, service: str) -> tuple[str, ...]:
    """The e-mail addresses of the accounts that were made for `service`: accounts have no labels, their description tells."""
    found: list[str] = []
    params = {"pageSize": _PAGE}
    while True:
        said = _page(google, params)
        ours = (one for one in said.get("accounts", ()) if str(one.get("description", "")).startswith(f"{_mark(service)}:"))
        found += [str(one["email"]) for one in ours]
        if not said.get("nextPageToken"):
            return tuple(sorted(found))
        params = {"pageSize": _PAGE, "pageToken": str(said["nextPageToken"])}


def acts_as(google: Google, email: str) -> bool:
    """Whether whoever asks may run things as the account. The right may be given on the account alone, as Google advises."""
    what, right = f"see whether anything may run as {email}", "iam.serviceAccounts.actAs"
    body = {"permissions": [right]}
    path = f"{path_of(email)}:testIamPermissions"
    said: dict[str, Any] = seen(lambda: google.rest(what, "POST", _IAM, path, body=body), {})
    return right in said.get("permissions", ())


def create_account(google: Google, step: CreateServiceAccount, service: str) -> None:
    """Make it; one that is there already is left as it is. Returns when it can be seen, which takes Google a moment."""
    what = f"make the service account {step.name}"
    about = {"displayName": f"{service}: {step.purpose}", "description": f"{_mark(service)}: {step.purpose}"}
    body = {"accountId": step.name.partition("@")[0], "serviceAccount": about}
    try:
        google.rest(what, "POST", _IAM, f"/v1/projects/{google.project}/serviceAccounts", body=body, settles=FRESH_API)
    except CloudError as error:
        if not is_there(error):
            raise
    seen(lambda: google.rest(what, "GET", _IAM, path_of(step.name), settles=unseen), None)


def delete_account(google: Google, email: str) -> None:
    """Delete it; one that is not there stays so."""
    try:
        google.rest(f"delete the service account {email}", "DELETE", _IAM, path_of(email))
    except CloudError as error:
        if not is_missing(error):
            raise


def _is_found(google: Google, email: str) -> bool:
    try:
        google.rest(f"look at the service account {email}", "GET", _IAM, path_of(email))
    except CloudError as error:
        if is_missing(error) or is_disabled(error):
            return False
        if is_denied(error):
            return _project(email) != google.project
        raise
    return True


def _page(google: Google, params: dict[str, str]) -> dict[str, Any]:
    try:
        path = f"/v1/projects/{google.project}/serviceAccounts"
        found: dict[str, Any] = google.rest("list the service accounts", "GET", _IAM, path, params=params)
    except CloudError as error:
        if is_disabled(error):
            return {}
        raise
    return found


def path_of(email: str) -> str:
    """The path of an account at `iam.googleapis.com`."""
    return f"/v1/projects/{_project(email)}/serviceAccounts/{quote(email, safe='@')}"


def _project(email: str) -> str:
    """The project of an account: it stands in the address, but for those that Google makes; `-` leaves it to Google."""
    _, _, domain = email.partition("@")
    project, _, rest = domain.partition(".")
    return project if rest == "iam.gserviceaccount.com" else "-"


def _mark(service: str) -> str:
    return f"managed by relight for {service}"


def unseen(error: GoogleAPICallError) -> bool:
    """For `settles`: a thing that was made a moment ago, and that not all of Google knows of yet."""
    return error.code == 404


__all__ = ["accounts_of", "acts_as", "create_account", "delete_account", "found_accounts", "path_of", "unseen"]
