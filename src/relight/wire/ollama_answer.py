"""A chat answer told in Ollama's words: lines of a stream, whole answers, embeddings; must not know what was asked. No I/O."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from relight.decoding import NOT_JSON
from relight.errors import RelightError
from relight.wire.dialect import count, envelope, objects, words
from relight.wire.ollama import Shape, begun, line
from relight.wire.translation import About, Json

_REASONS: Final = {"length": "length"}
_DURATIONS: Final = ("prompt_eval_duration", "eval_duration")


class OllamaWriter:
    """Tells a chat answer; a tool call is told when it is complete, its arguments as the object that they are."""

    __slots__ = ("_about", "_calls", "_finish", "_shape", "_stats", "load_s")

    def __init__(self, about: About, shape: Shape) -> None:
        self._about = about
        self._shape = shape
        self._calls: dict[int, _Call] = {}
        self._finish: object = None
        self._stats: Json = {}
        self.load_s = 0.0
        """How long this request waited for the model to wake, in seconds, if whoever knows has said so."""

    def feed(self, chunk: Json) -> bytes:
        """See `Writer.feed`."""
        self._stats |= _stats(chunk)
        said = b""
        for choice in objects(chunk.get("choices"))[:1]:
            said += self._told(choice, choice.get("delta"))
            if finish := choice.get("finish_reason"):
                self._finish = finish
                said += self._called()
        return said

    def finish(self) -> bytes:
        """See `Writer.finish`."""
        return self._called() + line(self._ended(self._shape.said("", "", [])))

    def woke(self, seconds: float) -> None:
        """See `Writer.woke`."""
        self.load_s = seconds

    def failed(self, error: RelightError) -> bytes:
        """See `Writer.failed`."""
        return line({"error": error.message, **{name: value for name, value in envelope(error).items() if name != "message"}})

    def whole(self, answer: Json) -> Json:
        """See `Writer.whole`."""
        self._stats |= _stats(answer)
        choice = next(iter(objects(answer.get("choices"))), {})
        message = choice.get("message")
        message = message if isinstance(message, dict) else {}
        self._finish = choice.get("finish_reason")
        self._note_calls(message)
        said = self._shape.said(words(message.get("content")), words(message.get("reasoning_content")), self._take_calls())
        return self._ended({**said, **_logprobs(choice)})

    def loaded(self, *, is_asleep: bool = False) -> Json:
        """The answer to a request that asks nothing: the model was only to wake, or to sleep. In a stream, its one line."""
        reason = "unload" if is_asleep else "load"
        return {
            **begun(self._about.model, self._about.created, self._shape.said("", "", [])),
            "done": True,
            "done_reason": reason,
        }

    def _told(self, choice: Json, delta: object) -> bytes:
        if not isinstance(delta, dict):
            return b""
        self._note_calls(delta)
        content, thinking = words(delta.get("content")), words(delta.get("reasoning_content"))
        if not (content or thinking):
            return b""
        return self._line({**self._shape.said(content, thinking, []), **_logprobs(choice)})

    def _note_calls(self, said: Json) -> None:
        for place, piece in enumerate(objects(said.get("tool_calls"))):
            index = count(piece.get("index"))
            self._calls.setdefault(place if index is None else index, _Call()).add(piece)

    def _take_calls(self) -> list[Json]:
        taken = [call.told(index) for index, call in sorted(self._calls.items())]
        self._calls = {}
        return taken

    def _called(self) -> bytes:
        calls = self._take_calls()
        return self._line(self._shape.said("", "", calls)) if calls else b""

    def _line(self, said: Json) -> bytes:
        return line(begun(self._about.model, self._about.created, said))

    def _ended(self, said: Json) -> Json:
        load_ns = round(self.load_s * 1e9)
        spent = {"total_duration": load_ns + sum(self._stats.get(name, 0) for name in _DURATIONS), "load_duration": load_ns}
        told = begun(self._about.model, self._about.created, said)
        return {**told, "done": True, "done_reason": _REASONS.get(str(self._finish), "stop"), **spent, **self._stats}


class _Call:
    """One tool call, put together from its pieces."""

    __slots__ = ("_arguments", "_id", "_name")

    def __init__(self) -> None:
        self._id = self._name = self._arguments = ""

    def add(self, piece: Json) -> None:
        self._id = words(piece.get("id")) or self._id
        if isinstance(function := piece.get("function"), dict):
            self._name += words(function.get("name"))
            self._arguments += words(function.get("arguments"))

    def told(self, index: int) -> Json:
        call: Json = {"function": {"index": index, "name": self._name, "arguments": _object(self._arguments)}}
        return {"id": self._id, **call} if self._id else call


def embed_answer(answer: Json, about: About) -> Json:
    """An OpenAI embeddings answer as /api/embed tells it."""
    usage = answer.get("usage")
    tokens = count(usage.get("prompt_tokens")) if isinstance(usage, dict) else None
    counted = {} if tokens is None else {"prompt_eval_count": tokens}
    return {"model": about.model, "embeddings": _vectors(answer), "total_duration": 0, "load_duration": 0, **counted}


def embedding_answer(answer: Json) -> Json:
    """The same as the older /api/embeddings tells it: one vector."""
    return {"embedding": next(iter(_vectors(answer)), [])}


def _vectors(answer: Json) -> list[Any]:
    ordered = sorted(objects(answer.get("data")), key=lambda item: count(item.get("index")) or 0)
    return [item.get("embedding", []) for item in ordered]


def _stats(answer: Json) -> Json:
    """Tokens and nanoseconds, as far as a chunk or an answer tells them."""
    found: dict[str, int | None] = {}
    if isinstance(timings := answer.get("timings"), dict):
        fresh, cached = count(timings.get("prompt_n")), count(timings.get("cache_n"))
        found["prompt_eval_count"] = None if fresh is None else fresh + (cached or 0)
        found["prompt_eval_duration"] = _ns(timings.get("prompt_ms"))
        found["eval_count"] = count(timings.get("predicted_n"))
        found["eval_duration"] = _ns(timings.get("predicted_ms"))
    if isinstance(usage := answer.get("usage"), dict):
        found["prompt_eval_count"] = count(usage.get("prompt_tokens"))
        found["eval_count"] = count(usage.get("completion_tokens"))
    return {name: value for name, value in found.items() if value is not None}


def _ns(milliseconds: object) -> int | None:
    return round(milliseconds * 1e6) if isinstance(milliseconds, int | float) else None


def _logprobs(choice: Json) -> Json:
    told = choice.get("logprobs")
    entries = objects(told.get("content")) if isinstance(told, dict) else []
    return {"logprobs": [_entry(entry) for entry in entries]} if entries else {}


def _entry(entry: Json) -> Json:
    best = [{name: one.get(name) for name in ("token", "logprob")} for one in objects(entry.get("top_logprobs"))]
    return {"token": entry.get("token"), "logprob": entry.get("logprob"), **({"top_logprobs": best} if best else {})}


def _object(text: str) -> Json:
    """Arguments as an object; text that is none is kept, so that whoever called can see it."""
    if not text.strip():
        return {}
    try:
        value = msgspec.json.decode(text)
    except NOT_JSON:
        value = None
    return value if isinstance(value, dict) else {"_raw": text}
