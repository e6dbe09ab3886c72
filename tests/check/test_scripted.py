"""Our own server: every check passes, and each fault of the scripted engine behind it is found by the check that is about it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from relight.check.verdict import Status
from relight.engines.script import KEYS
from tests.check.examined import examine, fails, of
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
    models = "context = 1024\nparallel = 4\n"
    for name, (script, _) in FAULTS.items():
        models += f'[models.{name}]\nengine = "scripted"\ncontext = 1024\nparallel = 4\nargs = ["--script", {script!r}]\n'
    with serve(write_config(tmp_path_factory.mktemp("scripted"), server='heartbeat = "20ms"', model=models)) as served:
        yield served


async def test_every_check_passes_on_our_own_server(scripted: Served) -> None:
    report = await examine(scripted.base, model="toy")
    assert not fails(report), [finding for finding in report.findings if finding.status is Status.FAIL]
    assert of(report, Status.UNSURE) == {"keepalive"}
    assert not of(report, Status.UNSUPPORTED)
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


async def test_quick_examination_asks_what_every_agent_needs(scripted: Served) -> None:
    report = await examine(scripted.base, model="toy", is_quick=True)
    assert not fails(report)
    unseen = [one.says for one in report.agents if "not shown" in one.says]
    assert not unseen
    assert len(report.findings) < 100


async def test_model_that_is_put_to_sleep_is_seen_waking(scripted: Served) -> None:
    await examine(scripted.base, "chat", model="toy", only=frozenset({"plain"}))
    report = await examine(scripted.base, "chat", model="toy", only=frozenset({"plain"}), puts_to_sleep=True)
    assert {"wake", "chat.plain"} <= of(report, Status.PASS)
    (wake,) = [finding for finding in report.findings if finding.check == "wake"]
    assert wake.sent.startswith("POST /v1/chat/completions")
    records = [record for record in scripted.records() if record.get("model") == "toy" and record["timings"].get("wake_ms")]
    assert len(records) >= 2  # it woke for either
