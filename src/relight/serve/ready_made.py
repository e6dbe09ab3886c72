"""An answer that stands already, in the form in which a backend would give it: a chat, in one piece or streamed."""

from __future__ import annotations

import msgspec

from relight.serve.http import JSON
from relight.wire import sse
from relight.wire.translation import About, Json

_NOTHING = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


class ReadyMade:
    """An `asking.Answer` that nobody had to be asked for; it costs no tokens."""

    status = 200

    def __init__(self, text: str, about: About, *, stream: bool) -> None:
        self._kind = b"text/event-stream" if stream else JSON
        self._pieces = [_streamed(text, about) if stream else _whole(text, about), b""]

    def get(self, name: bytes) -> bytes | None:
        """See `Answer.get`."""
        return self._kind if name == b"content-type" else None

    async def piece(self) -> bytes:
        """See `Answer.piece`."""
        return self._pieces.pop(0)


def _whole(text: str, about: About) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return msgspec.json.encode({**_head(about, "chat.completion"), "choices": [choice], "usage": _NOTHING})


def _streamed(text: str, about: About) -> bytes:
    head = _head(about, "chat.completion.chunk")
    said = {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}
    end = {"index": 0, "delta": {}, "finish_reason": "stop"}
    events = [{**head, "choices": [said]}, {**head, "choices": [end]}, {**head, "choices": [], "usage": _NOTHING}]
    return b"".join(sse.event(event) for event in events) + b"data: [DONE]\n\n"


def _head(about: About, kind: str) -> Json:
    return {"id": f"chatcmpl-{about.id}", "object": kind, "created": about.created, "model": about.model}
