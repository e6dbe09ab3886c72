"""Counting requests and tokens with the `limits` library, in memory or in Redis. Knows no policy: it refuses nobody.

Imported only where a limit is configured: the library takes about a tenth of a second to import.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from limits import RateLimitItem, RateLimitItemPerDay, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, Storage
from limits.aio.strategies import FixedWindowRateLimiter, SlidingWindowCounterRateLimiter
from msgspec import Struct

from relight.config.schema import Limits
from relight.errors import ConfigError

if TYPE_CHECKING:
    from redis.asyncio import ConnectionPool

_FIRST_SWEEP: Final = 1024
_NAMES_KEPT: Final = 1024
# A Redis that is worth asking answers in a millisecond.
_SOCKET_TIMEOUT_S: Final = 0.25


class Counts(MemoryStorage):
    """The library's counts in memory, with a sweep now and then: the library's own visits every key at every request.

    No await stands between reading and writing a count, so none of it needs a lock.
    """

    def __init__(self) -> None:
        super().__init__()
        self._sweep_at = _FIRST_SWEEP

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        now = time.time()
        if self.expirations.get(key, 0.0) <= now:
            self._sweep(now)
            self.storage[key] = 0
            self.expirations[key] = now + expiry
        self.storage[key] += amount
        return self.storage[key]

    async def decr(self, key: str, amount: int = 1) -> int:
        self.storage[key] = max(await self.get(key) - amount, 0)
        return self.storage[key]

    async def get(self, key: str) -> int:
        return self._count(key, time.time())

    async def _get_sliding_window_info(
        self, previous_key: str, current_key: str, expiry: int, now: float
    ) -> tuple[int, float, int, float]:
        # The library's own awaits `get` for each count, through two layers that translate errors which memory does not raise.
        previous, current = self._count(previous_key, now), self._count(current_key, now)
        gone = now % expiry
        return previous, float(expiry - gone) if previous else 0.0, current, 2.0 * expiry - gone

    def _count(self, key: str, now: float) -> int:
        return self.storage[key] if self.expirations.get(key, 0.0) > now else 0

    def _sweep(self, now: float) -> None:
        """Forget what is over; as rarely as it takes for all sweeps together to cost each new key one visit or two."""
        if len(self.expirations) < self._sweep_at:
            return
        for key in [key for key, until in self.expirations.items() if until <= now]:
            del self.expirations[key]
            self.storage.pop(key, None)
        self._sweep_at = max(_FIRST_SWEEP, 2 * len(self.expirations))


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
        self._storage, self._pool = _opened(limits.store, service)
        self._minute = SlidingWindowCounterRateLimiter(self._storage)
        self._day = FixedWindowRateLimiter(self._storage)
        self._requests = _Minute(limits.requests_per_minute or 1, namespace="requests")
        # The day's name is part of the key, so an entry may live for two: it may begin late and is only read on its day.
        self._tokens = _Day(limits.tokens_per_day or 1, 2, namespace="tokens")

    @property
    def faults(self) -> tuple[type[Exception], ...]:
        """What is raised when the store cannot be asked."""
        base = self._storage.base_exceptions
        return (*(base if isinstance(base, tuple) else (base,)), OSError, TimeoutError)

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


def _opened(store: str, service: str) -> tuple[Storage, ConnectionPool | None]:
    if store == "memory":
        return Counts(), None
    try:
        from limits.aio.storage import RedisStorage
        from redis.asyncio import ConnectionPool
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
    except ImportError:
        raise ConfigError("limits.store: the client for Redis is not installed", hint="run: pip install redis") from None
    try:
        # One more try at once, and only one: a connection that lay unused may be dead without its Redis being so.
        pool = ConnectionPool.from_url(
            store, socket_timeout=_SOCKET_TIMEOUT_S, socket_connect_timeout=_SOCKET_TIMEOUT_S, retry=Retry(NoBackoff(), 1)
        )
    except ValueError:
        raise ConfigError("limits.store: is no address of a Redis", hint="write redis://HOST:PORT/DB") from None
    prefix = f"relight:{service}"
    # The library hands it to its client as it is, and only its annotation does not say so.
    options: dict[str, Any] = {"connection_pool": pool}
    return RedisStorage(store, implementation="redispy", key_prefix=prefix, **options), pool
