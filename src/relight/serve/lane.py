"""The short way out under uvicorn: an answer's bytes as uvicorn would write them, without a message and without waiting.

ASGI's `send` may have to wait, so it takes somebody who can, and every piece a turn of the loop. Of uvicorn it is known when it
need not: it writes what it is given, unless its client is behind or gone. Other servers, and whatever wraps their `send`, are
left to their own way. Knows no model and no dialect.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast

try:
    from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle
except ImportError:  # another server's process, or another uvicorn
    _SEND: object = None
else:
    _SEND = RequestResponseCycle.send

Headers = list[tuple[bytes, bytes]]

_LAST_CHUNK: Final = b"0\r\n\r\n"
# All that is touched here, none of which uvicorn promises.
_TOUCHED: Final = (
    *("access_log", "default_headers", "disconnected", "flow", "keep_alive", "message_event", "on_response", "transport"),
    *("chunked_encoding", "response_complete", "response_started", "waiting_for_100_continue"),
)
_is_known: dict[type, bool] = {}


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
        self._start(status, [*headers, *self._farewell(), (b"transfer-encoding", b"chunked")], b"", is_chunked=True)

    def write(self, data: bytes) -> None:
        """Send a piece, which must not be empty, of an answer that was begun."""
        self._cycle.transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self) -> None:
        """Say that there are no more pieces."""
        self._cycle.transport.write(_LAST_CHUNK)
        self._complete()

    def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """Send an answer in one piece."""
        self._start(status, [*headers, (b"content-length", b"%d" % len(body)), *self._farewell()], body, is_chunked=False)
        self._complete()

    def _farewell(self) -> Headers:
        return [] if self._cycle.keep_alive else [(b"connection", b"close")]

    def _start(self, status: int, headers: Headers, body: bytes, *, is_chunked: bool) -> None:
        cycle = self._cycle
        head = STATUS_LINE[status] + b"".join([b"%b: %b\r\n" % header for header in headers])
        if head.count(b"\n") > len(headers) + 1 or head.count(b"\r") > len(headers) + 1:
            raise RuntimeError("a header of an answer holds a line break")
        # Not before: whoever is told of a mistake may send another answer.
        cycle.response_started, cycle.waiting_for_100_continue, cycle.chunked_encoding = True, False, is_chunked
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
    if method != "POST" or _SEND is None or getattr(send, "__func__", None) is not _SEND:
        return None
    cycle = cast("RequestResponseCycle", getattr(send, "__self__", None))
    if not _is_as_known(cycle) or cycle.default_headers or cycle.access_log:
        return None
    return Lane(cycle)


def _is_as_known(cycle: RequestResponseCycle) -> bool:
    """Whether all that a lane touches is there; looked at once."""
    kind = type(cycle)
    if kind not in _is_known:
        _is_known[kind] = all(hasattr(cycle, name) for name in _TOUCHED) and hasattr(cycle.flow, "write_paused")
    return _is_known[kind]
