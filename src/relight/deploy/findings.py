"""A finding: what stands between a configuration and a working deployment, and the configuration that would fit. Structs only."""

from __future__ import annotations

import json
from enum import StrEnum

from msgspec import Struct

from relight.config.schema import Config
from relight.deploy.desired import Desired
from relight.deploy.facts import Costs, Facts
from relight.deploy.observed import Observed
from relight.deploy.quota import QuotaRequest


class Severity(StrEnum):
    """How bad it is. `UNKNOWN`: the cloud was not asked, or did not say."""

    PASS = "pass"  # noqa: S105 - a verdict
    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"
    UNKNOWN = "unknown"


class Finding(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One finding: what was seen, why it matters, the lines of TOML that would fit, what else to do, the quota to ask for."""

    severity: Severity
    check: str
    what: str
    why: str | None = None
    fit: str | None = None
    do: str | None = None
    quota: QuotaRequest | None = None


class Case(Struct, frozen=True, kw_only=True):
    """What is judged. `observed` None: the cloud was not asked; `needs` are the permissions that the steps of the plan take."""

    config: Config
    facts: Facts
    desired: Desired
    observed: Observed | None = None
    costs: Costs | None = None
    needs: frozenset[str] = frozenset()


def passed(check: str, what: str) -> Finding:
    """Nothing to do."""
    return Finding(severity=Severity.PASS, check=check, what=what)


def unknown(check: str, what: str, why: str | None = None, *, do: str | None = None) -> Finding:
    """Only the cloud can say; where it was asked, `why` it did not, and what to `do` about it."""
    return Finding(severity=Severity.UNKNOWN, check=check, what=what, why=why, do=do)


def untold(case: Case, check: str, what: str, api: str) -> Finding:
    """Only an API that is not among those of the service can say; nobody asked it, or it did not answer."""
    if case.observed is None:
        return unknown(check, what)
    why = f"{api} does not say: it is not enabled, or whoever deploys may not ask it"
    return unknown(check, what, why, do=f"to have it checked: gcloud services enable {api} --project={case.desired.project}")


def error(check: str, what: str, why: str, *, fit: str | None = None, do: str | None = None) -> Finding:
    """It would fail."""
    return Finding(severity=Severity.ERROR, check=check, what=what, why=why, fit=fit, do=do)


def warning(check: str, what: str, why: str, *, fit: str | None = None, do: str | None = None) -> Finding:
    """It would work, and not as somebody might think."""
    return Finding(severity=Severity.WARNING, check=check, what=what, why=why, fit=fit, do=do)


def note(check: str, what: str, why: str, *, fit: str | None = None, do: str | None = None) -> Finding:
    """Worth knowing."""
    return Finding(severity=Severity.NOTE, check=check, what=what, why=why, fit=fit, do=do)


def toml(section: str, **values: object) -> str:
    """Lines of TOML: a section and its keys, durations and sizes as the configuration writes them."""
    return "\n".join([f"[{section}]", *(f"{key} = {_value(value)}" for key, value in values.items())])


def run_toml(**values: object) -> str:
    """Lines of TOML below `[deploy.cloudrun]`."""
    return toml("deploy.cloudrun", **values)


def model_table(name: str) -> str:
    """The table of a model; a name that TOML would not take bare is quoted."""
    is_bare = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    return f"models.{name if is_bare else json.dumps(name)}"


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    # Durations and sizes are numbers with a text of their own, and have to be written as that text.
    return repr(value) if type(value) in (int, float) else json.dumps(str(value), ensure_ascii=False)
