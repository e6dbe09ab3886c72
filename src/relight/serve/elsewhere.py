"""The answers that providers are giving right now: a stop waits for them as it does for those of our own engines."""

from __future__ import annotations

import asyncio
from types import TracebackType

from relight.clock import Clock


class Elsewhere:
    """Counts them; each is a `with` block."""

    def __init__(self) -> None:
        self.running = 0
        self._is_over = asyncio.Event()

    def __enter__(self) -> None:
        self.running += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.running -= 1
        if not self.running:
            self._is_over.set()

    async def finish(self, clock: Clock, grace_s: float) -> None:
        """Return when none is left, or `grace_s` is over. There must be no new ones any more."""
        if not self.running:
            return
        self._is_over.clear()
        over, late = asyncio.create_task(self._is_over.wait()), asyncio.ensure_future(clock.sleep(grace_s))
        try:
            await asyncio.wait({over, late}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            over.cancel()
            late.cancel()
