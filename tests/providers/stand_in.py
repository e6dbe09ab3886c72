"""A provider that misbehaves on request: a TCP server on the loopback that does, request by request, what its script says."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Self

from relight.clock import ManualClock
from relight.providers.target import Target
from relight.values import Secret

KEY = "sk-test-0123456789abcdefghij"
CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it arrived, and the number of the connection that it came on."""

    connection: int
    path: str
    headers: dict[str, str]
    body: bytes


class End:
    """The provider's end of a connection; `left` is set once the other side, or this one, has closed it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        self.reader, self.writer, self.number = reader, writer, number
        self.left = asyncio.Event()

    async def request(self) -> Seen:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:] if line)}
        body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return Seen(self.number, head[0].split(" ")[1], headers, body)

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def chunk(self, data: bytes) -> None:
        self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def reset(self) -> None:
        """Close so that the other side sees a reset, not an end."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def silence(self) -> None:
        """Say nothing until the other side has closed."""
        while await self.reader.read(65536):
            pass


Act = Callable[[End], Awaitable[None]]


def answer(status: int = 200, body: bytes = b'{"ok": true}', **headers: str) -> Act:
    """A whole answer; the connection stays open."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())

    async def act(end: End) -> None:
        end.send(f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n{lines}\r\n".encode() + body)

    return act


def error(status: int, message: str, code: str | None = None, **headers: str) -> Act:
    """An error as OpenAI words it."""
    body = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}
    return answer(status, json.dumps(body).encode(), **headers)


def raw(data: bytes, *, then: str = "silence") -> Act:
    """`data` as it is, and then: silence until the other side closes, an end, or a reset."""

    async def act(end: End) -> None:
        end.send(data)
        if then == "silence":
            await end.silence()
        elif then == "end":
            end.writer.close()
        else:
            await end.writer.drain()
            end.reset()

    return act


def refuse_after(first: Act) -> Act:
    """`first`, and the connection is closed as soon as another request comes on it, without a word."""

    async def act(end: End) -> None:
        await first(end)
        await end.request()
        end.writer.close()

    return act


class StandIn:
    """`script` is worked off request by request; a request beyond it gets status 418."""

    def __init__(self, *script: Act) -> None:
        self.script = deque(script)
        self.seen: list[Seen] = []
        self.arrived: asyncio.Queue[End] = asyncio.Queue()
        self.ends: list[End] = []
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for end in self.ends:
            end.writer.transport.abort()
            with contextlib.suppress(ConnectionError):
                await end.writer.wait_closed()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        end = End(reader, writer, len(self.ends))
        self.ends.append(end)
        try:
            while not writer.is_closing():
                self.seen.append(await end.request())
                self.arrived.put_nowait(end)
                await (self.script.popleft() if self.script else answer(418))(end)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            end.left.set()


class Turned(ManualClock):
    """A clock turned by hand that says when somebody begins to wait, and for how long."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: asyncio.Queue[float] = asyncio.Queue()

    async def sleep(self, seconds: float) -> None:
        self.asked.put_nowait(seconds)
        await super().sleep(seconds)

    async def pass_wait(self) -> float:
        """Let the next wait pass; says how long it was."""
        seconds = await self.asked.get()
        await self.advance(seconds)
        return seconds


def target(url: str, *, retries: int = 2, timeout_s: float = 30.0, first_byte_timeout_s: float = 20.0) -> Target:
    """A target with a key and patience enough for a busy machine."""
    return Target(
        model="cloud",
        url=url,
        name="big-1",
        key=Secret("TEST_KEY", KEY),
        timeout_s=timeout_s,
        connect_timeout_s=10.0,
        first_byte_timeout_s=first_byte_timeout_s,
        retries=retries,
    )
