"""Broken beginnings counted on the engine's tokens, and what is pinned so that they do not break. Real engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.serve.process import serve
from tests.serve.test_snapshots import SYSTEM, config, post, record, relight

pytestmark = pytest.mark.real


def on(day: int, **settings: Any) -> dict[str, Any]:
    system = f"Today is 2026-11-{day}.\nYou help.\n{SYSTEM}\n{SYSTEM}\n{SYSTEM}"
    messages = [{"role": "system", "content": system}, {"role": "user", "content": "Which day is it?"}]
    return {"messages": messages, "max_tokens": 20, "temperature": 0, **settings}


def said(answer: dict[str, Any]) -> str:
    text: str = answer["choices"][0]["message"]["content"]
    return text


def test_broken_beginning_is_estimated_at_once_and_counted_when_nobody_waits(tmp_path: Path) -> None:
    file = config(tmp_path, "learn = false\n")
    with serve(file, "--port", "0") as served:
        for day in (21, 22):
            post(served, "/v1/chat/completions", on(day))
        told = record(served, 2)["prefix_break"]
        served.until(lambda: any('"by":"tokens"' in line for line in served.lines))
        counted = next(json.loads(line)["prefix_break"] for line in served.lines if '"by":"tokens"' in line)
        assert (told["by"], told["what"], counted["what"]) == ("text", "a date", "a date")
        assert counted["interaction"] == record(served, 2)["id"]
        assert 400 < counted["tokens"] < record(served, 2)["tokens"]["prompt"]
        assert counted["seconds"] > 0
        (tmp_path / "log").write_text("\n".join(served.lines))
    (cause,) = relight(tmp_path, "prefixes", "why", "log", "--json")
    assert (cause["times"], cause["counted"], cause["tokens"]) == (1, 1, counted["tokens"])


def test_setting_that_the_template_does_not_show_turns_out_to_cost_nothing(tmp_path: Path) -> None:
    file = config(tmp_path, "learn = false\n")
    with serve(file, "--port", "0") as served:
        post(served, "/v1/chat/completions", on(21))
        post(served, "/v1/chat/completions", on(21, chat_template_kwargs={"nobody_reads_this": True}))
        served.until(lambda: any('"by":"tokens"' in line for line in served.lines))
        counted = next(json.loads(line)["prefix_break"] for line in served.lines if '"by":"tokens"' in line)
    assert (counted["where"], counted["tokens"], counted["seconds"]) == ("chat_template_kwargs", 0, 0)


@pytest.mark.parametrize("pin", ["date", "(?<=Today is )\\\\S+(?=\\\\.)"])
def test_pinned_date_keeps_the_beginning_and_is_what_the_model_reads(tmp_path: Path, pin: str) -> None:
    file = config(tmp_path, f'learn = false\npin = ["{pin}"]\n')
    with serve(file, "--port", "0") as served:
        answers = [said(post(served, "/v1/chat/completions", on(day))) for day in (21, 21, 22)]
        told = record(served, 3)
    assert answers[2] == answers[1]  # what the engine says to the pinned prompt
    assert "prefix_break" not in told
    assert told["tokens"]["cached"] >= told["tokens"]["prompt"] - 1  # the very same tokens, the day included
