"""A real `llama-server` on the PATH: preferred to the wheel, given flags that it knows, and its snapshots are its own."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from relight.engines.base import Spec
from relight.engines.llamacpp import LlamaCpp, origin
from tests.prefixes.recurrent import mamba
from tests.serve.llama_server import llama_server
from tests.serve.process import serve
from tests.serve.test_snapshots import post, put_to_sleep, record, relight

pytestmark = pytest.mark.real

SYSTEM = "You are a cook. " * 20
CONFIG = """
[models.smol]
source = "file:mamba.gguf"
context = 2048
parallel = 2
[prefixes]
dir = "snapshots"
learn = false
[weights]
dir = "weights"
"""


def asked(said: str = "Who are you?") -> dict[str, Any]:
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": said}]
    return {"messages": messages, "temperature": 0, "max_tokens": 16}


def words(answer: dict[str, Any]) -> str:
    text: str = answer["choices"][0]["message"]["content"]
    return text


@pytest.fixture
def binaries(tmp_path: Path) -> Path:
    (tmp_path / "wheel").mkdir()
    return llama_server(tmp_path / "wheel")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    mamba(tmp_path / "mamba.gguf")
    (tmp_path / "relight.toml").write_text(CONFIG)
    (tmp_path / "cook.json").write_text(json.dumps(asked()))
    return tmp_path / "relight.toml"


@pytest.fixture
def on_path(binaries: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{binaries}{os.pathsep}{os.environ['PATH']}")
    return binaries


def test_binary_is_preferred_and_named_with_its_version(on_path: Path, tmp_path: Path) -> None:
    spec = Spec(model="smol", weights=Path("m.gguf"), context=64, parallel=1, threads=1, args=(), socket=tmp_path / "e.sock")
    assert origin() == str(on_path / "llama-server")
    assert LlamaCpp().command(spec).argv[0] == str(on_path / "llama-server")
    assert LlamaCpp().build().startswith("llama-server version: ")


def test_binary_wakes_answers_and_takes_its_snapshots_back(on_path: Path, config: Path, tmp_path: Path) -> None:
    assert on_path.exists()
    with serve(config, "--port", "0") as served:
        plain = words(post(served, "/v1/chat/completions", asked()))
        put_to_sleep(served)
    (baked,) = relight(tmp_path, "bake", "cook.json", "--json")
    assert (baked["state"], baked["same_answer"]) == ("made", True)
    with serve(config, "--port", "0") as served:
        for number in (1, 2):
            assert words(post(served, "/v1/chat/completions", asked())) == plain
            assert record(served, number)["restored_tokens"] > 300
            put_to_sleep(served)
        assert not any("WARNING" in line for line in served.lines)


def test_snapshots_of_the_wheel_are_foreign_to_the_binary(
    binaries: Path, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert config.exists()
    relight(tmp_path, "bake", "cook.json", "--json")
    (listed,) = relight(tmp_path, "prefixes", "list", "--json")
    monkeypatch.setenv("PATH", f"{binaries}{os.pathsep}{os.environ['PATH']}")
    (foreign,) = relight(tmp_path, "prefixes", "list", "--json")
    assert (listed["model"], foreign["model"]) == ("smol", None)
