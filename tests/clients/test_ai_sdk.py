"""Vercel's AI SDK on the scripted engine, through its OpenAI-compatible and its Anthropic provider. Needs node and npm."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.serve.process import Served

pytestmark = pytest.mark.real

HERE = Path(__file__).parent / "ai_sdk"
CACHE = Path("~/.cache/relight/tests").expanduser()
OSLO = ["weather", {"city": "Oslo"}]


@pytest.fixture(scope="module")
def folder() -> Path:
    """The script beside its packages, installed once for each set of versions."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node and npm are not on the PATH")
    packages = (HERE / "package.json").read_bytes()
    folder = CACHE / f"ai-sdk-{hashlib.sha256(packages).hexdigest()[:12]}"
    done = folder / ".installed"
    if not done.exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_bytes(packages)
        _install(npm, folder)
        done.touch()
    shutil.copy(HERE / "run.mjs", folder)
    return folder


def _install(npm: str, folder: Path) -> None:
    """Get the packages; a machine that cannot reach npm's registry runs everything but these tests."""
    command = [npm, "install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("npm did not get the packages within 100 s")
    if done.returncode:
        pytest.skip(f"npm cannot get the packages: {done.stderr.strip()[-200:]}")


@pytest.fixture(scope="module", params=["chat", "messages"])
def told(folder: Path, scripted: Served, request: pytest.FixtureRequest) -> dict[str, Any]:
    """What came of each case."""
    scripted.get("/models/dozer/sleep", "POST")
    said = _run(["node", "run.mjs", scripted.base, request.param, "toy"], folder, timeout_s=200)
    cases: dict[str, Any] = json.loads(said)
    return cases


def _run(command: list[str], folder: Path, *, timeout_s: float) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_text_comes_whole_and_in_pieces_with_usage(told: dict[str, Any]) -> None:
    assert told["text"] == {"text": "Grüße aus 世界", "finishReason": "stop", "outputTokens": 3}
    assert told["stream"] == {"parts": ["one", " two", " three", " four"], "finishReason": "stop", "outputTokens": 4}


def test_reasoning_is_told_apart(told: dict[str, Any]) -> None:
    assert told["reasoning"] == {"text": "forty two", "reasoningText": "let me see"}


def test_parallel_calls_are_streamed(told: dict[str, Any]) -> None:
    assert told["parallel"] == {"calls": [OSLO, ["weather", {"city": "Rome"}]], "finishReason": "tool-calls"}


def test_forced_calls_are_made(told: dict[str, Any]) -> None:
    assert told["forced"] == told["required"] == {"calls": [OSLO]}


def test_tools_are_run_and_the_conversation_goes_on(told: dict[str, Any]) -> None:
    assert told["roundTrip"] == {"text": "The tool answered: rain in Oslo", "steps": 2}
    assert told["streamedRoundTrip"] == {"text": "The tool answered: rain in Oslo"}


def test_objects_keep_to_their_schema(told: dict[str, Any]) -> None:
    assert told["object"] == told["output"] == told["streamedOutput"] == {"object": {"name": "Ada", "age": 36}}


def test_vectors_are_made_of_texts(told: dict[str, Any]) -> None:
    assert told["vectors"] == {"lengths": [8, 8], "differ": True}


def test_asleep_model_is_waited_for(told: dict[str, Any]) -> None:
    assert told["asleep"] == {"text": "awake now"}


def test_errors_say_what_is_wrong_and_whether_to_come_again(told: dict[str, Any]) -> None:
    not_found, overflow, unavailable = told["notFound"], told["overflow"], told["unavailable"]
    assert (not_found["statusCode"], not_found["isRetryable"]) == (404, False)
    assert (overflow["statusCode"], overflow["isRetryable"]) == (400, False)
    assert "maximum" in overflow["message"]
    assert "300 tokens" in overflow["message"]
    assert (unavailable["statusCode"], unavailable["isRetryable"], unavailable["retryAfter"]) == (503, True, "1")
