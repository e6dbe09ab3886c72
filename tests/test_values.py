from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.values import Bytes, Duration, Secret, format_bytes, format_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("90s", 90), ("5m", 300), ("1h30m", 5400), ("2d", 172800), ("1.5s", 1.5), ("0s", 0)],
)
def test_duration_text_is_read_as_seconds(text: str, seconds: float) -> None:
    assert Duration.parse(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "10 mins", "10 m", "m", "-5m", "5m ", "1e3s", "5M", "5m,3s", "١٠x"])
def test_duration_of_another_form_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(ValueError, match="should be a duration like") as caught:
        Duration.parse(text)
    assert str(caught.value).endswith(f'got "{text}"')


@given(st.integers(min_value=0, max_value=10**12))
def test_duration_of_whole_milliseconds_survives_text(millis: int) -> None:
    seconds = millis / 1000
    assert Duration.parse(str(Duration(seconds))) == pytest.approx(seconds, abs=1e-4, rel=0)
    assert round(Duration.parse(format_duration(seconds)) * 1000) == millis


@given(st.floats(min_value=0, max_value=1))
def test_duration_below_a_second_is_written_so_that_it_can_be_read(seconds: float) -> None:
    assert Duration.parse(format_duration(seconds)) == pytest.approx(seconds, abs=1e-6)


@pytest.mark.parametrize(("seconds", "text"), [(300, "5m"), (5400, "1h30m"), (0, "0s"), (0.25, "250ms"), (90061.5, "1d1h1m1.5s")])
def test_duration_is_written_in_its_shortest_form(seconds: float, text: str) -> None:
    assert str(Duration(seconds)) == text


@pytest.mark.parametrize(
    ("text", "size"),
    [("2GiB", 2 * 2**30), ("500MB", 500_000_000), ("1024", 1024), ("7B", 7), ("1.5 KiB", 1536), (" 3TB ", 3 * 10**12)],
)
def test_size_text_is_read_as_bytes(text: str, size: int) -> None:
    assert Bytes.parse(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "2 gib", "-1B", "2GiBs", "1e3"])
def test_size_of_another_form_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(ValueError, match="should be a size like"):
        Bytes.parse(text)


@given(st.integers(min_value=0, max_value=2**50))
def test_size_for_people_is_within_five_percent(size: int) -> None:
    assert Bytes.parse(format_bytes(size)) == pytest.approx(size, rel=0.05)


def test_secret_shows_its_name_and_never_its_text() -> None:
    secret = Secret("OPENAI_API_KEY", "sk-very-secret")
    assert secret.reveal() == "sk-very-secret"
    for shown in (str(secret), repr(secret), f"{secret}", repr([secret])):
        assert "OPENAI_API_KEY" in shown
        assert "very" not in shown
