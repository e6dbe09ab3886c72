from __future__ import annotations

from pathlib import Path

import pytest

from relight.config.schema import Model, Task
from relight.errors import WeightsError
from relight.weights.fit import context_problem, memory_needed, pooling_problem
from relight.weights.gguf import Header, read_header
from tests.weights.files import gguf


@pytest.fixture
def header(tmp_path: Path) -> Header:
    """Trained for 2048 tokens; 2 layers with 2 KV heads of 16 elements each."""
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf())
    return read_header(path)


def test_context_up_to_the_trained_one_fits(header: Header) -> None:
    assert context_problem(header, Model(context=2048)) is None


def test_context_beyond_the_trained_one_names_the_largest_that_fits(header: Header) -> None:
    assert context_problem(header, Model(context=2049)) == (
        "should be at most 2048, for which the weights were trained, got 2049; set it to 2048 or less"
    )


def test_context_of_weights_that_say_nothing_is_believed(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf({"llama.context_length": None}))
    assert context_problem(read_header(path), Model(context=1 << 20)) is None


def test_context_that_is_stretched_on_purpose_is_measured_by_its_own_word(header: Header) -> None:
    args = ("--rope-scaling=yarn", "--override-kv=a.b=bool:true,llama.context_length=int:4096")
    assert context_problem(header, Model(context=4096, args=args)) is None
    assert "at most 4096" in (context_problem(header, Model(context=4097, args=args)) or "")


def test_memory_is_weights_and_a_cache_for_every_request(header: Header) -> None:
    per_token = 2 * 2 * (16 + 16) * 2  # layers, heads, elements of K and V, bytes
    assert memory_needed(header, Model(context=1000, parallel=3)) == header.size_bytes + per_token * 3000


def test_memory_follows_the_cache_types(header: Header) -> None:
    half = memory_needed(header, Model(context=1024, args=("--cache-type-k=q8_0", "--cache-type-v=q8_0")))
    full = memory_needed(header, Model(context=1024))
    assert (half - header.size_bytes) / (full - header.size_bytes) == 34 / 64


def test_memory_of_an_unknown_cache_type_is_refused(header: Header) -> None:
    with pytest.raises(WeightsError, match=r"cache type: should be one of f32, f16, .* got 'q9'"):
        memory_needed(header, Model(args=("--cache-type-k=q9",)))


@pytest.mark.parametrize(
    ("pooling", "model", "is_refused"),
    [
        (None, Model(task=Task.EMBED), True),
        (0, Model(task=Task.EMBED), True),
        (1, Model(task=Task.EMBED), False),
        (None, Model(task=Task.EMBED, args=("--pooling=cls",)), False),
        (1, Model(task=Task.EMBED, args=("--pooling=none",)), True),
        (None, Model(), False),
        (None, Model(task=Task.RERANK), False),
    ],
)
def test_pooling_is_asked_for_where_neither_weights_nor_settings_name_one(
    tmp_path: Path, pooling: int | None, model: Model, *, is_refused: bool
) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf({"llama.pooling_type": pooling}))
    assert (pooling_problem(read_header(path), model) is not None) is is_refused
