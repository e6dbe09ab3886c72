"""Our own server: every check passes, and each fault of the scripted engine behind it is found by the check that is about it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from relight.check.examination import Examination, Target
from relight.check.needs import needs
from relight.check.unit import Settings
from relight.check.verdict import Status
from relight.engines.script import KEYS
from tests.check.examined import Hurried, examine, fails, of, seen
from tests.serve.process import Served, serve, write_config

FIRST = frozenset({"wake"})
ANSWERS = frozenset({"chat.plain", "chat.stream", "messages.plain", "messages.stream"})
FINISH = frozenset({"chat.finish", "chat.tools.reason", "messages.finish", "messages.tools.reason"})

# What the engine is told for every answer; which checks fail for it in the two dialects. A front door cannot give words that
# an engine did not say, but it has to put characters together, keep clients through comments, and pass on what is fine.
FAULTS: dict[str, tuple[str, frozenset[str]]] = {
    "stall": ("stall=after:3", ANSWERS),
    "stall-at-once": ("stall=after:0", FIRST),
    "drop": ("drop=after:3", ANSWERS),
    "blind": ("blind=1", frozenset({"chat.tools.shown", "messages.tools.shown"})),
    "garbage": ("garbage=after:3", ANSWERS),
    "crash": ("crash=after:3 exit=9", ANSWERS),
    "empty": ("empty=1", FIRST),
    "status": ("status=500", FIRST),
    "finish": ("finish=length", FINISH),
    "finish-filter": ("finish=content_filter", FINISH),
    "unicode": ("unicode=1 chunk=3", frozenset()),
    "comments": ("prefill=60ms comments=20ms", frozenset()),
    "slow": ("first=20ms delay=1ms cached=3", frozenset()),
    "reasoning": ('reasoning="Let me see."', frozenset()),
}
# Where nothing will come, it does not matter how long one waits.
PATIENCE: dict[str, dict[str, Any]] = {
    "stall": {"request_s": 1.0, "only": frozenset({"plain", "stream"})},
    "stall-at-once": {"timeout_s": 5.0},
}
# Not faults: what an answer says, and of how many words.
HARMLESS = {"args", "tool", "text", "tokens", "step"}


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service with a model for each fault."""
    models = 'context = 1024\nparallel = 4\n[models.words]\nengine = "scripted"\ntask = "embed"\n'
    for name, (script, _) in FAULTS.items():
        models += f'[models.{name}]\nengine = "scripted"\ncontext = 1024\nparallel = 4\nargs = ["--script", {script!r}]\n'
    with serve(write_config(tmp_path_factory.mktemp("scripted"), server='heartbeat = "20ms"', model=models)) as served:
        yield served


async def test_every_check_passes_on_our_own_server(scripted: Served) -> None:
    report = await examine(scripted.base, model="toy")
    assert not fails(report), [finding for finding in report.findings if finding.status is Status.FAIL]
    assert of(report, Status.UNSURE) == {"keepalive"}
    assert of(report, Status.UNSUPPORTED) == {"chat.n"}  # the scripted engine gives one answer, however many are wanted
    assert "embeddings" in of(report, Status.PASS)
    assert {check.split(".", 1)[-1] for check in of(report, Status.SKIPPED)} == {"tls", "errors.key", "key.headers"}
    assert {one.agent: one.says for one in report.agents}["aider"].startswith("will not work: its first request")
    assert report.context == 1024
    assert report.is_complete


@pytest.mark.parametrize("name", FAULTS)
async def test_fault_of_the_engine_is_found_by_its_check_alone(scripted: Served, name: str) -> None:
    _, expected = FAULTS[name]
    report = await examine(scripted.base, "chat", "messages", model=name, **PATIENCE.get(name, {}))
    assert fails(report) == expected, [finding for finding in report.findings if finding.status is Status.FAIL]
    assert bool(report.agents) is ("wake" not in expected)


def test_every_word_of_the_script_language_is_either_harmless_or_tried() -> None:
    tried = {part.split("=")[0] for script, _ in FAULTS.values() for part in script.split() if "=" in part}
    assert tried | HARMLESS == set(KEYS)


async def test_quick_examination_asks_what_decides_and_judges_every_agent_of_the_dialect(scripted: Served) -> None:
    report = await examine(scripted.base, "chat", model="toy", is_quick=True)
    assert not fails(report)
    speaking = [need for need in needs([]) if need.dialect == "chat"]
    assert {one.agent for one in report.agents} == {need.slug for need in speaking}
    assert not [one.says for one in report.agents if "not shown" in one.says]
    asked = {one.check.removeprefix("chat.") for one in report.findings if one.check.startswith("chat.")}
    assert asked == {"plain"} | {name for need in speaking for name in need.must}
    assert report.dialects == ("chat",)


async def test_quick_examination_for_one_agent_asks_what_it_needs_alone(scripted: Served) -> None:
    report = await examine(scripted.base, "responses", model="toy", is_quick=True, agents=("codex",))
    (codex,) = [need for need in needs([]) if need.slug == "codex"]
    asked = {one.check.removeprefix("responses.") for one in report.findings if one.check.startswith("responses.")}
    assert asked == {*codex.must, "plain"}
    assert [one.agent for one in report.agents] == ["codex"]


async def test_one_check_judges_no_agent_by_what_was_not_asked(scripted: Served) -> None:
    report = await examine(scripted.base, "chat", model="toy", only=frozenset({"tools.shown"}))
    assert report.agents == ()
    report = await examine(scripted.base, "chat", model="finish", only=frozenset({"history.no_id"}))
    assert report.agents == ()


async def test_engine_that_does_not_start_is_not_waited_for_as_long_as_a_wake(tmp_path: Path) -> None:
    config = write_config(tmp_path, model='args = ["--crash-at-load"]')
    told: list[str] = []
    with serve(config) as served:
        target, settings = Target(served.base), Settings(dialects=("chat",), timeout_s=1e6)
        report = await Examination(target, settings, clock=Hurried(), doing=told.append).run()
    (wake,) = [one for one in report.findings if one.check == "wake"]
    assert wake.status is Status.FAIL
    assert "engine exited with code 1" in wake.seen
    waits = [line for line in told if "again in" in line]
    assert len(waits) == 2
    assert waits[0].startswith("waiting for the first answer of toy: refused with 503")


async def test_wake_alone_is_asked_once(scripted: Served) -> None:
    report = await examine(scripted.base, model="toy", only=frozenset({"keepalive"}))
    assert [one.check for one in report.findings] == [*("name", "tcp", "tls", "identity", "key", "models"), "wake", "keepalive"]


async def test_check_that_concerns_no_dialect_can_be_asked_alone_and_wakes_nobody_who_chats(scripted: Served) -> None:
    report = await examine(scripted.base, model="toy", only=frozenset({"embeddings"}))
    assert "embeddings" in of(report, Status.PASS)
    assert "wake" not in {one.check for one in report.findings}
    assert seen(report, "embeddings") == "words: 8 numbers a text, also as base64"


async def test_model_that_is_put_to_sleep_is_seen_waking(scripted: Served) -> None:
    await examine(scripted.base, "chat", model="toy", only=frozenset({"plain"}))
    report = await examine(scripted.base, "chat", model="toy", only=frozenset({"plain"}), puts_to_sleep=True)
    assert {"wake", "chat.plain"} <= of(report, Status.PASS)
    (wake,) = [finding for finding in report.findings if finding.check == "wake"]
    assert wake.sent.startswith("POST /v1/chat/completions")

    def wakes() -> int:
        return sum(record.get("model") == "toy" and bool(record["timings"].get("wake_ms")) for record in scripted.records())

    scripted.until(lambda: wakes() >= 2)  # it woke for either
