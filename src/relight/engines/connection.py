"""One HTTP/1.1 exchange with an engine over its Unix socket or loopback port. Knows no dialect and no model.

Closing a connection is how a generation is cancelled: engines stop when their client is gone. Here each request has a
connection of its own; `kept.py` uses one again when its answer has come to its end.
"""

from __future__ import annotations

import asyncio
import os
import socket as sockets
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Final, cast

import httptools

from relight.engines.base import Address
from relight.errors import EngineCrashed, EngineFailed

_HIGH_WATER: Final = 256 * 1024
_CONNECT_TIMEOUT_S: Final = 5.0
_CONNECT_AGAIN_S: Final = 0.005
_MAX_HEADERS: Final = 64 * 1024
_PIECE: Final = 1 << 20

Headers = list[tuple[bytes, bytes]]
AtOnce = Callable[[bytes], bool]
"""Takes bytes in the very turn of the loop in which they came; false: not now, somebody has to wait for them."""


@dataclass(slots=True)
class Head:
    """Status and headers (names in lower case) of an answer."""

    status: int = 0
    headers: dict[bytes, bytes] = field(default_factory=dict)
    """The first of each name."""

    def get(self, name: bytes) -> bytes | None:
        """The first header of that name."""
        return self.headers.get(name)


class Exchange(asyncio.Protocol):
    """One request and its answer. `head()`, then `piece()` or `chunks()`; `close()` at any time, more than once if need be.

    With `keep`, a connection whose answer came to its end is not closed but handed to it.
    """

    def __init__(self, keep: Callable[[asyncio.Transport], None] | None = None) -> None:
        self._keep = keep
        self._messages = 0
        self._may_stay = False
        self._head = Head()
        self._header_bytes = self._head_bytes = 0
        self._chunks: list[bytes] = []
        self._buffered = 0
        self.on_body = self._chunks.append  # what is called for every token should not be a function of ours
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._is_paused = False
        self._is_head_done = False
        self._is_complete = False
        self._failure: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._writable: asyncio.Event | None = None  # there while writing has to wait
        self._is_closed = False
        self.at_once: AtOnce | None = None
        """Is offered what comes while `piece` waits, which does not return what it takes, and raises what it raises."""

    @property
    def status(self) -> int:
        """The HTTP status, once the head has been read."""
        return self._head.status

    def get(self, name: bytes) -> bytes | None:
        """The first header of that name, once the head has been read."""
        return self._head.headers.get(name)

    async def head(self) -> Head:
        """Wait for status and headers; raises `EngineCrashed` or `EngineFailed`."""
        while not self._is_head_done:
            self._raise_failure()
            await self._wait()
        return self._head

    async def piece(self) -> bytes:
        """The next bytes of the body, with all that has piled up; nothing at its end. Raises as `head` does."""
        while not self._chunks:
            if self._is_complete:
                return b""
            self._raise_failure()
            await self._wait()
        return self._taken()

    async def chunks(self) -> AsyncIterator[bytes]:
        """The same piece by piece."""
        while piece := await self.piece():
            yield piece

    async def read(self, limit: int = 4 << 20) -> bytes:
        """The whole body, cut at `limit` bytes."""
        body = b""
        async for chunk in self.chunks():
            body += chunk
            if len(body) >= limit:
                break
        return body

    @property
    def is_silent(self) -> bool:
        """Whether not a byte of an answer has come."""
        return self._head_bytes == 0

    def close(self) -> None:
        """Drop the connection; an answer still running is cancelled by it. One that has ended may be kept for another request."""
        transport, self._transport = self._transport, None
        if transport is None:
            return
        if (
            self._keep is not None
            and self._is_complete
            and self._messages == 1
            and self._failure is None
            and self._stays(transport)
        ):
            self._keep(transport)
        else:
            transport.abort()
        # Both hold this in turn: let go, an answer is freed with its request, and leaves nothing to the collector of cycles.
        self._parser = self.at_once = None

    async def drained(self) -> None:
        """Wait until more may be written, or nothing will be any more."""
        if self._writable is not None:
            await self._writable.wait()

    async def closed(self) -> None:
        """Wait until the socket is really gone."""
        while not self._is_closed:
            await self._wait()

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports do not inherit from asyncio's

    def pause_writing(self) -> None:
        self._writable = asyncio.Event()

    def resume_writing(self) -> None:
        if self._writable is not None:
            self._writable.set()
            self._writable = None

    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            return  # what comes after closing is nobody's
        if not self._is_head_done:
            # The parser gathers an unfinished header without end.
            if self._head_bytes > _MAX_HEADERS:
                self._refuse_headers()
                return
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(EngineFailed(f"engine: answered what is not HTTP ({error})"))
            self.close()
        if self._chunks:
            self._buffered += len(data)
            if self.at_once is not None and self._is_passed_on(self.at_once) and not self._is_complete:
                return
            if self._buffered > _HIGH_WATER and not self._is_paused and self._transport is not None:
                self._is_paused = True
                self._transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._is_complete and (exc is not None or not self._ends_with_connection()):
            # Pi asks again for these very words: "connection lost".
            ended = EngineCrashed("engine: connection lost before its answer was complete")
            ended.__cause__ = exc  # a reset, when the engine had not even read the request
            self._fail(ended)
        self._is_complete = self._is_complete or self._failure is None
        self._is_closed = True
        self.resume_writing()
        self._wake()

    # --- httptools callbacks

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value)
        if self._header_bytes <= _MAX_HEADERS:  # trailers come here as well, after all has been looked at
            self._head.headers.setdefault(name.lower(), value)

    def on_headers_complete(self) -> None:
        if self._header_bytes > _MAX_HEADERS:
            self._refuse_headers()
            return
        if self._parser is not None:
            self._head.status = self._parser.get_status_code()
        self._is_head_done = True

    def on_message_complete(self) -> None:
        self._is_complete = True
        self._messages += 1
        # The parser forgets it with the message.
        self._may_stay = self._parser is not None and bool(self._parser.should_keep_alive())

    # --- inside

    def _taken(self) -> bytes:
        """All that has piled up; it is here no longer."""
        piece = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._buffered = 0
        if self._is_paused:
            self._resume()
        return piece

    def _is_passed_on(self, at_once: AtOnce) -> bool:
        """Whether what has come was taken at once, so that nobody has to be woken for it."""
        if self._waiter is None or self._waiter.done():
            return False
        piece = self._taken()
        try:
            is_taken = at_once(piece)
        except Exception as error:  # whoever waits raises it
            self._is_complete = False  # what was not passed on has not ended well
            self._parser = None  # nor does anything that follows count
            self._fail(error)
            return False
        if not is_taken:
            self._chunks.append(piece)
            self._buffered = len(piece)
        return is_taken

    def _stays(self, transport: asyncio.Transport) -> bool:
        """Whether the engine keeps the connection as well, and nothing is left of this answer."""
        is_written = transport.get_write_buffer_size() == 0  # an engine may answer before it has read the request
        return self._may_stay and is_written and not self._is_paused and not self._is_closed

    def _refuse_headers(self) -> None:
        self._fail(EngineFailed("engine: answered with more than 64 KiB of headers"))
        self.close()

    def _ends_with_connection(self) -> bool:
        is_framed = b"content-length" in self._head.headers or b"transfer-encoding" in self._head.headers
        return self._is_head_done and not is_framed

    def _resume(self) -> None:
        self._is_paused = False
        if self._transport is not None:
            self._transport.resume_reading()

    def _fail(self, error: Exception) -> None:
        self._failure = self._failure or error
        self._wake()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None


async def exchange(
    address: Address, method: str, path: str, headers: Iterable[tuple[bytes, bytes]] = (), body: bytes = b""
) -> Exchange:
    """Send one request and return its exchange, headers of the answer not yet read.

    Adds `host`, `connection` and `content-length`. Raises `EngineCrashed` when nothing listens at the address.
    """
    transport, protocol = await connected(address)
    transport.write(head(address, f"{method} {path}", len(body), [(b"connection", b"close"), *headers]) + body)
    return protocol


async def send_file(address: Address, path: str, file: Path) -> Exchange:
    """Like `exchange`, with a file as the body of a POST, never more than a piece of it in memory.

    Ends early when the engine does: the answer, or how it failed, is told by the exchange. Raises `OSError` for the file.
    """
    with await asyncio.to_thread(file.open, "rb") as opened:
        transport, protocol = await connected(address)
        try:
            length = os.fstat(opened.fileno()).st_size
            transport.write(head(address, f"POST {path}", length, [(b"connection", b"close")]))
            # Closed or not is asked right before each piece is written: uvloop raises where asyncio does nothing.
            while (piece := await asyncio.to_thread(opened.read, _PIECE)) and not transport.is_closing():
                transport.write(piece)
                await protocol.drained()
        except BaseException:
            protocol.close()
            raise
    return protocol


def head(address: Address, what: str, length: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The head of a request; `what` is method and path."""
    return _beginning(address, what, tuple(headers)) + b"content-length: %d\r\n\r\n" % length


@lru_cache
def _beginning(address: Address, what: str, headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """All requests of a kind begin alike."""
    # An engine on a port may refuse a name that is not its own: that is how it keeps web pages out.
    host = "engine" if isinstance(address, Path) else f"{address[0]}:{address[1]}"
    lines = [f"{what} HTTP/1.1\r\nhost: {host}\r\n".encode("latin-1")]
    lines += [name + b": " + value + b"\r\n" for name, value in headers]
    return b"".join(lines)


async def connected(
    address: Address, keep: Callable[[asyncio.Transport], None] | None = None
) -> tuple[asyncio.Transport, Exchange]:
    """A new connection; raises `EngineCrashed` when nothing listens at the address."""
    try:
        async with asyncio.timeout(_CONNECT_TIMEOUT_S):
            return await _connect(address, partial(Exchange, keep))
    except (OSError, TimeoutError) as error:
        raise EngineCrashed(f"engine: nothing answers on its socket ({str(error) or 'timed out'})") from error


async def _connect(address: Address, make: Callable[[], Exchange]) -> tuple[asyncio.Transport, Exchange]:
    loop = asyncio.get_running_loop()
    if isinstance(address, Path):
        return await loop.create_unix_connection(make, sock=await _connected(address))
    return await loop.create_connection(make, *address)


async def _connected(path: Path) -> sockets.socket:
    """A connected socket. llama.cpp lets five connections wait to be accepted; those that come in a burst try again.

    By hand, because asyncio takes the kernel's "try again" for a connection, and uvloop for a failure.
    """
    sock = sockets.socket(sockets.AF_UNIX)
    try:
        sock.settimeout(0)
        while True:
            try:
                sock.connect(str(path))
            except BlockingIOError:
                await asyncio.sleep(_CONNECT_AGAIN_S)
            else:
                return sock
    except BaseException:
        sock.close()
        raise
