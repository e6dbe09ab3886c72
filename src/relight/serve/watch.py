"""Ends a request whose client is gone, or reads nothing for too long. Knows neither what was asked nor who answers."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import TYPE_CHECKING, Final

from relight.errors import ClientGone
from relight.serve.http import Request

if TYPE_CHECKING:
    from relight.serve.reply import Reply

# Most requests are over before this, and a timer or a task for each would cost more than all that it could notice.
_LOOK_AFTER_S: Final = 0.05


class Lookout:
    """Has those clients watched that are still waited for when it looks: at most 50 ms after they came."""

    def __init__(self) -> None:
        self._new: set[Watch] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, watch: Watch) -> None:
        """Have it begin at the next look."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # an app may be used in one loop after another: what the last one left is over
            self._loop, self._timer = loop, None
            self._new.clear()
        self._new.add(watch)
        if self._timer is None:
            self._timer = loop.call_later(_LOOK_AFTER_S, self._look)

    def end(self, watch: Watch) -> None:
        """It is over."""
        self._new.discard(watch)

    def _look(self) -> None:
        self._timer = None
        begun, self._new = self._new, set()
        for watch in begun:
            watch.begin()


class Watch:
    """While inside, the task is cancelled as soon as its client is gone, and `ClientGone` is raised in its place."""

    __slots__ = ("_inside", "_later", "_lookout", "_reason", "_reply", "_request", "_stalls_after_s", "_watcher")

    def __init__(self, request: Request, reply: Reply, stalls_after_s: float, lookout: Lookout) -> None:
        self._request, self._reply, self._stalls_after_s, self._lookout = request, reply, stalls_after_s, lookout
        self._inside: asyncio.Task[None] | None = None
        self._later: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._reason: ClientGone | None = None

    def __enter__(self) -> None:
        self._inside = asyncio.current_task()
        self._lookout.begin(self)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._lookout.end(self)
        if self._later is not None:
            self._later.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
        if kind is asyncio.CancelledError and self._reason is not None and self._inside is not None:
            self._inside.uncancel()
            raise self._reason from None

    def begin(self) -> None:
        """Look whether the client is there, and reads."""
        self._watcher = asyncio.get_running_loop().create_task(self._listen())
        self._look_for_stall()

    async def _listen(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
        self._end(ClientGone("client: left before its answer was complete"))

    def _look_for_stall(self) -> None:
        loop = asyncio.get_running_loop()
        since, now = self._reply.sending_since, loop.time()
        if since is not None and now - since >= self._stalls_after_s:
            self._end(ClientGone("client: did not read its answer for server.write_timeout"), is_stalled=True)
            return
        self._later = loop.call_at((now if since is None else since) + self._stalls_after_s, self._look_for_stall)

    def _end(self, reason: ClientGone, *, is_stalled: bool = False) -> None:
        # Servers say that a client is gone also when it has got everything: a reply that has ended is left alone, unless its
        # last bytes do not get out.
        if self._inside is not None and self._reason is None and (is_stalled or not self._reply.is_ended):
            self._reason = reason
            self._inside.cancel()
