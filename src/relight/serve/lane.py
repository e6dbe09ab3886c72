"""The short way out under uvicorn: an answer's bytes as uvicorn would write them, without a message and without waiting.

ASGI's `send` may have to wait, so it takes somebody who can, and every piece a turn of the loop. Of uvicorn it is known when it
need not: it writes what it is given, unless its client is behind or gone. Other servers, and whatever wraps their `send`, are
left to their own way. Knows no model and no dialect.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

Headers = list[tuple[bytes, bytes]]

_LAST_CHUNK: Final = b"0\r\n\r\n"


class Lane:
    """One answer's way. It has to be free for each step: a client may fall behind with any of them, and leave at any time."""

    __slots__ = ("_cycle",)

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle

    @property
    def is_free(self) -> bool:
        """Whether the client keeps up, so that nothing has to be waited for."""
        cycle = self._cycle
        return not (cycle.flow.write_paused or cycle.disconnected or cycle.transport.is_closing())

    def begin(self, status: int, headers: Headers) -> None:
        """Send the head of an answer in pieces."""
        self._cycle.chunked_encoding = True
        self._start(status, [*headers, *self._farewell(), (b"transfer-encoding", b"chunked")], b"")

    def write(self, data: bytes) -> None:
        """Send a piece, which must not be empty, of an answer that was begun."""
        self._cycle.transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self) -> None:
        """Say that there are no more pieces."""
        self._cycle.transport.write(_LAST_CHUNK)
        self._complete()

    def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """Send an answer in one piece."""
        self._cycle.chunked_encoding = False
        self._start(status, [*headers, (b"content-length", b"%d" % len(body)), *self._farewell()], body)
        self._complete()

    def _farewell(self) -> Headers:
        return [] if self._cycle.keep_alive else [(b"connection", b"close")]

    def _start(self, status: int, headers: Headers, body: bytes) -> None:
        cycle = self._cycle
        head = STATUS_LINE[status] + b"".join([b"%b: %b\r\n" % header for header in headers])
        if head.count(b"\n") > len(headers) + 1 or head.count(b"\r") > len(headers) + 1:
            raise RuntimeError("a header of an answer holds a line break")
        cycle.response_started, cycle.waiting_for_100_continue = True, False
        cycle.transport.write(b"%b\r\n%b" % (head, body))

    def _complete(self) -> None:
        cycle = self._cycle
        cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()


def lane_of(method: str, send: Callable[..., object]) -> Lane | None:
    """The lane of whoever sends, if that is uvicorn itself and adds nothing of its own to what a POST is answered."""
    cycle = getattr(send, "__self__", None)
    if not isinstance(cycle, RequestResponseCycle) or cycle.default_headers or cycle.access_log or method != "POST":
        return None
    return Lane(cycle)
