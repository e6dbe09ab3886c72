"""One timer for all streams: each gets its sign when it is due, and none before or after."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

from relight.clock import ManualClock
from relight.errors import ClientGone
from relight.serve.pulse import Pulse, SignsOfLife

EVERY = 5.0


class Stream:
    """An answer that notes when it gives a sign."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.last_life = clock.now()
        self.signs: list[float] = []
        self.stuck: asyncio.Event | None = None
        self.is_gone = False

    def speak(self) -> None:
        self.last_life = self._clock.now()

    async def give_sign(self, model: str) -> None:
        if self.is_gone:
            raise ClientGone("client: left")
        self.signs.append(self._clock.now())
        self.speak()
        if self.stuck is not None:
            await self.stuck.wait()


async def test_each_stream_gets_its_sign_when_it_alone_has_been_silent() -> None:
    clock = ManualClock(0.0)
    pulse, early = Pulse(clock, EVERY), Stream(clock)
    async with SignsOfLife(pulse, early, "m"):
        await clock.advance(2)
        late = Stream(clock)
        async with SignsOfLife(pulse, late, "m"):
            await clock.advance(2)
            early.speak()
            await clock.advance(11)
    assert early.signs == [9.0, 14.0]
    assert late.signs == [7.0, 12.0]
    await pulse.close()


async def test_stream_that_has_ended_gets_none_and_the_next_one_does() -> None:
    clock = ManualClock(0.0)
    pulse, first = Pulse(clock, EVERY), Stream(clock)
    async with SignsOfLife(pulse, first, "m"):
        await clock.advance(1)
    await clock.advance(3)
    second = Stream(clock)
    async with SignsOfLife(pulse, second, "m"):
        await clock.advance(6)
    await clock.advance(100)
    assert (first.signs, second.signs) == ([], [9.0])
    await pulse.close()


async def test_sign_that_does_not_get_out_is_followed_by_no_other_and_ends_with_its_stream() -> None:
    clock = ManualClock(0.0)
    pulse, stream, other = Pulse(clock, EVERY), Stream(clock), Stream(clock)
    stream.stuck = asyncio.Event()
    async with SignsOfLife(pulse, other, "m"):
        async with SignsOfLife(pulse, stream, "m"):
            await clock.advance(21)
        assert stream.signs == [5.0]
        assert other.signs == [5.0, 10.0, 15.0, 20.0]
    await pulse.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_client_that_is_gone_is_no_news() -> None:
    clock = ManualClock(0.0)
    pulse, stream = Pulse(clock, EVERY), Stream(clock)
    stream.is_gone = True
    async with SignsOfLife(pulse, stream, "m"):
        await clock.advance(12)
    assert stream.signs == []
    await pulse.close()


async def test_sign_that_is_due_by_rounding_is_given() -> None:
    start = 0.7
    assert start + 0.1 - start < 0.1  # the sum is when the timer comes, and the difference is too small
    clock = ManualClock(start)
    pulse, stream = Pulse(clock, 0.1), Stream(clock)
    async with asyncio.timeout(10), SignsOfLife(pulse, stream, "m"):  # it would look again and again, at the same time
        await clock.advance(0.15)
    assert stream.signs == [start + 0.1]
    await pulse.close()


async def test_sign_that_fails_as_it_is_ended_is_no_unheard_error() -> None:
    unheard: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: unheard.append(context))

    class Failing(Stream):
        async def give_sign(self, model: str) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                raise OSError("no way out")

    clock = ManualClock(0.0)
    pulse = Pulse(clock, EVERY)
    async with SignsOfLife(pulse, Failing(clock), "m"):
        await clock.advance(6)
    await pulse.close()
    gc.collect()
    assert unheard == []
