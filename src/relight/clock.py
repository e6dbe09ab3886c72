"""Time as an argument: what may wait takes a `Clock`, so that a test turns the hands. Must not know who waits."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC
from typing import Protocol


class Clock(Protocol):
    """A monotonic clock in seconds, and the wall's time for records."""

    def now(self) -> float:
        """Monotonic seconds; only differences mean anything."""
        ...

    def wall(self) -> float:
        """Seconds since the Unix epoch."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return once `seconds` have passed."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class ManualClock:
    """A clock that moves only when told: `await clock.advance(5)` wakes, in order, whoever slept until then."""

    def __init__(self, start: float = 1_000.0) -> None:
        self._now = start
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._ticket = 0

    def now(self) -> float:
        return self._now

    def wall(self) -> float:
        return 1_700_000_000.0 + self._now

    async def sleep(self, seconds: float) -> None:
        self._ticket += 1
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._now + max(seconds, 0.0), self._ticket, future))
        await future

    async def advance(self, seconds: float) -> None:
        """Move the hands forward, letting every sleeper that comes due run before the next one does."""
        end = self._now + seconds
        await self._settle()
        while due := [sleeper for sleeper in self._sleepers if sleeper[0] <= end]:
            sleeper = min(due)
            self._sleepers.remove(sleeper)
            self._now = max(self._now, sleeper[0])
            if not sleeper[2].done():
                sleeper[2].set_result(None)
            await self._settle()
        self._now = end

    async def _settle(self) -> None:
        # Enough turns of the loop for what was woken to run until it waits again.
        for _ in range(20):
            await asyncio.sleep(0)


def seconds_until(date: str, wall_s: float) -> float | None:
    """Seconds from `wall_s` until a date as HTTP writes it, nought when it is past; `None` for what is no date."""
    from email.utils import parsedate_to_datetime

    try:
        at = parsedate_to_datetime(date)
        # A date that names no zone is in universal time: RFC 9110 knows no other.
        return max((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - wall_s, 0.0)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
