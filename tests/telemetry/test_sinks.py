from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest

from relight.errors import Category, Stopping
from relight.telemetry.interaction import HttpFacts, Interaction, Origin, Phase, Trace
from relight.telemetry.sinks import JsonLines, TextLines, severity, summary
from tests.telemetry.test_interaction import SPAN_ID, TRACE_ID, Hands


def interaction(hands: Hands, *, trace: Trace | None = None, project: str = "") -> Interaction:
    http = HttpFacts("POST", "/v1/chat/completions", "203.0.113.7", "curl/8")
    it = Interaction(hands, Origin("portfolio", "portfolio-00007", project), http, trace)
    it.dialect, it.model, it.status = "chat", "smol", 200
    it.prompt_tokens, it.completion_tokens = 31, 8
    it.bytes_in, it.bytes_out = 120, 3_000_000_000
    return it


def closed_line(it: Interaction) -> dict[str, Any]:
    lines: list[bytes] = []
    JsonLines(lines.append).closed(it.close())
    assert len(lines) == 1
    assert lines[0].endswith(b"\n")
    assert lines[0].count(b"\n") == 1
    line: dict[str, Any] = json.loads(lines[0])
    return line


def text_line(it: Interaction) -> str:
    lines: list[bytes] = []
    TextLines(lines.append).closed(it.close())
    assert len(lines) == 1
    return lines[0].decode()


# --- JSON lines


def test_line_is_what_cloud_logging_understands() -> None:
    hands = Hands(0.5)
    it = interaction(hands, trace=Trace(TRACE_ID, SPAN_ID, sampled=True), project="my-project")
    hands.at = 1.75
    line = closed_line(it)
    assert line.pop("interaction")["id"] == it.id
    assert line == {
        "severity": "INFO",
        "time": "2023-11-14T22:13:20.500000Z",
        "message": "200 chat smol  31+8 tokens  total 1.25 s",
        "httpRequest": {
            "requestMethod": "POST",
            "requestUrl": "/v1/chat/completions",
            "status": 200,
            "requestSize": "120",
            "responseSize": "3000000000",
            "userAgent": "curl/8",
            "remoteIp": "203.0.113.7",
            "latency": "1.250000s",
        },
        "logging.googleapis.com/trace": f"projects/my-project/traces/{TRACE_ID}",
        "logging.googleapis.com/spanId": SPAN_ID,
        "logging.googleapis.com/trace_sampled": True,
    }


def test_trace_outside_of_a_project_is_its_id() -> None:
    line = closed_line(interaction(Hands(), trace=Trace(TRACE_ID)))
    assert line["logging.googleapis.com/trace"] == TRACE_ID
    assert line["logging.googleapis.com/trace_sampled"] is False
    assert "logging.googleapis.com/spanId" not in line


def test_line_without_a_trace_names_none() -> None:
    assert not [key for key in closed_line(interaction(Hands())) if key.startswith("logging.googleapis.com/")]


def test_time_on_a_whole_second_is_a_timestamp_too() -> None:
    assert closed_line(interaction(Hands(0.0)))["time"] == "2023-11-14T22:13:20.000000Z"


def test_opening_is_one_quiet_line_with_the_id() -> None:
    lines: list[bytes] = []
    it = interaction(Hands(), trace=Trace(TRACE_ID), project="p")
    JsonLines(lines.append).opened(it)
    line = json.loads(lines[0])
    assert (line["severity"], line["message"], line["opened"]) == (
        "DEBUG",
        f"opened {it.id}",
        {"id": it.id, "service": "portfolio"},
    )
    assert line["logging.googleapis.com/trace"] == f"projects/p/traces/{TRACE_ID}"


def test_opening_in_a_second_loop_is_written_there(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[bytes] = []
    sink = JsonLines(lines.append)

    async def opened() -> None:
        sink.opened(interaction(Hands()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    monkeypatch.setattr(JsonLines, "_WAIT_S", 1000.0)
    asyncio.run(opened())
    assert lines == []
    monkeypatch.setattr(JsonLines, "_WAIT_S", 0.0)
    asyncio.run(opened())
    assert b"".join(lines).count(b"\n") == 2


def test_no_content_is_written_unless_given() -> None:
    assert "content" not in closed_line(interaction(Hands()))["interaction"]


def test_content_is_written_when_given() -> None:
    it = interaction(Hands())
    it.content = {"request": {"messages": [{"role": "user", "content": "Grüße\nund mehr"}]}, "reply": "世界"}
    assert closed_line(it)["interaction"]["content"] == it.content


def test_note_carries_its_fields_and_the_time() -> None:
    lines: list[bytes] = []
    JsonLines(lines.append).note("WARNING", "not writable", folder="cache")
    line = json.loads(lines[0])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z", line.pop("time"))
    assert line == {"severity": "WARNING", "message": "not writable", "folder": "cache"}


# --- severity


@pytest.mark.parametrize(
    ("category", "status", "expected"),
    [
        (None, 200, "INFO"),
        (Category.CLIENT_GONE, 499, "INFO"),
        (Category.CLIENT_GONE, 200, "INFO"),
        (Category.INVALID_REQUEST, 404, "WARNING"),
        (Category.INVALID_REQUEST, 501, "WARNING"),
        (Category.CONTEXT_OVERFLOW, 200, "WARNING"),
        (Category.UNAUTHORIZED, 401, "WARNING"),
        (Category.FORBIDDEN, 403, "WARNING"),
        (Category.RATE_LIMITED, 429, "WARNING"),
        (Category.QUEUE_FULL, 503, "ERROR"),
        (Category.WAKE_TIMEOUT, 503, "ERROR"),
        (Category.ENGINE_FAILED, 503, "ERROR"),
        (Category.ENGINE_CRASHED, 502, "ERROR"),
        (Category.ENGINE_CRASHED, 200, "ERROR"),
        (Category.INTERNAL, 500, "ERROR"),
    ],
)
def test_severity_blames_us_for_ours_and_warns_of_theirs(category: Category | None, status: int, expected: str) -> None:
    it = interaction(Hands())
    it.category, it.status = category, status
    assert severity(it) == expected
    assert closed_line(it)["severity"] == expected


# --- text


def test_summary_says_what_took_how_long() -> None:
    hands = Hands()
    it = interaction(hands)
    it.cached_tokens = 30
    it.enter(Phase.WAKE)
    hands.at = 0.71
    it.enter(Phase.PREFILL)
    hands.at = 0.92
    it.first_token()
    hands.at = 1.03
    assert summary(it.close()) == "200 chat smol  31+8 tokens (30 cached)  wake 0.71 s  first token 0.92 s  total 1.03 s"


def test_summary_of_a_failure_ends_with_category_and_message() -> None:
    it = interaction(Hands())
    it.status, it.prompt_tokens, it.category, it.error = 503, None, Category.QUEUE_FULL, "64 requests wait"
    assert summary(it.close()) == "503 chat smol  total 0.00 s  queue_full: 64 requests wait"


def test_summary_before_the_model_is_known_names_the_path() -> None:
    it = Interaction(Hands(), Origin("s"), HttpFacts("GET", "/nowhere", "", ""))
    it.status = 404
    assert summary(it.close()) == "404 GET /nowhere  total 0.00 s"


def test_text_line_begins_with_the_time_of_day() -> None:
    assert re.fullmatch(r"\d\d:\d\d:\d\d  200 chat smol .*s\n", text_line(interaction(Hands())))


def test_text_line_stays_one_line_and_moves_no_cursor() -> None:
    it = interaction(Hands())
    it.model, it.category, it.error = "\x1b[2Jsmol", Category.INVALID_REQUEST, "template:\r\n  line 3\n\x07"
    line = text_line(it)
    assert line.count("\n") == 1
    assert line.endswith("template:    line 3  \n")
    assert line[:-1].isprintable()


def test_text_sink_is_silent_at_the_opening() -> None:
    lines: list[bytes] = []
    TextLines(lines.append).opened(interaction(Hands()))
    assert lines == []


@pytest.mark.parametrize(("severity", "mark"), [("INFO", ""), ("WARNING", "warning: "), ("ERROR", "error: ")])
def test_text_note_shows_its_severity_when_it_matters(severity: str, mark: str) -> None:
    lines: list[bytes] = []
    TextLines(lines.append).note(severity, "smol is awake", model="smol")
    assert re.fullmatch(rf"\d\d:\d\d:\d\d  {mark}smol is awake\n", lines[0].decode())


# --- standard output

WRITE = "import sys; from relight.telemetry.sinks import to_stdout; to_stdout(b'x' * 300_000 + b'\\n'); sys.exit(7)"


def test_standard_output_takes_a_line_larger_than_a_pipe() -> None:
    done = subprocess.run([sys.executable, "-c", WRITE], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (7, b"x" * 300_000 + b"\n")


def test_standard_output_that_does_not_block_still_takes_the_whole_line() -> None:
    code = f"import os; os.set_blocking(1, False); {WRITE}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, len(done.stdout)) == (7, 300_001)


def test_standard_output_that_nobody_reads_fails_no_answer() -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run([sys.executable, "-c", WRITE], stdout=write, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (7, b"")


def test_answer_that_a_deployment_cut_short_is_a_warning_not_a_failure() -> None:
    it = interaction(Hands())
    it.fail(Stopping("the server stopped before the answer was complete"))
    assert severity(it) == "WARNING"
