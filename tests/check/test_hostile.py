"""Servers that answer anything: an examination ends with a report, whatever comes."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from aiohttp import web

from relight.check.examination import Examination, Target
from relight.check.unit import Settings
from relight.check.verdict import Status
from tests.check.broken_server import Asked, Fault, Sent, broken, serving
from tests.check.examined import examine, fails
from tests.serve.process import serve, write_config

WORDS: list[Any] = [None, True, 17, -1.5, "", "stop", "weather", "\u202e\x1b[2J", [], {}, [[]], [None], {"id": {}}, "x" * 3000]


def spoiled(value: Any, dice: random.Random) -> Any:
    """`value` with one of its parts replaced by something else."""
    if isinstance(value, dict) and value and dice.random() < 0.9:
        key = dice.choice(sorted(value))
        return {**value, key: spoiled(value[key], dice)}
    if isinstance(value, list) and value and dice.random() < 0.9:
        place = dice.randrange(len(value))
        return [*value[:place], spoiled(value[place], dice), *value[place + 1 :]]
    return dice.choice(WORDS)


@pytest.mark.parametrize("seed", range(4))
async def test_answers_with_a_part_replaced_end_in_a_report(tmp_path: Any, seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - no secret

    def sent(asked: Asked, answer: Sent) -> Sent:
        if answer.body and (asked.method == "POST" or dice.random() < 0.3):
            return answer.each(lambda one: spoiled(one, dice) if dice.random() < 0.5 else one)
        return answer

    with serve(write_config(tmp_path, model="context = 1024\nparallel = 4")) as served:
        async with broken(served.base, Fault(sent=sent)) as server:
            report = await examine(server.url, model="toy")
    assert report.is_complete
    assert fails(report)
    assert all(finding.seen.isprintable() and finding.came.isprintable() for finding in report.findings)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", "[]"),
        ("application/json", '{"data": 5}'),
        ("application/json", '{"data": [{"id": "toy", "capabilities": 3, "relight": 1}]}'),
        ("application/json", '{"data": [{"id": ["toy"]}], "models": [{"name": 1}]}'),
        ("text/event-stream", "data: {}\n\n" * 50),
        ("application/json", ""),
        ("application/json", "{" * 5000),
    ],
)
async def test_one_answer_to_everything_ends_in_a_report(kind: str, body: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=body, content_type=kind)

    async with serving(answer) as url:
        report = await Examination(Target(url, None, "toy"), Settings()).run()
    assert report.is_complete
    assert report.findings[-1].status in (Status.FAIL, Status.UNSURE)
    assert report.agents == ()


async def test_answer_without_an_end_is_left() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.method == "GET":
            return web.json_response({"data": [{"id": "toy"}]})
        stream = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await stream.prepare(request)
        while True:
            await stream.write(b'data: {"choices": []}\n\n' * 4096)

    async with serving(answer) as url:
        report = await examine(url, "chat")
    (wake,) = [finding for finding in report.findings if finding.check == "wake"]
    assert wake.status is Status.FAIL
    assert "4MiB" in wake.seen
    assert len(json.dumps(wake.came)) < 1000
