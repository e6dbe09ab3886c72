"""The one owner of who holds how much memory: lets engines start when there is room, and asks idle ones to sleep for it.

It knows no process and no file: what a model needs, whether it is idle and how it is put to sleep is told by the `House`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from relight.clock import Clock
from relight.engines.base import Address
from relight.errors import EngineFailed
from relight.lifecycle.budget import Limit, Resident, make_room
from relight.lifecycle.runner import Launch, Started
from relight.values import format_bytes

# Nobody tells when a model becomes idle: whoever is first in the queue looks this often.
_LOOK_EVERY_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class Facts:
    """A model as it is now; idle means awake without a request that runs or waits. `wake_s`: what a wake should take."""

    needs_bytes: int
    is_idle: bool
    wake_s: float


class House(Protocol):
    """What the keeper has to know of models, and what it asks for."""

    def facts(self, model: str) -> Facts:
        """How the model is; asking changes nothing."""
        ...

    def sleep(self, model: str) -> None:
        """Put an idle model to sleep. Its `Kept` tells when it is gone."""
        ...


class Kept:
    """A started engine whose memory is given back when it has stopped."""

    def __init__(self, started: Started, release: Callable[[], None]) -> None:
        self.started = started
        self._release: Callable[[], None] | None = release

    @property
    def socket(self) -> Address:
        """See `Started.socket`."""
        return self.started.socket

    async def ready(self) -> None:
        """See `Started.ready`."""
        await self.started.ready()

    async def exited(self) -> EngineFailed:
        """See `Started.exited`."""
        return await self.started.exited()

    async def stop(self, grace_s: float) -> None:
        """See `Started.stop`; may be called more than once."""
        try:
            await self.started.stop(grace_s)
        finally:
            release, self._release = self._release, None
            if release is not None:
                release()


@dataclass(slots=True)
class _Use:
    """How often a model was asked for, and when last."""

    count: int = 0
    last: float = 0.0


@dataclass(slots=True)
class _Holding:
    """Memory that a model holds; `is_leaving` once it was asked to sleep."""

    needs_bytes: int
    is_leaving: bool = False


@dataclass(eq=False, slots=True)
class _Place:
    """A place in the queue."""

    model: str
    needs_bytes: int
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class Keeper:
    """Shares `limit` among the models of one service: first come, first served. One that works is never put to sleep.

    `warn` hears of what is allowed but may go wrong.
    """

    def __init__(self, limit: Limit, house: House, clock: Clock, warn: Callable[[str], None]) -> None:
        self._limit = limit
        self._house = house
        self._clock = clock
        self._warn = warn
        self._held: dict[str, _Holding] = {}
        self._uses: dict[str, _Use] = {}
        self._queue: list[_Place] = []

    @property
    def held_bytes(self) -> int:
        """What the engines that were let in need together, those that are still going included."""
        return sum(holding.needs_bytes for holding in self._held.values())

    def used(self, model: str) -> None:
        """Note a request for the model: what is used often and lately stays longer."""
        use = self._uses.setdefault(model, _Use())
        use.count, use.last = use.count + 1, self._clock.now()

    def look(self) -> None:
        """Say that something may have changed (a model became idle); without it, it is found a quarter of a second later."""
        if self._queue:
            self._queue[0].changed.set()

    async def keep(self, model: str, launch: Launch) -> Kept:
        """Wait for room, then launch. The room is given back when the launch fails or the engine has stopped.

        Raises as `reserve` does, and what `launch` raises.
        """
        await self.reserve(model)
        try:
            started = await launch()
        except BaseException:
            self.release(model)
            raise
        return Kept(started, lambda: self.release(model))

    async def reserve(self, model: str) -> None:
        """Wait until there is room for the model, and take it. Waits as long as it takes: whoever asks has the deadline.

        Raises `EngineFailed` for a model that is larger than a limit which somebody configured. A larger one than what was
        measured is let in when it is alone, with a warning: such estimates may be wrong.
        """
        place = _Place(model, self._house.facts(model).needs_bytes)
        self._check(place)
        self._queue.append(place)
        try:
            while not self._let_in(place):
                await self._change(place)
        finally:
            self._queue.remove(place)
            self.look()

    def release(self, model: str) -> None:
        """Give back what the model holds; its process is gone."""
        self._held.pop(model, None)
        self.look()

    def _check(self, place: _Place) -> None:
        if place.needs_bytes <= self._limit.size_bytes:
            return
        needs, has = format_bytes(place.needs_bytes), format_bytes(self._limit.size_bytes)
        if self._limit.is_configured:
            raise EngineFailed(
                f'model "{place.model}": needs about {needs} of memory awake, server.memory is {has}',
                hint=f"raise server.memory, or lower models.{place.model}.context or parallel",
            )
        self._warn(f'model "{place.model}": needs about {needs} of memory awake, there are {has}; it is started alone')

    def _let_in(self, place: _Place) -> bool:
        """Whether there is room for the first in the queue; asks others to sleep when that would make it."""
        if self._queue[0] is not place or place.model in self._held:
            return False
        room = make_room(self._staying(), place.needs_bytes, self._limit.size_bytes, self._clock.now())
        if not room.fits:
            return False
        for victim in room.victims:
            self._held[victim].is_leaving = True
            self._house.sleep(victim)
        if self._held and self.held_bytes + place.needs_bytes > self._limit.size_bytes:
            return False  # until those that were asked to sleep are gone
        self._held[place.model] = _Holding(place.needs_bytes)
        return True

    def _staying(self) -> list[Resident]:
        """Those that nobody has asked to sleep, or that did not do so."""
        staying = []
        for name, holding in self._held.items():
            facts, use = self._house.facts(name), self._uses.get(name, _Use())
            holding.is_leaving = holding.is_leaving and not facts.is_idle
            if not holding.is_leaving:
                staying.append(Resident(name, holding.needs_bytes, facts.is_idle, use.last, facts.wake_s, use.count))
        return staying

    async def _change(self, place: _Place) -> None:
        """Return when there is reason to look again: when told, and now and then for the first in the queue."""
        place.changed.clear()
        timer = asyncio.create_task(self._look_later(place)) if self._queue[0] is place else None
        try:
            await place.changed.wait()
        finally:
            if timer is not None:
                timer.cancel()

    async def _look_later(self, place: _Place) -> None:
        await self._clock.sleep(_LOOK_EVERY_S)
        place.changed.set()
