"""HTTP/1.1 on one connection of the scripted engine: requests in, bytes out, and the ways to do it wrong. Knows no model.

The client's end of the connection is watched all the time: when it closes, the request's task is cancelled at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import httptools


@dataclass(frozen=True, slots=True)
class Request:
    """One request, body and all."""

    method: str
    path: str
    body: bytes


Handler = Callable[[Request, "Connection"], Awaitable[None]]

_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}
_JSON: Final = "Content-Type: application/json; charset=utf-8"
_STREAM: Final = "X-Accel-Buffering: no\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked"


class Connection(asyncio.Protocol):
    """One client. A `Handler` answers each of its requests by the methods of the second half."""

    def __init__(self, handler: Handler, connections: set[Connection]) -> None:
        self._handler = handler
        self._connections = connections
        self._task: asyncio.Task[None] | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._writable = asyncio.Event()
        self._writable.set()
        self._url = b""
        self._body = bytearray()

    # --- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a server of streams
        self._transport = transport
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self._writable.set()
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    # --- what the parser calls

    def on_message_begin(self) -> None:
        self._url = b""
        self._body.clear()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"expect":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if self._task is not None and not self._task.done():
            self._transport.abort()  # pipelining, which no HTTP client of ours does
            return
        path = self._url.decode("latin-1").partition("?")[0]
        request = Request(self._parser.get_method().decode(), path, bytes(self._body))
        self._task = asyncio.get_running_loop().create_task(self._answer(request, keep_alive=self._parser.should_keep_alive()))

    async def _answer(self, request: Request, *, keep_alive: bool) -> None:
        try:
            await self._handler(request, self)
        except ConnectionError:
            return
        if not keep_alive:
            self._transport.close()

    # --- what a handler calls

    async def send_json(self, status: int, body: bytes, parts: list[bytes] | None = None) -> None:
        """A whole answer; `parts` are written one by one. An error closes the connection, as llama.cpp does."""
        fate = "Keep-Alive: timeout=5, max=100" if status < 400 else "Connection: close"
        self._head(status, f"{_JSON}\r\nContent-Length: {len(body)}\r\n{fate}")
        for part in parts or [body]:
            await self._write(part)
        if status >= 400:
            self._transport.close()

    def start_json(self, length: int) -> None:
        """Only the head of an answer."""
        self._head(200, f"{_JSON}\r\nContent-Length: {length}")

    def start_stream(self) -> None:
        """The head of an event stream."""
        self._head(200, _STREAM)

    async def send_chunk(self, data: bytes) -> None:
        """One HTTP chunk; returns when the client keeps up."""
        await self._write(b"%x\r\n%b\r\n" % (len(data), data))

    async def end_stream(self) -> None:
        """The last chunk."""
        await self._write(b"0\r\n\r\n")

    async def send_raw(self, data: bytes) -> None:
        """Bytes as they are, HTTP or not."""
        await self._write(data)

    def close(self) -> None:
        """End the connection once everything is written."""
        self._transport.close()

    def drop(self) -> None:
        """End the connection at once."""
        self._transport.abort()

    async def gone(self) -> None:
        """End the connection at once and wait until its request has been given up."""
        self.drop()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _head(self, status: int, headers: str) -> None:
        phrase = _PHRASES.get(status, "Unknown")
        self._transport.write(f"HTTP/1.1 {status} {phrase}\r\nServer: scripted\r\n{headers}\r\n\r\n".encode())

    async def _write(self, data: bytes) -> None:
        if self._transport.is_closing():
            raise ConnectionResetError
        self._transport.write(data)
        # Every write is a turn of the loop: the client's leaving is noticed, and pieces stay apart on the wire.
        await asyncio.sleep(0)
        await self._writable.wait()
