"""Asking a shared store that may be out of reach: with little patience, then not at all for a while. Knows no count."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from relight.clock import Clock

_T = TypeVar("_T")

# Longest time that a request waits for a shared store, after which that is left alone for a while.
_PATIENCE_S: Final = 0.6
_REST_S: Final = 5.0
_NOTE_EVERY_S: Final = 60.0


class Reach:
    """Puts questions to a store; `note` is told, once a minute, when it cannot be reached and what follows (`so`)."""

    def __init__(self, clock: Clock, note: Callable[[str], None], *, so: str) -> None:
        self._clock = clock
        self._note = note
        self._so = so
        self._resting_until = 0.0
        self._noted_at: float | None = None

    async def ask(self, question: Callable[[], Awaitable[_T]], faults: tuple[type[Exception], ...]) -> _T | None:
        """What the store says, `None` while it cannot be asked: `faults` are what says so."""
        if self._clock.now() < self._resting_until:
            return None
        cancels = _cancels()
        answer: _T | None = None
        try:
            async with asyncio.timeout(_PATIENCE_S):
                answer = await question()
        except faults as error:
            self._rest(error)
        if _cancels() > cancels:
            # The client of Redis loses a cancellation that meets it while it connects.
            raise asyncio.CancelledError
        return answer

    def _rest(self, error: Exception) -> None:
        """Leave the store alone for a while: waiting for it at every request would slow down all of them."""
        now = self._clock.now()
        self._resting_until = now + _REST_S
        if self._noted_at is None or now - self._noted_at >= _NOTE_EVERY_S:
            self._noted_at = now
            # The class only: the text of an error may hold the address, and with it a password.
            self._note(f"limits.store: cannot be reached ({type(error).__name__}), so {self._so}")


def _cancels() -> int:
    task = asyncio.current_task()
    return task.cancelling() if task is not None else 0
