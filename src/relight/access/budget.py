"""What the service may spend in a day, all visitors together, in tokens and in money. Knows no visitor, no route and no price."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from relight.access.reach import Reach
from relight.clock import Clock
from relight.errors import OverBudget, quiet

if TYPE_CHECKING:
    from limits.aio.storage import Storage
    from redis.asyncio import ConnectionPool

_DAY_S: Final = 86400
# A token may cost less than a millionth of a dollar: money is counted in whole billionths, so that nothing is rounded away.
_PER_USD: Final = 10**9


class Daily(Struct, frozen=True):
    """What may be spent in a day; `None`: as much as it likes."""

    tokens: int | None = None
    usd: float | None = None


class Left(Struct, frozen=True):
    """What is left of the day, as far as this instance knows; `None` where there is no limit."""

    tokens: int | None
    usd: float | None
    resets_in_s: float


class Budget:
    """Refuses once the day's tokens or money are spent. Days are those of UTC.

    What an answer costs is known when it ends, so it is tested before and counted after: requests that run together can go past
    the limit, each once. With a Redis as `store` all instances of `service` count together. While that cannot be reached, each
    goes on with what it knew last and what it spends itself, and tells it what it missed when it is back; `note` is told once a
    minute. In memory the count is of one instance, and begins anew with it.
    """

    def __init__(
        self, daily: Daily, clock: Clock, *, store: str = "memory", service: str = "relight", note: Callable[[str], None]
    ) -> None:
        limits = {"tokens": daily.tokens, "usd": None if daily.usd is None else round(daily.usd * _PER_USD)}
        self._limits = {unit: limit for unit, limit in limits.items() if limit is not None}
        self._store = store
        self._service = service
        self._clock = clock
        self._reach = Reach(clock, note, so="each instance keeps to the day's budget by itself")
        self._storage: Storage | None = None
        self._pool: ConnectionPool | None = None
        self._faults: tuple[type[Exception], ...] = ()
        self._line = asyncio.Lock()
        self._day = self._today()
        self._spent = {unit: _Spent() for unit in self._limits}

    def prepare(self) -> None:
        """Open the shared store, if there is one and something to count; connects to nothing yet.

        Raises `ConfigError` when the client of the store is missing, or cannot read its address.
        """
        if self._limits and self._store != "memory" and self._storage is None:
            from relight.access.store import faults, opened

            self._storage, self._pool = opened(self._store, self._service)
            self._faults = faults(self._storage)

    async def check(self) -> None:
        """Raises `OverBudget`, with the time until midnight UTC, once a limit of the day is reached."""
        for unit, limit in self._limits.items():
            await self._share(unit)
            if self._spent[unit].total >= limit:
                raise self._refusal(unit)

    async def spend(self, tokens: int, usd: float | None = None) -> None:
        """Count what an answer cost; `usd` is `None` where nobody knows. Never fails: what was answered was answered."""
        self._turn()
        for unit, amount in (("tokens", tokens), ("usd", round((usd or 0.0) * _PER_USD))):
            if unit in self._spent and amount > 0:
                self._spent[unit].untold += amount
                await self._share(unit)

    def left(self) -> Left:
        """What is left of the day, for a status page: asks nobody."""
        self._turn()
        left = {unit: max(0, limit - self._spent[unit].total) for unit, limit in self._limits.items()}
        usd = left.get("usd")
        return Left(left.get("tokens"), None if usd is None else usd / _PER_USD, self._resets_in_s())

    async def close(self) -> None:
        """Close the connections to the store, if it has any."""
        if self._pool is not None:
            await self._pool.disconnect()

    async def _share(self, unit: str) -> None:
        """Tell the store what it was not told yet, and learn what all instances have spent."""
        self._turn()
        self.prepare()
        if self._storage is None:
            return
        storage, spent, key = self._storage, self._spent[unit], f"budget/{unit}/{self._day}"
        # One after the other: an answer that overtook another could not be told from a store that forgot.
        async with self._line:
            telling = spent.begin()
            told: int | None = None
            try:
                # For two days: the entry may begin late, and is only read on its own.
                told = await self._reach.ask(
                    lambda: storage.incr(key, 2 * _DAY_S, telling) if telling else storage.get(key), self._faults
                )
            finally:
                spent.end(telling, told)

    def _turn(self) -> None:
        """Begin a new day. What is still on its way to the store is of the old one, and goes there."""
        today = self._today()
        if today != self._day:
            self._day = today
            self._spent = {unit: _Spent() for unit in self._limits}

    def _today(self) -> int:
        return int(self._clock.wall() // _DAY_S)

    def _resets_in_s(self) -> float:
        return _DAY_S - self._clock.wall() % _DAY_S

    def _refusal(self, unit: str) -> OverBudget:
        # How much the service may spend is its owner's affair, not a visitor's.
        limit = self._limits[unit]
        figure = f"{limit} tokens" if unit == "tokens" else f"{limit / _PER_USD:g} USD"
        error = OverBudget(
            "service: has spent what it may in a day",
            hint="it is counted anew at midnight UTC",
            retry_after_s=self._resets_in_s(),
        )
        return quiet(error, f"service: has spent the {figure} that it may in a day")


class _Spent:
    """What was spent of one unit on one day: as the store told it last, what it is being told, and what it does not know."""

    __slots__ = ("_shared", "_telling", "untold")

    def __init__(self) -> None:
        self._shared = 0
        self._telling = 0
        self.untold = 0

    @property
    def total(self) -> int:
        return self._shared + self._telling + self.untold

    def begin(self) -> int:
        """Take what the store is to be told now."""
        self._telling, self.untold = self.untold, 0
        return self._telling

    def end(self, telling: int, shared: int | None) -> None:
        """What became of it: what the store counts now, or `None` when it did not answer.

        If it heard and only its answer was lost, the amount is told twice: a budget that ends early is the better mistake.
        """
        self._telling = 0
        if shared is None:
            self.untold += telling
        else:
            # A store that was started anew has forgotten, and is not believed.
            self._shared = max(self._shared + telling, shared)
