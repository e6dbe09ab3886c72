"""The seam between the front door and a dialect: how errors look, what counts as life, where usage stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from relight.decoding import NOT_JSON
from relight.errors import RelightError
from relight.wire import sse


@dataclass(slots=True)
class Usage:
    """What an answer said about itself; token counts are `None` where it said nothing."""

    prompt: int | None = None
    cached: int | None = None
    completion: int | None = None
    finish: str | None = None
    error: str | None = None
    decode_s: float | None = None
    """Seconds from the first token to the last, where the engine tells."""


class Dialect(Protocol):
    """One way of speaking to a model over HTTP."""

    @property
    def name(self) -> str:
        """What the record calls it."""
        ...

    @property
    def comments_only_s(self) -> float:
        """Silence, in seconds, up to which comments are the only heartbeat (0: data events from the start)."""
        ...

    @property
    def interesting(self) -> tuple[bytes, ...]:
        """Byte strings of which one stands in every event that `read` wants to see."""
        ...

    @property
    def streams_by_default(self) -> bool:
        """Whether a request that does not say gets a stream."""
        ...

    @property
    def stream_type(self) -> bytes:
        """The content type of a stream."""
        ...

    @property
    def ends_with_a_reason(self) -> bool:
        """Whether every complete stream says why it ended, in a form that `read` sees."""
        ...

    def error_body(self, error: RelightError) -> dict[str, Any]:
        """The JSON body of an error response."""
        ...

    def error_event(self, error: RelightError) -> bytes:
        """The event, or events, that end a stream that failed."""
        ...

    def heartbeat(self, model: str, answer_id: str) -> bytes:
        """An event that clients count as life and that changes nothing."""
        ...

    def waking(self, model: str, eta_s: float) -> bytes:
        """What tells a client that the model wakes, `eta_s` seconds more; empty where there is no way to say it."""
        ...

    def read(self, payload: dict[str, Any], usage: Usage) -> None:
        """Take usage and finish reason out of a whole answer or one event of a stream."""
        ...

    def text(self, payload: dict[str, Any]) -> str:
        """The words of the answer in a whole answer or one event of a stream; empty when there are none."""
        ...


class EventStream:
    """What holds for every dialect that streams server-sent events, and only when asked to."""

    comments_only_s: float = 0.0
    streams_by_default: bool = False
    ends_with_a_reason: bool = False
    stream_type: bytes = b"text/event-stream"

    def waking(self, model: str, eta_s: float) -> bytes:
        """A comment: every client of server-sent events passes over it."""
        return sse.comment(f"waking {model}, about {eta_s:.1f} s left")


class Tap:
    """Reads usage and finish reason from the bytes that pass; never changes or delays them.

    Only events that can carry them are decoded. With `keep_text` every event is, and the words are collected.
    """

    __slots__ = (
        *("_body", "_dialect", "_events", "_keep_text", "_marks", "_size", "_words"),
        *("first_event_seen", "is_done", "usage"),
    )

    _MAX_BODY = 4 << 20

    def __init__(self, dialect: Dialect, *, stream: bool, keep_text: bool = False) -> None:
        self._dialect = dialect
        self._events = sse.Events() if stream else None
        self._marks = dialect.interesting
        self._keep_text = keep_text
        self._body: list[bytes] = []
        self._size = 0
        self._words: list[str] = []
        self.is_done = False
        """Whether the stream has said that it is over, as those of chats do."""
        self.usage = Usage()
        self.first_event_seen = False

    def feed(self, chunk: bytes) -> None:
        """Look at the next bytes of the answer."""
        if self._events is None:
            self.first_event_seen = True
            self._keep(chunk)
            return
        events = self._events.feed(chunk)
        if not self.first_event_seen and events:
            self.first_event_seen = events.startswith(b"data:") or b"\ndata:" in events
        self.is_done = self.is_done or b"[DONE]" in events
        if self._keep_text or self._is_interesting(events):
            for payload in sse.payloads(events if self._keep_text else self._interesting_end(events)):
                if self._keep_text or self._is_interesting(payload):
                    self._read(payload)

    def finish(self) -> Usage:
        """The usage, once the last byte has passed."""
        if self._body:
            self._read(b"".join(self._body))
        self._body = []
        return self.usage

    @property
    def is_cut_short(self) -> bool:
        """Whether a chat stream has ended without a word on why: neither a finish reason, nor `[DONE]`, nor an error."""
        return self._dialect.ends_with_a_reason and not (self.is_done or self.usage.finish or self.usage.error)

    @property
    def text(self) -> str:
        """What was answered, when it was to be kept."""
        return "".join(self._words)

    def _keep(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size <= self._MAX_BODY:
            self._body.append(chunk)
        else:
            self._body = []

    def _is_interesting(self, data: bytes) -> bool:
        return any(map(data.__contains__, self._marks))  # many times as fast as one pattern for all of them

    def _interesting_end(self, events: bytes) -> bytes:
        """Interesting `events` from the first such on: most come at the end of a stream."""
        first = len(events)
        for mark in self._marks:
            at = events.find(mark, 0, first)
            first = at if at >= 0 else first
        return events[sse.bounds(events, first)[0] :]

    def _read(self, payload: bytes) -> None:
        try:
            value = msgspec.json.decode(payload)
        except NOT_JSON:
            return
        if not isinstance(value, dict):
            return
        self._dialect.read(value, self.usage)
        if self._keep_text:
            self._words.append(self._dialect.text(value))


def envelope(error: RelightError) -> dict[str, Any]:
    """What every dialect's error carries beside its own fields."""
    fields: dict[str, Any] = {"code": error.code, "message": error.message, "source": error.source.value}
    if error.hint:
        fields["hint"] = error.hint
    return fields


def count(value: object) -> int | None:
    """`value` if it is a token count."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def objects(value: object) -> list[dict[str, Any]]:
    """The objects in `value` if it is a list: answers are read leniently, whatever an engine sends."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def words(value: object) -> str:
    """`value` if it is text, else nothing."""
    return value if isinstance(value, str) else ""
