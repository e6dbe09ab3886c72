"""Who may call the service by Google's own identities: members as policies name them, and whether its test is one. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from relight.deploy.findings import Case, Finding, error, run_toml, warning

_ALL: Final = ("allUsers", "allAuthenticatedUsers")
_ONE: Final = ("user", "serviceAccount")
_KINDS: Final = (*_ONE, "group", "domain", "principal", "principalSet")
_FEDERATED: Final = ("principal", "principalSet")


def member(principal: str) -> str:
    """Who asks, as policies name them."""
    kind = "serviceAccount" if principal.endswith(".gserviceaccount.com") else "user"
    return f"{kind}:{principal}"


def mended(said: str) -> str | None:
    """A member as policies take it: `said` itself where it is one, else what was meant by it; None when nothing fits."""
    whole = {name.lower(): name for name in _ALL}.get(said.lower())
    if whole is not None:
        return whole
    kind, _, name = said.rpartition(":") if "//" not in said else said.partition(":")
    known = {one.lower(): one for one in _KINDS}.get(kind.lower())
    if known in _FEDERATED:
        return f"{known}:{name}" if name.startswith("//") and len(name) > len("//") else None
    if not name or any(sign in name for sign in " /"):
        return None
    if known == "domain" or (kind == "" and "@" not in name and "." in name):
        return None if "@" in name else f"domain:{name}"
    if not all(name.partition("@")):
        return None
    return f"{known}:{name}" if known else member(name)


def kinds(case: Case) -> Iterator[Finding]:
    """Whether every invoker says what kind of member it is."""
    said = case.config.deploy.cloudrun.invokers
    better = [mended(one) for one in said]
    wrong = [one for one, other in zip(said, better, strict=True) if one != other]
    if not wrong:
        return
    quoted = ", ".join(f'"{one}"' for one in wrong)
    what = f"{quoted} {'is no member' if len(wrong) == 1 else 'are no members'} as Google names them"
    why = "the policy would be refused: a member is user:, group: or serviceAccount: and an address, domain: and a name, "
    why += f"principal:// or principalSet:// and a path, {' or '.join(_ALL)}"
    if None in better:
        yield error("invokers", what, why, do="write each in one of these ways")
    else:
        yield error("invokers", what, why, fit=run_toml(invokers=better), do="a group is written as group:ADDRESS")


def tester(case: Case) -> Iterator[Finding]:
    """Whether whoever deploys may ask the question that tests a deployment."""
    said, asks = case.config.deploy.cloudrun.invokers, case.observed and case.observed.principal
    members = [mended(one) or one for one in said]
    if not members or not asks or any(_holds(one, asks) for one in members):
        return
    why = (
        "the test after a deployment comes from whoever deploys: Google would refuse it, after about two minutes of waiting, and "
        "the deployment with it, unless a group of these or a role in the project lets it through"
    )
    yield warning("test", f"{asks} is not among the invokers", why, fit=run_toml(invokers=[*members, member(asks)]))


def _holds(one: str, asks: str) -> bool:
    kind, _, name = one.partition(":")
    if kind == "domain":
        return asks.lower().endswith(f"@{name.lower()}")
    return one in _ALL or (kind in _ONE and name.lower() == asks.lower())


__all__ = ["kinds", "member", "mended", "tester"]
