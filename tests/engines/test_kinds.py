from __future__ import annotations

import sys
from pathlib import Path

import pytest

from relight.config.schema import EngineKind
from relight.engines.base import Ready, Spec
from relight.engines.kinds import Scripted, engine_for


@pytest.mark.parametrize("kind", EngineKind)
def test_every_kind_that_a_configuration_can_name_has_its_engine(kind: EngineKind) -> None:
    assert engine_for(kind).name == kind.value


def test_scripted_engine_answers_all_that_llama_cpp_answers_and_embeddings() -> None:
    llama = engine_for(EngineKind("llama.cpp")).capabilities.paths
    assert Scripted.capabilities.paths - llama == {"/v1/embeddings"}
    assert llama <= Scripted.capabilities.paths


def test_scripted_engine_is_started_as_the_spec_says() -> None:
    command = Scripted().command(Spec("smol", None, 512, 3, 8, ("--load=1s", "--deaf"), Path("s.sock")))
    flags = ["--socket", "s.sock", "--model", "smol", "--context", "512", "--parallel", "3", "--load=1s", "--deaf"]
    assert command.argv == (sys.executable, "-I", "-m", "relight.engines.scripted", *flags)
    assert command.ready_fd_flag == "--ready-fd"


async def test_scripted_engine_needs_no_asking() -> None:
    assert await Scripted().probe(Spec("smol", None, 512, 3, 8, (), Path("s.sock"))) == Ready()
