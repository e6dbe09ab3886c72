"""The seams between a chat answer and whoever asked in another dialect, or for more than the engine does. No I/O.

The chat dialect is the pivot: what an engine does not speak by itself is asked of it as a chat and told in the words of
the dialect. A chunk is the decoded JSON of one `data:` event of a chat stream; an answer is the decoded JSON of a whole one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from msgspec import Struct

from relight.errors import RelightError

Json = dict[str, Any]


# Structs, here and where else every request makes one: a frozen dataclass takes ten times as long to make.
class About(Struct, frozen=True):
    """What a translation needs to know beside the request."""

    model: str
    """The name that answers carry: the one that the client asked for."""
    id: str
    """Unique for this request, letters, digits and `_` only; a dialect puts its own prefix before it (`msg_…`, `resp_…`)."""
    created: int
    """Unix seconds."""
    context: int = 0
    """Tokens that one request may use, if that is known."""


class Filter(Protocol):
    """Changes a chat answer on its way out."""

    def feed(self, chunk: Json) -> list[Json]:
        """The chunks that go on in place of `chunk`: none, the same, another, or several."""
        ...

    def finish(self) -> list[Json]:
        """What is left when the engine's stream has ended."""
        ...

    def whole(self, answer: Json) -> Json:
        """The same for an answer in one piece."""
        ...


class Writer(Protocol):
    """Tells a chat answer in another dialect."""

    def feed(self, chunk: Json) -> bytes:
        """The events that a chunk becomes, framed as they go out; may be empty. Chunks may carry no choices, and llama.cpp's
        `prompt_progress` ({total, cache, processed} in tokens) before the first token."""
        ...

    def finish(self) -> bytes:
        """The events that close the stream: all that was opened is closed, usage as far as it was told. Called once, and
        only when the engine's stream came to its end."""
        ...

    def woke(self, seconds: float) -> None:
        """The request has waited so long for the model to wake; most dialects have no place to say so."""

    def failed(self, error: RelightError) -> bytes:
        """The events that end the stream with an error, wherever it stands."""
        ...

    def whole(self, answer: Json) -> Json:
        """An answer in one piece."""
        ...


@dataclass(frozen=True, slots=True)
class Translated:
    """A request as a chat request, and who tells its answer."""

    chat: Json
    writer: Writer
    keep_alive_s: float | None = None
    """How long the model should stay awake afterwards, in seconds: 0 not at all, infinity for ever, `None` not said."""
    asks_nothing: bool = False
    """Only to wake the model, or with `keep_alive_s` 0 to put it to sleep: the writer's `loaded` answers it."""


@dataclass(frozen=True, slots=True)
class Translation:
    """How the requests of one path are put to a backend that does not speak it: on another `path`, which `translate` writes."""

    path: str
    translate: Callable[[Json, About], Translated]
