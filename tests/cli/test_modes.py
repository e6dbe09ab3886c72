"""`relight modes` as a user calls it."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from relight.assistant import minilm
from relight.cli.main import run
from relight.cli.threshold import with_threshold
from relight.errors import UsageError

CONFIG = """
[models.demo]
engine = "scripted"
[weights]
dir = "store"
# What visitors talk to.
[assistant]
model = "demo"
detector = "ngram"  # no weights
default_mode = "general"
[assistant.modes.menu]
about = "What the café serves: cakes, drinks, breakfast."
examples = ["which cakes do you have?", "do you serve breakfast?", "is there oat milk for the coffee?"]
keywords = ["espresso"]
[assistant.modes.place]
about = "Where the café is and when it is open."
examples = ["where are you?", "when do you open on Sunday?", "is there parking near the café?"]
[assistant.modes.general]
about = "Everything else."
"""
ROWS: list[dict[str, Any]] = [
    *({"text": f"which {what} do you have?", "mode": "menu"} for what in ("drinks", "sandwiches", "cakes today", "coffee")),
    *({"text": f"when do you open on {day}?", "mode": "place"} for day in ("Monday", "Friday", "holidays", "Sundays")),
    *(
        {"text": text, "mode": None, "kind": "out_of_scope"}
        for text in ("solve x + 2 = 7", "who won the cup?", "hello", "write code")
    ),
]


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "relight.toml"
    path.write_text(CONFIG)
    return str(path)


@pytest.fixture
def labelled(tmp_path: Path) -> str:
    path = tmp_path / "labelled.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return str(path)


def test_eval_prints_figures_and_draws_the_matrix(
    config: str, labelled: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "matrix.svg"
    assert run(["modes", "eval", labelled, "-c", config, "--picture", str(picture)]) == 0
    printed = capsys.readouterr().out
    for what in ("in scope: right mode", "told apart", "precision", "right ↓ found →", "confidence"):
        assert what in printed
    assert "12 messages, detector ngram" in picture.read_text()


def test_eval_as_json_has_every_figure(config: str, labelled: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["modes", "eval", labelled, "-c", config, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["count"], told["in_scope"]) == (12, 8)
    assert told["chosen"] == 1.0
    assert set(told["confusion"]) == {"menu", "place", "none"}
    assert sum(sum(row.values()) for row in told["confusion"].values()) == 12
    assert told["scope"]["auroc"] > 0.9
    assert told["p50_ms"] <= told["p99_ms"]


def test_explain_shows_the_nearest_examples_and_the_rule(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["modes", "explain", "when do u open on Sunday?", "-c", config]) == 0
    printed = capsys.readouterr().out
    assert "mode: place, by classifier" in printed
    assert "read as: when do you open on sunday ?" in printed
    assert "when do you open on Sunday?" in printed
    assert run(["modes", "explain", "an espresso", "-c", config, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["detection"]["by"] == "rules"
    assert told["rules"] == [{"mode": "menu", "rule": "espresso", "found": "espresso"}]


def test_explain_reads_what_was_said_before(config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history = tmp_path / "history.json"
    history.write_text(
        '[{"role": "user", "content": "when do you open on Sunday?"}, {"role": "assistant", "content": "At ten."}]'
    )
    command = ["modes", "explain", "and the second one?", "-c", config, "--json"]
    assert run(command) == 0
    assert json.loads(capsys.readouterr().out)["detection"]["by"] == "default"
    assert run([*command, "--history", str(history)]) == 0
    assert json.loads(capsys.readouterr().out)["detection"]["mode"] == "place"
    history.write_text('[{"role": "user"}]')
    assert run([*command, "--history", str(history)]) == 2
    assert "write [{" in capsys.readouterr().err


def test_fit_prints_the_line_and_writes_it_on_request(config: str, labelled: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["modes", "fit", labelled, "-c", config]) == 0
    printed = capsys.readouterr().out
    assert "before" in printed
    assert "after" in printed
    line = printed.strip().splitlines()[-1]
    assert line.startswith("threshold = 0.")
    assert Path(config).read_text() == CONFIG
    assert run(["modes", "fit", labelled, "-c", config, "--write", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert line == f"threshold = {told['threshold']}"
    assert Path(config).read_text() == CONFIG.replace("[assistant]\n", f"[assistant]\n{line}\n", 1)


def test_fit_by_a_log_counts_thumbs(config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log"
    rows = []
    for number, row in enumerate(ROWS):
        content = {"messages": [{"role": "user", "content": row["text"]}]}
        by = {"mode": row["mode"] or "menu", "mode_by": "classifier"}
        rows.append({"interaction": {"id": str(number), **by, "content": content}})
        rows.append({"feedback": {"interaction": str(number), "rating": "up" if row["mode"] else "down"}})
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run(["modes", "fit", "--log", str(log), "-c", config, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["count"] == 12
    assert told["after"]["right"] >= told["before"]["right"]


def test_fit_by_nothing_says_what_to_give(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["modes", "fit", "-c", config]) == 2
    assert "name a file of labelled messages, or --log FILE" in capsys.readouterr().err


def test_detector_that_is_not_prepared_says_what_to_run(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["modes", "explain", "hi", "-c", config, "--detector", "minilm"]) == 4
    assert "run: relight modes prepare" in capsys.readouterr().err


def test_what_is_prepared_is_left_alone(config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "store" / "assistant" / minilm.NAME).mkdir(parents=True)
    assert run(["modes", "prepare", "-c", config, "--detector", "minilm"]) == 0
    assert run(["modes", "prepare", "-c", config]) == 0
    assert capsys.readouterr().out == "minilm: already here\nngram: already here\n"


def test_configuration_without_modes_is_told_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "relight.toml"
    path.write_text('[models.demo]\nengine = "scripted"\n')
    assert run(["modes", "explain", "hi", "-c", str(path)]) == 2
    assert "describe some in [assistant.modes.NAME]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[assistant]\nmodel = 'x'\n", "[assistant]\nthreshold = 0.4\nmodel = 'x'\n"),
        ("[assistant] # it\n  threshold=0.7   # found\n", "[assistant] # it\n  threshold=0.4   # found\n"),
        (
            "[a]\nthreshold = 1\n[assistant]\n[assistant.page]\n",
            "[a]\nthreshold = 1\n[assistant]\nthreshold = 0.4\n[assistant.page]\n",
        ),
    ],
)
def test_threshold_is_one_line_and_the_rest_stays(text: str, expected: str) -> None:
    assert with_threshold(text, 0.4) == expected
    assert tomllib.loads(expected)["assistant"]["threshold"] == 0.4


@pytest.mark.parametrize(
    "text", ["", "assistant = {model = 'x'}\n", '[assistant]\nsays = """\nthreshold = 1\n"""\n', "[assistant.page]\n"]
)
def test_file_where_one_line_will_not_do_is_left_to_its_author(text: str) -> None:
    with pytest.raises(UsageError, match="write it yourself: threshold = "):
        with_threshold(text, 0.4)
