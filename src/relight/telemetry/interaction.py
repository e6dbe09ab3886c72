"""The record of one request and what became of it: opened at admission, closed exactly once. Must not know where it goes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from msgspec import Struct

from relight.clock import Clock
from relight.errors import Category, RelightError

_MAX_ERROR: Final = 2000  # characters


class Phase(StrEnum):
    """Where a request's time goes; exactly one phase runs at any moment, so they add up to the whole."""

    QUEUE = "queue"
    MODE = "mode"
    WAKE = "wake"
    RESTORE = "restore"
    PREFILL = "prefill"
    DECODE = "decode"


@dataclass(frozen=True, slots=True)
class Trace:
    """A caller's trace: ids in hexadecimal."""

    trace_id: str
    span_id: str | None = None
    sampled: bool = False


@dataclass(frozen=True, slots=True)
class Origin:
    """Which deployment speaks; empty strings outside of one."""

    service: str
    revision: str = ""
    project: str = ""

    @classmethod
    def from_environment(cls, service: str, environ: Mapping[str, str] = os.environ) -> Origin:
        """On Knative and Cloud Run, the platform's own names win."""
        return cls(
            service=environ.get("K_SERVICE") or service,
            revision=environ.get("K_REVISION", ""),
            project=environ.get("GOOGLE_CLOUD_PROJECT", ""),
        )


class HttpFacts(Struct, frozen=True):
    """What the access log wants to know of the request."""

    method: str
    path: str
    remote: str
    user_agent: str


class Interaction:
    """One open record. The request's handler owns it, moves it through its phases, and closes it."""

    def __init__(self, clock: Clock, origin: Origin, http: HttpFacts, trace: Trace | None = None) -> None:
        self._clock = clock
        self._phases: dict[Phase, float] = {}
        self._phase = Phase.QUEUE
        self._since = self.opened_at = clock.now()
        self.wall = clock.wall()
        self.id = new_id(self.wall)
        self.origin, self.http, self.trace = origin, http, trace
        self.dialect = self.model = self.backend = self.session = self.key = self.answered_by = ""
        self.given_up: list[dict[str, str]] = []
        self.cost_usd: float | None = None
        self.stream = False
        self.status = 0
        self.category: Category | None = None
        self.code: str | None = None
        self.error: str | None = None
        self.finish: str | None = None
        self.prompt_tokens: int | None = None
        self.cached_tokens: int | None = None
        self.completion_tokens: int | None = None
        self.first_token_s: float | None = None
        self.bytes_in = self.bytes_out = 0
        self.pieces = 0
        """Pieces of a stream that have passed, about one a token."""
        self.content: dict[str, Any] | None = None
        self.is_closed = False

    def enter(self, phase: Phase) -> None:
        """Begin `phase`; what ran until now ends at the same instant."""
        now = self._clock.now()
        self._phases[self._phase] = self._phases.get(self._phase, 0.0) + now - self._since
        self._phase, self._since = phase, now

    def first_token(self) -> None:
        """The first event of the answer is here: prefill ends, decode begins. Later calls change nothing."""
        if self.first_token_s is None:
            self.first_token_s = self._clock.now() - self.opened_at
            self.enter(Phase.DECODE)

    def split_decode(self, decode_s: float | None) -> None:
        """An answer in one piece is here: its decoding, as the engine timed it, is taken out of the prefill."""
        if self.first_token_s is not None:
            return
        self.enter(Phase.DECODE)
        prefill = self._phases.get(Phase.PREFILL, 0.0)
        moved = min(max(decode_s or 0.0, 0.0), prefill)
        self._phases[Phase.PREFILL] = prefill - moved
        self._phases[Phase.DECODE] = self._phases.get(Phase.DECODE, 0.0) + moved

    def fail(self, error: RelightError) -> None:
        """Note why it failed; the first reason stays."""
        if self.category is None:
            self.category, self.code, self.error = error.category, error.code, error.log_message[:_MAX_ERROR]

    @property
    def was_asked(self) -> bool:
        """Whether a backend has begun to read it."""
        return Phase.PREFILL in self._phases or self._phase is Phase.PREFILL

    def gave_up_on(self, model: str, error: RelightError) -> None:
        """Note that `model` did not answer, and that another is asked in its place."""
        self.given_up.append({"model": model, "error": error.code})

    def finished(self) -> dict[Phase, float]:
        """The phases that are over, in seconds; the running one is not among them."""
        return {phase: seconds for phase, seconds in self._phases.items() if phase is not self._phase}

    def close(self) -> Record:
        """End the record; raises `RuntimeError` when it was closed before."""
        if self.is_closed:
            raise RuntimeError(f"interaction {self.id} closed twice")
        self.enter(self._phase)
        self.is_closed = True
        return Record(
            interaction=self,
            total_s=self._since - self.opened_at,
            phases={phase: self._phases.get(phase, 0.0) for phase in Phase},
        )


class Record(Struct, frozen=True):
    """A closed interaction, ready for a sink. Times in seconds; `phases` add up to `total_s`."""

    interaction: Interaction
    total_s: float
    phases: dict[Phase, float] = {}

    def fields(self) -> dict[str, Any]:
        """The `interaction` object of the log line, as the design lists it; what is not known is left out."""
        it = self.interaction
        timings: dict[str, float | None] = {f"{phase}_ms": _ms(seconds) for phase, seconds in self.phases.items()}
        timings["first_token_ms"] = None if it.first_token_s is None else _ms(it.first_token_s)
        timings["total_ms"] = _ms(self.total_s)
        fields = {
            "id": it.id,
            "service": it.origin.service,
            "revision": it.origin.revision or None,
            "dialect": it.dialect,
            "model": it.model or None,
            "backend": it.backend or None,
            "answered_by": None if it.answered_by == it.model else it.answered_by or None,
            "given_up": it.given_up or None,
            "stream": it.stream,
            "status": it.status,
            "error": it.category.value if it.category else None,
            "error_code": it.code,
            "error_message": it.error,
            "finish": it.finish,
            "key": it.key or None,
            "session": it.session or None,
            "timings": _known(timings),
            "tokens": _known({"prompt": it.prompt_tokens, "cached": it.cached_tokens, "completion": it.completion_tokens}),
            "cost_usd": it.cost_usd,
            "content": it.content,
        }
        return _known(fields)


def new_id(wall: float) -> str:
    """An id that sorts by time: 48 bits of milliseconds, 64 random bits."""
    return f"int_{int(wall * 1000):012x}{os.urandom(8).hex()}"


def parse_trace(headers: Mapping[bytes, bytes]) -> Trace | None:
    """The caller's trace from `traceparent` (W3C) or `x-cloud-trace-context` (TRACE/SPAN;o=1); malformed ones are ignored."""
    if b"traceparent" not in headers and b"x-cloud-trace-context" not in headers:
        return None
    parts = headers.get(b"traceparent", b"").decode("latin-1").split("-")
    if _is_traceparent(parts):
        return Trace(parts[1], parts[2], sampled=bool(int(parts[3], 16) & 1))
    ids, _, options = headers.get(b"x-cloud-trace-context", b"").decode("latin-1").partition(";")
    trace_id, _, span = ids.partition("/")
    if not _is_id(trace_id, 32):
        return None
    # The length first: a number of thousands of digits is an error to Python.
    number = int(span) if len(span) <= 20 and span.isdecimal() else 0
    return Trace(trace_id, f"{number:016x}" if 0 < number < 2**64 else None, sampled=options == "o=1")


def _is_traceparent(parts: list[str]) -> bool:
    # Version 00 has four fields, later ones may add more at the end; ff is reserved.
    if len(parts) < 4 or not _is_hex(parts[0], 2) or parts[0] == "ff" or (parts[0] == "00" and len(parts) > 4):
        return False
    return _is_id(parts[1], 32) and _is_id(parts[2], 16) and _is_hex(parts[3], 2)


def _is_id(text: str, length: int) -> bool:
    return _is_hex(text, length) and set(text) != {"0"}


def _is_hex(text: str, length: int) -> bool:
    return len(text) == length and set(text) <= set("0123456789abcdef")


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _known(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}
