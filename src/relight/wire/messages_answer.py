"""A chat answer told as an Anthropic message, in one piece or as events. Knows nothing of the request. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from relight.errors import RelightError
from relight.wire import sse
from relight.wire.anthropic import Messages
from relight.wire.dialect import Usage, count, objects, words
from relight.wire.messages_blocks import Blocks, Telling
from relight.wire.openai import Chat
from relight.wire.translation import About

Json = dict[str, Any]

_STOP_REASONS: Final = {"length": "max_tokens", "content_filter": "refusal"}
_CHAT: Final = Chat()


class MessagesWriter:
    """Tells one chat answer as a message; see `Writer`. `eager` names the tools whose input is streamed as it comes, unchecked.

    The first choice alone is told. Chunks that say nothing (heartbeats, errors) become no events.
    """

    def __init__(self, about: About, *, eager: frozenset[str] = frozenset()) -> None:
        self._blocks = Blocks(about.id)
        self._telling = Telling(self._blocks, eager)
        self._ending = _Ending()
        self._tokens = _Tokens()
        self._about = about
        self._is_started = False

    def feed(self, chunk: Json) -> bytes:
        """See `Writer.feed`."""
        self._tokens.read(chunk)
        choice = _choice(chunk)
        has_progress = isinstance(chunk.get("prompt_progress"), dict)
        if choice is None and not has_progress and not isinstance(chunk.get("usage"), dict):
            return b""
        opening = _events([{"type": "ping"}] if has_progress else []) if self._is_started else self._start()
        if choice is None:
            return opening
        delta = _object(choice.get("delta"))
        self._blocks.feed(delta)
        self._ending.read(choice, delta)
        return opening + _events(self._telling.go_on())

    def finish(self) -> bytes:
        """See `Writer.finish`."""
        opening = b"" if self._is_started else self._start()
        delta = {"type": "message_delta", "delta": self._ending.told(self._blocks), "usage": self._tokens.told()}
        return opening + _events([*self._telling.end(), delta, {"type": "message_stop"}])

    def woke(self, seconds: float) -> None:
        """See `Writer.woke`; there is no place for it."""

    def failed(self, error: RelightError) -> bytes:
        """See `Writer.failed`."""
        return Messages().error_event(error)

    def whole(self, answer: Json) -> Json:
        """See `Writer.whole`."""
        choice = _choice(answer) or {}
        message = _object(choice.get("message"))
        calls = [call | {"index": n} for n, call in enumerate(objects(message.get("tool_calls")))]
        self._blocks.feed(message | {"tool_calls": calls})
        self._ending.read(choice, message)
        self._tokens.read(answer)
        content = [block.whole() for block in self._blocks.all]
        return self._message(content) | self._ending.told(self._blocks) | {"usage": self._tokens.told()}

    def _start(self) -> bytes:
        self._is_started = True
        message = self._message([]) | {"stop_reason": None, "stop_sequence": None, "usage": self._tokens.told()}
        return _events([{"type": "message_start", "message": message}, {"type": "ping"}])

    def _message(self, content: list[Json]) -> Json:
        head = {"id": f"msg_{self._about.id}", "type": "message", "role": "assistant", "model": self._about.model}
        return head | {"content": content}


class _Ending:
    """Why an answer ended."""

    def __init__(self) -> None:
        self._finish = ""
        self._stop_word = ""
        self._is_refused = False

    def read(self, choice: Json, said: Json) -> None:
        self._finish = words(choice.get("finish_reason")) or self._finish
        # vLLM's; llama.cpp does not tell whether it was a stop sequence that ended an answer.
        self._stop_word = words(choice.get("stop_reason")) or self._stop_word
        self._is_refused = self._is_refused or bool(words(said.get("refusal")))

    def told(self, blocks: Blocks) -> Json:
        return {"stop_reason": self._reason(blocks), "stop_sequence": self._stop_word or None}

    def _reason(self, blocks: Blocks) -> str:
        if self._is_refused:
            return "refusal"
        if self._finish in _STOP_REASONS:
            return _STOP_REASONS[self._finish]
        # Judged by what is there: some servers end an answer that calls a tool with "stop".
        if blocks.has_calls:
            return "tool_use"
        return "stop_sequence" if self._stop_word else "end_turn"


class _Tokens:
    """What a prompt and its answer count, from whatever tells it: progress, usage, or llama.cpp's timings."""

    def __init__(self) -> None:
        self._usage = Usage()
        self._prompt = 0
        self._cached = 0

    def read(self, payload: Json) -> None:
        progress = _object(payload.get("prompt_progress"))
        _CHAT.read(payload, self._usage)
        self._prompt = _first(self._usage.prompt, count(progress.get("total")), self._prompt)
        self._cached = _first(self._usage.cached, count(progress.get("cache")), self._cached)

    def told(self) -> Json:
        """In Anthropic's way: what was read from the cache is not part of the input."""
        return {
            "input_tokens": max(self._prompt - self._cached, 0),
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": self._cached,
            "output_tokens": self._usage.completion or 0,
        }


def _first(*counts: int | None) -> int:
    return next((one for one in counts if one is not None), 0)


def _choice(payload: Json) -> Json | None:
    return next((one for one in objects(payload.get("choices")) if not one.get("index")), None)


def _object(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _events(events: Iterable[Json]) -> bytes:
    return b"".join(sse.event(event, name=event["type"]) for event in events)
