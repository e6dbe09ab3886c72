from __future__ import annotations

import sys
from pathlib import Path

import pytest

from relight.config.schema import EngineKind, Model, Task
from relight.engines.base import Ready, Spec
from relight.engines.kinds import Scripted, engine_for, folder_of_weights, spec_for


@pytest.mark.parametrize("kind", EngineKind)
def test_every_kind_that_a_configuration_can_name_has_its_engine(kind: EngineKind) -> None:
    assert engine_for(kind).name == kind.value


def test_scripted_engine_answers_all_that_llama_cpp_answers_and_embeddings() -> None:
    llama = engine_for(EngineKind("llama.cpp")).capabilities.paths
    assert Scripted().capabilities.paths - llama == {"/v1/embeddings"}
    assert llama <= Scripted().capabilities.paths


@pytest.mark.parametrize("kind", [EngineKind.LLAMA_CPP, EngineKind.SCRIPTED])
@pytest.mark.parametrize(("task", "path"), [(Task.EMBED, "/v1/embeddings"), (Task.RERANK, "/v1/rerank")])
def test_model_that_does_not_chat_answers_its_one_path(kind: EngineKind, task: Task, path: str) -> None:
    capabilities = engine_for(kind, task).capabilities
    assert capabilities.paths == {path}
    assert not any((capabilities.progress, capabilities.slots, capabilities.grammar))


def test_spec_holds_what_the_configuration_says() -> None:
    model = Model(source="ollama:smol:1b", context=512, parallel=3, threads=5, args=("--a=b",), task=Task.EMBED)
    spec = spec_for("smol", model, Path("w.gguf"), Path("s.sock"))
    assert spec == Spec("smol", Path("w.gguf"), 512, 3, 5, ("--a=b",), Path("s.sock"), Task.EMBED, "ollama:smol:1b")


def test_threads_that_are_not_configured_are_at_least_one() -> None:
    assert spec_for("smol", Model(), None, Path("s.sock")).threads >= 1


def test_scripted_engine_is_started_as_the_spec_says() -> None:
    command = Scripted().command(Spec("smol", None, 512, 3, 8, ("--load=1s", "--deaf"), Path("s.sock")))
    flags = ["--socket", "s.sock", "--model", "smol", "--context", "512", "--parallel", "3", "--load=1s", "--deaf"]
    assert command.argv == (sys.executable, "-I", "-m", "relight.engines.scripted", *flags)
    assert command.ready_fd_flag == "--ready-fd"


async def test_scripted_engine_needs_no_asking() -> None:
    assert await Scripted().probe(Spec("smol", None, 512, 3, 8, (), Path("s.sock"))) == Ready()


@pytest.mark.parametrize(
    ("source", "path"),
    [("file:w/tiny", "conf/w/tiny"), ("file:/w/tiny", "/w/tiny"), ("file:///w/tiny", "/w/tiny"), ("hf:a/b", None)],
)
def test_folder_of_weights_lies_where_the_configuration_says(source: str, path: str | None) -> None:
    assert folder_of_weights(Model(source=source), Path("conf")) == (None if path is None else Path(path))
