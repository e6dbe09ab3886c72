"""Kept-alive HTTP connections on raw sockets, as thin as Python allows: what is measured is the server. Knows no gateway."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import httptools

_PATIENCE_S: Final = 30.0
_PATH: Final = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Target:
    """Where to send requests, what they are called there, and the headers that this server wants."""

    host: str
    port: int
    model: str = "m"
    headers: dict[str, str] = field(default_factory=dict)

    def request(self, body: bytes) -> bytes:
        """The bytes of a POST on a connection that stays."""
        lines = [f"POST {_PATH} HTTP/1.1", f"host: {self.host}:{self.port}", "content-type: application/json"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


class Refused(Exception):
    """A server did not answer as it should; the text says how."""


class Connection:
    """One connection and the answer that is being read on it. `ask`, then `read` whenever there is something, until `is_done`."""

    def __init__(self, target: Target, on_body: Callable[[bytes], None] | None = None) -> None:
        self._target = target
        self._on_body = on_body
        self._socket: socket.socket | None = None
        self.is_done = True
        self.body: list[bytes] = []
        self._connect()

    def fileno(self) -> int:
        """The descriptor, for epoll."""
        return -1 if self._socket is None else self._socket.fileno()

    def ask(self, request: bytes) -> None:
        """Send a request; connects again when the server has closed after the last answer."""
        if self._socket is None:
            self._connect()
        assert self._socket is not None
        self.body, self.is_done = [], False
        self._socket.sendall(request)

    def read(self) -> None:
        """Take what has come; raises `Refused` when it is no good answer, `TimeoutError` when nothing comes."""
        assert self._socket is not None
        data = self._socket.recv(1 << 18)
        if not data:
            raise Refused("closed the connection before its answer was complete")
        self._parser.feed_data(data)
        if self.is_done and self._status != 200:
            raise Refused(f"answered {self._status}: {b''.join(self.body)[:300].decode(errors='replace')}")
        if self.is_done and not self._is_kept:
            self.close()

    def finish(self) -> bytes:
        """Read to the end of the answer, and return its body."""
        while not self.is_done:
            self.read()
        return b"".join(self.body)

    def close(self) -> None:
        """Close it; the next `ask` opens a new one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    # --- httptools callbacks

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        if self._on_body is None or self._status != 200:
            self.body.append(body)
        else:
            self._on_body(body)

    def on_message_complete(self) -> None:
        self.is_done = True
        self._is_kept = self._parser.should_keep_alive()

    def _connect(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._is_kept, self._status = True, 0
        self._socket = socket.create_connection((self._target.host, self._target.port), timeout=_PATIENCE_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


@contextmanager
def connections(target: Target, number: int) -> Iterator[list[Connection]]:
    """That many connections, closed at the end."""
    opened = [Connection(target) for _ in range(number)]
    try:
        yield opened
    finally:
        for connection in opened:
            connection.close()


class Crowd:
    """Many connections that are read whenever one of them has something."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._members: dict[int, Connection] = {}

    def ask(self, connection: Connection, request: bytes) -> None:
        """Send on a connection and watch it."""
        before = connection.fileno()
        connection.ask(request)
        now = connection.fileno()
        if now not in self._members or before != now:
            self._members[now] = connection
            self._epoll.register(now, select.EPOLLIN)

    def read(self, wait_s: float = _PATIENCE_S) -> Iterator[Connection]:
        """Read what has come within `wait_s`; yields those that got something."""
        for fd, _ in self._epoll.poll(max(wait_s, 0.0)):
            connection = self._members[fd]
            connection.read()
            if connection.fileno() != fd:  # closed: epoll has forgotten it by itself
                del self._members[fd]
            yield connection

    def close(self) -> None:
        """Stop watching."""
        self._epoll.close()


def until_answering(target: Target, request: bytes, is_alive: Callable[[], bool], patience_s: float = 120.0) -> None:
    """Ask until there is a good answer; raises the last failure as `Refused`, at once when the server is not alive any more."""
    began = time.perf_counter()
    while True:
        try:
            with connections(target, 1) as (connection,):
                connection.ask(request)
                connection.finish()
                return
        except (OSError, Refused, httptools.HttpParserError) as error:
            spent = time.perf_counter() - began
            if spent > patience_s or not is_alive():
                raise Refused(f"no good answer within {spent:.0f} s; the last attempt: {error}") from error
            time.sleep(0.05)
