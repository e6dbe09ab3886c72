"""How a report looks in a terminal of any width: no word is broken, and nothing is lost."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from contextlib import suppress

import msgspec
import pytest
from click import unstyle

from relight.check.verdict import Conclusion, Finding, Report, Status
from relight.cli.check_page import Wanted, print_report

SEEN = "the model never sees the tools: 41 tokens with and without"
REPORT = Report(
    url="http://127.0.0.1:8080",
    model="smol",
    context=8192,
    findings=(
        Finding("wake", Status.PASS, "the first answer", "first word after 0.4 s"),
        Finding("responses.tools.required", Status.UNSUPPORTED, "some tool is demanded", "refused: status 400: not here"),
        Finding(
            "chat.tools.shown",
            Status.FAIL,
            "the model is shown the tools",
            SEEN,
            sent="POST /v1/chat/completions (tools weather, time, tool_choice auto, at most 8 tokens)",
            came=f'200 {{"id":"chatcmpl-{"0" * 90}"}}',
            why="agents work by calling tools: a model that sees none calls none",
            advice="take a model whose chat template knows tools",
        ),
        Finding("errors.key", Status.SKIPPED, "a wrong key gets 401", "the server asks for no key"),
    ),
    agents=(Conclusion("openai-node", "OpenAI's library for JavaScript", "chat", Status.PASS, "will work, but chat.gone fails"),),
    is_complete=True,
    dialects=("chat", "responses"),
)
PRINT = """
import sys, msgspec
from relight.check.verdict import Report
from relight.cli.check_page import Wanted, print_report
print_report(msgspec.json.decode(sys.argv[1], type=Report), Wanted((), ()), as_json=False)
"""


def in_terminal(columns: int) -> list[str]:
    """The lines of the report in a terminal of that width."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    clean = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    told = msgspec.json.encode(REPORT).decode()
    with subprocess.Popen([sys.executable, "-c", PRINT, told], stdout=slave, env={**clean, "TERM": "xterm"}) as process:
        os.close(slave)
        data = b""
        with suppress(OSError):  # the other end is closed
            while more := os.read(master, 65536):
                data += more
    os.close(master)
    assert process.returncode == 0
    return unstyle(data.decode()).replace("\r\n", "\n").split("\n")


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_no_line_is_too_long_and_no_word_broken(columns: int, capsys: pytest.CaptureFixture[str]) -> None:
    lines = in_terminal(columns)
    assert max(len(line) for line in lines if "chatcmpl" not in line) <= columns
    print_report(REPORT, Wanted((), ()), as_json=False)
    words = [word for word in capsys.readouterr().out.split() if len(word) < 60 and "─" not in word]
    assert {"sees", "chat.tools.shown"} <= set(words)
    heads = {"check", "what", "was", "seen", "agent", "dialect"}  # a table alone has them
    assert not set(words) - heads - {word for line in lines for word in line.split()}


def test_pipe_gets_each_check_on_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(REPORT, Wanted((), ()), as_json=False)
    out = capsys.readouterr().out
    (row,) = [line for line in out.splitlines() if line.strip().startswith("FAIL")]
    assert row.strip().split(maxsplit=2)[1:] == ["chat.tools.shown", f"the model is shown the tools: {SEEN}"]
    assert f"  came    {REPORT.findings[2].came}" in out.splitlines()
    assert "not asked (the server asks for no key): errors.key" in out.splitlines()


def test_json_is_the_whole_report(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(REPORT, Wanted((), ()), as_json=True)
    assert msgspec.json.decode(capsys.readouterr().out, type=Report) == REPORT
