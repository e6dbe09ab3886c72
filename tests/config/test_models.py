from __future__ import annotations

import pytest

from relight.config.keys import schema
from relight.config.kinds import BELONGS
from relight.config.models import model_problems
from relight.config.origin import DEFAULT
from relight.config.schema import EngineKind, Model, SecretName, Task

SMOL = Model(source="file:smol.gguf")
CLOUD = Model(url="https://api.example.com/v1")
EMBEDDER = Model(source="file:e.gguf", task=Task.EMBED)


def chain(*names: str) -> Model:
    return Model(fallback=names)


def problems(**models: Model) -> list[str]:
    return [str(problem) for problem in model_problems(models, lambda _: DEFAULT)]


def test_every_key_and_section_of_a_model_belongs_to_a_kind() -> None:
    section = schema().sections["models"]
    assert set(BELONGS) == {*section.keys, *section.sections}


def test_llama_model_without_weights_is_refused_and_a_scripted_one_is_not() -> None:
    (problem,) = problems(real=Model(), demo=Model(engine=EngineKind.SCRIPTED))
    assert problem.startswith("models.real.source: missing: llama.cpp needs weights; set source =")


@pytest.mark.parametrize(
    ("engine", "source"),
    [
        (EngineKind.VLLM, "hf:Qwen/Qwen3-0.6B"),
        (EngineKind.VLLM, "hf:Qwen/Qwen3-0.6B@main"),
        (EngineKind.VLLM, "file:/models/qwen"),
        (EngineKind.OLLAMA, "ollama:qwen3:0.6b"),
        (EngineKind.OLLAMA, "ollama:qwen3"),
        (EngineKind.OLLAMA, "file:smol.gguf"),
        (EngineKind.OLLAMA, "hf:a/b/c.Q4_0.GGUF@main"),
        (EngineKind.OLLAMA, "https://example.com/x.gguf?download=true"),
    ],
)
def test_source_in_a_form_that_the_engine_runs_is_fine(engine: EngineKind, source: str) -> None:
    assert problems(m=Model(engine=engine, source=source)) == []


@pytest.mark.parametrize(
    ("engine", "source"),
    [
        (EngineKind.VLLM, "hf:Qwen/Qwen3-0.6B/model.safetensors"),
        (EngineKind.VLLM, "file:smol.gguf"),
        (EngineKind.VLLM, "ollama:qwen3"),
        (EngineKind.OLLAMA, "hf:Qwen/Qwen3-0.6B"),
        (EngineKind.OLLAMA, "file:/models/qwen"),
    ],
)
def test_source_that_the_engine_cannot_run_is_refused_with_what_it_can(engine: EngineKind, source: str) -> None:
    (problem,) = problems(m=Model(engine=engine, source=source))
    assert problem.startswith(f"models.m.source: is nothing that {engine} can run; set source =")


def test_model_of_two_kinds_is_refused_once() -> None:
    (problem,) = problems(m=Model(source="file:x.gguf", url="nonsense"))
    assert problem == "models.m: cannot have source and url at once; keep one, or make each a model of its own"


def test_key_for_an_unencrypted_provider_is_refused() -> None:
    (problem,) = problems(m=Model(url="http://10.0.0.1/v1", api_key=SecretName(secret="K")))
    assert problem.startswith("models.m.url: is not encrypted")


def test_list_of_lists_without_a_circle_is_fine() -> None:
    assert problems(smol=SMOL, cloud=CLOUD, best=chain("cheap", "cloud"), cheap=chain("smol", "cloud")) == []


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("smoll",), 'no model is called "smoll"; did you mean "smol"?'),
        (("smol", "smol"), 'names "smol" twice'),
        (("best",), "names itself; name another model"),
        (("emb",), 'names "emb", which has task = "embed"; this model has task = "chat"'),
    ],
)
def test_list_that_names_what_cannot_answer_is_refused(names: tuple[str, ...], message: str) -> None:
    assert problems(smol=SMOL, emb=EMBEDDER, best=chain(*names)) == [f"models.best.fallback: {message}"]


def test_list_for_embeddings_takes_models_for_embeddings() -> None:
    assert problems(emb=EMBEDDER, best=Model(fallback=("emb",), task=Task.EMBED)) == []


def test_circle_of_lists_is_reported_once_with_its_way() -> None:
    found = problems(smol=SMOL, a=chain("smol", "b"), b=chain("c"), c=chain("smol", "a"), d=chain("a"))
    assert found == ["models.a.fallback: leads back to itself: a → b → c → a; take one of them out"]


@pytest.mark.parametrize(
    ("bridge", "message"),
    [
        ("cluod", 'no model is called "cluod"; did you mean "cloud"?'),
        ("smol", "names itself; name another model"),
        ("best", 'names "best", which is a list (fallback); name one of its models'),
        ("emb", 'names "emb", which has task = "embed"; this model has task = "chat"'),
    ],
)
def test_bridge_that_cannot_answer_is_refused(bridge: str, message: str) -> None:
    smol = Model(source="file:smol.gguf", bridge=bridge)
    assert problems(smol=smol, cloud=CLOUD, emb=EMBEDDER, best=chain("cloud")) == [f"models.smol.bridge: {message}"]


def test_bridge_of_the_only_model_says_that_there_is_no_other() -> None:
    smol = Model(source="file:smol.gguf", bridge="cloud")
    assert problems(smol=smol) == ['models.smol.bridge: no model is called "cloud"; there is no other model']


def test_bridge_to_a_provider_is_fine() -> None:
    assert problems(smol=Model(source="file:smol.gguf", bridge="cloud"), cloud=CLOUD) == []
