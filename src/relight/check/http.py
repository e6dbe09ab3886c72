"""One HTTP request after the other to an endpoint, every byte kept with its time, and what went wrong told in words.

Knows no dialect. Each request has a connection of its own, so that leaving it is seen by the server.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

from relight.check import USER_AGENT
from relight.check.events import Chunk, json_object
from relight.check.verdict import shown
from relight.clock import Clock
from relight.payload import payload
from relight.values import Secret, format_bytes, format_duration

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

"""By this name a Relight server knows questions that come once, and learns nothing from them."""
_MOST: Final = 4 << 20
_STARRED: Final = "***"
_CONNECT_S: Final = 15.0
_TELLING: Final = 5
_FIRST, _LAST = 120, 280
_BUSY: Final = (429, 503, 529)
_SECONDS: Final = re.compile(r"\d{1,4}(\.\d{1,6})?")
_LEAST_S: Final = 0.5


class Auth(Enum):
    """How a request shows its key."""

    BEARER = "authorization"
    HEADER = "x-api-key"
    NONE = "no key"
    WRONG_BEARER = "a wrong key in authorization"
    WRONG_HEADER = "a wrong key in x-api-key"


_WRONG: Final = "sk-relight-check-no-such-key"


@dataclass(slots=True)
class Reply:
    """An answer as far as it came. Times in seconds since the request was sent."""

    sent: str
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    chunks: list[Chunk] = field(default_factory=list)
    head_at: float | None = None
    ended_at: float = 0.0
    broke: str | None = None
    """How it broke off; `None`: it ended as it should, or was left on purpose."""
    was_late: bool = False
    """It broke because the patience was over."""
    looked_at: int = 0
    """Bytes that `unread` has given away."""
    hide: Callable[[str], str] = str
    """Stars what must not be seen."""

    @property
    def body(self) -> bytes:
        """Every byte of it."""
        return b"".join(data for _, data in self.chunks)

    @property
    def is_fine(self) -> bool:
        """A whole answer with status 200."""
        return self.status == 200 and self.broke is None

    @property
    def is_html(self) -> bool:
        """A page for people, where a program asked."""
        kind = self.headers.get("content-type", "")
        return "html" in kind or self.body[:200].lstrip().lower().startswith((b"<!doctype", b"<html"))

    @property
    def is_busy(self) -> bool:
        """It is refused because others are answered, or the model wakes."""
        return self.status in _BUSY

    @property
    def retry_after_s(self) -> float | None:
        """When to come again; `None` where nothing is said, or nothing is refused for a time."""
        said = self.headers.get("retry-after", "")
        return max(float(said), _LEAST_S) if self.is_busy and _SECONDS.fullmatch(said) else None

    def unread(self) -> bytes:
        """What came since it was asked last; the tail of an event that is not whole comes again."""
        body = self.body
        start, end = self.looked_at, max(body.rfind(b"\n\n") + 2, body.rfind(b"\n\r\n") + 3)
        self.looked_at = max(start, end if end > 2 else 0)
        return body[start:]

    def json(self) -> dict[str, Any] | None:
        """The object in it."""
        return json_object(self.body)

    @property
    def came(self) -> str:
        """Status, first bytes (and the last, of a long answer) and how it broke, in a line."""
        parts = [str(self.status)] if self.status is not None else []
        body = self.hide(self.body.decode(errors="replace"))  # before it is cut: half a key is a secret as well
        if len(body) > _FIRST + _LAST:
            parts += [shown(body[:_FIRST]), "…", shown(body[-_LAST:], _LAST)]
        elif body:
            parts.append(shown(body, _FIRST + _LAST))
        parts += [self.broke] if self.broke else []
        return " ".join(parts) or "nothing"


class Line:
    """Speaks to one endpoint."""

    def __init__(self, url: str, key: Secret | None, clock: Clock) -> None:
        self.url = url
        self.key = key
        self.log: list[Reply] = []
        """The answers since somebody emptied it."""
        self._clock = clock
        self._session: ClientSession | None = None

    async def __aenter__(self) -> Self:
        from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector

        self._session = ClientSession(
            connector=TCPConnector(force_close=True, limit=0, ssl=_trust(self.url)),
            cookie_jar=DummyCookieJar(),
            timeout=ClientTimeout(total=None, sock_connect=_CONNECT_S),
        )
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._session is not None:
            await self._session.close()

    async def ask(  # noqa: PLR0913 - what a request is made of
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        within_s: float,
        what: str = "",
        auth: Auth = Auth.BEARER,
        headers: Mapping[str, str] | None = None,
        until: Callable[[Reply], bool] | None = None,
    ) -> Reply:
        """Send one request and read its answer to the end, or until `until` says that it is enough (then it is left).

        Whatever goes wrong is told by the reply; nothing is raised. `body` is sent as JSON, bytes as they are.
        """
        reply = Reply(" ".join(part for part in (method, path, what) if part), hide=self.star)
        self.log.append(reply)
        data = body if isinstance(body, bytes) else None if body is None else msgspec.json.encode(body)
        sent = {**self._headers(auth), **({"content-type": "application/json"} if data is not None else {}), **(headers or {})}
        await self._exchange(reply, _Request(method, self.url + path, data, sent), within_s, until)
        return reply

    def star(self, text: str) -> str:
        """`text` without the key."""
        key = self.key.reveal() if self.key is not None else ""
        if not key:
            return text
        text = text.replace(key, _STARRED)
        # What was cut short may end in the middle of it.
        for length in range(len(key) - 1, _TELLING, -1):
            text = text.replace(f"{key[:length]}…", f"{_STARRED}…")
        return text

    async def _exchange(self, reply: Reply, request: _Request, within_s: float, until: Callable[[Reply], bool] | None) -> None:
        from aiohttp import ClientError

        began = self._clock.now()
        try:
            async with asyncio.timeout(within_s):
                await self._read(reply, request, began, until)
        except TimeoutError:
            reply.was_late = True
            after = f"after {format_bytes(len(reply.body))}" if reply.chunks else "and not a byte came"
            reply.broke = f"no end within {format_duration(within_s)}, {after}"
        except (ClientError, OSError, ValueError) as error:
            reply.broke = f"the connection broke: {shown(self.star(str(error)) or type(error).__name__, 120)}"
        reply.ended_at = self._clock.now() - began

    async def _read(self, reply: Reply, request: _Request, began: float, until: Callable[[Reply], bool] | None) -> None:
        if self._session is None:
            raise RuntimeError("the line is not open")
        async with self._session.request(
            request.method,
            request.url,
            data=None if request.body is None else payload(request.body),
            headers=request.headers,
            allow_redirects=False,
        ) as answer:
            reply.status, reply.head_at = answer.status, self._clock.now() - began
            reply.headers = {name.lower(): value for name, value in answer.headers.items()}
            await self._take(reply, answer, began, until)

    async def _take(self, reply: Reply, answer: ClientResponse, began: float, until: Callable[[Reply], bool] | None) -> None:
        size = 0
        async for data in answer.content.iter_any():
            reply.chunks.append((self._clock.now() - began, data))
            size += len(data)
            if size > _MOST:
                reply.broke = f"more than {format_bytes(_MOST)} came"
            if reply.broke or (until is not None and until(reply)):
                answer.close()
                return

    def _headers(self, auth: Auth) -> dict[str, str]:
        """The key in the form that `auth` says. Nothing is claimed to be compressed: agents read events as they come."""
        key = self.key.reveal() if self.key is not None else ""
        base = {"accept-encoding": "identity", "user-agent": USER_AGENT}
        match auth:
            case Auth.BEARER:
                return {**base, "authorization": f"Bearer {key}"} if key else base
            case Auth.HEADER:
                return {**base, "x-api-key": key} if key else base
            case Auth.WRONG_BEARER:
                return {**base, "authorization": f"Bearer {_WRONG}"}
            case Auth.WRONG_HEADER:
                return {**base, "x-api-key": _WRONG}
            case _:
                return base


def _trust(url: str) -> ssl.SSLContext | bool:
    """Whose certificates are trusted: read anew, for the library reads them at its import; not at all where there are none."""
    return ssl.create_default_context() if url.startswith("https:") else True


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    url: str
    body: bytes | None
    headers: Mapping[str, str]
