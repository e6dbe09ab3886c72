"""Counting requests and tokens with the `limits` library, in memory or in Redis. Knows no policy: it refuses nobody.

Imported only where a limit is configured: the library takes about a tenth of a second to import.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Any, Final

from limits import RateLimitItem, RateLimitItemPerDay, RateLimitItemPerMinute
from limits.aio.strategies import FixedWindowRateLimiter, SlidingWindowCounterRateLimiter
from msgspec import Struct

from relight.access.store import faults, opened
from relight.config.schema import Limits

_NAMES_KEPT: Final = 1024


class _Remembering(RateLimitItem):
    """The library puts a name together anew for each question, which takes longer than to answer it."""

    __slots__ = ("key_for",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.key_for = lru_cache(_NAMES_KEPT)(super().key_for)  # type: ignore[method-assign]


class _Minute(_Remembering, RateLimitItemPerMinute):
    """Requests."""


class _Day(_Remembering, RateLimitItemPerDay):
    """Tokens."""


class Taken(Struct, frozen=True):
    """What came of asking for one more request; it is counted only when both say that it may pass."""

    has_tokens: bool = True
    wait_s: float | None = None
    """Seconds until one may pass, when the minute is full."""


class Tally:
    """Counts by name (`who`): requests in a sliding minute, tokens in a day that the caller names.

    The minute slides by weighing the last whole one (the library's sliding window counter): two numbers for each name,
    however high the limit, and no double portion where two minutes meet. Remembering every request would be exact, but at
    thousands of requests a minute costs thousands of times as much.
    """

    def __init__(self, limits: Limits, service: str) -> None:
        self._limits = limits
        self._storage, self._pool = opened(limits.store, service)
        self._minute = SlidingWindowCounterRateLimiter(self._storage)
        self._day = FixedWindowRateLimiter(self._storage)
        self._requests = _Minute(limits.requests_per_minute or 1, namespace="requests")
        # The day's name is part of the key, so an entry may live for two: it may begin late and is only read on its day.
        self._tokens = _Day(limits.tokens_per_day or 1, 2, namespace="tokens")

    @property
    def faults(self) -> tuple[type[Exception], ...]:
        """What is raised when the store cannot be asked."""
        return faults(self._storage)

    async def take(self, who: str, day: str) -> Taken:
        """Count one request of `who` on `day`, as far as requests and tokens are limited."""
        # Tokens first: a request that is refused should not count as one of the minute.
        if self._limits.tokens_per_day is not None and not await self._day.test(self._tokens, who, day):
            return Taken(has_tokens=False)
        if self._limits.requests_per_minute is None or await self._minute.hit(self._requests, who):
            return Taken()
        reset = (await self._minute.get_window_stats(self._requests, who)).reset_time
        return Taken(wait_s=max(0.0, reset - time.time()))

    async def spend(self, who: str, day: str, tokens: int) -> None:
        """Count `tokens` of `who` on `day`, also past the limit."""
        await self._day.hit(self._tokens, who, day, cost=tokens)

    async def close(self) -> None:
        """Close the connections to the store, if it has any."""
        if self._pool is not None:
            await self._pool.disconnect()
