"""Tables as a terminal shows them: no word is broken, however narrow it is."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from relight.cli.columns import laid_out
from relight.cli.output import folded, print_table

COLUMNS = ("agent", "installed", "what was seen", "where")
ROWS = (
    (
        "claude-code-router",
        "2.0.0",
        "its client gives up after five minutes of silence whatever it is told",
        "~/.claude-code-router/config.json",
    ),
    ("pi", "–", "fine", "–"),
)
TABLE = """
import sys
from relight.cli.output import print_table
print_table({columns!r}, {rows!r}, title="Agents of [this] machine")
"""
FOLDED = """
from relight.cli.output import folded
print(folded({text!r}, start="note: "))
"""
STYLE = re.compile(r"\x1b\[[0-9;]*m")
ADDRESS = "https://a-service-with-a-long-name-123456789012.europe-west4.run.app/v1"


def at_terminal(script: str, width: int) -> list[str]:
    """The lines that a Python script prints in a terminal of that width."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (40, width))
    environment = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**environment, "NO_COLOR": "1", "TERM": "xterm"},
    ) as process:
        os.close(slave)
        said = b""
        while True:
            try:
                data = os.read(master, 1 << 16)
            except OSError:  # Linux's way to say that nobody has it open any more
                break
            if not data:
                break
            said += data
        assert process.wait(60) == 0, said.decode()
    os.close(master)
    return STYLE.sub("", said.decode()).replace("\r\n", "\n").rstrip("\n").split("\n")


def words(lines: list[str]) -> set[str]:
    return {word for line in lines for word in line.split()}


@pytest.mark.parametrize("width", [30, 60, 80, 100, 160])
def test_no_word_of_a_table_is_broken(width: int) -> None:
    lines = at_terminal(TABLE.format(columns=COLUMNS, rows=ROWS), width)
    said = {word for row in ROWS for cell in row for word in cell.split() if cell != "–"}
    assert said <= words(lines)
    longest = max(map(len, said))
    assert all(len(line) <= max(width, longest + 20) for line in lines)


@pytest.mark.parametrize("width", [80, 160])
def test_what_has_room_is_a_table_as_wide_as_the_terminal_at_most(width: int) -> None:
    rows = [row[:3] for row in ROWS]
    lines = at_terminal(TABLE.format(columns=COLUMNS[:3], rows=rows), width)
    assert any(all(name in line for name in COLUMNS[:3]) for line in lines)
    assert all(len(line) <= width for line in lines)


def test_what_has_no_room_is_a_list_with_its_columns_named() -> None:
    lines = at_terminal(TABLE.format(columns=COLUMNS, rows=ROWS), 50)
    assert lines[:3] == ["Agents of [this] machine", "claude-code-router", "  installed      2.0.0"]
    assert "  what was seen  its client gives up after five" in lines
    assert "                 minutes of silence whatever it is" in lines
    assert lines[-2:] == ["pi", "  what was seen  fine"]  # what is not known is left out


def test_rare_long_word_takes_a_line_of_its_own() -> None:
    rows = [(f"row{number}", "short", "default") for number in range(9)] + [("row9", "x" * 40, "default")]
    lines = [line.text for line in laid_out(("key", "value", "from"), rows, 50)]
    assert lines[2].split() == ["row0", "short", "default"]
    assert [line.split() for line in lines[-2:]] == [["row9", "x" * 40], ["default"]]
    assert lines[-1].index("default") == lines[2].index("default")
    assert all(len(line) <= 50 for line in lines)


def test_column_without_a_name_stands_before_what_it_is_about() -> None:
    rows = [("FAIL", "weights", "a" * 70)]
    lines = at_terminal(TABLE.format(columns=("", "check", "what was seen"), rows=rows), 60)
    assert lines[1] == "FAIL  weights"


def test_pipe_gets_a_line_for_each_row_and_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(COLUMNS, ROWS)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.strip(" ─")]
    assert len(lines) == 1 + len(ROWS)
    assert ROWS[0][2] in lines[1]


def test_sentence_is_folded_between_words_and_an_address_stays_whole() -> None:
    lines = at_terminal(FOLDED.format(text=f"ask for it at {ADDRESS} and wait"), 40)
    assert lines == ["note: ask for it at", f"      {ADDRESS}", "      and wait"]


def test_sentence_in_a_pipe_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print(folded("word " * 60, start="note: "))
    assert capsys.readouterr().out == f"note: {'word ' * 60}\n"


def test_sentence_gives_a_terminal_no_commands(capsys: pytest.CaptureFixture[str]) -> None:
    text = "it is \x1b]0;mine\x07 now"
    print(folded(text, start="\x9bnote: "))
    assert capsys.readouterr().out == "note: it is ]0;mine now\n"
    assert at_terminal(FOLDED.format(text=text), 40) == ["note: it is ]0;mine now"]


def test_every_table_of_a_configuration_fits(tmp_path: Path) -> None:
    file = tmp_path / "relight.toml"
    file.write_text('[models.smol]\nengine = "scripted"\n')
    script = f"import sys; from relight.cli.main import run; sys.exit(run(['config', 'show', '-c', {str(file)!r}]))"
    lines = at_terminal(script, 60)
    assert "models.smol.idle_after" in words(lines)
    assert "deploy.cloudrun.zonal_redundancy" in words(lines)
