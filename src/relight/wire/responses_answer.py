"""A chat answer told as a response: events in order, or one object. Knows no request but what it echoes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from relight.errors import RelightError
from relight.wire import sse
from relight.wire.dialect import count, objects, words
from relight.wire.openai import error_body
from relight.wire.responses_items import IN_PROGRESS, Call, Item, Kind, Place, Text
from relight.wire.responses_tools import Toolbox
from relight.wire.translation import About, Json

_INCOMPLETE: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}


@dataclass(frozen=True, slots=True)
class Asked:
    """What an answer needs to know of its request."""

    echo: Json
    """Fields that the response object repeats."""
    toolbox: Toolbox
    wants_sealed_reasoning: bool = False
    """The client gives back reasoning only if it cannot read it."""


class ResponsesWriter:
    """A `Writer` for one answer, in pieces or whole."""

    def __init__(self, about: About, asked: Asked) -> None:
        self._about = about
        self._asked = asked
        self._is_begun = False
        self._sequence = 0
        self._items: list[Item] = []
        self._text: Text | None = None
        self._calls = _Calls()
        self._usage: Json | None = None
        self._reason: str | None = None

    def feed(self, chunk: Json) -> bytes:
        """The events of a chunk; the first of any kind, an empty one as well, begins the response."""
        return self._framed([*self._begin(), *self._tell(chunk)])

    def finish(self) -> bytes:
        """The events that close what is open, and the response."""
        return self._framed([*self._begin(), *self._end()])

    def woke(self, seconds: float) -> None:
        """See `Writer.woke`; there is no place for it."""

    def failed(self, error: RelightError) -> bytes:
        """The events of a response that ends with an error, under the id that it began with: official clients insist on it."""
        begin = self._begin()
        for item in self._items:
            item.status = "incomplete" if item.status == IN_PROGRESS else item.status
        response = self._response("failed", error=error_body(error)["error"])
        return self._framed([*begin, {"type": "response.failed", "response": response}])

    def whole(self, answer: Json) -> Json:
        """The response object of a whole answer."""
        choices = [{**choice, "delta": _numbered(choice.get("message"))} for choice in objects(answer.get("choices"))]
        self._tell({**answer, "choices": choices})
        return dict(self._end()[-1]["response"])

    def _begin(self) -> list[Json]:
        if self._is_begun:
            return []
        self._is_begun = True
        response = self._response(IN_PROGRESS)
        return [{"type": kind, "response": response} for kind in ("response.created", "response.in_progress")]

    def _tell(self, chunk: Json) -> list[Json]:
        self._usage = _usage(chunk) or self._usage
        told: list[Json] = []
        for choice in objects(chunk.get("choices"))[:1]:
            if isinstance(delta := choice.get("delta"), dict):
                told += self._say(Kind.REASONING, words(delta.get("reasoning_content")) or words(delta.get("reasoning")))
                told += self._say(Kind.MESSAGE, words(delta.get("content")) or words(delta.get("refusal")))
                for call in objects(delta.get("tool_calls")):
                    told += self._call(call)
            self._reason = words(choice.get("finish_reason")) or self._reason
        return told

    def _say(self, kind: Kind, said: str) -> list[Json]:
        if not said:
            return []
        told: list[Json] = []
        if self._text is None or self._text.kind is not kind:
            told += self._close_text()
            self._text = Text(kind, self._place(), is_sealed=self._asked.wants_sealed_reasoning)
            self._items.append(self._text)
            told += self._text.open()
        return told + self._text.add(said)

    def _close_text(self) -> list[Json]:
        text, self._text = self._text, None
        return text.close("completed") if text else []

    def _call(self, delta: Json) -> list[Json]:
        started = self._calls.hear(delta)
        return self._continue(started) if started.name else []

    def _continue(self, started: _Started) -> list[Json]:
        told: list[Json] = []
        if started.call is None:
            told += self._close_text()
            callee = self._asked.toolbox.callee(started.name)
            started.call = Call(callee, started.call_id, self._place())
            self._items.append(started.call)
            told += started.call.open()
        arguments, started.arguments = started.arguments, ""
        return told + started.call.add(arguments)

    def _end(self) -> list[Json]:
        """Calls are closed here and not before: engines may tell several at once."""
        reason = _INCOMPLETE.get(self._reason or "")
        told: list[Json] = []
        for started in self._calls.all:
            if started.call is None:
                told += self._continue(started)
        for item in self._items:
            if item.status == IN_PROGRESS:
                told += item.close("incomplete" if reason and item is self._items[-1] else "completed")
        status, details = ("incomplete", {"reason": reason}) if reason else ("completed", None)
        return [*told, {"type": f"response.{status}", "response": self._response(status, incomplete_details=details)}]

    def _response(self, status: str, **more: Any) -> Json:
        return {
            "id": f"resp_{self._about.id}",
            "object": "response",
            "created_at": self._about.created,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "model": self._about.model,
            "output": [item.shape() for item in self._items],
            "usage": self._usage,
            **self._asked.echo,
            **more,
        }

    def _place(self) -> Place:
        return Place(self._about.id, len(self._items))

    def _framed(self, events: list[Json]) -> bytes:
        framed = b""
        for event in events:
            framed += sse.event({"type": event["type"], "sequence_number": self._sequence, **event}, name=event["type"])
            self._sequence += 1
        return framed


@dataclass(slots=True)
class _Started:
    """A call that the chat has begun to tell; an item once its name is known."""

    given_id: str
    call_id: str
    """The id for the client: empty where the chat gave none, or one that another call has."""
    name: str = ""
    arguments: str = ""
    """What was heard and not yet told."""
    call: Call | None = None


class _Calls:
    """Which call a piece of a chat answer belongs to."""

    def __init__(self) -> None:
        self.all: list[_Started] = []
        self._latest: dict[object, _Started] = {}
        self._last: object = None

    def hear(self, delta: Json) -> _Started:
        """The call that the piece goes on with, or the one that it starts."""
        given = words(delta.get("id"))
        index = count(delta.get("index"))
        key: object = index if index is not None else (given or self._last)
        started = self._latest.get(key)
        # Some providers number every call 0: another id is another call.
        if started is None or (given and started.given_id and given != started.given_id):
            is_taken = any(given == other.given_id for other in self.all)
            started = _Started(given, "" if is_taken else given)
            self.all.append(started)
        self._latest[key] = started
        self._last = key
        function = delta.get("function")
        if isinstance(function, dict):
            started.name = started.name or words(function.get("name"))
            started.arguments += words(function.get("arguments"))
        return started


def _numbered(message: object) -> Json:
    """A message as one delta: its calls are told apart by their place."""
    if not isinstance(message, dict):
        return {}
    calls = [{**call, "index": index} for index, call in enumerate(objects(message.get("tool_calls")))]
    return {**message, "tool_calls": calls}


def _usage(chunk: Json) -> Json | None:
    if isinstance(usage := chunk.get("usage"), dict):
        prompt, completion = count(usage.get("prompt_tokens")) or 0, count(usage.get("completion_tokens")) or 0
        cached = _detail(usage, "prompt_tokens_details", "cached_tokens")
        reasoning = _detail(usage, "completion_tokens_details", "reasoning_tokens")
    elif isinstance(timings := chunk.get("timings"), dict):
        # llama.cpp's own: it counts what it read apart from what it had.
        cached, reasoning = count(timings.get("cache_n")) or 0, 0
        prompt, completion = (count(timings.get("prompt_n")) or 0) + cached, count(timings.get("predicted_n")) or 0
    else:
        return None
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": prompt + completion,
    }


def _detail(usage: Json, group: str, name: str) -> int:
    details = usage.get(group)
    return (count(details.get(name)) or 0) if isinstance(details, dict) else 0
