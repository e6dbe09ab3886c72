"""A service that translates messages to chats and back, behind the official client's transport: no socket, no engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anthropic
import httpx2
import msgspec

from relight.errors import RelightError
from relight.wire.anthropic import Messages
from relight.wire.messages_request import to_chat
from relight.wire.translation import About

Json = dict[str, Any]

ABOUT = About(model="smol", id="int_7", created=1)


def chunk(finish: str | None = None, **delta: Any) -> Json:
    """A chunk of a chat stream."""
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def call(index: int | None, arguments: str | None = None, **more: Any) -> Json:
    """A delta of a tool call; `name` and `id` as an engine tells them first."""
    function = {key: value for key, value in (("name", more.get("name")), ("arguments", arguments)) if value is not None}
    told = {"index": index, "id": more.get("id"), "type": "function" if "id" in more else None, "function": function}
    return {key: value for key, value in told.items() if value is not None}


def completion(finish: str = "stop", **message: Any) -> Json:
    """A chat answer in one piece."""
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": None} | message}
    return {"object": "chat.completion", "choices": [choice]}


class Service:
    """Gives its answers one after another: chunks as a stream, else in one piece. Remembers what its engine was asked."""

    def __init__(self, *answers: Json | list[Json]) -> None:
        self._answers = list(answers)
        self.bodies: list[Json] = []
        self.asked: list[Json] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.bodies.append(msgspec.json.decode(request.content))
        try:
            translated = to_chat(self.bodies[-1], ABOUT)
        except RelightError as error:
            return httpx2.Response(error.http_status, content=msgspec.json.encode(Messages().error_body(error)))
        self.asked.append(translated.chat)
        answer, writer = self._answers.pop(0), translated.writer
        if isinstance(answer, dict):
            headers = {"content-type": "application/json"}
            return httpx2.Response(200, headers=headers, content=msgspec.json.encode(writer.whole(answer)))
        events = b"".join(writer.feed(one) for one in answer) + writer.finish()
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=events)

    @contextmanager
    def client(self) -> Iterator[anthropic.Anthropic]:
        """The official client, whose requests all come here."""
        http = httpx2.Client(transport=httpx2.MockTransport(self), trust_env=False)
        with anthropic.Anthropic(base_url="http://service", api_key="none", max_retries=0, http_client=http) as client:
            yield client
