"""Cloud Run's front at the wire: looks at identity tokens, has no instance or takes long to start one, cuts what takes too long.

It passes on to a front door that is really there (`behind`), or has `answers` of the test's own. What it sent is kept, so that
a test can compare it with what arrived.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, Self

from aiohttp import ClientError, ClientSession, ClientTimeout, web

from relight.clock import Clock, SystemClock
from tests.cloud.fake.tokens import Identities

AUDIENCE = "https://probe-123456789012.europe-west4.run.app"
PAGE = (
    "<html><head>\n<title>{status} {name}</title>\n</head>\n<body text=#000000 bgcolor=#ffffff>\n"
    "<h1>Error: {name}</h1>\n<h2>{words}</h2>\n<h2></h2>\n</body></html>"
)
NO_INSTANCE = (429, "Too Many Requests", "The request was aborted because there was no available instance.")
NOT_YET = (503, "Server Error", "The service you requested is not available yet.<p>Please try again in 30 seconds. ")
BROKE = (503, "Service Unavailable", "upstream connect error or disconnect/reset before headers. reset reason: protocol error")
_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host", "te", "upgrade"}

Act = Callable[[web.Request, bytes], Awaitable[web.StreamResponse]]


@dataclass
class Seen:
    """A request as it reached the platform, and what became of it."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    sent: bytes = b""
    status: int = 0
    is_cut: bool = False
    """Whether it ended before its answer did."""


@dataclass
class Platform:
    """One service of the platform's."""

    identities: Identities | None = None
    """Who reads tokens; None: nobody asks for any."""
    invokers: set[str] = field(default_factory=set)
    audience: str = AUDIENCE
    behind: str | None = None
    """Address of the container's front door."""
    answers: list[Act] = field(default_factory=list)
    """What the container does, one request after the other, where there is none; the last stays."""
    away: list[tuple[int, str, str, float | None]] = field(default_factory=list)
    """Refusals of the next requests, as there is no instance: status, name, words, Retry-After."""
    starting: asyncio.Event | None = None
    """Requests are held until it is set: a container starts."""
    timeout_s: float | None = None
    clock: Clock = field(default_factory=SystemClock)
    seen: list[Seen] = field(default_factory=list)
    address: str = ""
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Serve on a free port of this machine."""
        app = web.Application(client_max_size=256 << 20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1, auto_decompress=False)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield self
        finally:
            await runner.cleanup()

    @property
    def questions(self) -> list[Seen]:
        """All requests but those by which a bridge finds out whether it has to say who asks."""
        return [one for one in self.seen if (one.method, one.target) != ("HEAD", "/")]

    def asked(self, path: str) -> list[Seen]:
        """The requests for a path."""
        return [one for one in self.seen if one.target.partition("?")[0] == path]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until what happened makes `condition()` true."""
        async with self.news:
            await asyncio.wait_for(self.news.wait_for(condition), 20)

    async def _tell(self) -> None:
        async with self.news:
            self.news.notify_all()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): text for name, text in request.headers.items()}
        seen = Seen(request.method, request.raw_path, headers, await request.read())
        self.seen.append(seen)
        await self._tell()
        try:
            response = await self._answered(request, seen)
            seen.status = response.status
            return response
        except asyncio.CancelledError:
            seen.is_cut = True
            raise
        finally:
            # In a task of its own: this one may have been cancelled.
            self._telling = asyncio.ensure_future(self._tell())

    async def _answered(self, request: web.Request, seen: Seen) -> web.StreamResponse:
        if (refused := self._stranger(seen)) is not None:
            return page(*refused)
        if self.away:
            status, name, words, retry_after_s = self.away.pop(0)
            return page(status, name, words, retry_after_s)
        if self.starting is not None:
            await self.starting.wait()
        if self.behind is None:
            act = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            return await act(request, seen.body)
        return await self._passed_on(request, seen)

    # --- who asks

    def _stranger(self, seen: Seen) -> tuple[int, str, str] | None:
        if self.identities is None:
            return None
        name = next((one for one in ("x-serverless-authorization", "authorization") if one in seen.headers), None)
        claims = None if name is None else self.identities.claims(seen.headers[name].removeprefix("Bearer "))
        if name is None or (claims is not None and claims.get("email") not in self.invokers):
            return 403, "Forbidden", "Your client does not have permission to get URL <code>/</code> from this server."
        # Of a user the audience is the program that they signed in with.
        if claims is None or (claims["aud"] != self.audience and not claims["aud"].endswith(".apps.googleusercontent.com")):
            return 401, "Unauthorized", "Your client does not have permission to the requested URL <code>/</code>."
        seen.headers[name] = seen.headers[name].rpartition(".")[0] + ".SIGNATURE_REMOVED_BY_GOOGLE"
        return None

    # --- the container

    async def _passed_on(self, request: web.Request, seen: Seen) -> web.StreamResponse:
        headers = {name: text for name, text in seen.headers.items() if name not in _HOP}
        headers |= {"host": "probe.run.app", "x-forwarded-for": "203.0.113.7", "x-forwarded-proto": "https"}
        response = web.StreamResponse()
        limit = None if self.timeout_s is None else asyncio.create_task(self.clock.sleep(self.timeout_s))
        async with ClientSession(auto_decompress=False, timeout=ClientTimeout(total=None)) as session:
            passing = asyncio.create_task(self._pass(session, request, seen, headers, response))
            try:
                await asyncio.wait({passing, *([limit] if limit else [])}, return_when=asyncio.FIRST_COMPLETED)
                if not passing.done():
                    if not response.prepared:
                        return page(504, "Gateway Timeout", "upstream request timeout")
                    _break_off(request)
                    return response
                with suppress(ClientError):  # the container broke off
                    return passing.result()
                _break_off(request)
                return response
            finally:
                passing.cancel()
                if limit is not None:
                    limit.cancel()
                await asyncio.wait({passing})

    async def _pass(
        self, session: ClientSession, request: web.Request, seen: Seen, headers: dict[str, str], response: web.StreamResponse
    ) -> web.StreamResponse:
        url = f"{self.behind}{seen.target}"
        data = BytesIO(seen.body) if seen.body else None
        async with session.request(seen.method, url, data=data, headers=headers, allow_redirects=False) as answer:
            response.set_status(answer.status)
            for name, text in answer.headers.items():
                if name.lower() not in _HOP:
                    response.headers.add(name, text)
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                seen.sent += chunk
                await response.write(chunk)
            await response.write_eof()
            return response


def page(status: int, name: str, words: str, retry_after_s: float | None = None) -> web.Response:
    """What the platform says by itself."""
    text = PAGE.format(status=status, name=name, words=words)
    headers = {} if retry_after_s is None else {"Retry-After": f"{retry_after_s:g}"}
    return web.Response(status=status, text=text, content_type="text/html", charset="UTF-8", headers=headers)


def without_instance(
    kind: tuple[int, str, str] = NO_INSTANCE, retry_after_s: float | None = None
) -> tuple[int, str, str, float | None]:
    """An entry of `away`."""
    return (*kind, retry_after_s)


def says(status: int, body: bytes, content_type: str = "application/json", **headers: str) -> Act:
    """A container that answers in one piece."""

    async def act(request: web.Request, _body: bytes) -> web.StreamResponse:
        more = {name.replace("_", "-"): text for name, text in headers.items()}
        return web.Response(status=status, body=body, headers={"Content-Type": content_type, **more})

    return act


def streams(*parts: bytes, content_type: str = "text/event-stream", then: asyncio.Event | None = None) -> Act:
    """A container that streams these parts; with `then`, it waits for that before each but the first."""

    async def act(request: web.Request, _body: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": content_type})
        await response.prepare(request)
        for place, part in enumerate(parts):
            if place and then is not None:
                await then.wait()
                then.clear()
            await response.write(part)
        await response.write_eof()
        return response

    return act


def breaks_after(*parts: bytes, content_type: str = "text/event-stream") -> Act:
    """A container that dies in its answer."""

    async def act(request: web.Request, _body: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": content_type})
        await response.prepare(request)
        for part in parts:
            await response.write(part)
        _break_off(request)
        return response

    return act


def _break_off(request: web.Request) -> None:
    transport: Any = request.transport
    if transport is not None:
        transport.close()
