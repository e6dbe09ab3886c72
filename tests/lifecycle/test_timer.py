"""A timer is put off at no cost, and comes back in whichever loop it was set last."""

from __future__ import annotations

import asyncio

from relight.clock import ManualClock
from relight.lifecycle.timer import Timer


async def test_timer_that_is_put_off_comes_once_and_late() -> None:
    clock, called = ManualClock(0.0), list[float]()
    timer = Timer(clock, called.append)
    timer.set(5.0)
    timer.set(8.0)
    await clock.advance(6)
    assert called == []
    await clock.advance(20)
    assert called == [8.0]
    await timer.stop()


def test_timer_of_a_loop_that_has_ended_is_set_again_in_the_next() -> None:
    clock, called = ManualClock(0.0), list[float]()
    timer = Timer(clock, called.append)

    async def set_to(at: float) -> None:
        timer.set(at)
        await clock.advance(2)

    asyncio.run(set_to(100.0))
    asyncio.run(set_to(200.0))  # would be left to whoever slept before

    async def until_called() -> None:
        timer.set(200.0)
        await clock.advance(300)

    asyncio.run(until_called())
    assert called == [200.0]


def test_timer_of_a_loop_that_has_ended_is_stopped_in_the_next() -> None:
    timer = Timer(clock := ManualClock(0.0), lambda now: None)

    async def set_it() -> None:
        timer.set(100.0)
        await clock.advance(1)

    asyncio.run(set_it())
    asyncio.run(timer.stop())
