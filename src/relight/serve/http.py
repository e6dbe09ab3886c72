"""The few pieces of ASGI that every route uses: a request that is read once, and answers. Knows no model and no dialect."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final

import msgspec

from relight.errors import BodyTooLarge, ClientGone, UnsupportedMedia
from relight.serve.lane import Lane, lane_of
from relight.values import format_bytes

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

JSON: Final = b"application/json"


class Request:
    """One HTTP request. `body()` reads it once and keeps the bytes."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope, self.receive, self.send = scope, receive, send
        self.method: str = scope["method"]
        self.path: str = _path(scope)
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.extra: Headers = []
        """Headers that every answer to this request carries."""
        self._lane = lane_of(self.method, send)

    @property
    def lane(self) -> Lane | None:
        """The way out that needs no waiting, while there is one."""
        return self._lane if self._lane is not None and self._lane.is_free else None

    @property
    def remote(self) -> str:
        """Address of the client, as far as the socket knows it."""
        client = self.scope.get("client")
        return client[0] if client else ""

    async def body(self, limit: int) -> bytes:
        """The whole body; raises `BodyTooLarge` as soon as it is known to exceed `limit` bytes, `ClientGone` when cut off."""
        declared = self.headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > limit:
            raise _too_large(limit)
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGone("client: left while it was sending its request")
            part: bytes = message.get("body", b"")
            size += len(part)
            if size > limit:
                raise _too_large(limit)
            if not message.get("more_body", False):
                return b"".join((*parts, part)) if parts else part
            parts.append(part)

    async def start(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Send status and headers; what they belong to comes in pieces."""
        if (lane := self.lane) is not None:
            lane.begin(status, [*headers, *self.extra])
        else:
            await self.send({"type": "http.response.start", "status": status, "headers": [*headers, *self.extra]})

    async def piece(self, data: bytes) -> None:
        """Send a piece; waits while the client is slower than we are. An empty one is nothing: it would end a chunked body."""
        if not data:
            return
        if (lane := self.lane) is not None:
            lane.write(data)
        else:
            await self.send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        """Say that there are no more pieces."""
        if (lane := self.lane) is not None:
            lane.end()
        else:
            await self.send({"type": "http.response.body", "body": b""})

    async def answer(self, status: int, body: bytes, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Send a whole answer; a HEAD request gets everything but the body."""
        if (lane := self.lane) is not None:
            lane.answer(status, [*headers, *self.extra], body)
            return
        length = (b"content-length", str(len(body)).encode())
        await self.send({"type": "http.response.start", "status": status, "headers": [*headers, *self.extra, length]})
        await self.send({"type": "http.response.body", "body": b"" if self.method == "HEAD" else body})

    async def json(self, status: int, value: object, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """Send `value` as JSON."""
        await self.answer(status, msgspec.json.encode(value) + b"\n", [(b"content-type", JSON), *headers])


def check_json(request: Request) -> None:
    """Raises `UnsupportedMedia` for a body that says to be something else than JSON; one that says nothing is taken for it."""
    kind = request.headers.get(b"content-type", JSON).partition(b";")[0].strip().lower()
    # A form is what `curl -d` says when it is not told better; nobody sends one that parses as JSON by accident.
    if kind not in (JSON, b"", b"application/x-www-form-urlencoded") and not kind.endswith(b"+json"):
        raise UnsupportedMedia(
            f'request: the body should be JSON, got "{kind.decode("latin-1")[:80]}"', hint="send content-type: application/json"
        )


def _path(scope: Scope) -> str:
    """The path as this app's routes know it: an app that it is mounted into leaves its own prefix in `path`."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path[len(root) :] if root and path.startswith(f"{root}/") else path


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"request: the body is larger than {format_bytes(limit)}", hint="send less, or raise server.max_body")
