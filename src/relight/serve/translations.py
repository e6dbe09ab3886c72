"""Which requests are put to a backend in other words, and how. Each translation is imported when it is first needed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from relight.errors import NotSupported, RelightError
from relight.serve.prepare import CHAT
from relight.wire.translation import About, Json, Translated, Translation

_EMBEDDINGS: Final = "/v1/embeddings"


class Vectors:
    """Tells an embeddings answer; see `Writer`. There is no stream of one."""

    def __init__(self, tell: Callable[[Json], Json]) -> None:
        self._tell = tell

    def feed(self, chunk: Json) -> bytes:
        raise NotSupported("request: vectors come in one piece")

    def finish(self) -> bytes:
        return b""

    def woke(self, seconds: float) -> None:
        """There is no place for it."""

    def failed(self, error: RelightError) -> bytes:
        from relight.wire.ollama import OllamaGenerate

        return OllamaGenerate().error_event(error)

    def whole(self, answer: Json) -> Json:
        return self._tell(answer)


def _messages(body: Json, about: About) -> Translated:
    from relight.wire.messages_request import to_chat

    return to_chat(body, about)


def _responses(body: Json, about: About) -> Translated:
    from relight.wire.responses_request import to_chat

    return to_chat(body, about)


def _chat(body: Json, about: About) -> Translated:
    from relight.wire.ollama_request import chat_request

    return chat_request(body, about, about.context)


def _generate(body: Json, about: About) -> Translated:
    from relight.wire.ollama_request import generate_request

    return generate_request(body, about, about.context)


def _embed(body: Json, about: About) -> Translated:
    from relight.wire.ollama_answer import embed_answer
    from relight.wire.ollama_request import embed_request

    return Translated(embed_request(body, about, about.context), Vectors(partial(embed_answer, about=about)))


def _embed_one(body: Json, about: About) -> Translated:
    from relight.wire.ollama_answer import embedding_answer
    from relight.wire.ollama_request import embedding_request

    return Translated(embedding_request(body, about, about.context), Vectors(embedding_answer))


MESSAGES: Final = Translation(CHAT, _messages)
RESPONSES: Final = Translation(CHAT, _responses)
OLLAMA_CHAT: Final = Translation(CHAT, _chat)
OLLAMA_GENERATE: Final = Translation(CHAT, _generate)
OLLAMA_EMBED: Final = Translation(_EMBEDDINGS, _embed)
OLLAMA_EMBEDDINGS: Final = Translation(_EMBEDDINGS, _embed_one)
