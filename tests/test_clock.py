from __future__ import annotations

import asyncio
import time

from relight.clock import Clock, ManualClock, SystemClock


async def nap(clock: Clock, seconds: float, woken: list[tuple[float, float]]) -> None:
    await clock.sleep(seconds)
    woken.append((seconds, clock.now()))


async def test_sleepers_wake_in_order_at_their_own_times() -> None:
    clock, woken = ManualClock(100.0), list[tuple[float, float]]()
    async with asyncio.TaskGroup() as group:
        for seconds in (3.0, 2.0, 1.0):
            group.create_task(nap(clock, seconds, woken))
        await clock.advance(2.5)
        assert woken == [(1.0, 101.0), (2.0, 102.0)]
        await clock.advance(0.5)
    assert woken[2:] == [(3.0, 103.0)]
    assert clock.now() == 103.0


async def test_sleepers_due_at_the_same_time_wake_in_the_order_they_came() -> None:
    clock, order = ManualClock(), list[str]()

    async def one(name: str) -> None:
        await clock.sleep(1.0)
        order.append(name)

    async with asyncio.TaskGroup() as group:
        for name in "abc":
            group.create_task(one(name))
        await clock.advance(1.0)
    assert order == ["a", "b", "c"]


async def test_sleeper_that_sleeps_again_is_woken_again_in_one_advance() -> None:
    clock, seen = ManualClock(0.0), list[float]()

    async def ticker() -> None:
        for _ in range(3):
            await clock.sleep(1.0)
            seen.append(clock.now())

    async with asyncio.TaskGroup() as group:
        group.create_task(ticker())
        await clock.advance(10.0)
    assert seen == [1.0, 2.0, 3.0]
    assert clock.now() == 10.0


async def test_nobody_wakes_before_the_hands_are_moved() -> None:
    clock, woken = ManualClock(), list[tuple[float, float]]()
    task = asyncio.create_task(nap(clock, 0.0, woken))
    await asyncio.sleep(0)
    assert not woken
    await clock.advance(0.0)
    assert woken == [(0.0, clock.now())]
    await task


async def test_negative_sleep_is_due_at_once_and_never_turns_the_hands_back() -> None:
    clock, woken = ManualClock(50.0), list[tuple[float, float]]()
    task = asyncio.create_task(nap(clock, -5.0, woken))
    await clock.advance(1.0)
    assert woken == [(-5.0, 50.0)]
    await task


async def test_cancelled_sleeper_stops_nobody_else() -> None:
    clock, woken = ManualClock(0.0), list[tuple[float, float]]()
    first, second = (asyncio.create_task(nap(clock, seconds, woken)) for seconds in (1.0, 2.0))
    await clock.advance(0.5)
    first.cancel()
    await clock.advance(5.0)
    assert woken == [(2.0, 2.0)]
    assert first.cancelled()
    await second


async def test_wall_time_moves_with_the_hands() -> None:
    clock = ManualClock()
    before = clock.wall()
    await clock.advance(60.0)
    assert clock.wall() - before == 60.0


async def test_system_clock_is_the_machines() -> None:
    clock = SystemClock()
    began = time.monotonic()
    await clock.sleep(0.01)
    assert began + 0.01 <= clock.now() <= time.monotonic()
    assert abs(clock.wall() - time.time()) < 5
