"""`relight prefixes why`: estimates from records, in whose place comes what was counted later."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from relight.cli.prefixes import prefixes


def record(id_: str, what: str = "a date", *, model: str = "smol", tokens: int = 900, seconds: float = 9.0) -> str:
    broken = {"what": what, "where": "messages.0, line 2", "tokens": tokens, "seconds": seconds, "by": "text"}
    return json.dumps(
        {"severity": "INFO", "message": "200 chat", "interaction": {"id": id_, "model": model, "prefix_break": broken}}
    )


def counted(id_: str, what: str = "a date", *, tokens: int = 400, seconds: float = 4.0) -> str:
    broken = {
        "interaction": id_,
        "what": what,
        "where": "messages.0, line 2",
        "tokens": tokens,
        "seconds": seconds,
        "by": "tokens",
    }
    return json.dumps({"severity": "INFO", "message": "smol: a date at …", "prefix_break": broken})


def why(folder: Path, *lines: str) -> list[dict[str, Any]]:
    (folder / "log").write_text("\n".join(lines))
    done = CliRunner().invoke(prefixes, ["why", str(folder / "log"), "--json"])
    assert done.exit_code == 0, done.output
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_what_was_counted_takes_the_place_of_the_estimate(tmp_path: Path) -> None:
    (cause,) = why(tmp_path, record("i1"), record("i2"), counted("i2"), counted("i2"))
    assert (cause["times"], cause["counted"], cause["tokens"], cause["seconds"]) == (2, 1, 1300, 13.0)
    assert (cause["model"], cause["what"], cause["where"]) == ("smol", "a date", "messages.0, line 2")


def test_dearest_cause_comes_first_by_what_was_counted(tmp_path: Path) -> None:
    lines = (record("i1"), counted("i1", seconds=0.0, tokens=0), record("i2", "an id", seconds=1.0))
    assert [cause["what"] for cause in why(tmp_path, *lines)] == ["an id", "a date"]


def test_models_are_told_apart(tmp_path: Path) -> None:
    assert {cause["model"] for cause in why(tmp_path, record("i1"), record("i2", model="large"))} == {"smol", "large"}


def test_other_lines_are_passed_over(tmp_path: Path) -> None:
    lines = (
        "no JSON",
        "5",
        '{"interaction": {"id": "i1"}}',
        '{"prefix_break": {"what": 5}}',
        counted("of another log"),
        record("i1"),
    )
    (cause,) = why(tmp_path, *lines)
    assert (cause["times"], cause["counted"]) == (1, 0)


def test_table_says_which_figures_are_estimates(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("\n".join((record("i1"), record("i2", "an id", tokens=77), counted("i2", "an id", tokens=50))))
    shown = CliRunner().invoke(prefixes, ["why", str(tmp_path / "log")]).stdout
    (estimated,) = (line for line in shown.splitlines() if "a date" in line)
    (known,) = (line for line in shown.splitlines() if "an id" in line)
    assert "about 900" in estimated
    assert " 50 " in known
    assert "about" not in known


def test_log_without_breaks_says_so(tmp_path: Path) -> None:
    (tmp_path / "log").write_text('{"interaction": {"id": "i1", "model": "smol"}}\n')
    done = CliRunner().invoke(prefixes, ["why", str(tmp_path / "log")])
    assert "every prompt began as the one before" in done.output
