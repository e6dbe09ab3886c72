from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from relight.lifecycle.measured import Measured

GROUND, OTHER = "a" * 64, "b" * 64


def measured(file: Path | None, ground: str = GROUND) -> Measured:
    """As a process has it that has just started."""
    found = Measured(file)
    found.load(ground)
    return found


def test_rates_survive_the_process(tmp_path: Path) -> None:
    one = measured(tmp_path / "m.json")
    before = one.bytes_a_second
    one.read(0.01)
    one.taken(5 * before)
    one.keep()
    two = measured(tmp_path / "m.json")
    assert two.seconds_a_token == 0.01
    assert before < two.bytes_a_second < 5 * before
    assert not two.has_news


def test_each_ground_has_its_own(tmp_path: Path) -> None:
    for ground, rate in ((GROUND, 0.01), (OTHER, 0.5)):
        one = measured(tmp_path / "m.json", ground)
        one.read(rate)
        one.keep()
    assert [measured(tmp_path / "m.json", ground).seconds_a_token for ground in (GROUND, OTHER)] == [0.01, 0.5]
    assert measured(tmp_path / "m.json", "c" * 64).seconds_a_token == 0


def test_what_was_measured_before_the_file_was_read_counts(tmp_path: Path) -> None:
    one = measured(tmp_path / "m.json")
    one.read(0.01)
    one.bar("old")
    one.keep()
    two = Measured(tmp_path / "m.json")
    two.read(0.5)
    two.bar("new")
    two.load(GROUND)
    assert two.seconds_a_token == 0.5
    assert two.is_barred("old")
    assert two.is_barred("new")


def test_newest_measurement_counts_in_part() -> None:
    one = measured(None)
    one.read(0.01)
    one.read(0.02)
    assert 0.01 < one.seconds_a_token < 0.02


def test_small_changes_are_not_written(tmp_path: Path) -> None:
    one = measured(tmp_path / "m.json")
    news = []
    for rate in (1.0, 1.01, 9.0):
        one.read(rate)
        news.append(one.has_news)
        one.keep()
    assert news == [True, False, True]


def test_bar_survives_the_process_until_it_was_proved(tmp_path: Path) -> None:
    one = measured(tmp_path / "m.json")
    one.bar("d1")
    one.bar("d2")
    one.keep()
    two = measured(tmp_path / "m.json")
    assert [two.is_barred(digest) for digest in ("d1", "d2", "d3")] == [True, True, False]
    two.absolve("d1")
    two.absolve("never barred")
    two.keep()
    three = measured(tmp_path / "m.json")
    assert [three.is_barred(digest) for digest in ("d1", "d2")] == [False, True]


def test_bars_and_grounds_are_bounded(tmp_path: Path) -> None:
    for number in range(100):
        one = measured(tmp_path / "m.json", f"{number}")
        for bar in range(100):
            one.bar(f"{bar}")
        one.keep()
    told = json.loads((tmp_path / "m.json").read_text())
    assert list(told) == [f"{number}" for number in range(36, 100)]
    assert (told["99"]["barred"][0], told["99"]["barred"][-1]) == ("36", "99")


def test_models_of_one_process_do_not_overwrite_each_other(tmp_path: Path) -> None:
    models = [measured(tmp_path / "m.json", f"{number}") for number in range(8)]
    for number, one in enumerate(models, 1):
        one.read(float(number))
    threads = [threading.Thread(target=one.keep) for one in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [measured(tmp_path / "m.json", f"{number}").seconds_a_token for number in range(8)] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_nothing_but_the_file_is_left_behind(tmp_path: Path) -> None:
    one = measured(tmp_path / "new" / "m.json")
    one.read(0.01)
    one.keep()
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["m.json"]


@pytest.mark.parametrize("text", [b"", b"{", b"[1]", b"\xff", b'{"x": 3}', b'{"%s": {"seconds_a_token": -1}}' % GROUND.encode()])
def test_unreadable_file_is_started_anew(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "m.json").write_bytes(text)
    one = measured(tmp_path / "m.json")
    assert one.seconds_a_token == 0
    one.read(0.01)
    one.keep()
    assert measured(tmp_path / "m.json").seconds_a_token == 0.01


def test_file_that_cannot_be_written_is_no_reason_to_forget(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    one = measured(tmp_path / "file" / "m.json")
    one.read(0.01)
    one.keep()
    assert (one.seconds_a_token, one.has_news) == (0.01, False)
