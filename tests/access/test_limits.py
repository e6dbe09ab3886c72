from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relight.access.limits import Lease, Limiter
from relight.clock import ManualClock
from relight.config.schema import Limits
from relight.errors import OverBudget, RateLimited

DAY_S = 86400


def limiter(limits: Limits, clock: ManualClock | None = None) -> Limiter:
    # In memory nothing can be out of reach: a note would fail the test.
    return Limiter(limits, clock or ManualClock(), note=pytest.fail)


async def enter(limits: Limiter, who: str = "laptop", times: int = 1) -> list[Lease]:
    return [await limits.enter(who) for _ in range(times)]


# --- requests at the same time ------------------------------------------------------------------------------------


async def test_request_above_the_concurrency_is_refused_and_let_in_once_another_left() -> None:
    limits = limiter(Limits(concurrency=2))
    first, _ = await enter(limits, times=2)
    with pytest.raises(RateLimited) as caught:
        await limits.enter("laptop")
    assert caught.value.retry_after_s == 1.0
    assert caught.value.message.startswith("limits.concurrency: 2 requests at the same time")
    first.leave()
    await limits.enter("laptop")


async def test_leaving_twice_gives_one_place_back() -> None:
    limits = limiter(Limits(concurrency=2))
    first, _ = await enter(limits, times=2)
    first.leave()
    first.leave()
    await limits.enter("laptop")
    with pytest.raises(RateLimited):
        await limits.enter("laptop")


async def test_place_is_given_back_when_the_answer_fails() -> None:
    limits = limiter(Limits(concurrency=1))
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), await limits.enter("laptop"):
            raise ZeroDivisionError


async def test_names_do_not_share_their_limits() -> None:
    limits = limiter(Limits(concurrency=1, requests_per_minute=1, tokens_per_day=1))
    for who in ("a", "b"):
        with await limits.enter(who) as lease:
            await lease.spend(5)
    await limits.close()


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60))
def test_running_requests_never_exceed_the_concurrency(steps: list[tuple[str, bool]]) -> None:
    async def play() -> None:
        limits, running = limiter(Limits(concurrency=2)), Counter[str]()
        leases: dict[str, list[Lease]] = {who: [] for who in "abc"}
        for who, is_arrival in steps:
            if not is_arrival:
                if leases[who]:
                    leases[who].pop().leave()
                    running[who] -= 1
                continue
            try:
                leases[who].append(await limits.enter(who))
                running[who] += 1
            except RateLimited:
                assert running[who] == 2
            assert running[who] <= 2

    asyncio.run(play())


# --- requests in a minute -----------------------------------------------------------------------------------------


async def test_request_above_those_of_a_minute_is_refused_with_the_time_to_wait() -> None:
    limits = limiter(Limits(requests_per_minute=3))
    for lease in await enter(limits, times=3):
        lease.leave()
    with pytest.raises(RateLimited) as caught:
        await limits.enter("laptop")
    assert caught.value.retry_after_s is not None
    assert 0 <= caught.value.retry_after_s <= 60
    assert caught.value.message == "limits.requests_per_minute: 3 requests in a minute are used up"
    await limits.enter("phone")


async def test_request_refused_for_the_minute_takes_no_place() -> None:
    limits = limiter(Limits(requests_per_minute=1, concurrency=1))
    (lease,) = await enter(limits)
    lease.leave()
    for _ in range(3):
        with pytest.raises(RateLimited, match=r"^limits\.requests_per_minute"):
            await limits.enter("laptop")


async def test_request_refused_for_another_reason_is_not_counted_in_the_minute() -> None:
    limits = limiter(Limits(requests_per_minute=2, concurrency=1))
    (lease,) = await enter(limits)
    for _ in range(5):
        with pytest.raises(RateLimited, match=r"^limits\.concurrency"):
            await limits.enter("laptop")
    lease.leave()
    await limits.enter("laptop")


# --- tokens in a day ----------------------------------------------------------------------------------------------


async def test_tokens_are_tested_before_and_counted_after() -> None:
    limits = limiter(Limits(tokens_per_day=100))
    first, second = await enter(limits, times=2)
    await first.spend(99)
    third = await limits.enter("laptop")
    await second.spend(500)
    await third.spend(0)
    with pytest.raises(OverBudget) as caught:
        await limits.enter("laptop")
    assert caught.value.message == "limits.tokens_per_day: 100 tokens are used up"


async def test_tokens_are_counted_anew_at_midnight_utc() -> None:
    clock = ManualClock()
    limits = limiter(Limits(tokens_per_day=10), clock)
    with await limits.enter("laptop") as lease:
        await lease.spend(10)
    with pytest.raises(OverBudget) as caught:
        await limits.enter("laptop")
    left_s = caught.value.retry_after_s
    assert left_s is not None
    assert 0 < left_s <= DAY_S
    assert (clock.wall() + left_s) % DAY_S == pytest.approx(0)
    await clock.advance(left_s - 1)
    with pytest.raises(OverBudget):
        await limits.enter("laptop")
    await clock.advance(1)
    await limits.enter("laptop")


async def test_tokens_spent_after_leaving_are_not_counted() -> None:
    limits = limiter(Limits(tokens_per_day=10))
    (lease,) = await enter(limits)
    lease.leave()
    await lease.spend(10)
    await limits.enter("laptop")


# --- what it costs ------------------------------------------------------------------------------------------------


def loaded_by(limits: str) -> set[str]:
    code = f"""
import asyncio, sys
from relight.access.limits import Limiter
from relight.clock import SystemClock
from relight.config.schema import Limits
async def main():
    limiter = Limiter({limits}, SystemClock(), note=print)
    limiter.prepare()
    with await limiter.enter("a") as lease:
        await lease.spend(5)
asyncio.run(main())
print(*sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_library_is_imported_only_where_something_has_to_be_counted() -> None:
    assert not {"limits", "redis"} & loaded_by("Limits(concurrency=2)")
    modules = loaded_by("Limits(requests_per_minute=2)")
    assert "limits" in modules
    assert "redis" not in modules
