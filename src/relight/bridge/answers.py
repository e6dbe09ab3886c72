"""What the recorder says to an agent so that it ends: that all is done, in its dialect, and nothing that could do harm. Pure."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from relight.decoding import NOT_JSON
from relight.errors import InvalidRequest
from relight.wire import sse
from relight.wire.messages_request import to_chat as messages_to_chat
from relight.wire.ollama_request import chat_request
from relight.wire.responses_request import to_chat as responses_to_chat
from relight.wire.translation import About, Json, Writer

WORDS: Final = "Done."
_CREATED: Final = 1_700_000_000
_FINISH: Final = "stop"
_USAGE: Final = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
CHAT: Final = "/v1/chat/completions"
PATHS: Final = (CHAT, "/v1/messages", "/v1/responses", "/api/chat")
"""Where a model is asked in the way of agents."""


def told(path: str, body: Json, number: int, *, streams: bool) -> bytes:
    """The whole answer to the request `body`; `number` makes it one of its own. Raises a `RelightError`."""
    about = About(model=str(body.get("model") or ""), id=f"record{number}", created=_CREATED)
    if path == CHAT:
        return _chat(about, body) if streams else msgspec.json.encode(_whole(about))
    writer = _writer(path, body, about)
    if not streams:
        return msgspec.json.encode(writer.whole(_whole(about)))
    return b"".join(writer.feed(chunk) for chunk in _chunks(about)) + writer.finish()


def object_of(body: bytes) -> Json:
    """A request's fields. Raises `InvalidRequest`."""
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (*NOT_JSON, msgspec.ValidationError):
        raise InvalidRequest("request: should be a JSON object") from None


def listing(models: tuple[str, ...]) -> Json:
    """The answer to GET /v1/models."""
    listed = [{"id": name, "object": "model", "type": "model", "created": _CREATED, "display_name": name} for name in models]
    return {"object": "list", "data": listed, "has_more": False, "first_id": models[0], "last_id": models[-1]}


def _writer(path: str, body: Json, about: About) -> Writer:
    if path == "/v1/messages":
        return messages_to_chat(body, about).writer
    if path == "/v1/responses":
        return responses_to_chat(body, about).writer
    return chat_request(body, about, 0).writer


def _chat(about: About, body: Json) -> bytes:
    options = body.get("stream_options")
    wants_usage = isinstance(options, dict) and bool(options.get("include_usage"))
    chunks = [chunk for chunk in _chunks(about) if chunk["choices"] or wants_usage]
    return b"".join(map(sse.event, chunks)) + b"data: [DONE]\n\n"


def _chunks(about: About) -> list[Json]:
    said = {"role": "assistant", "content": WORDS}
    choices: list[list[Json]] = [
        [{"index": 0, "delta": said, "finish_reason": None}],
        [{"index": 0, "delta": {}, "finish_reason": _FINISH}],
        [],
    ]
    head = {"id": f"chatcmpl-{about.id}", "object": "chat.completion.chunk", "created": about.created, "model": about.model}
    found = [{**head, "choices": one} for one in choices]
    found[-1]["usage"] = _USAGE
    return found


def _whole(about: About) -> Json:
    choice = {"index": 0, "message": {"role": "assistant", "content": WORDS}, "finish_reason": _FINISH}
    head = {"id": f"chatcmpl-{about.id}", "object": "chat.completion", "created": about.created, "model": about.model}
    return {**head, "choices": [choice], "usage": _USAGE}
