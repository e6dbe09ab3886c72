"""Where counts are kept: in memory, or in a Redis that several instances share. Knows neither names nor limits.

Imported only where something is counted: the library takes about a tenth of a second to import.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from limits.aio.storage import MemoryStorage, Storage

from relight.errors import ConfigError

if TYPE_CHECKING:
    from redis.asyncio import ConnectionPool

_FIRST_SWEEP: Final = 1024
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


def opened(store: str, service: str) -> tuple[Storage, ConnectionPool | None]:
    """The storage at `store` ("memory" or an address of a Redis) for the counts of `service`, and the connections to close.

    Connects to nothing yet. Raises `ConfigError` when the client of Redis is missing, or cannot read the address.
    """
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


def faults(storage: Storage) -> tuple[type[Exception], ...]:
    """What is raised when the storage cannot be asked."""
    base = storage.base_exceptions
    return (*(base if isinstance(base, tuple) else (base,)), OSError, TimeoutError)
