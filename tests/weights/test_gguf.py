"""The header of a GGUF file: read exactly, and damage never turns into anything but an error of ours."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path
from tempfile import NamedTemporaryFile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relight.errors import WeightsError
from relight.weights.gguf import Damaged, Header, NotGguf, kv_bytes_per_token, read_header
from tests.weights.files import gguf

_WHOLE = gguf({"general.alignment": 32, "llama.rope.sections": [1, 2, 3], "tokenizer.ggml.add_bos_token": True})


def read(content: bytes) -> Header:
    with NamedTemporaryFile(suffix=".gguf") as file:
        file.write(content)
        file.flush()
        return read_header(Path(file.name), label="m.gguf")


def test_header_of_a_dense_model_is_read() -> None:
    content = gguf()
    assert read(content) == Header(
        architecture="llama",
        name="Tiny",
        context_length=2048,
        block_count=2,
        embedding_length=64,
        head_count=4,
        head_count_kv=(2, 2),
        key_length=16,
        value_length=16,
        sliding_window=0,
        vocab_size=5,
        file_type="Q4_1",
        parameter_count=64,
        tensor_count=1,
        size_bytes=len(content),
        chat_template="{{ messages }}",
    )


def test_header_with_heads_per_layer_and_a_window_is_read() -> None:
    header = read(
        gguf(
            {
                "llama.attention.head_count_kv": [0, 8],
                "llama.attention.key_length": 32,
                "llama.attention.sliding_window": 512,
                "llama.vocab_size": 99,
                "tokenizer.chat_template": None,
                "general.file_type": 777,
            },
            version=2,
        )
    )
    assert (header.head_count_kv, header.key_length, header.value_length) == ((0, 8), 32, 16)
    assert (header.sliding_window, header.vocab_size, header.chat_template) == (512, 99, None)
    assert header.file_type == "type 777"


def test_kv_bytes_count_layers_heads_and_cache_types() -> None:
    header = read(gguf({"llama.attention.head_count_kv": [0, 2], "llama.attention.value_length": 32}))
    assert kv_bytes_per_token(header) == 2 * (16 * 2 + 32 * 2)
    assert kv_bytes_per_token(header, "q8_0", "f32") == 2 * (17 + 32 * 4)
    with pytest.raises(WeightsError, match="should be one of f32, f16"):
        kv_bytes_per_token(header, "f17")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>", "is not a GGUF file"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "has GGUF version 1"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "is a big-endian GGUF file"),
    ],
)
def test_file_of_another_kind_is_refused_by_name(content: bytes, said: str) -> None:
    with pytest.raises(NotGguf, match=f"m.gguf: {said}"):
        read(content)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (gguf()[:-1], "its tensors need"),
        (gguf()[:60], "the file ends inside"),
        (gguf({"general.architecture": None}), "no general.architecture"),
        (gguf({"llama.block_count": 4_000_000_000}), "4000000000 blocks"),
        (gguf({"general.alignment": 0}), "an alignment of 0"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**63, 1), "tensors"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 2**63), "keys"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**62), "bytes of text"),
        (b"GGUF" + struct.pack("<IQQQ1sIIQ", 3, 0, 1, 1, b"k", 9, 8, 2**60), "elements in a list"),
        (b"GGUF" + struct.pack("<IQQQ1sIIQ", 3, 0, 1, 1, b"k", 9, 8, 2**25), "a list of 33554432 texts"),
        (b"GGUF" + struct.pack("<IQQQ1sIIQQ", 3, 0, 1, 1, b"k", 9, 8, 1, 2**40), "ends inside a list of texts"),
        (b"GGUF" + struct.pack("<IQQQ1sIIQ", 3, 0, 1, 1, b"k", 9, 9, 1), "unknown value type 9"),
        (b"GGUF" + struct.pack("<IQQQ1sI", 3, 0, 1, 1, b"k", 77), "unknown value type 77"),
    ],
)
def test_damaged_file_says_what_cannot_be(content: bytes, said: str) -> None:
    with pytest.raises(Damaged, match=said):
        read(content)


def test_missing_file_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"gone\.gguf: cannot be read: No such file"):
        read_header(tmp_path / "gone.gguf")


@given(cut=st.integers(0, len(_WHOLE) - 1))
@settings(max_examples=200, deadline=None)
def test_file_cut_anywhere_is_refused(cut: int) -> None:
    with pytest.raises(WeightsError):
        read(_WHOLE[:cut])


@given(flips=st.lists(st.tuples(st.integers(0, len(_WHOLE) - 1), st.integers(1, 255)), min_size=1, max_size=6))
@settings(max_examples=600, deadline=None)
def test_file_with_flipped_bits_reads_or_is_refused(flips: list[tuple[int, int]]) -> None:
    content = bytearray(_WHOLE)
    for position, mask in flips:
        content[position] ^= mask
    try:
        header = read(bytes(content))
    except WeightsError:
        return
    assert header.size_bytes == len(_WHOLE)
    assert kv_bytes_per_token(header) is not None


def test_vocabulary_is_not_held_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "wide.gguf"
    path.write_bytes(gguf({"tokenizer.ggml.tokens": [f"token {number}" for number in range(100_000)]}))
    tracemalloc.start()
    try:
        header = read_header(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert header.vocab_size == 100_000
    assert peak < 100_000
