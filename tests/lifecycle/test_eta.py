from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from relight.lifecycle.eta import WakeTimes


def test_median_of_the_measured_wakes_is_expected(tmp_path: Path) -> None:
    times = WakeTimes(tmp_path / "wakes.json")
    for seconds in (0.7, 30.0, 0.9):
        times.add("smol", seconds)
    assert times.expect("smol", None) == 0.9


def test_only_the_last_nine_wakes_count(tmp_path: Path) -> None:
    times = WakeTimes(tmp_path / "wakes.json")
    for seconds in [100.0] * 20 + [1.0] * 5:
        times.add("smol", seconds)
    assert times.expect("smol", None) == 1.0
    assert json.loads((tmp_path / "wakes.json").read_text()) == {"smol": [100.0] * 4 + [1.0] * 5}


def test_models_have_their_own_times(tmp_path: Path) -> None:
    times = WakeTimes(tmp_path / "wakes.json")
    times.add("smol", 1.0)
    times.add("large", 9.0)
    assert (times.expect("smol", None), times.expect("large", None)) == (1.0, 9.0)


def test_times_survive_the_process(tmp_path: Path) -> None:
    WakeTimes(tmp_path / "wakes.json").add("smol", 1.23456)
    assert WakeTimes(tmp_path / "wakes.json").expect("smol", None) == 1.2346


def test_nothing_but_the_file_is_left_behind(tmp_path: Path) -> None:
    WakeTimes(tmp_path / "new" / "folder" / "wakes.json").add("smol", 1.0)
    assert [file.name for file in (tmp_path / "new" / "folder").iterdir()] == ["wakes.json"]


@pytest.mark.parametrize("text", [b"", b"{", b"[1]", b'{"smol": 3}', b'{"smol": ["x"]}', b"\xff"])
def test_unreadable_file_is_started_anew(tmp_path: Path, text: bytes) -> None:
    file = tmp_path / "wakes.json"
    file.write_bytes(text)
    times = WakeTimes(file)
    times.add("smol", 2.0)
    assert WakeTimes(file).expect("smol", None) == 2.0


def test_file_that_cannot_be_written_is_no_reason_to_forget(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    times = WakeTimes(tmp_path / "file" / "wakes.json")
    times.add("smol", 2.0)
    assert times.expect("smol", None) == 2.0


def test_first_wake_is_expected_to_take_longer_the_larger_the_weights(tmp_path: Path) -> None:
    small, large = tmp_path / "small.gguf", tmp_path / "large.gguf"
    small.write_bytes(os.urandom(1 << 20))
    with large.open("wb") as file:
        file.write(os.urandom(8 << 20))
        file.truncate(200 << 30)  # sparse: 200 GiB by its size
    times = WakeTimes(tmp_path / "wakes.json")
    nothing = times.expect("smol", None)
    assert 0 < nothing < times.expect("smol", small) < times.expect("smol", large)
    assert times.expect("smol", large) > 5 * nothing


@pytest.mark.parametrize("content", [None, b""])
def test_weights_that_are_missing_or_empty_cost_no_reading_time(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "m.gguf"
    if content is not None:
        file.write_bytes(content)
    times = WakeTimes(tmp_path / "wakes.json")
    assert times.expect("smol", file) == times.expect("smol", None)
