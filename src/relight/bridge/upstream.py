"""The remote service, asked once over a pool of connections. Knows no waiting, no dialect and no client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final
from urllib.parse import urlsplit

from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientSSLError,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
    TCPConnector,
    TraceConfig,
)
from yarl import URL

from relight.bridge.identity import HEADER, Token
from relight.bridge.refusal import MOST_ERROR, is_suspect
from relight.clock import Clock
from relight.errors import ProviderTimeout, ProviderUnavailable, RelightError
from relight.payload import payload
from relight.values import format_duration

_CONNECT_S: Final = 10.0
_KEEP_ALIVE_S: Final = 30.0
_STALE_S: Final = 1.0
_EXCERPT_S: Final = 5.0
_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
# What a browser says of the page that asks, which was looked at here, and what the library says itself.
_NOT_SENT: Final = _HOP | {"host", "content-length", "expect", "origin", "referer"}
# About the service's own host and port, not about this one.
_NOT_TOLD: Final = _HOP | {"alt-svc", "strict-transport-security"}
_AUTOMATIC: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class Fault(Enum):
    """Why there is no answer."""

    UNREACHED = "unreached"  # nothing was sent
    STALE = "stale"  # a connection that was kept had been closed meanwhile
    FINAL = "final"  # asking again would not help, or not be safe


@dataclass(frozen=True, slots=True)
class Failure:
    """An attempt that brought no answer, and what the client is told if it was the last."""

    fault: Fault
    error: RelightError


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request as it goes to the service. `target` is path and query, as the client wrote them."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(slots=True)
class Answer:
    """The head of an answer, and its body as it comes. To be closed, which ends it at once wherever it is."""

    response: ClientResponse
    begin: bytes = b""
    """What was read of the body to see whose answer it is."""

    @property
    def status(self) -> int:
        return self.response.status

    @property
    def reason(self) -> str:
        return self.response.reason or ""

    @property
    def headers(self) -> Mapping[str, str]:
        """By name, whatever its case."""
        return self.response.headers

    def told_headers(self) -> list[tuple[str, str]]:
        """Those that the client gets."""
        return kept(self.response.headers.items(), _NOT_TOLD)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body's bytes as they come; raises `ProviderUnavailable` when it breaks off."""
        if self.begin:
            yield self.begin
        try:
            async for chunk in self.response.content.iter_any():
                yield chunk
        except (ClientError, OSError):
            # The library lets go what came in the last moment before a connection broke, and it is part of the answer.
            if rest := self.response.content._read_nowait(-1):  # noqa: SLF001 - nothing public gives it
                yield rest
            raise ProviderUnavailable("bridge: the service's answer broke off", hint="try again") from None

    async def excerpt(self) -> bytes:
        """What can be had of the body, soon: at most 64 KiB."""
        try:
            async with asyncio.timeout(_EXCERPT_S):
                while len(self.begin) < MOST_ERROR and (chunk := await self.response.content.readany()):
                    self.begin += chunk
        except (ClientError, OSError):
            pass
        return self.begin

    def close(self) -> None:
        self.response.close()


@dataclass(slots=True)
class _Trail:
    """How far a request came."""

    is_reused: bool = False
    sent_at: float | None = None


@dataclass(slots=True)
class Upstream:
    """The service at `url` (scheme, host, maybe a path)."""

    url: str
    clock: Clock
    _session: ClientSession | None = field(default=None, init=False)

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc

    async def ask(self, asked: Outgoing, token: Token | None) -> Answer | Failure:
        """Ask once; an answer of any status. What was cut off here or there leaves nothing open."""
        trail = _Trail()
        try:
            response = await self._send(asked, token, trail)
        except (ClientError, OSError) as error:
            return self._failure(error, trail)
        answer = Answer(response)
        try:
            if is_suspect(answer.status, answer.headers):
                await answer.excerpt()
        except BaseException:
            answer.close()
            raise
        return answer

    async def close(self) -> None:
        """Close all connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _send(self, asked: Outgoing, token: Token | None, trail: _Trail) -> ClientResponse:
        headers = list(asked.headers)
        if token is not None:
            headers = [(name, text) for name, text in headers if name.lower() != HEADER.lower()]
            headers.append((HEADER, f"Bearer {token.text}"))
        return await self._opened().request(
            asked.method,
            URL(f"{self.url}{asked.target}", encoded=True),
            data=payload(asked.body) if asked.body else None,
            headers=headers,
            skip_auto_headers=_AUTOMATIC,
            timeout=ClientTimeout(total=None, connect=_CONNECT_S),
            allow_redirects=False,
            trace_request_ctx=trail,
        )

    def _opened(self) -> ClientSession:
        if self._session is None:
            self._session = ClientSession(
                connector=TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_S),
                cookie_jar=DummyCookieJar(),
                auto_decompress=False,
                trace_configs=[_trace(self.clock)],
            )
        return self._session

    def _failure(self, error: Exception, trail: _Trail) -> Failure:
        """The library's own texts stay here: they may quote headers."""
        if isinstance(error, ClientConnectorDNSError):
            return self._final(f"the name {self.host} is not known", "check the address and the network")
        if isinstance(error, ClientSSLError | ClientConnectorCertificateError):
            return self._final(f"the certificate of {self.host} is not trusted", "check the address and this machine's clock")
        if isinstance(error, ConnectionTimeoutError):
            what = f"bridge: {self.host} could not be reached within {format_duration(_CONNECT_S)}"
            return Failure(Fault.UNREACHED, ProviderTimeout(what, hint="check the network"))
        reached = not isinstance(error, ClientConnectorError) and trail.sent_at is not None
        if not reached:
            what = f"bridge: {self.host} cannot be reached"
            return Failure(Fault.UNREACHED, ProviderUnavailable(what, hint="check the address and the network"))
        assert trail.sent_at is not None  # noqa: S101 - seen above
        is_stale = trail.is_reused and self.clock.now() - trail.sent_at <= _STALE_S
        what = f"bridge: {self.host} closed the connection before it answered"
        return Failure(Fault.STALE if is_stale else Fault.FINAL, ProviderUnavailable(what, hint="try again"))

    def _final(self, what: str, hint: str) -> Failure:
        return Failure(Fault.FINAL, ProviderUnavailable(f"bridge: {what}", hint=hint))


def outgoing_headers(headers: Iterable[tuple[str, str]], *, may_begin_early: bool) -> tuple[tuple[str, str], ...]:
    """What of a client's headers goes to the service: all that is not about this connection.

    An answer whose head goes out before it is there cannot be packed, for nobody was told so.
    """
    found = [(name, text) for name, text in kept(headers, _NOT_SENT) if not name.lower().startswith("sec-fetch-")]
    if may_begin_early:
        found = [(name, text) for name, text in found if name.lower() != "accept-encoding"]
        found.append(("Accept-Encoding", "identity"))
    return tuple(found)


def kept(headers: Iterable[tuple[str, str]], without: frozenset[str]) -> list[tuple[str, str]]:
    """The headers but for those, and those that `Connection` names."""
    listed = list(headers)
    named = {one.strip().lower() for name, text in listed if name.lower() == "connection" for one in text.split(",")}
    return [(name, text) for name, text in listed if name.lower() not in without | named]


def _trace(clock: Clock) -> TraceConfig:
    async def reused(_session: ClientSession, context: Any, _params: object) -> None:
        context.trace_request_ctx.is_reused = True

    async def sent(_session: ClientSession, context: Any, _params: object) -> None:
        context.trace_request_ctx.sent_at = clock.now()

    trace = TraceConfig()
    trace.on_connection_reuseconn.append(reused)
    trace.on_request_headers_sent.append(sent)
    return trace
