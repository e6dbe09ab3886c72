"""The decision to ask again, row by row."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.providers.retry import Fault, Outcome, Policy, decide, retry_after_s

POLICY = Policy(retries=3, first_s=0.5, longest_s=8.0, patience_s=30.0)


def refused(status: int, **fields: float | bool) -> Outcome:
    return Outcome(Fault.REFUSED, status=status, **{"left_s": 100.0, **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 521, 522, 523, 529])
def test_status_that_cannot_have_cost_anything_is_asked_again(status: int) -> None:
    assert decide(refused(status), 0, POLICY, lambda: 0.5) == 0.25


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 409, 413, 422, 501, 504, 524])
def test_status_that_is_final_or_may_have_generated_is_not_asked_again(status: int) -> None:
    assert decide(refused(status), 0, POLICY, lambda: 0.0) is None


@pytest.mark.parametrize(
    ("fault", "again"), [(fault, fault is Fault.UNREACHABLE) for fault in Fault if fault is not Fault.REFUSED]
)
def test_fault_is_asked_again_only_where_nothing_was_sent(fault: Fault, again: bool) -> None:
    assert (decide(Outcome(fault, left_s=100.0), 0, POLICY, lambda: 0.0) is not None) is again


def test_refusal_that_the_provider_calls_final_is_not_asked_again() -> None:
    assert decide(refused(429, is_final=True), 0, POLICY, lambda: 0.0) is None


def test_as_many_retries_as_configured_and_no_more() -> None:
    waits = [decide(refused(503), attempt, POLICY, lambda: 0.0) for attempt in range(5)]
    assert waits == [0.0, 0.0, 0.0, None, None]


def test_backoff_doubles_and_is_capped() -> None:
    policy = Policy(retries=10, first_s=0.5, longest_s=8.0)
    waits = [decide(refused(503), attempt, policy, lambda: 1.0) for attempt in range(6)]
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0]


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 2))
def test_jitter_is_full(drawn: float, attempt: int) -> None:
    wait = decide(refused(503), attempt, POLICY, lambda: drawn)
    assert wait == drawn * (0.5 * 2.0**attempt)


@given(st.floats(0, 1, exclude_max=True), st.floats(0, 30))
def test_retry_after_is_never_cut_short(drawn: float, asked_s: float) -> None:
    wait = decide(refused(429, retry_after_s=asked_s), 0, POLICY, lambda: drawn)
    assert wait is not None
    assert asked_s <= wait <= asked_s + 0.25


def test_retry_after_longer_than_patience_is_passed_on() -> None:
    assert decide(refused(429, retry_after_s=31.0), 0, POLICY, lambda: 0.0) is None


def test_wait_that_would_use_up_the_time_is_not_begun() -> None:
    assert decide(refused(429, retry_after_s=10.0, left_s=10.0), 0, POLICY, lambda: 0.0) is None
    assert decide(refused(429, retry_after_s=10.0, left_s=10.1), 0, POLICY, lambda: 0.0) == 10.0


@pytest.mark.parametrize(
    ("value", "millis", "seconds"),
    [
        ("7", None, 7.0),
        (" 1.5 ", None, 1.5),
        ("7", "250", 0.25),
        ("7", "soon", 7.0),
        (formatdate(1_000_030, usegmt=True), None, 30.0),
        (formatdate(999_000, usegmt=True), None, 0.0),
        ("Mon, 12 Jan 1970 13:47:10", None, 30.0),
        (None, None, None),
        ("soon", None, None),
        ("-5", None, None),
        ("inf", None, None),
        ("1e9", None, None),
        ("", None, None),
        ("Mon, 99 Foo 9999 99:99:99 GMT", None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_garbage_is_nothing(
    value: str | None, millis: str | None, seconds: float | None
) -> None:
    assert retry_after_s(value, 1_000_000.0, millis=millis) == seconds


@given(st.text())
def test_retry_after_of_any_text_never_fails(text: str) -> None:
    found = retry_after_s(text, 0.0, millis=text)
    assert found is None or found >= 0
