"""A bridge over the emulated platform, and a client of it: what the tests of the bridge begin with."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from aiohttp import ClientResponse, ClientSession, ClientTimeout
from yarl import URL

from relight.bridge.bridge import Bridge, Options
from relight.bridge.identity import NoTokens, Tokens
from relight.bridge.news import State
from relight.bridge.reply import Manner
from relight.clock import Clock, SystemClock
from tests.bridge.platform import Platform

CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"
RESPONSES = "/v1/responses"
OLLAMA = "/api/chat"
PATHS = (CHAT, "/v1/completions", MESSAGES, RESPONSES, OLLAMA, "/api/generate")


class Told:
    """Keeps what a bridge says."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, object]]] = []

    def changed(self, state: State) -> None:
        pass

    def said(self, event: str, **facts: object) -> None:
        self.events.append((event, facts))


@dataclass
class Heard:
    """An answer as a client got it."""

    status: int
    headers: dict[str, str]
    body: bytes
    parts: list[bytes] = field(default_factory=list)

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Client:
    """Speaks to a bridge; every byte of an answer is as it came."""

    session: ClientSession
    address: str

    @asynccontextmanager
    async def open(self, path: str, body: Any = None, method: str = "POST", **headers: str) -> AsyncIterator[ClientResponse]:
        """An answer whose head is there."""
        data = None if body is None else BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
        named = {name.replace("_", "-"): text for name, text in ({"content_type": "application/json"} | headers).items()}
        async with self.session.request(method, URL(f"{self.address}{path}", encoded=True), data=data, headers=named) as response:
            yield response

    async def ask(self, path: str, body: Any = None, method: str = "POST", **headers: str) -> Heard:
        """A whole answer."""
        async with self.open(path, body, method, **headers) as response:
            parts = [part async for part in response.content.iter_any()]
            named = {name.lower(): text for name, text in response.headers.items()}
            return Heard(response.status, named, b"".join(parts), parts)

    async def get(self, path: str, **headers: str) -> Heard:
        return await self.ask(path, None, "GET", **headers)


@dataclass
class Span:
    """A bridge between a client and a platform."""

    bridge: Bridge
    client: Client
    told: Told
    platform: Platform


@asynccontextmanager
async def spanned(
    platform: Platform, tokens: Tokens | None = None, *, clock: Clock | None = None, wakes: bool = False, **more: Any
) -> AsyncIterator[Span]:
    """A bridge to a running platform."""
    told = Told()
    manner = Manner(**{name: more.pop(name) for name in ("hold_json_s", "begin_after_s", "heartbeat_s") if name in more})
    options = Options(platform.address, port=0, manner=manner, wakes=wakes, **more)
    bridge = Bridge(options, tokens or NoTokens(), clock=clock or SystemClock(), watch=told)
    address = await bridge.start()
    try:
        async with ClientSession(auto_decompress=False, timeout=ClientTimeout(total=30)) as session:
            yield Span(bridge, Client(session, address), told, platform)
    finally:
        await bridge.stop()


def request_body(path: str, text: str, *, stream: bool | None = True, **more: Any) -> dict[str, Any]:
    """A request in the dialect of `path`; `stream` None: it does not say."""
    asked: dict[str, Any] = {"model": "toy", **more} | ({} if stream is None else {"stream": stream})
    if path in ("/v1/completions", "/api/generate"):
        return asked | {"prompt": text}
    if path == RESPONSES:
        return asked | {"input": text}
    return asked | {"messages": [{"role": "user", "content": text}]} | ({"max_tokens": 100} if path == MESSAGES else {})


async def turns(count: int = 300) -> None:
    """Let everything else run for a while: what can happen without the clock has happened then."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool], most: int = 10_000) -> None:
    """Let everything else run until `condition()` is true."""
    for _ in range(most):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came true")
