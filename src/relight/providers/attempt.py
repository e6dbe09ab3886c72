"""One attempt to get an answer over a pool of connections. Knows no retry and no waiting between attempts."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from relight import __version__
from relight.clock import Clock
from relight.payload import payload
from relight.providers.answer import Answer
from relight.providers.failure import Failure, broken, not_http, silent, unreachable
from relight.providers.refusal import parse, refusal
from relight.providers.retry import Fault, Outcome, retry_after_s
from relight.providers.target import Target

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession, TraceConfig

_MOST_ERROR: Final = 64 * 1024
_ERROR_BODY_S: Final = 5.0
# Shorter than routers remember an idle connection. That servers close theirs earlier is seen, or found out by asking.
_KEEP_ALIVE_S: Final = 30.0
_STALE_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked: a path of ours, the body as it is sent, and whether the answer is to be streamed."""

    path: str
    body: bytes
    stream: bool


class _Trail:
    """How far a request came: whether its connection had served before, and when it was sent, if it was."""

    __slots__ = ("is_reused", "sent_at")

    def __init__(self) -> None:
        self.is_reused = False
        self.sent_at: float | None = None


def open_session(clock: Clock) -> ClientSession:
    """A pool of connections of the running event loop. It keeps no cookies, which would tie clients together, and no proxy."""
    from aiohttp import ClientSession, DummyCookieJar, TCPConnector

    return ClientSession(
        connector=TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_S),
        cookie_jar=DummyCookieJar(),
        headers={"user-agent": f"relight/{__version__}"},
        trace_configs=[_trace(clock)],
    )


class Attempt:
    """An attempt at one target; `make()` it as often as it takes."""

    def __init__(self, target: Target, clock: Clock, session: ClientSession) -> None:
        self._target = target
        self._clock = clock
        self._session = session

    async def make(self, request: Request, left_s: float) -> Answer | Failure:
        """Ask once. A stream is an answer once its first byte is there, so that another model can still be asked before."""
        from aiohttp import ClientError

        trail = _Trail()
        waited_s = min(self._target.first_byte_timeout_s, left_s)
        ends_at = self._clock.now() + left_s
        try:
            async with asyncio.timeout(waited_s):
                response = await self._send(request, trail)
                is_refused = response.status >= 300
                first = await _first(response) if request.stream and not is_refused else b""
        except (ClientError, OSError) as error:
            return self._failure(error, trail, waited_s)
        left_s = ends_at - self._clock.now()
        if is_refused:
            return await self._refused(response, min(left_s, _ERROR_BODY_S))
        return Answer(response, self._target, first=first, left_s=left_s)

    async def _send(self, request: Request, trail: _Trail) -> ClientResponse:
        from aiohttp import ClientTimeout
        from yarl import URL

        target = self._target
        return await self._session.post(
            URL(target.address(request.path), encoded=True),
            data=payload(request.body),
            headers=target.headers(stream=request.stream),
            timeout=ClientTimeout(total=None, connect=target.connect_timeout_s),
            allow_redirects=False,
            trace_request_ctx=trail,
        )

    async def _refused(self, response: ClientResponse, patience_s: float) -> Failure:
        headers = response.headers
        after_s = retry_after_s(headers.get("retry-after"), self._clock.wall(), millis=headers.get("retry-after-ms"))
        body = await _excerpt(response, patience_s)
        reply = parse(response.status, body, retry_after_s=after_s, location=headers.get("location"))
        is_final = reply.is_spent or headers.get("x-should-retry") == "false"
        outcome = Outcome(Fault.REFUSED, status=response.status, retry_after_s=after_s, is_final=is_final)
        return Failure(outcome, refusal(reply, self._target))

    def _failure(self, error: Exception, trail: _Trail, waited_s: float) -> Failure:
        from aiohttp import ClientResponseError

        if (failure := unreachable(error, self._target)) is not None:
            return failure
        if isinstance(error, TimeoutError):
            return silent(self._target, waited_s)
        if isinstance(error, ClientResponseError):
            return not_http(self._target)
        return broken(self._target, self._breach(trail))

    def _breach(self, trail: _Trail) -> Fault:
        if trail.sent_at is None:
            return Fault.UNREACHABLE
        is_at_once = self._clock.now() - trail.sent_at <= _STALE_S
        return Fault.STALE if trail.is_reused and is_at_once else Fault.BROKEN


async def _first(response: ClientResponse) -> bytes:
    try:
        return await response.content.readany()
    except BaseException:
        response.close()
        raise


async def _excerpt(response: ClientResponse, patience_s: float) -> bytes:
    """What can be had of an error's body, soon; its status alone says enough."""
    from aiohttp import ClientError

    body = b""
    try:
        async with asyncio.timeout(patience_s):
            while len(body) < _MOST_ERROR and (chunk := await response.content.readany()):
                body += chunk
    except (ClientError, OSError):
        pass
    finally:
        response.close()  # nothing to a connection whose answer was read to its end
    return body[:_MOST_ERROR]


def _trace(clock: Clock) -> TraceConfig:
    from aiohttp import TraceConfig

    async def reused(_session: ClientSession, context: Any, _params: object) -> None:
        context.trace_request_ctx.is_reused = True

    async def sent(_session: ClientSession, context: Any, _params: object) -> None:
        context.trace_request_ctx.sent_at = clock.now()

    trace = TraceConfig()
    trace.on_connection_reuseconn.append(reused)
    trace.on_request_headers_sent.append(sent)
    return trace
