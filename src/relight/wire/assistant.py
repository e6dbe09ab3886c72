"""The assistant's own dialect, `POST /chat`: its request as a chat, an answer in its events, errors in words. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct

from relight.decoding import NOT_JSON
from relight.errors import Category, InvalidRequest, RelightError
from relight.wire import sse
from relight.wire.dialect import EventStream, Usage, envelope, objects, words
from relight.wire.openai import Chat
from relight.wire.translation import Json

_CHAT: Final = Chat()

Say = Callable[[RelightError], str]
"""What a visitor reads in place of an answer."""


class Ask(Struct, frozen=True):
    """The body of a request; see the design for its fields."""

    message: str
    history: list[Json] = []
    mode: str | None = None
    session: str | None = None
    stream: bool = False
    html: bool = False


class Told(Struct):
    """What was found out about a message before a model was asked, for the answer to say."""

    interaction: str
    ticket: str
    """Proves that whoever rates the answer is who got it."""
    mode: str | None = None
    confidence: float | None = None
    by: str | None = None
    sources: list[Json] = []

    def opening(self) -> Json:
        """What is known before the first word."""
        return {
            "interaction": self.interaction,
            "ticket": self.ticket,  # with the first word: an answer that is stopped can be rated as well
            "mode": self.mode,
            "confidence": None if self.confidence is None else round(self.confidence, 3),
            "by": self.by,
            "sources": self.sources,
        }


class Renderer(Protocol):
    """Makes safe HTML of a reply while it grows."""

    def feed(self, text: str) -> str | None:
        """HTML of all so far, when it is worth showing again."""
        ...

    def finish(self) -> str:
        """HTML of the whole reply."""
        ...


class AssistantDialect(EventStream):
    """How `/chat` tells errors and waiting."""

    name = "assistant"
    interesting = (b'"usage"', b'"error"')

    def __init__(self, say: Say) -> None:
        self._say = say

    def error_body(self, error: RelightError) -> Json:
        told = envelope(error)
        if error.category in _INWARD:  # paths, hosts and an engine's last words are for the log
            told = {"code": error.code, "message": "the answer failed", "source": error.source.value}
        return {"error": {**told, "category": error.category.value, "say": self._say(error)}}

    def error_event(self, error: RelightError) -> bytes:
        return sse.event(self.error_body(error), name="error")

    def heartbeat(self, model: str, answer_id: str) -> bytes:
        return sse.comment("still here")

    def waking(self, model: str, eta_s: float) -> bytes:
        """The model wakes; `eta_s` in seconds."""
        return sse.event({"model": model, "eta_s": round(eta_s, 1)}, name="waking")

    def read(self, payload: Json, usage: Usage) -> None:
        _CHAT.read(payload, usage)

    def text(self, payload: Json) -> str:
        return _CHAT.text(payload)


class AssistantWriter:
    """A `Writer` of `/chat`. `closing` gives what is known at the end alone: who answered, and where the time went."""

    def __init__(self, told: Told, closing: Callable[[], Json], fail: Callable[[RelightError], bytes]) -> None:
        self._told = told
        self._closing = closing
        self._fail = fail
        self.renderer: Renderer | None = None
        """Set for a client that wants HTML."""
        self._words: list[str] = []
        self._usage = Usage()
        self._is_begun = False

    def feed(self, chunk: Json) -> bytes:
        """The events of a chunk; see `Writer.feed`."""
        self._note(chunk)
        text = "".join(words(delta.get("content")) for delta in _said(chunk, "delta"))
        if not text:
            return b""
        out = self._begin() + sse.event({"text": text}, name="delta")
        self._words.append(text)
        if self.renderer is not None and (html := self.renderer.feed(text)) is not None:
            out += sse.event({"html": html}, name="html")
        return out

    def finish(self) -> bytes:
        """The whole answer once more, as who does not stream gets it; see `Writer.finish`."""
        body = self._body()
        html = sse.event({"html": body["html"]}, name="html") if "html" in body else b""
        return self._begin() + html + sse.event(body, name="done")

    def woke(self, seconds: float) -> None:
        """See `Writer.woke`; the timings at the end say it."""

    def failed(self, error: RelightError) -> bytes:
        return self._fail(error)

    def whole(self, answer: Json) -> Json:
        self._note(answer)
        text = "".join(words(message.get("content")) for message in _said(answer, "message"))
        self._words.append(text)
        if self.renderer is not None:
            self.renderer.feed(text)
        return self._body()

    def _begin(self) -> bytes:
        if self._is_begun:
            return b""
        self._is_begun = True
        return sse.event(self._told.opening(), name="start")

    def _note(self, chunk: Json) -> None:
        _CHAT.read(chunk, self._usage)

    def _body(self) -> Json:
        body: Json = {"reply": "".join(self._words).strip(), **self._told.opening()}
        if self.renderer is not None:
            body["html"] = self.renderer.finish()
        usage = {"prompt_tokens": self._usage.prompt, "completion_tokens": self._usage.completion}
        return {**body, "finish": self._usage.finish, "usage": usage, **self._closing()}


def ask(body: bytes) -> Ask:
    """The request in a body; raises `InvalidRequest` naming the field."""
    try:
        return msgspec.json.decode(body, type=Ask)
    except msgspec.ValidationError as error:
        text = str(error).replace(" - at `$.", ": ").replace("`", "")
        raise InvalidRequest(
            f"request: {text}", hint='send {"message": "…"}; also history, mode, session, stream and html'
        ) from error
    except NOT_JSON as error:
        raise InvalidRequest("request: the body is not JSON") from error


def as_chat(asked: Ask, model: str) -> Json:
    """The request as a chat, before the assistant has put its prompt to it."""
    messages = [*asked.history, {"role": "user", "content": asked.message}]
    return {"model": model, "messages": messages, "stream": asked.stream}


_INWARD: Final = frozenset(
    {
        Category.INTERNAL,
        Category.ENGINE_FAILED,
        Category.ENGINE_CRASHED,
        Category.PROVIDER_UNAVAILABLE,
        Category.PROVIDER_TIMEOUT,
        Category.PROVIDER_REJECTED,
    }
)
_SENTENCES: Final = {
    Category.OVER_BUDGET: "over_budget",
    Category.RATE_LIMITED: "rate_limited",
    Category.QUEUE_FULL: "rate_limited",
    Category.WAKE_TIMEOUT: "waking",
    Category.ENGINE_FAILED: "unavailable",
    Category.ENGINE_CRASHED: "unavailable",
    Category.PROVIDER_UNAVAILABLE: "unavailable",
    Category.PROVIDER_TIMEOUT: "unavailable",
    Category.PROVIDER_REJECTED: "unavailable",
    Category.CONTEXT_OVERFLOW: "too_long",
    Category.INVALID_REQUEST: "refused",
    Category.UNAUTHORIZED: "refused",
    Category.FORBIDDEN: "refused",
    Category.CONTENT_FILTERED: "refused",
}


def sentence(error: RelightError) -> str:
    """Which of `assistant.says` fits an error."""
    if error.http_status == 413:
        return "too_long"
    return _SENTENCES.get(error.category, "internal")


def _said(payload: Json, key: str) -> list[dict[str, Any]]:
    return [said for choice in objects(payload.get("choices"))[:1] if isinstance(said := choice.get(key), dict)]
