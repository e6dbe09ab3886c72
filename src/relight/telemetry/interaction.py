"""The record of one request and what became of it: opened at admission, closed exactly once. Must not know where it goes."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from msgspec import Struct

from relight.clock import Clock
from relight.errors import Category, RelightError
from relight.telemetry.redact import redact

_MAX_ERROR: Final = 2000  # characters


class Phase(StrEnum):
    """Where a request's time goes; exactly one phase runs at any moment, so they add up to the whole."""

    QUEUE = "queue"
    MODE = "mode"
    WAKE = "wake"
    RESTORE = "restore"
    PREFILL = "prefill"
    DECODE = "decode"


_NO_TIME: Final = dict.fromkeys(Phase, 0.0)


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


class Interaction(Struct, eq=False):
    """One open record. The request's handler owns it, moves it through its phases, and closes it."""

    clock: Clock
    origin: Origin
    http: HttpFacts
    trace: Trace | None = None
    wall: float = 0.0
    opened_at: float = 0.0
    id: str = ""
    dialect: str = ""
    model: str = ""
    backend: str = ""
    answered_by: str = ""
    key: str = ""
    session: str = ""
    mode: str = ""
    mode_confidence: float | None = None
    mode_by: str = ""
    """What decided: explicit, hook, rules, classifier, decider or default."""
    dropped_messages: int = 0
    """Messages of the conversation that were not told to the model."""
    given_up: list[dict[str, str]] = []
    cost_usd: float | None = None
    stream: bool = False
    status: int = 0
    category: Category | None = None
    code: str | None = None
    error: str | None = None
    finish: str | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    restored_tokens: int | None = None
    """Tokens that a snapshot gave back before the prompt was read."""
    completion_tokens: int | None = None
    first_token_s: float | None = None
    bytes_in: int = 0
    bytes_out: int = 0
    pieces: int = 0
    """Pieces of a stream that have passed, about one a token."""
    prefix_break: dict[str, Any] | None = None
    """What kept the prompt's beginning from being the same as before, and what reading it again cost."""
    mended: dict[str, int] = {}
    """How often each mending was made, to the request and to its answer, by name."""
    bytes_asked: int = 0
    """Bytes of the request as a backend was sent it."""
    aside_tokens: int = 0
    aside_usd: float = 0.0
    """What questions beside the answer itself took (which mode a message has)."""
    abandoned_usd: float = 0.0
    """What an answer cost, by its size, that was left before it could say."""
    content: dict[str, Any] | None = None
    is_closed: bool = False
    _phases: dict[Phase, float] = {}
    _phase: Phase = Phase.QUEUE
    _since: float = 0.0

    def __post_init__(self) -> None:
        self.opened_at = self._since = self.clock.now()
        self.wall = self.clock.wall()
        self.id = new_id(self.wall)

    def enter(self, phase: Phase) -> None:
        """Begin `phase`; what ran until now ends at the same instant."""
        now = self.clock.now()
        self._phases[self._phase] = self._phases.get(self._phase, 0.0) + now - self._since
        self._phase, self._since = phase, now

    def first_token(self) -> None:
        """The first event of the answer is here: prefill ends, decode begins. Later calls change nothing."""
        if self.first_token_s is None:
            self.first_token_s = self.clock.now() - self.opened_at
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
    def spent_usd(self) -> float:
        """What it cost in all, as far as that is known or can be guessed."""
        return (self.abandoned_usd if self.cost_usd is None else self.cost_usd) + self.aside_usd

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
        return Record(self, self._since - self.opened_at, {**_NO_TIME, **self._phases})


class Timings(Struct, frozen=True, omit_defaults=True):
    """Where the time went, in milliseconds; every phase, in their order."""

    queue_ms: float
    mode_ms: float
    wake_ms: float
    restore_ms: float
    prefill_ms: float
    decode_ms: float
    total_ms: float
    first_token_ms: float | None = None


class Tokens(Struct, frozen=True, omit_defaults=True):
    """What the answer said of itself."""

    prompt: int | None = None
    cached: int | None = None
    completion: int | None = None


class Fields(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The `interaction` object of the log line, as the design lists it; what is not known is left out."""

    id: str
    service: str
    revision: str = ""
    dialect: str
    model: str = ""
    backend: str = ""
    answered_by: str = ""
    given_up: list[dict[str, str]] = []
    mode: str = ""
    mode_confidence: float | None = None
    mode_by: str = ""
    stream: bool
    status: int
    error: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    finish: str | None = None
    key: str = ""
    session: str = ""
    timings: Timings
    tokens: Tokens
    restored_tokens: int | None = None
    dropped_messages: int = 0
    prefix_break: dict[str, Any] | None = None
    mended: dict[str, int] = {}
    cost_usd: float | None = None
    content: dict[str, Any] | None = None


class Record(Struct, frozen=True):
    """A closed interaction, ready for a sink. Times in seconds; `phases` has all of them, and they add up to `total_s`."""

    interaction: Interaction
    total_s: float
    phases: dict[Phase, float]

    def fields(self) -> Fields:
        """What is written of it."""
        it = self.interaction
        spent_s = [*self.phases.values(), self.total_s]
        if it.first_token_s is not None:
            spent_s.append(it.first_token_s)
        return Fields(
            id=it.id,
            service=it.origin.service,
            revision=it.origin.revision,
            dialect=it.dialect,
            model=it.model,
            backend=it.backend,
            answered_by="" if it.answered_by == it.model else it.answered_by,
            given_up=it.given_up,
            mode=it.mode,
            mode_confidence=it.mode_confidence,
            mode_by=it.mode_by,
            stream=it.stream,
            status=it.status,
            error=it.category.value if it.category else None,
            error_code=it.code,
            error_message=it.error,
            finish=it.finish,
            key=it.key,
            session=it.session,
            timings=Timings(*[round(1000 * seconds, 3) for seconds in spent_s]),
            tokens=Tokens(it.prompt_tokens, it.cached_tokens, it.completion_tokens),
            restored_tokens=it.restored_tokens,
            dropped_messages=it.dropped_messages,
            prefix_break=it.prefix_break,
            mended=it.mended,
            cost_usd=it.cost_usd,
            content=it.content,
        )


def new_id(wall: float) -> str:
    """An id that sorts by time: 48 bits of milliseconds, 64 random bits."""
    return f"int_{int(wall * 1000):012x}{os.urandom(8).hex()}"


def session_of(text: str) -> str:
    """What the record calls a session that a client named: as it is where it is an identifier, else by its digest, for it may be
    somebody's address."""
    is_plain = re.fullmatch(r"[A-Za-z0-9][\w.-]{0,63}", text) is not None and redact(text) == text
    return text if is_plain or not text else f"s_{hashlib.sha256(text.encode(errors='replace')).hexdigest()[:16]}"


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
