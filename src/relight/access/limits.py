"""How much each key, or each address where there are no keys, may use. Knows no route; how things are counted is `tally`'s."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypeVar

from relight.access.reach import Reach
from relight.clock import Clock
from relight.config.schema import Limits
from relight.errors import OverBudget, RateLimited

if TYPE_CHECKING:
    from relight.access.tally import Tally

_T = TypeVar("_T")

_DAY_S: Final = 86400
# How long a running answer of the same key may take is not known; agents do wait exactly as long as they are told.
_CONCURRENCY_RETRY_S: Final = 1.0


class Lease:
    """One request's place within the limits; leaving the `with` block gives it back."""

    __slots__ = ("_limiter", "_who")

    def __init__(self, limiter: Limiter, who: str) -> None:
        self._limiter = limiter
        self._who: str | None = who

    async def spend(self, tokens: int) -> None:
        """Count `tokens`, of prompt and answer together, once they are known. Never fails: what was answered was answered."""
        if self._who is not None and tokens > 0:
            await self._limiter.spend(self._who, tokens)

    def leave(self) -> None:
        """Give the place back; again is nothing. Tokens are to be spent before."""
        if self._who is not None:
            self._limiter.release(self._who)
            self._who = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.leave()


class Limiter:
    """Lets requests in while they are within `limits`, each name (`who`) by itself.

    Requests of a minute and tokens of a day are counted in the store, which several instances may share. Requests at the same
    time are counted in this process alone: a shared count would keep, for ever or for hours, what an instance held when it died.

    Tokens are known when an answer ends, so they are tested before and counted after: requests that run together can each
    go past the limit once. Days are those of UTC.

    While the store cannot be reached every request passes: an outage of a counter should not become one of the service.
    `note` is told, once a minute; the limit on requests at the same time goes on holding.
    """

    def __init__(self, limits: Limits, clock: Clock, *, service: str = "relight", note: Callable[[str], None]) -> None:
        self._limits = limits
        self._clock = clock
        self._service = service
        self._reach = Reach(clock, note, so="requests and tokens are not limited")
        self._running: dict[str, int] = {}
        self._tally: Tally | None = None
        self._needs_store = limits.requests_per_minute is not None or limits.tokens_per_day is not None

    def prepare(self) -> None:
        """Import and open what counting needs, if anything: a tenth of a second that the first request else waits for.

        Raises `ConfigError` when the client of the store is missing, or cannot read its address. Connects to nothing yet.
        """
        if self._needs_store and self._tally is None:
            from relight.access.tally import Tally

            self._tally = Tally(self._limits, self._service)

    async def enter(self, who: str) -> Lease:
        """Let one request of `who` in; raises `RateLimited` or `OverBudget` with the time after which it may come again."""
        self._start(who)
        lease = Lease(self, who)
        if self._needs_store:
            try:
                await self._count(who)
            except BaseException:
                lease.leave()
                raise
        return lease

    async def spend(self, who: str, tokens: int) -> None:
        """See `Lease.spend`."""
        if self._limits.tokens_per_day is not None:
            day = self._day()
            await self._ask(lambda tally: tally.spend(who, day, tokens))

    def release(self, who: str) -> None:
        """See `Lease.leave`."""
        left = self._running[who] - 1
        if left:
            self._running[who] = left
        else:
            del self._running[who]

    async def close(self) -> None:
        """Close the connections to the store."""
        if self._tally is not None:
            await self._tally.close()

    def _start(self, who: str) -> None:
        running, most = self._running.get(who, 0), self._limits.concurrency
        if most is not None and running >= most:
            raise RateLimited(
                f"limits.concurrency: {most} requests at the same time are all in use",
                hint="wait for one of them to end",
                retry_after_s=_CONCURRENCY_RETRY_S,
            )
        self._running[who] = running + 1

    async def _count(self, who: str) -> None:
        day = self._day()
        taken = await self._ask(lambda tally: tally.take(who, day))
        if taken is None:
            return
        if not taken.has_tokens:
            raise OverBudget(
                f"limits.tokens_per_day: {self._limits.tokens_per_day} tokens are used up",
                hint="they are counted anew at midnight UTC",
                retry_after_s=_DAY_S - self._clock.wall() % _DAY_S,
            )
        if taken.wait_s is not None:
            raise RateLimited(
                f"limits.requests_per_minute: {self._limits.requests_per_minute} requests in a minute are used up",
                hint=f"come again in {taken.wait_s:.0f} s",
                retry_after_s=taken.wait_s,
            )

    def _day(self) -> str:
        """The number of the day of UTC since 1970."""
        return str(int(self._clock.wall() // _DAY_S))

    async def _ask(self, question: Callable[[Tally], Awaitable[_T]]) -> _T | None:
        """What the store says, `None` while it cannot be asked."""
        if self._tally is None:
            self.prepare()
        tally = self._tally
        if tally is None:
            return None
        if self._limits.store == "memory":
            return await question(tally)
        return await self._reach.ask(lambda: question(tally), tally.faults)
