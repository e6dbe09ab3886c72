"""What is pinned stays as it was seen first, and nothing else does."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.clock import ManualClock
from relight.prefixes.pin import Pins, patterns

DAY_S = 86_400.0


def pins(*texts: str, clock: ManualClock | None = None) -> Pins:
    return Pins(patterns(texts), clock or ManualClock(), DAY_S)


async def test_date_stays_as_it_was_seen_first_until_its_time_is_over() -> None:
    clock = ManualClock()
    pin = pins("date", clock=clock)
    assert pin("You help. Today is 2026-11-21. Be kind.") == "You help. Today is 2026-11-21. Be kind."
    await clock.advance(DAY_S - 1)
    assert pin("You help. Today is 2026-11-22. Be kind.") == "You help. Today is 2026-11-21. Be kind."
    await clock.advance(1)
    assert pin("You help. Today is 2026-11-22. Be kind.") == "You help. Today is 2026-11-22. Be kind."
    assert pin("You help. Today is 2026-11-23. Be kind.") == "You help. Today is 2026-11-22. Be kind."


def test_prompt_with_other_words_has_its_own_value() -> None:
    pin = pins("date")
    pin("You help. Today is 2026-11-21.")
    assert pin("You cook. Today is 2026-11-22.") == "You cook. Today is 2026-11-22."
    assert pin("You help. Today is 2026-11-22.") == "You help. Today is 2026-11-21."


def test_each_place_keeps_its_own_value() -> None:
    pin = pins("date", "time")
    pin("Today is 2026-11-21, it is 10:59. Trained until 2024-06-01.")
    assert pin("Today is 2026-11-22, it is 11:03. Trained until 2024-06-01.") == (
        "Today is 2026-11-21, it is 10:59. Trained until 2024-06-01."
    )


def test_value_may_be_of_another_length() -> None:
    pin = pins(r"session \w+")
    pin("session a. Be kind.")
    assert pin("session abcdef. Be kind.") == "session a. Be kind."


def test_prompts_with_more_or_fewer_matches_are_told_apart() -> None:
    pin = pins("date")
    pin("2026-11-21")
    assert pin("2026-11-22 2026-11-23") == "2026-11-22 2026-11-23"
    assert pin("none") == "none"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("date", "2026-11-21"),
        ("date", "11/21/2026"),
        ("date", "21.11.2026"),
        ("date", "Saturday, November 21, 2026"),
        ("date", "Nov 21st 2026"),
        ("date", "21 November 2026"),
        ("time", "10:59"),
        ("time", "10:59:07"),
        ("time", "10:59 PM"),
        ("time", "10:59:07.123Z"),
    ],
)
def test_named_offender_is_matched_whole(name: str, text: str) -> None:
    (pattern,) = patterns((name,))
    found = pattern.search(f"It is {text}, so")
    assert found is not None
    assert found.group() == text


@pytest.mark.parametrize("text", ["version 1.2.3", "port 8080", "ratio 4:3", "item 2026", "may be"])
def test_other_numbers_are_neither_date_nor_time(text: str) -> None:
    assert not any(pattern.search(text) for pattern in patterns(("date", "time")))


def test_moment_is_matched_in_both_its_parts() -> None:
    pin = pins("date", "time")
    pin("Now: 2026-11-21T10:59:07Z.")
    assert pin("Now: 2026-11-22T09:00:00Z.") == "Now: 2026-11-21T10:59:07Z."


def test_frames_are_forgotten_again() -> None:
    pin = pins("date")
    pin("0: 2026-11-21")
    for number in range(1, 1000):
        pin(f"{number}: 2026-11-21")
    assert pin("0: 2026-11-22") == "0: 2026-11-22"
    assert pin("999: 2026-11-22") == "999: 2026-11-21"


def test_expression_that_is_none_is_an_error() -> None:
    with pytest.raises(re.error):
        patterns(("a(",))


@given(st.text(alphabet="a0\0|"), st.text(alphabet="a0\0|"))
def test_what_is_read_is_always_one_that_was_sent(one: str, two: str) -> None:
    pin = pins("0+", r"0\|?")
    assert pin(one) == one
    assert pin(two) in (one, two)
    assert re.sub("0", "", pin(two)) in (re.sub("0", "", one), re.sub("0", "", two))
