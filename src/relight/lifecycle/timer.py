"""A time at which somebody is called back, and that may be put off at no cost. Knows not what for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from relight.clock import Clock


class Timer:
    """Calls back once, at a time that may be changed until then.

    Putting it off costs nothing, as every request does: whoever sleeps looks again when it was too early.
    """

    def __init__(self, clock: Clock, callback: Callable[[float], None]) -> None:
        self._clock = clock
        self._callback = callback
        self._at: float | None = None
        self._sleeps_until = 0.0
        self._task: asyncio.Task[None] | None = None

    def set(self, at: float | None) -> None:
        """Call back with the time at `at`; `None`: not at all."""
        self._at = at
        if at is None:
            return
        if (pending := self._pending()) is not None:
            if self._sleeps_until <= at:
                return
            pending.cancel()
        self._sleeps_until = at
        self._task = asyncio.create_task(self._wait(), name="timer")

    async def stop(self) -> None:
        """Forget it, and return when nothing is left."""
        pending, self._task = self._pending(), None
        if pending is not None:
            pending.cancel()
            await asyncio.gather(pending, return_exceptions=True)

    def _pending(self) -> asyncio.Task[None] | None:
        """Who sleeps in the running loop; an app may be used in one loop after another, and nobody comes back in the last one."""
        task = self._task
        return task if task is not None and task.get_loop() is asyncio.get_running_loop() else None

    async def _wait(self) -> None:
        while (at := self._at) is not None:
            self._sleeps_until = at
            await self._clock.sleep(at - self._clock.now())
            if self._at is not None and self._at <= at:
                break
        # This task is no longer the pending timer: what the callback decides must not cancel it half-way.
        self._task = self._at = None
        if at is not None:
            # A sleep may end a hair early; a tick that came before its time would decide nothing, and be lost.
            self._callback(max(at, self._clock.now()))
