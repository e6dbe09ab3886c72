"""What a check of an endpoint came to, as plain data. Knows neither how it was found out nor how it is shown."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

import msgspec

_LONGEST: Final = 200


class Status(StrEnum):
    """What one check came to."""

    PASS = "PASS"  # noqa: S105 - a verdict
    FAIL = "FAIL"
    UNSUPPORTED = "UNSUPPORTED"  # the server does not offer it
    UNSURE = "UNSURE"  # not shown: the model, or what the server is, gave no occasion
    SKIPPED = "SKIPPED"  # not asked


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One check: what it came to and by what. `check` is "chat.tools.forced", or "tls" for what concerns every dialect."""

    check: str
    status: Status
    title: str
    seen: str
    sent: str = ""
    came: str = ""
    why: str = ""
    """Who breaks without it."""
    advice: str = ""
    seconds: float = 0.0


class Conclusion(msgspec.Struct, frozen=True):
    """Whether an agent will work, and what it rests on."""

    agent: str
    name: str
    dialect: str
    status: Status
    """PASS: will work; UNSURE: will probably, as far as could be shown; FAIL and UNSUPPORTED: will not."""
    says: str


class Report(msgspec.Struct, frozen=True):
    """All that is known of an endpoint."""

    url: str
    model: str | None
    context: int | None
    findings: tuple[Finding, ...]
    agents: tuple[Conclusion, ...]
    """Those that can be judged by what was asked."""
    is_complete: bool
    """False when it was stopped before the last check."""
    dialects: tuple[str, ...] = ()
    """Those that were asked."""


class Outcome(msgspec.Struct, frozen=True):
    """What the run of a check says; the rest of its finding is known before."""

    status: Status
    seen: str
    advice: str | None = None
    """In place of the check's own."""


def passed(seen: str) -> Outcome:
    """It does what agents need."""
    return Outcome(Status.PASS, seen)


def failed(seen: str, advice: str | None = None) -> Outcome:
    """It does not."""
    return Outcome(Status.FAIL, seen, advice)


def unsure(seen: str) -> Outcome:
    """Nothing was broken, but it was not shown to work either."""
    return Outcome(Status.UNSURE, seen)


def unsupported(seen: str) -> Outcome:
    """The server says that it has no such thing."""
    return Outcome(Status.UNSUPPORTED, seen)


def skipped(seen: str) -> Outcome:
    """It was not asked, for this reason."""
    return Outcome(Status.SKIPPED, seen)


_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+")


def shown(text: str | bytes, longest: int = _LONGEST) -> str:
    """Somebody else's text as one short line: it may not move a cursor, nor fill the screen."""
    if isinstance(text, bytes):
        text = text[: 4 * longest].decode(errors="replace")
    line = _CONTROL.sub(" ", text).strip()
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
