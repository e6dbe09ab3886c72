"""What a client of the bridge asks for, as far as waiting for it needs to know: its dialect, whether it streams. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from relight.decoding import NOT_JSON
from relight.wire.anthropic import Messages
from relight.wire.assistant import AssistantDialect
from relight.wire.dialect import Dialect
from relight.wire.ollama import OllamaChat, OllamaGenerate
from relight.wire.openai import Chat, Responses

_ASSISTANT: Final = AssistantDialect(lambda error: error.message)
_DIALECTS: Final[dict[str, Dialect]] = {
    "/v1/chat/completions": Chat(),
    "/v1/completions": Chat("completions", "text_completion"),
    "/v1/responses": Responses(),
    "/v1/messages": Messages(),
    "/api/chat": OllamaChat(),
    "/api/generate": OllamaGenerate(),
    "/chat": _ASSISTANT,
}
_ANSWER_AT_ONCE: Final = frozenset({"/livez", "/readyz", "/status", "/metrics"})
"""Whoever asks these wants to know how things stand now, and not how they will stand in a while."""


class _Body(msgspec.Struct, frozen=True):
    stream: object = None
    model: object = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A request. `asks`: a model has to answer it; `streams`: its answer is a stream of events, which can be begun before there
    is one; `waits`: it is worth holding while the service has no instance."""

    dialect: Dialect
    model: str = ""
    asks: bool = False
    streams: bool = False
    waits: bool = True


def read(method: str, path: str, body: bytes) -> Asked:
    """What is asked; `path` without a query. A body that is no JSON is somebody else's to refuse."""
    dialect = _DIALECTS.get(path)
    waits = path not in _ANSWER_AT_ONCE
    if dialect is None or method != "POST":
        return Asked(_shape_of(path), waits=waits)
    try:
        said = msgspec.json.decode(body, type=_Body)
    except (*NOT_JSON, msgspec.ValidationError):
        return Asked(dialect, asks=True)
    streams = said.stream if isinstance(said.stream, bool) else dialect.streams_by_default
    return Asked(dialect, said.model if isinstance(said.model, str) else "", asks=True, streams=streams)


def _shape_of(path: str) -> Dialect:
    """Whose shape an error has at a path where no model answers."""
    if path.startswith("/api/"):
        return _DIALECTS["/api/chat"]
    return _DIALECTS["/v1/messages" if path.startswith("/v1/messages") else "/v1/chat/completions"]
