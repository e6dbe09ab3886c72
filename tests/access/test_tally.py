from __future__ import annotations

import time

import pytest

from relight.access.store import Counts
from relight.access.tally import Tally
from relight.config.schema import Limits
from relight.errors import ConfigError


async def test_count_starts_again_once_it_is_over() -> None:
    counts = Counts()
    assert [await counts.incr("k", 60), await counts.incr("k", 60, amount=5)] == [1, 6]
    counts.expirations["k"] = time.time() - 1
    assert await counts.get("k") == 0
    assert await counts.incr("k", 60) == 1


async def test_count_does_not_fall_below_zero() -> None:
    counts = Counts()
    await counts.incr("k", 60, amount=2)
    assert [await counts.decr("k"), await counts.decr("k", 5), await counts.get("k")] == [1, 0, 0]


async def test_counts_that_are_over_are_forgotten_and_the_others_kept() -> None:
    counts = Counts()
    for number in range(1000):
        await counts.incr(f"over-{number}", 60)
    for key in counts.expirations:
        counts.expirations[key] = time.time() - 1
    for number in range(1000):
        await counts.incr(f"new-{number}", 60)
    assert len(counts.expirations) == len(counts.storage) < 1024
    assert await counts.get("new-0") == await counts.get("new-999") == 1


async def test_requests_of_the_last_minute_weigh_less_the_longer_they_are_over() -> None:
    tally, now = Tally(Limits(requests_per_minute=4), "test"), time.time()
    counts = tally._storage
    assert isinstance(counts, Counts)
    item = tally._requests
    previous, _ = counts.sliding_window_keys(item.key_for("a"), 60, now)
    await counts.incr(previous, 600, amount=4)
    allowed = 0
    while (await tally.take("a", "1")).wait_s is None:
        allowed += 1
    # Of the last minute's four, the part of it that is still inside the sliding one counts.
    over = now % 60 / 60
    assert 4 * over - 1 <= allowed <= 4 * over + 1.1


@pytest.mark.parametrize("store", ["redis://127.0.0.1:1?socket_timeout=soon", "redis://127.0.0.1:1?db=x"])
async def test_address_that_the_client_cannot_read_is_refused(store: str) -> None:
    with pytest.raises(ConfigError, match=r"limits\.store"):
        Tally(Limits(store=store), "test")
