"""A front door with a provider behind it: the stand-in of the provider's own tests, saying what a chat service says."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.providers.stand_in import CHUNKED, KEY, Act, End, StandIn, answer
from tests.serve.client import Door, front_door

USAGE = {"prompt_tokens": 1000, "completion_tokens": 200, "prompt_tokens_details": {"cached_tokens": 400}, "total_tokens": 1200}
PRICE = {"input": 1.0, "cached": 0.5, "output": 10.0}
COST_USD = (600 * 1.0 + 400 * 0.5 + 200 * 10.0) / 1_000_000
SECRET = "PROVIDER_KEY"


def whole(text: str = "from afar", finish: str = "stop", **usage: Any) -> dict[str, Any]:
    """A chat answer in one piece."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    return {"id": "chatcmpl-1", "object": "chat.completion", "model": "big-1", "choices": [choice], "usage": {**USAGE, **usage}}


def says(text: str = "from afar", finish: str = "stop", **usage: Any) -> Act:
    """Answer in one piece."""
    return answer(200, json.dumps(whole(text, finish, **usage)).encode(), content_type="application/json")


def event(value: Any) -> bytes:
    """One event, written with the spaces of OpenAI's own services."""
    return b"data: %s\n\n" % (value if isinstance(value, bytes) else json.dumps(value).encode())


def piece(finish: str | None = None, **delta: Any) -> bytes:
    """One event with a piece of an answer."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "big-1", "choices": [choice], "usage": None}
    return event(chunk)


LAST = event({"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "big-1", "choices": [], "usage": USAGE})
STREAM = (
    piece(role="assistant", content=""),
    piece(content="from "),
    piece(content="afar"),
    piece("stop"),
    LAST,
    event(b"[DONE]"),
)


def streams(*events: bytes) -> Act:
    """Answer in events, to the end."""

    async def act(end: End) -> None:
        end.send(CHUNKED)
        for one in events or STREAM:
            end.chunk(one)
        end.send(b"0\r\n\r\n")

    return act


def begins(*events: bytes, then: str = "silence") -> Act:
    """Begin a stream of events, and then: silence, or a reset."""

    async def act(end: End) -> None:
        end.send(CHUNKED)
        for one in events:
            end.chunk(one)
        await end.writer.drain()
        await (end.silence() if then == "silence" else _reset(end))

    return act


async def _reset(end: End) -> None:
    end.reset()


def provider(peer: StandIn, **more: Any) -> dict[str, Any]:
    """The section of a model that `peer` answers for."""
    return {"url": peer.url, "name": "big-1", "retries": 0, "api_key": {"secret": SECRET}, **more}


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our key at the provider is in the environment."""
    monkeypatch.setenv(SECRET, KEY)


@asynccontextmanager
async def clouds(
    folder: Path,
    /,
    *,
    models: tuple[str, ...] = (),
    lists: dict[str, Any] | None = None,
    more: Any = None,
    **scripts: tuple[Act, ...],
) -> AsyncIterator[tuple[Door, dict[str, StandIn]]]:
    """A front door whose models of those names are providers with those scripts; `lists` has the other models."""
    async with AsyncExitStack() as stack:
        peers = {name: await stack.enter_async_context(StandIn(*script)) for name, script in scripts.items()}
        others = {name: provider(peer, price=PRICE) for name, peer in peers.items()} | (lists or {})
        door = await stack.enter_async_context(front_door(folder, models=models, others=others, **(more or {})))
        yield door, peers
        assert not door.log.unbalanced()
