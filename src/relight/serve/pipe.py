"""A chat answer on its way through: changed by filters and a writer, or untouched but for never being empty."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from relight.decoding import NOT_JSON
from relight.errors import EngineFailed, quiet
from relight.wire import sse
from relight.wire.dialect import objects
from relight.wire.never_empty import NeverEmpty
from relight.wire.translation import Filter, Json, Writer

if TYPE_CHECKING:
    from relight.wire.tool_text import TextCalls

_DONE: Final = b"data: [DONE]\n\n"
_EVENT: Final = re.compile(rb".*?\n\r?\n", re.DOTALL)
_USAGE: Final = re.compile(rb'"usage"\s*:\s*\{')
_CONTENT: Final = ("content", "reasoning_content", "tool_calls")


class Passage(Protocol):
    """What the bytes of an answer go through."""

    @property
    def has_content(self) -> bool:
        """Whether a token has passed; what comes before it tells only how far the prompt is read."""
        ...

    @property
    def is_empty(self) -> bool:
        """Whether the answer has ended without a word, so that it should be asked for again."""
        ...

    def feed(self, data: bytes) -> bytes:
        """The bytes that go out for these; raises `EngineFailed` when the backend says in its stream that it failed."""
        ...

    def finish(self) -> bytes:
        """What closes the stream."""
        ...

    def whole(self, body: bytes) -> bytes:
        """An answer in one piece."""
        ...

    def again(self) -> Passage:
        """What the answer to the second asking goes through."""
        ...


class Pipe:
    """Decodes what a backend streams, lets the filters change it, and has the writer tell it (none: it stays a chat)."""

    def __init__(
        self,
        filters: tuple[Filter, ...],
        writer: Writer | None,
        empty: NeverEmpty | None = None,
        calls: TextCalls | None = None,
    ) -> None:
        self._rest = filters
        # A call that was found in thoughts is an answer.
        self._filters = tuple(one for one in (calls, empty, *filters) if one is not None)
        self._writer, self._empty, self._calls = writer, empty, calls
        self._events = sse.Events()
        self.has_content = False

    @property
    def is_empty(self) -> bool:
        return self._empty is not None and self._empty.is_empty

    def feed(self, data: bytes) -> bytes:
        chunks = (_chunk(payload) for payload in sse.payloads(self._events.feed(data)))
        return b"".join(self._write(chunk) for chunk in chunks if chunk is not None)

    def finish(self) -> bytes:
        rest = b"".join(self._tell(chunk) for chunk in self._drain())
        return rest + (self._writer.finish() if self._writer else _DONE)

    def whole(self, body: bytes) -> bytes:
        answer = _object(body)
        for one in self._filters:
            answer = one.whole(answer)
        return msgspec.json.encode(self._writer.whole(answer) if self._writer else answer)

    def again(self) -> Passage:
        if self._empty is None:
            raise RuntimeError("only an empty answer is asked for again")
        return Pipe((self._empty.second(), *self._rest), self._writer, calls=None if self._calls is None else self._calls.again())

    def _write(self, chunk: Json) -> bytes:
        if not self.has_content:
            self.has_content = _has_content(chunk)
        return b"".join(self._tell(out) for out in _through(self._filters, [chunk]))

    def _drain(self) -> Iterable[Json]:
        """What each filter has held back, through those behind it."""
        for position, one in enumerate(self._filters):
            yield from _through(self._filters[position + 1 :], one.finish())

    def _tell(self, chunk: Json) -> bytes:
        return self._writer.feed(chunk) if self._writer else sse.event(chunk)


class Untouched:
    """Passes a chat stream byte for byte. Until its first word it is read, and an end that comes before one is held back."""

    def __init__(self, empty: NeverEmpty) -> None:
        self._empty = empty
        self._tail = b""
        self._held: list[bytes] = []
        self.has_content = False

    @property
    def is_empty(self) -> bool:
        return self._empty.is_empty

    def feed(self, data: bytes) -> bytes:
        if self.has_content:
            return data
        *events, self._tail = (self._tail + data).split(b"\n\n")
        passed = [self._pass(event + b"\n\n") for event in events]
        return b"".join((*passed, self._let_go()))

    def finish(self) -> bytes:
        rest = b"".join((*self._held, self._tail))
        self._held, self._tail = [], b""
        return rest

    def _let_go(self) -> bytes:
        """What need not be held any longer: everything, once there is a word."""
        tail = b""
        if self.has_content:
            tail, self._tail = self._tail, b""
        return tail

    def whole(self, body: bytes) -> bytes:
        self._empty.whole(_object(body))
        return body

    def again(self) -> Passage:
        return Pipe((self._empty.second(),), None)

    def _pass(self, event: bytes) -> bytes:
        if self.has_content:
            return event
        for payload in sse.payloads(event):
            chunk = _chunk(payload)
            if chunk is not None:
                self.has_content = _has_content(chunk) or bool(chunk.get("error"))
                self._empty.feed(chunk)
        if self._empty.is_empty:
            self._held.append(event)
            return b""
        return event


class Sifted:
    """Passes a chat stream event by event, each as it came unless its text is called: for requests with tools.

    Nothing of a call that comes as one is changed, nor of an answer without a call: its bytes are the backend's.
    """

    def __init__(self, calls: TextCalls, empty: NeverEmpty | None = None, *, adds_usage: bool = False) -> None:
        self._calls, self._empty = calls, empty
        dropped: tuple[Filter, ...] = (_UsageDropped(),) if adds_usage else ()
        self._filters: tuple[Filter, ...] = (calls, *dropped) if empty is None else (calls, empty, *dropped)
        self._events = sse.Events()
        self._ending = b""
        self.has_content = False

    @property
    def is_empty(self) -> bool:
        return self._empty is not None and self._empty.is_empty

    def feed(self, data: bytes) -> bytes:
        return b"".join(self._pass(event[0]) for event in _EVENT.finditer(self._events.feed(data)))

    def finish(self) -> bytes:
        held = []
        for position, one in enumerate(self._filters):
            held += _through(self._filters[position + 1 :], one.finish())
        return b"".join((*map(_written, held), self._ending, self._events.rest()))

    def whole(self, body: bytes) -> bytes:
        answer = told = _object(body)
        for one in self._filters:
            told = one.whole(told)
        return body if told is answer else msgspec.json.encode(told)

    def again(self) -> Passage:
        if self._empty is None:
            raise RuntimeError("only an empty answer is asked for again")
        return Pipe((self._empty.second(),), None, calls=self._calls.again())

    def _pass(self, event: bytes) -> bytes:
        payloads = sse.payloads(event)
        if not payloads:
            return event  # a comment
        if payloads[0] == b"[DONE]":
            self._ending += event
            return b""
        chunk = _Chunk(_object(payloads[0]))
        if "error" in chunk and "choices" not in chunk:
            if not self.has_content:
                _chunk(payloads[0])
            return self.finish() + event
        chunk.event = event
        self.has_content = self.has_content or _has_content(chunk)
        return b"".join(map(_written, _through(self._filters, [chunk])))


class _Chunk(dict[str, Any]):
    """A chunk that knows the bytes that it came as."""

    __slots__ = ("event",)
    event: bytes


class _UsageDropped:
    """Leaves out the usage that the client had not asked for."""

    def feed(self, chunk: Json) -> list[Json]:
        return [] if chunk.get("usage") and not chunk.get("choices") else [chunk]

    def finish(self) -> list[Json]:
        return []

    def whole(self, answer: Json) -> Json:
        return answer


def _written(chunk: Json) -> bytes:
    return chunk.event if isinstance(chunk, _Chunk) else sse.event(chunk)


class WithoutUsage:
    """Passes a stream event by event as it is, but for the usage that its client had not asked for."""

    is_empty = False

    def __init__(self) -> None:
        self._events = sse.Events()
        self.has_content = False

    def feed(self, data: bytes) -> bytes:
        events = self._events.feed(data)
        self.has_content = self.has_content or bool(events)
        first = events.find(b'"usage"')
        found = _USAGE.search(events, first) if first >= 0 else None
        if found is None:
            return events
        passed, begin = [], 0
        while found is not None:
            start, end = sse.bounds(events, found.start())
            passed.append(events[begin : start if _is_usage_alone(events[start:end]) else end])
            begin = end
            found = _USAGE.search(events, end)
        return b"".join((*passed, events[begin:]))

    def finish(self) -> bytes:
        return self._events.rest()

    def whole(self, body: bytes) -> bytes:
        return body

    def again(self) -> Passage:
        raise RuntimeError("only an empty answer is asked for again")


def _is_usage_alone(event: bytes) -> bool:
    chunks = (_chunk(payload) for payload in sse.payloads(event))
    return any(chunk is not None and chunk.get("usage") and not chunk.get("choices") for chunk in chunks)


def _through(filters: tuple[Filter, ...], chunks: list[Json]) -> list[Json]:
    for one in filters:
        chunks = [out for chunk in chunks for out in one.feed(chunk)]
    return chunks


def _chunk(payload: bytes) -> Json | None:
    if payload == b"[DONE]":
        return None
    chunk = _object(payload)
    if "error" in chunk and "choices" not in chunk:
        said = chunk["error"]
        words = said.get("message", said) if isinstance(said, dict) else said
        raise quiet(EngineFailed(f"engine: {words}"), "engine: said in its stream that it failed")
    return chunk


def _object(data: bytes) -> Json:
    try:
        value: dict[str, Any] = msgspec.json.decode(data, type=dict)
    except (*NOT_JSON, msgspec.ValidationError) as error:
        raise EngineFailed("engine: sent what is not a JSON object") from error
    return value


def _has_content(chunk: Json) -> bool:
    deltas = (choice.get("delta") for choice in objects(chunk.get("choices")))
    return any(isinstance(delta, dict) and any(delta.get(name) for name in _CONTENT) for delta in deltas)
