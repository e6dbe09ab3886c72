from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.lifecycle.budget import Resident, Room, make_room, worth

NOW = 10_000.0


def resident(name: str, needs: int = 4, *, idle: bool = True, ago: float = 0, wake: float = 1, uses: int = 1) -> Resident:
    return Resident(name, needs, idle, NOW - ago, wake, uses)


def test_model_that_fits_beside_the_others_lets_them_be() -> None:
    assert make_room([resident("a"), resident("b")], 2, 10, NOW) == Room(fits=True)


def test_first_model_fits_to_the_last_byte() -> None:
    assert make_room([], 10, 10, NOW) == Room(fits=True)


def test_least_useful_goes_and_no_more() -> None:
    present = [resident("fresh"), resident("old", ago=3600)]
    assert make_room(present, 4, 10, NOW) == Room(("old",), fits=True)


def test_one_that_works_is_never_chosen() -> None:
    present = [resident("old", ago=3600, idle=False), resident("fresh")]
    assert make_room(present, 4, 10, NOW) == Room(("fresh",), fits=True)


def test_nobody_sleeps_where_that_would_not_be_enough() -> None:
    present = [resident("idle", 2), resident("working", 8, idle=False)]
    assert make_room(present, 4, 10, NOW) == Room()


def test_small_ones_are_spared_when_the_large_one_makes_the_room_alone() -> None:
    present = [resident("small", 1, ago=3600), resident("large", 8)]
    assert make_room(present, 6, 10, NOW) == Room(("large",), fits=True)


def test_model_larger_than_the_limit_sends_all_others_away() -> None:
    assert make_room([resident("a"), resident("b")], 11, 10, NOW) == Room(("a", "b"), fits=True)


def test_model_larger_than_the_limit_waits_for_one_that_works() -> None:
    assert make_room([resident("a"), resident("b", idle=False)], 11, 10, NOW) == Room()


def test_limit_that_is_already_exceeded_is_met_again() -> None:
    present = [resident("huge", 20), resident("a", 4)]
    assert make_room(present, 4, 10, NOW) == Room(("huge",), fits=True)


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (resident("x", wake=10), resident("x", wake=1)),
        (resident("x", 1), resident("x", 8)),
        (resident("x", uses=50), resident("x", uses=2)),
        (resident("x", ago=1), resident("x", ago=300)),
        (resident("x", uses=1), resident("x", uses=500, ago=6 * 3600)),
    ],
    ids=["slow to wake", "small", "often used", "just used", "popular long ago"],
)
def test_worth(better: Resident, worse: Resident) -> None:
    assert worth(better, NOW) > worth(worse, NOW)


def test_ten_idle_minutes_halve_the_worth() -> None:
    assert worth(resident("x", ago=600), NOW) == pytest.approx(worth(resident("x"), NOW) / 2)


PRESENT = st.lists(
    st.builds(
        resident,
        st.just("?"),
        st.integers(0, 12),
        idle=st.booleans(),
        ago=st.floats(0, 1e6),
        wake=st.floats(0, 100),
        uses=st.integers(0, 1000),
    ),
    max_size=8,
).map(lambda items: [replace(item, name=f"m{index}") for index, item in enumerate(items)])


@given(PRESENT, st.integers(0, 15), st.integers(1, 12))
def test_room_is_enough_and_takes_no_victim_too_many(present: list[Resident], wanted: int, limit: int) -> None:
    room = make_room(present, wanted, limit, NOW)
    size = {item.name: item.needs_bytes for item in present}
    victims = set(room.victims)
    assert len(victims) == len(room.victims)
    assert all(item.is_idle for item in present if item.name in victims)
    stays = sum(needs for name, needs in size.items() if name not in victims)
    if wanted > limit:
        assert room.fits == all(item.is_idle for item in present)
        assert victims == (set(size) if room.fits else set())
    elif room.fits:
        assert stays + wanted <= limit
        assert all(stays + size[victim] + wanted > limit for victim in victims)
    else:
        assert not victims
        assert sum(item.needs_bytes for item in present if not item.is_idle) + wanted > limit
