"""A server with one planted fault: it passes requests on to a front door that works, and spoils what it was told to.

Not a line of an answer is made up where the real one can be spoiled, so that a check that finds the fault finds it in what
servers really send.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import ClientSession, ClientTimeout, web

from relight.payload import payload

Json = dict[str, Any]
LONG = 600
"""Tokens of the answers that are begun to be left."""
_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host", "date", "server"}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Json:
        """Its object; an empty one where there is none."""
        try:
            value = json.loads(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    @property
    def turns(self) -> list[Json]:
        """Messages, or items of input."""
        found = self.json.get("messages", self.json.get("input"))
        return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []

    def changed(self, **fields: Any) -> Asked:
        """With other values; `None` takes a field out."""
        value = {**self.json, **fields}
        return replace(self, body=json.dumps({name: one for name, one in value.items() if one is not None}).encode())

    def saying(self, words: str) -> Asked:
        """With other words of the user's."""
        turns = [{**turn, "content": words} if turn.get("role") == "user" else turn for turn in self.turns]
        return self.changed(**{"messages" if "messages" in self.json else "input": turns})


@dataclass(frozen=True, slots=True)
class Sent:
    """An answer."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def is_stream(self) -> bool:
        return "event-stream" in self.headers.get("content-type", "") or "ndjson" in self.headers.get("content-type", "")

    def each(self, change: Callable[[Json], Json | None]) -> Sent:
        """With every object in it changed; `None` leaves it out."""
        if not self.is_stream:
            whole = change(json.loads(self.body))
            return replace(self, body=json.dumps(whole).encode())
        if "ndjson" in self.headers["content-type"]:
            lines = (change(json.loads(line)) for line in self.body.splitlines() if line)
            return replace(self, body=b"".join(json.dumps(one).encode() + b"\n" for one in lines if one is not None))
        return replace(self, body="".join(_event(block, change) for block in self.body.decode().split("\n\n")[:-1]).encode())


def _event(block: str, change: Callable[[Json], Json | None]) -> str:
    lines = []
    for line in block.split("\n"):
        if line.startswith("data: {"):
            value = change(json.loads(line.removeprefix("data: ")))
            if value is None:
                return ""
            line = f"data: {json.dumps(value)}"  # noqa: PLW2901 - the line, spoiled
        lines.append(line)
    return "\n".join(lines) + "\n\n"


def refusal(status: int, message: str, **headers: str) -> Sent:
    """An error in OpenAI's shape."""
    body = {"error": {"message": message, "type": "invalid_request_error", "code": None}}
    return Sent(status, json.dumps(body).encode(), {"content-type": "application/json", **headers})


@dataclass(frozen=True, slots=True)
class Fault:
    """What is spoiled: requests before they are passed on (or instead: what is answered at once), and answers."""

    asked: Callable[[Asked], Asked | Sent | None] = lambda _: None
    sent: Callable[[Asked, Sent], Sent] | None = None
    slots: int | None = None
    """As many chats are answered at once; who leaves a long answer keeps the slot for ever."""
    is_busy: bool = False
    """Who comes while another is answered is refused."""


class Broken:
    """The server. `url` is where it listens."""

    def __init__(self, behind: str, fault: Fault) -> None:
        self.url = ""
        self._behind, self._fault = behind, fault
        self._slots = asyncio.Semaphore(fault.slots or 1000)
        self._running = 0
        self._session: ClientSession | None = None

    async def answer(self, request: web.Request) -> web.StreamResponse:
        asked = Asked(request.method, request.path_qs, dict(request.headers), await request.read())
        found = self._fault.asked(asked)
        if isinstance(found, Sent):
            return web.Response(status=found.status, body=found.body, headers=found.headers)
        if self._fault.is_busy and self._running and request.method == "POST":
            return web.Response(status=503, text='{"error": {"message": "busy", "type": "busy"}}')
        if "messages" not in asked.json:
            return await self._pass_on(request, found or asked)
        is_whole, self._running = False, self._running + 1
        await self._slots.acquire()
        try:
            answer = await self._pass_on(request, found or asked)
            is_whole = True
        finally:
            self._running -= 1
            if is_whole or asked.json.get("max_tokens") != LONG:
                self._slots.release()
        return answer

    async def _pass_on(self, request: web.Request, asked: Asked) -> web.StreamResponse:
        assert self._session is not None
        headers = {name: value for name, value in asked.headers.items() if name.lower() not in _HOP}
        async with self._session.request(
            asked.method, self._behind + asked.path, data=payload(asked.body), headers=headers
        ) as found:
            kept = {name: value for name, value in found.headers.items() if name.lower() not in _HOP}
            kept = {name.lower(): value for name, value in kept.items()}
            if self._fault.sent is None:
                return await _stream(request, found.status, kept, found.content.iter_any())
            sent = Sent(found.status, await found.read(), kept)
        sent = self._fault.sent(asked, sent)
        return web.Response(status=sent.status, body=sent.body, headers=sent.headers)


async def _stream(request: web.Request, status: int, headers: dict[str, str], parts: AsyncIterator[bytes]) -> web.StreamResponse:
    answer = web.StreamResponse(status=status, headers=headers)
    await answer.prepare(request)
    async for part in parts:
        await answer.write(part)
    await answer.write_eof()
    return answer


@asynccontextmanager
async def broken(behind: str, fault: Fault) -> AsyncIterator[Broken]:
    """Such a server in front of the one at `behind`."""
    server = Broken(behind, fault)
    async with ClientSession(timeout=ClientTimeout(total=None)) as server._session, serving(server.answer) as server.url:
        yield server


@asynccontextmanager
async def serving(
    answer: Callable[[web.Request], Any], *, ssl: Any = None, host: str = "127.0.0.1", scheme: str = "http"
) -> AsyncIterator[str]:
    """A server that has everything answered by `answer`; its address."""
    app = web.Application(client_max_size=16 << 20)
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=ssl)
        await site.start()
        yield f"{scheme}://{host}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
