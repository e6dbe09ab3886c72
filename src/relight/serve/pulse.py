"""No stream is silent for too long: one timer looks at all, because a task for each costs more than most ever have to say."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Protocol

from relight.clock import Clock
from relight.errors import ClientGone
from relight.lifecycle.timer import Timer


class Audible(Protocol):
    """An answer that may fall silent."""

    last_life: float
    """When its client last heard of it."""

    async def give_sign(self, model: str) -> None:
        """Say that it lives, if that can be said now; raises `ClientGone`."""
        ...


class Pulse:
    """The signs of life of one front door: of each answer at the latest `every_s` seconds after the last that was heard of it."""

    def __init__(self, clock: Clock, every_s: float) -> None:
        self._clock, self._every_s = clock, every_s
        self._open: set[SignsOfLife] = set()
        self._timer = Timer(clock, self._look)

    def begin(self, signs: SignsOfLife) -> None:
        """Look after this one as well: those that are there already are due before it."""
        if not self._open:
            self._timer.set(self._clock.now() + self._every_s)
        self._open.add(signs)

    def end(self, signs: SignsOfLife) -> None:
        """Look after it no longer."""
        self._open.discard(signs)

    async def close(self) -> None:
        """Return when nothing is left."""
        await self._timer.stop()

    def _look(self, now: float) -> None:
        for signs in self._open:
            if signs.since + self._every_s <= now:  # added as for the timer: a difference may be rounded to less
                signs.give(now)
        if self._open:
            self._timer.set(min(signs.since for signs in self._open) + self._every_s)


class SignsOfLife:
    """While inside, an answer has a pulse."""

    __slots__ = ("_giving", "_looked_at", "_model", "_of", "_pulse")

    def __init__(self, pulse: Pulse, of: Audible, model: str) -> None:
        self._pulse, self._of, self._model = pulse, of, model
        self._looked_at = of.last_life
        self._giving: asyncio.Task[None] | None = None

    @property
    def since(self) -> float:
        """When it was last heard of, or had its chance."""
        return max(self._of.last_life, self._looked_at)

    def give(self, now: float) -> None:
        """Begin to give a sign; one that does not get out is not followed by more."""
        self._looked_at = now
        if self._giving is None or self._giving.done():
            self._giving = asyncio.create_task(self._give(), name="sign of life")

    async def _give(self) -> None:
        with suppress(ClientGone):  # who sends the answer hears it as well
            await self._of.give_sign(self._model)

    async def __aenter__(self) -> None:
        self._pulse.begin(self)

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pulse.end(self)
        if self._giving is not None:
            self._giving.cancel()
            await asyncio.wait({self._giving})
            if not self._giving.cancelled():
                self._giving.exception()  # what went wrong with a sign is no matter of the answer
