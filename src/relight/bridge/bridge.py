"""`relight bridge`: a door on this machine's loopback to a private service elsewhere, for programs that know no identity.

What passes, passes as it is. Beside that: an identity token with each request, patience while the platform has no instance, and
a client that hears something meanwhile. Who gives tokens and who looks on is given (`Tokens`, `Watch`).
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final
from weakref import WeakKeyDictionary

from aiohttp import web

from relight.background import in_background
from relight.bridge import door, peer
from relight.bridge.asking import Asking
from relight.bridge.identity import Identity, Tokens
from relight.bridge.news import Nobody, State, Watch
from relight.bridge.refusal import told
from relight.bridge.reply import Manner, Reply
from relight.bridge.request import Asked, read
from relight.bridge.upstream import Answer, Outgoing, Upstream, outgoing_headers
from relight.bridge.wake import Waker
from relight.clock import Clock, SystemClock
from relight.errors import BodyTooLarge, Forbidden, ProviderRejected, RelightError, UsageError
from relight.values import format_bytes

LOOPBACK: Final = "127.0.0.1"
_MOST_BODY: Final = 64 << 20
_MOST_HEAD: Final = 64 << 10
_STOP_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Options:
    """How a bridge behaves. `url` is the service's, without a path; `key` is an API key to wake its engine with."""

    url: str
    port: int = 8787
    patience_s: float = 600.0
    manner: Manner = field(default_factory=Manner)
    key: str | None = None
    wakes: bool = True
    all_users: bool = False
    """Whether programs of other users of this machine may use it."""


class Bridge:
    """One service on one port of the loopback. `start()` it, `stop()` it."""

    def __init__(self, options: Options, tokens: Tokens, *, clock: Clock | None = None, watch: Watch | None = None) -> None:
        self._options = options
        self.clock = clock or SystemClock()
        self.state = State(watch or Nobody())
        self.identity = Identity(tokens, self.clock)
        self._upstream = Upstream(options.url.rstrip("/"), self.clock)
        self._asking = Asking(self._upstream, self.identity, self.state, self.clock, options.patience_s)
        self._waker = Waker(self._asking, self.clock, options.key)
        self._guards = not options.all_users
        self._let_in: WeakKeyDictionary[asyncio.BaseTransport, bool] = WeakKeyDictionary()
        self._runner: web.AppRunner | None = None
        self._ids = itertools.count(1)

    async def start(self) -> str:
        """Listen, and wake the service; returns the address. Raises `UsageError` when the port is taken."""
        app = web.Application(client_max_size=_MOST_BODY)
        app.router.add_route("*", "/{path:.*}", self._handle)
        app.on_response_prepare.append(_unsigned)
        # What it cannot read the library would write down, and it may be somebody's words.
        silent = logging.getLogger("relight.bridge")
        silent.disabled = True
        # A client that leaves ends its request, and with it what the service does for it.
        self._runner = web.AppRunner(
            app,
            access_log=None,
            logger=silent,
            handler_cancellation=True,
            shutdown_timeout=_STOP_S,
            max_line_size=_MOST_HEAD,
            max_field_size=_MOST_HEAD,
            auto_decompress=False,
        )
        await self._runner.setup()
        # Before anybody else can connect, and so have a say in what comes of it.
        if self._guards:
            self._guards = await in_background(peer.is_told, "relight-peer")
        try:
            await web.TCPSite(self._runner, LOOPBACK, self._options.port).start()
        except OSError as error:
            await self.stop()
            why = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be listened on: {error.strerror}"
            raise UsageError(f"bridge: port {self._options.port} {why}", hint="choose another: --port 8788") from None
        port = self._runner.addresses[0][1]
        if self._options.wakes:
            self._waker.came()
        return f"http://{LOOPBACK}:{port}"

    @property
    def is_guarded(self) -> bool:
        """Whether it is for programs of this user alone."""
        return self._guards

    async def stop(self) -> None:
        """Close everything; answers that still run break off."""
        await self._waker.close()
        await self._asking.close()
        if self._runner is not None:
            await self._runner.cleanup()
        await self._upstream.close()
        await self.identity.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        """One request, from its check to its last byte."""
        path = request.raw_path.partition("?")[0]
        refusal = door.refusal(request.headers, request.raw_path) or await self._refusal(request)
        if refusal is not None:
            self.state.watch.said("refused", why=refusal.message)
            return await self._reply(request, read(request.method, path, b"")).fail(refusal)
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            error = BodyTooLarge(f"bridge: the body is larger than {format_bytes(_MOST_BODY)}")
            return await self._reply(request, read(request.method, path, b"")).fail(error)
        asked = read(request.method, path, body)
        if self._options.wakes:
            self._waker.came(request.headers.items(), asks=asked.asks)
        began, reply, has_failed = self.clock.now(), self._reply(request, asked), True
        self.state.entered()
        try:
            response = await self._answered(request, asked, body, reply)
            has_failed = reply.status >= 500 or reply.has_failed
            return response
        finally:
            self.state.left(has_failed=has_failed)
            seconds = round(self.clock.now() - began, 3)
            self.state.watch.said("answered", path=path, status=reply.status, failed=has_failed, seconds=seconds)

    async def _refusal(self, request: web.Request) -> Forbidden | None:
        """Why whoever is at the other end of this connection may not use it; looked up once for all that it asks."""
        if not self._guards:
            return None
        transport = request.transport
        if transport is None or not (client := transport.get_extra_info("peername")):
            return door.of_others()
        may_pass = self._let_in.get(transport)
        if may_pass is None:
            here = transport.get_extra_info("sockname")
            uid = await in_background(lambda: peer.owner(client, here), "relight-peer")
            may_pass = peer.may_pass(uid)
            # What is not known now may be known when it asks again.
            if uid is not None:
                self._let_in[transport] = may_pass
        return None if may_pass else door.of_others()

    def _reply(self, request: web.Request, asked: Asked) -> Reply:
        return Reply(request, asked, self.clock, self._options.manner, f"bridge{next(self._ids)}")

    async def _answered(self, request: web.Request, asked: Asked, body: bytes, reply: Reply) -> web.StreamResponse:
        may_begin_early = asked.streams or self._options.manner.hold_json_s is not None
        headers = outgoing_headers(request.headers.items(), may_begin_early=may_begin_early)
        outgoing = Outgoing(request.method, request.raw_path, headers, body)
        try:
            async with reply.signs_of_life(), self._answer(outgoing, asked, reply) as answer:
                await _pass_on(answer, asked, reply)
        except RelightError as error:
            self.state.watch.said("failed", code=error.code, message=error.message, hint=error.hint)
            return await reply.fail(error)
        except OSError:  # the client is gone
            return reply.response or web.Response(status=499)
        return await reply.end()

    @asynccontextmanager
    async def _answer(self, outgoing: Outgoing, asked: Asked, reply: Reply) -> AsyncIterator[Answer]:
        """The service's answer, ended when the block is left: whatever it still does for it, it does for nobody."""
        answer = await self._asking.answer(outgoing, asked, reply)
        try:
            yield answer
        finally:
            answer.close()


async def _pass_on(answer: Answer, asked: Asked, reply: Reply) -> None:
    """Head and bytes as they are; where the head of a stream is out already, what is no stream is told in its events."""
    if reply.is_early and asked.streams and answer.status != 200:
        raise told(answer.status, await answer.excerpt(), None)
    if reply.is_early and asked.streams and _kind(answer) != asked.dialect.stream_type.decode():
        raise ProviderRejected(f"bridge: the service answered a stream with {_kind(answer) or 'no content type'}")
    await reply.head(answer.status, answer.reason, answer.told_headers())
    async with aclosing(answer.chunks()) as chunks:
        async for chunk in chunks:
            await reply.chunk(chunk)


def _kind(answer: Answer) -> str:
    return answer.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _unsigned(_request: web.Request, response: web.StreamResponse) -> None:
    """The library signs answers with its own name and time; a bridge passes on those of the service, if there are any."""
    if response.headers.get("Server", "").startswith("Python/"):
        del response.headers["Server"]


async def serve(bridge: Bridge, stopped: asyncio.Event) -> None:
    """Until `stopped` is set."""
    try:
        await stopped.wait()
    finally:
        await bridge.stop()
