from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.access.budget import Budget, Daily, Left
from relight.clock import ManualClock
from relight.errors import ConfigError, OverBudget
from tests.access.test_store import needs_redis, redis, silent
from tests.serve.process import free_port

DAY_S = 86400
SAID = "limits.store: cannot be reached (ConnectionError), so each instance keeps to the day's budget by itself"


@asynccontextmanager
async def budget(
    daily: Daily,
    store: str = "memory",
    *,
    clock: ManualClock | None = None,
    service: str = "test",
    notes: list[str] | None = None,
) -> AsyncIterator[Budget]:
    note = pytest.fail if notes is None else notes.append
    found = Budget(daily, clock or ManualClock(), store=store, service=service, note=note)
    try:
        yield found
    finally:
        await found.close()


async def is_spent(found: Budget) -> bool:
    try:
        await found.check()
    except OverBudget:
        return True
    return False


# --- in memory ----------------------------------------------------------------------------------------------------


async def test_budget_is_tested_before_and_counted_after() -> None:
    async with budget(Daily(tokens=100)) as found:
        await found.check()
        await found.spend(99)
        await found.check()
        await found.spend(500)
        with pytest.raises(OverBudget):
            await found.check()


async def test_visitor_hears_until_when_and_only_the_log_how_much() -> None:
    clock = ManualClock()
    async with budget(Daily(tokens=10, usd=2.5), clock=clock) as found:
        await found.spend(3, 2.5)
        with pytest.raises(OverBudget) as caught:
            await found.check()
    error = caught.value
    assert str(error) == "service: has spent what it may in a day; it is counted anew at midnight UTC"
    assert error.log_message == "service: has spent the 2.5 USD that it may in a day"
    assert error.retry_after_s is not None
    assert 0 < error.retry_after_s <= DAY_S
    assert (clock.wall() + error.retry_after_s) % DAY_S == pytest.approx(0)


async def test_budget_is_counted_anew_at_midnight_utc() -> None:
    clock = ManualClock()
    async with budget(Daily(tokens=10), clock=clock) as found:
        await found.spend(10)
        left_s = found.left().resets_in_s
        await clock.advance(left_s - 1)
        assert await is_spent(found)
        await clock.advance(1)
        await found.check()
        assert found.left() == Left(10, None, DAY_S)


async def test_parts_of_a_millionth_of_a_dollar_add_up() -> None:
    async with budget(Daily(usd=0.001)) as found:
        for _ in range(1999):
            await found.spend(2, 0.0000005)
        await found.check()
        await found.spend(2, 0.0000005)
        assert await is_spent(found)


async def test_answers_without_a_price_and_without_tokens_cost_nothing() -> None:
    async with budget(Daily(tokens=5, usd=1.0)) as found:
        await found.spend(0, None)
        await found.spend(3, None)
        assert found.left().tokens == 2
        assert found.left().usd == 1.0


async def test_without_limits_nothing_is_refused() -> None:
    async with budget(Daily(), "redis://127.0.0.1:1/0") as found:
        await found.spend(10**12, 10.0**6)
        await found.check()
        assert (found.left().tokens, found.left().usd) == (None, None)


async def test_budget_of_nothing_refuses_everything() -> None:
    async with budget(Daily(usd=0.0)) as found:
        assert await is_spent(found)


async def test_what_is_left_does_not_fall_below_nothing() -> None:
    async with budget(Daily(tokens=5, usd=0.5)) as found:
        await found.spend(50, 0.75)
        assert (found.left().tokens, found.left().usd) == (0, 0.0)


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0, 1)), max_size=30))
def test_budget_is_over_exactly_when_one_of_its_limits_is_reached(answers: list[tuple[int, float]]) -> None:
    async def play() -> None:
        async with budget(Daily(tokens=300, usd=5.0)) as found:
            tokens, billionths = 0, 0
            for count, usd in answers:
                assert await is_spent(found) == (tokens >= 300 or billionths >= 5 * 10**9)
                await found.spend(count, usd)
                tokens, billionths = tokens + count, billionths + round(usd * 10**9)

    asyncio.run(play())


@pytest.mark.parametrize("store", ["redis://127.0.0.1:1?socket_timeout=soon", "redis://127.0.0.1:1?db=x"])
def test_address_that_the_client_cannot_read_is_refused(store: str) -> None:
    found = Budget(Daily(tokens=1), ManualClock(), store=store, note=pytest.fail)
    with pytest.raises(ConfigError, match=r"limits\.store"):
        found.prepare()


def test_budget_in_memory_imports_no_library() -> None:
    code = """
import asyncio, sys
from relight.access.budget import Budget, Daily
from relight.clock import SystemClock
async def main():
    budget = Budget(Daily(tokens=5), SystemClock(), note=print)
    budget.prepare()
    await budget.check()
    await budget.spend(5)
asyncio.run(main())
print(*sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"limits", "redis"} & set(done.stdout.split())


# --- shared -------------------------------------------------------------------------------------------------------


@pytest.mark.real
@needs_redis
async def test_instances_spend_one_budget_and_another_service_its_own(tmp_path: Path) -> None:
    clock = ManualClock()
    with redis(tmp_path, free_port()) as store:
        daily = Daily(tokens=100, usd=1.0)
        async with (
            budget(daily, store, clock=clock) as one,
            budget(daily, store, clock=clock) as other,
            budget(daily, store, clock=clock, service="else") as foreign,
        ):
            await one.spend(60, 0.1)
            await other.check()
            assert other.left().tokens == 40
            await other.spend(30, 0.9)
            with pytest.raises(OverBudget) as caught:
                await one.check()
            assert caught.value.log_message == "service: has spent the 1 USD that it may in a day"
            await foreign.check()
            await clock.advance(DAY_S)
            await one.check()
            assert one.left().tokens == 100


@pytest.mark.real
@needs_redis
async def test_everything_that_is_spent_at_the_same_time_is_counted_once(tmp_path: Path) -> None:
    with redis(tmp_path, free_port()) as store:
        daily = Daily(tokens=10_000)
        async with budget(daily, store) as one, budget(daily, store) as other:
            await asyncio.gather(*(found.spend(10) for _ in range(50) for found in (one, other)))
            await asyncio.gather(one.check(), other.check())
            assert one.left().tokens == other.left().tokens == 9_000


@pytest.mark.real
@needs_redis
async def test_local_count_holds_while_redis_is_gone_and_is_told_when_it_is_back(tmp_path: Path) -> None:
    port, clock, notes = free_port(), ManualClock(), list[str]()
    daily, address = Daily(tokens=100), f"redis://127.0.0.1:{port}"
    async with (
        budget(daily, address, clock=clock, notes=notes) as one,
        budget(daily, address, clock=clock, notes=notes) as other,
    ):
        with redis(tmp_path, port):
            await one.spend(40)
            await other.spend(20)
            await one.check()
        await one.spend(30)
        await one.check()
        assert one.left().tokens == 10  # what it knew of both, and its own since
        await one.spend(10)
        assert await is_spent(one)
        assert not await is_spent(other)
        assert notes == [SAID, SAID]  # each once
        with redis(tmp_path, port):  # which has forgotten all
            assert await is_spent(one)
            await clock.advance(5)
            assert await is_spent(one)
            await other.check()
            assert other.left().tokens == 100 - 60  # its own memory is larger than what it is told
            async with budget(daily, address, clock=clock) as fresh:
                await fresh.check()
                assert fresh.left().tokens == 100 - 40  # what was spent while nobody could be told
    assert len(notes) == 2


async def test_store_that_never_was_there_leaves_each_instance_its_own_budget() -> None:
    clock, notes = ManualClock(), list[str]()
    async with budget(Daily(tokens=100, usd=9.0), f"redis://:hush@127.0.0.1:{free_port()}/0", clock=clock, notes=notes) as found:
        for _ in range(10):
            await found.check()
            await found.spend(10, 0.01)
            await clock.advance(5)
        assert await is_spent(found)
    assert notes == [SAID]


async def test_spending_that_is_given_up_while_the_store_is_asked_is_not_lost() -> None:
    notes: list[str] = []
    async with silent() as server, budget(Daily(tokens=100), server.store, notes=notes) as found:
        spending = asyncio.create_task(found.spend(30))
        await server.connected.wait()
        assert found.left().tokens == 70  # while it is on its way as well
        spending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await spending
        assert found.left().tokens == 70
