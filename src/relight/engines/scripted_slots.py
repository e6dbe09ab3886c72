"""The places of the scripted engine: who gets one, who waits, and what `GET /slots` tells of them. Knows no request."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Slot:
    """A place for one request."""

    id: int
    task: int = -1
    is_busy: bool = False
    prompt_tokens: int = 0
    decoded: int = 0


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A request in the queue; `wanted` is the only place that it takes, if it named one."""

    wanted: int | None
    turn: asyncio.Future[Slot]

    def takes(self, slot: Slot) -> bool:
        return not self.turn.done() and self.wanted in (None, slot.id)


class Slots:
    """As many requests at once as there are slots; the others wait in the order they came."""

    def __init__(self, count: int) -> None:
        self._slots = [Slot(index) for index in range(count)]
        self._queue: list[_Waiting] = []
        self._tasks = 0

    @contextlib.asynccontextmanager
    async def take(self, prompt_tokens: int, wanted: int | None = None) -> AsyncIterator[Slot]:
        """A slot for the time of the block: the `wanted` one and no other, where there is one of that number."""
        self._tasks += 1
        task = self._tasks
        slot = await self._claim(wanted if wanted is not None and 0 <= wanted < len(self._slots) else None)
        slot.task, slot.prompt_tokens, slot.decoded = task, prompt_tokens, 0
        try:
            yield slot
        finally:
            self._give_back(slot)

    def describe(self, context: int) -> Iterator[dict[str, Any]]:
        """The answer to `GET /slots`."""
        for slot in self._slots:
            state: dict[str, Any] = {"id": slot.id, "n_ctx": context, "speculative": False, "is_processing": slot.is_busy}
            if slot.task >= 0:
                next_token = [{"has_next_token": slot.is_busy, "n_decoded": slot.decoded}]
                state |= {"id_task": slot.task, "n_prompt_tokens": slot.prompt_tokens, "next_token": next_token}
            yield state

    async def _claim(self, wanted: int | None) -> Slot:
        waiting = _Waiting(wanted, asyncio.get_running_loop().create_future())
        # A slot that is free has been offered to all who wait, and none of them takes it.
        free = next((slot for slot in self._slots if not slot.is_busy and waiting.takes(slot)), None)
        if free is not None:
            free.is_busy = True
            return free
        self._queue.append(waiting)
        try:
            return await waiting.turn
        except asyncio.CancelledError:
            if waiting.turn.done() and not waiting.turn.cancelled():
                self._give_back(waiting.turn.result())
            raise
        finally:
            self._queue.remove(waiting)

    def _give_back(self, slot: Slot) -> None:
        following = next((waiting for waiting in self._queue if waiting.takes(slot)), None)
        slot.is_busy = following is not None
        if following is not None:
            following.turn.set_result(slot)
