"""Real coding agents against `relight serve`: each makes a file and reads it back, whatever the engine does meanwhile."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.agents_real.clients import CLIENTS, Client
from tests.agents_real.conftest import Stage
from tests.agents_real.matrix import Matrix, Row
from tests.agents_real.pins import read_pins
from tests.agents_real.scenes import CONTENT, GAPS, LIGHT, Outcome, Scene, is_answered, wake_s

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

# What it says in the end, in whatever frame: done, and what it has read.
DONE = re.compile(rf"^\W*done:.*?{re.escape(CONTENT)}", re.MULTILINE | re.DOTALL)
REFUSED = re.compile(
    r"maximum context length is 2048|prompt is too long|ran out of room|hit a token limit|context length exceeded", re.IGNORECASE
)


def every_client(scene: Scene) -> pytest.MarkDecorator:
    """All clients in that scene; what is known not to work must not work."""
    marks = {
        client.name: [pytest.mark.xfail(strict=True, reason=why)] for client in CLIENTS if (why := GAPS.get((client.name, scene)))
    }
    playing = [client for client in CLIENTS if scene is not Scene.REAL or client.name in LIGHT]
    cases = [pytest.param(client, scene, id=client.name, marks=marks.get(client.name, [])) for client in playing]
    return pytest.mark.parametrize(("client", "scene"), cases)


@contextmanager
def judged(stage: Stage, client: Client, scene: Scene, matrix: Matrix) -> Iterator[tuple[Outcome, Row]]:
    """What became of it, and its row, which is told how the judgement ends; skips where the client could not be installed."""
    pin = read_pins()[client.name]
    if pin.lacking:
        pytest.skip(pin.lacking)
    outcome = stage.begin(client, scene).result()
    row = matrix.row(client.name, pin.version, client.dialect)
    row.passed[scene] = False
    yield outcome, row
    row.passed[scene] = True


def assert_done(outcome: Outcome) -> None:
    """File, words and exit code are as they should be."""
    assert outcome.ran.code == 0, outcome.ran.output[-3000:]
    assert outcome.content in (CONTENT, f"{CONTENT}\n"), outcome.ran.output[-3000:]
    assert DONE.search(outcome.ran.output), outcome.ran.output[-3000:]


@every_client(Scene.ASLEEP)
def test_task_is_done_from_asleep(scripted_stage: Stage, client: Client, scene: Scene, matrix: Matrix) -> None:
    with judged(scripted_stage, client, scene, matrix) as (outcome, row):
        assert_done(outcome)
        assert all(map(is_answered, outcome.records))
        first = outcome.records[0]["timings"]
        # A title that is asked for a moment before has begun the wake.
        assert first["wake_ms"] >= 900 * wake_s(client.name)
        row.wake_s = wake_s(client.name)
        row.first_token_s = (first.get("first_token_ms") or first["total_ms"]) / 1000
        row.request_bytes = max(outcome.bytes_in)


@every_client(Scene.CRASH)
def test_task_is_done_although_the_engine_dies_in_its_middle(
    scripted_stage: Stage, client: Client, scene: Scene, matrix: Matrix
) -> None:
    with judged(scripted_stage, client, scene, matrix) as (outcome, _):
        assert outcome.has_crashed
        assert_done(outcome)


@every_client(Scene.TOO_LONG)
def test_prompt_that_is_too_long_is_refused_in_words(scripted_stage: Stage, client: Client, scene: Scene, matrix: Matrix) -> None:
    with judged(scripted_stage, client, scene, matrix) as (outcome, _):
        assert outcome.ran.code is not None
        assert REFUSED.search(outcome.ran.output), outcome.ran.output[-3000:]
        assert "context_length_exceeded" in [record.get("error_code") for record in outcome.records]


@every_client(Scene.REAL)
def test_small_model_answers_it(real_stage: Stage, client: Client, scene: Scene, matrix: Matrix) -> None:
    with judged(real_stage, client, scene, matrix) as (outcome, _):
        assert any(map(is_answered, outcome.records)), outcome.ran.output[-3000:]
