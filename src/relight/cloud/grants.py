"""Who may do what: roles of members on the project and on single things in it, read, given and taken back.

A policy is changed as a whole, by its etag, and with all that stands in it: conditions are others', and are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from relight.cloud.accounts import path_of, unseen
from relight.cloud.calls import FRESH_ACCOUNT, FRESH_API, Again, either, is_disabled, is_missing
from relight.cloud.seen import seen
from relight.deploy.desired import Grant
from relight.errors import CloudError

if TYPE_CHECKING:
    from relight.cloud.google import Google
    from relight.deploy.steps import GrantRole

Binding: TypeAlias = dict[str, Any]
"""`role`, `members` and, maybe, a `condition`."""
Policy: TypeAlias = dict[str, Any]
"""`version`, `etag`, `bindings`."""

_PROJECTS: Final = "cloudresourcemanager.googleapis.com"
_SECRETS: Final = "secretmanager.googleapis.com"
_BUCKETS: Final = "storage.googleapis.com"
_SERVICES: Final = "run.googleapis.com"
_ACCOUNTS: Final = "iam.googleapis.com"
_REPOSITORIES: Final = "artifactregistry.googleapis.com"

_WITH_CONDITIONS: Final = 3
_AGAIN: Final = "wait until they are done, and run it again"
_PAUSES_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
# Storage has a word of its own for "somebody else wrote in between".
_CONFLICTS: Final = frozenset({409, 412})
_FRESH: Final = either((FRESH_ACCOUNT, FRESH_API))


def found_grants(google: Google, wanted: Iterable[Grant]) -> frozenset[Grant]:
    """Those of `wanted` that are given, without a condition. What may not be looked at counts as not given."""
    grants = frozenset(wanted)
    bindings = {on: _found_bindings(google, on) for on in {grant.on for grant in grants}}
    return frozenset(grant for grant in grants if _holds(bindings[grant.on], grant))


def accounts_on(google: Google, on: str) -> frozenset[str]:
    """The service accounts that have any role on a thing, as `serviceAccount:EMAIL`; none where it may not be looked at."""
    members = {one for binding in _found_bindings(google, on) for one in binding.get("members", ())}
    return frozenset(one for one in members if one.startswith("serviceAccount:"))


def grant(google: Google, step: GrantRole) -> None:
    """Give the role; one that is given already is left. Waits for an account, or a thing, that was made a moment ago."""
    given = step.grant
    what = f"give {given.role} on {given.on} to {given.member}"
    _change(google, given.on, lambda bindings: _with(bindings, given), what, settles=either((FRESH_API, unseen)))


def revoke(google: Google, taken: Grant) -> None:
    """Take the role back, where it was given without a condition; on a thing that is not there nothing is left to take."""
    what = f"take {taken.role} on {taken.on} from {taken.member}"
    try:
        _change(google, taken.on, lambda bindings: _without(bindings, taken), what)
    except CloudError as error:
        if not (is_missing(error) or is_disabled(error)):
            raise


# --- one policy


def _change(
    google: Google, on: str, change: Callable[[list[Binding]], list[Binding]], what: str, settles: Again | None = None
) -> None:
    """Read, change and write, until nobody else writes in between."""
    place, pauses = _place(google, on), list(_PAUSES_S)
    while True:
        policy = place.read(google, what, settles)
        before = list(policy.get("bindings", ()))
        after = change(before)
        if after == before:
            return
        try:
            place.write(google, what, {**_kept(policy, after), "bindings": after})
        except CloudError as error:
            if getattr(error.__cause__, "code", None) not in _CONFLICTS:
                raise
            if not pauses:
                raise CloudError(f"cloud: could not {what}: others keep changing it at the same moment", hint=_AGAIN) from error
        else:
            return
        google.sleep(pauses.pop(0))


def _kept(policy: Policy, bindings: list[Binding]) -> Policy:
    """Etag and version; nothing else of a policy is sent, and what is not sent (who is watched) stays."""
    has_conditions = any("condition" in binding for binding in bindings)
    kept = {"etag": policy["etag"]} if "etag" in policy else {}
    return {**kept, "version": _WITH_CONDITIONS if has_conditions else policy.get("version", 1)}


def _with(bindings: list[Binding], given: Grant) -> list[Binding]:
    if _holds(bindings, given):
        return bindings
    for at, binding in enumerate(bindings):
        if binding["role"] == given.role and not binding.get("condition"):
            more = {**binding, "members": [*binding.get("members", ()), given.member]}
            return [*bindings[:at], more, *bindings[at + 1 :]]
    return [*bindings, {"role": given.role, "members": [given.member]}]


def _without(bindings: list[Binding], taken: Grant) -> list[Binding]:
    """An account that was deleted stays in policies under another name, and goes with it."""
    gone = f"deleted:{taken.member}?uid="
    left = []
    for binding in bindings:
        if binding["role"] != taken.role or binding.get("condition"):
            left.append(binding)
        elif stay := [one for one in binding.get("members", ()) if one != taken.member and not one.startswith(gone)]:
            left.append({**binding, "members": stay})
    return left


def _holds(bindings: list[Binding], wanted: Grant) -> bool:
    return any(_binds(binding, wanted) for binding in bindings)


def _binds(binding: Binding, wanted: Grant) -> bool:
    """A role under a condition may not hold when it matters, so it does not count."""
    return binding["role"] == wanted.role and not binding.get("condition") and wanted.member in binding.get("members", ())


def _found_bindings(google: Google, on: str) -> list[Binding]:
    policy: Policy = seen(lambda: _place(google, on).read(google, f"see who has which role on {on}"), {})
    return list(policy.get("bindings", ()))


# --- where it is kept


@dataclass(frozen=True, slots=True)
class _Place:
    """How the policy of a thing is read and written; the APIs differ in small things.

    `version` asks for conditions as they are: without it they are hidden, and what is written back would lose them.
    """

    host: str
    path: str
    reading: str = "GET"
    read_verb: str = ":getIamPolicy"
    write_verb: str | None = ":setIamPolicy"
    version: tuple[str, Any] = ("params", {"options.requestedPolicyVersion": str(_WITH_CONDITIONS)})

    def read(self, google: Google, what: str, settles: Again | None = None) -> Policy:
        """The policy as it is."""
        how, version = self.version
        path = f"{self.path}{self.read_verb}"
        found: Policy = google.rest(what, self.reading, self.host, path, settles=settles, **{how: version})
        return found

    def write(self, google: Google, what: str, policy: Policy) -> None:
        """Replace it. Safe to repeat: when the first took effect, the second is refused for its etag, and all is read anew."""
        if self.write_verb is None:
            google.rest(what, "PUT", self.host, self.path, body=policy, settles=_FRESH)
        else:
            google.rest(what, "POST", self.host, f"{self.path}{self.write_verb}", body={"policy": policy}, settles=_FRESH)


def _place(google: Google, on: str) -> _Place:
    kind, _, name = on.partition(":")
    match kind:
        case "project":
            body = {"options": {"requestedPolicyVersion": _WITH_CONDITIONS}}
            return _Place(_PROJECTS, f"/v3/projects/{google.project}", reading="POST", version=("body", body))
        case "secret":
            return _Place(_SECRETS, f"/v1/projects/{google.project}/secrets/{name}")
        case "repository":
            return _Place(_REPOSITORIES, f"/v1/{google.location}/repositories/{name}")
        case "service":
            return _Place(_SERVICES, f"/v2/{google.location}/services/{name}")
        case "account":
            return _Place(_ACCOUNTS, path_of(name), reading="POST")
        case "bucket":
            params = {"optionsRequestedPolicyVersion": str(_WITH_CONDITIONS)}
            path = f"/storage/v1/b/{name}/iam"
            return _Place(_BUCKETS, path, read_verb="", write_verb=None, version=("params", params))
        case _:
            raise ValueError(f"nothing of that kind has a policy: {on}")


__all__ = ["accounts_on", "found_grants", "grant", "revoke"]
