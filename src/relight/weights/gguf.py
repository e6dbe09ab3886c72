"""What a GGUF file says about itself, read in milliseconds without its vocabulary. Must not know where the file came from.

Format: the GGUF specification of the ggml project, versions 2 and 3, little-endian.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import Final

from relight.errors import WeightsError
from relight.weights.ggml import CACHE_TYPES, FILE_TYPES, TENSOR_TYPES

_U32: Final = Struct("<I")
_U64: Final = Struct("<Q")
_STRING: Final = 8
_ARRAY: Final = 9
_SCALARS: Final = {
    number: Struct(f"<{code}")
    for number, code in {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}.items()
}

# Bounds far above any real model: a length field beyond them is damage, not data, and must not cost memory or time.
_MAX_KEYS: Final = 1 << 16
_MAX_TENSORS: Final = 1 << 18
_MAX_NAME_BYTES: Final = 1 << 16
_MAX_TEXT_BYTES: Final = 1 << 24
_MAX_ARRAY: Final = 1 << 26
_KEPT_ARRAY: Final = 4096
_MAX_DIMENSIONS: Final = 4

_Value = int | float | bool | str | tuple[int | float, ...]


class NotGguf(WeightsError):
    """The file is something else."""

    code = "weights_not_gguf"


class Damaged(WeightsError):
    """The file is GGUF, but cut short or with fields that cannot be."""

    code = "weights_damaged"


@dataclass(frozen=True, slots=True)
class Header:
    """A model's own description.

    Counts per layer (`head_count_kv`) have one entry a block; lengths are elements of a head; `context_length` and
    `sliding_window` are tokens (0: not said, no window); `file_type` is a quantization such as `Q4_K_M`; `size_bytes`
    is the file's.
    """

    architecture: str
    name: str
    context_length: int
    block_count: int
    embedding_length: int
    head_count: int
    head_count_kv: tuple[int, ...]
    key_length: int
    value_length: int
    sliding_window: int
    vocab_size: int
    file_type: str
    parameter_count: int
    tensor_count: int
    size_bytes: int
    chat_template: str | None
    pooling_type: int = 0
    """How token vectors become one, in llama.cpp's numbers; 0: not at all, or not said."""

    @property
    def parameters(self) -> str:
        """The number of parameters as people say it: `135M`, `1.2B`."""
        millions = self.parameter_count / 1e6
        return f"{millions / 1000:.1f}B" if millions >= 1000 else f"{millions:.0f}M"


def read_header(path: Path, *, label: str | None = None) -> Header:
    """Read the header of the GGUF file at `path`, which messages call `label` (its own name if left out).

    Raises `NotGguf` or `Damaged` for what cannot be loaded, `WeightsError` when the file cannot be read at all.
    """
    name = label or path.name
    try:
        with path.open("rb") as file:
            if file.seek(0, 2) == 0:
                raise NotGguf(f"{name}: is empty")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _header(_Reader(data, name))
    except OSError as error:
        raise WeightsError(f"{name}: cannot be read: {error.strerror or error}") from error


def kv_bytes_per_token(header: Header, k_type: str = "f16", v_type: str = "f16") -> int:
    """Bytes of KV cache that one token of context takes, in cache types as llama.cpp names them (`f16`, `q8_0` …).

    An upper bound where layers look at a sliding window only; layers without attention (recurrent ones) count nothing.
    """
    try:
        (k_elements, k_bytes), (v_elements, v_bytes) = CACHE_TYPES[k_type], CACHE_TYPES[v_type]
    except KeyError as unknown:
        raise WeightsError(f"cache type: should be one of {', '.join(CACHE_TYPES)}, got {unknown}") from None
    head = header.key_length * k_bytes / k_elements + header.value_length * v_bytes / v_elements
    return math.ceil(sum(header.head_count_kv) * head)


class _Reader:
    """A position in the mapped file; every step is checked against what is left."""

    __slots__ = ("_data", "name", "position", "size")

    def __init__(self, data: mmap.mmap, name: str) -> None:
        self._data = data
        self.name = name
        self.position = 0
        self.size = len(data)

    def damaged(self, what: str) -> Damaged:
        return Damaged(
            f"{self.name}: damaged GGUF: {what} at byte {self.position} of {self.size}",
            hint="download it again: relight models pull",
        )

    def skip(self, count: int) -> int:
        """Step over `count` bytes and return where they begin."""
        start = self.position
        if count > self.size - start:
            raise self.damaged(f"the file ends inside a field of {count} bytes")
        self.position = start + count
        return start

    def scalar(self, form: Struct) -> int | float:
        value: int | float = form.unpack_from(self._data, self.skip(form.size))[0]
        return value

    def count(self, form: Struct, most: int, what: str) -> int:
        value = int(self.scalar(form))
        if value > most:
            raise self.damaged(f"{value} {what}")
        return value

    def text(self, most: int) -> str:
        length = self.count(_U64, most, "bytes of text")
        start = self.skip(length)
        return self._data[start : start + length].decode("utf-8", "replace")

    def skip_texts(self, count: int) -> None:
        """Step over `count` strings; the one loop that is long (a vocabulary), so it calls nothing of ours."""
        data, position, size, unpack = self._data, self.position, self.size, _U64.unpack_from
        if count > (size - position) // 8:
            raise self.damaged(f"a list of {count} texts")
        last = size - 8
        for _ in range(count):
            if position > last:
                break
            position += 8 + unpack(data, position)[0]
        if position > size:
            raise self.damaged("the file ends inside a list of texts")
        self.position = position

    def value(self) -> _Value:
        kind = int(self.scalar(_U32))
        if kind == _STRING:
            return self.text(_MAX_TEXT_BYTES)
        if kind == _ARRAY:
            return self._array()
        return self.scalar(self._form(kind))

    def _form(self, kind: int) -> Struct:
        form = _SCALARS.get(kind)
        if form is None:
            raise self.damaged(f"unknown value type {kind}")
        return form

    def _array(self) -> _Value:
        """Short arrays of numbers as they are; of all others only the length."""
        kind = int(self.scalar(_U32))
        count = self.count(_U64, _MAX_ARRAY, "elements in a list")
        if kind == _STRING:
            self.skip_texts(count)
            return count
        form = self._form(kind)
        start = self.skip(count * form.size)
        if count > _KEPT_ARRAY:
            return count
        return tuple(form.unpack_from(self._data, start + index * form.size)[0] for index in range(count))


def _header(reader: _Reader) -> Header:
    tensors, keys = _preamble(reader)
    fields: dict[str, _Value] = {}
    for _ in range(keys):
        key = reader.text(_MAX_NAME_BYTES)
        fields[key] = reader.value()
    parameters = _tensors(reader, tensors, _integer(fields, "general.alignment", 32))
    return _describe(reader, fields, tensors=tensors, parameters=parameters)


def _preamble(reader: _Reader) -> tuple[int, int]:
    if reader.size < 4 or reader.scalar(_U32) != int.from_bytes(b"GGUF", "little"):
        raise NotGguf(f"{reader.name}: is not a GGUF file", hint="the llama.cpp engine needs weights in GGUF form")
    version = reader.scalar(_U32)
    if version not in {2, 3}:
        big = int(version).to_bytes(4, "big")[:1] in {b"\x02", b"\x03"}
        what = "is a big-endian GGUF file" if big else f"has GGUF version {version}"
        raise NotGguf(f"{reader.name}: {what}", hint="only little-endian versions 2 and 3 are read")
    tensors = reader.count(_U64, _MAX_TENSORS, "tensors")
    return tensors, reader.count(_U64, _MAX_KEYS, "keys")


def _tensors(reader: _Reader, count: int, alignment: int) -> int:
    """Read the tensor list; returns the number of parameters. Raises `Damaged` when the file ends before its last tensor."""
    parameters, end = 0, 0
    for _ in range(count):
        reader.text(_MAX_NAME_BYTES)
        dimensions = reader.count(_U32, _MAX_DIMENSIONS, "dimensions")
        elements = math.prod(int(reader.scalar(_U64)) for _ in range(dimensions))
        _, block, size = TENSOR_TYPES.get(int(reader.scalar(_U32)), ("?", 1, 0))
        end = max(end, int(reader.scalar(_U64)) + elements // block * size)
        parameters += elements
    if alignment <= 0:
        raise reader.damaged(f"an alignment of {alignment}")
    needed = -(-reader.position // alignment) * alignment + end
    if count and needed > reader.size:
        raise reader.damaged(f"its tensors need {needed} bytes, found the end")
    return parameters


def _describe(reader: _Reader, fields: Mapping[str, _Value], *, tensors: int, parameters: int) -> Header:
    architecture = fields.get("general.architecture")
    if not isinstance(architecture, str) or not architecture:
        raise reader.damaged("no general.architecture")
    blocks = _integer(fields, f"{architecture}.block_count")
    if not 0 <= blocks <= _KEPT_ARRAY:
        raise reader.damaged(f"{blocks} blocks")
    heads = _per_block(fields, f"{architecture}.attention.head_count", blocks, 0)
    most_heads = max(heads, default=0)
    embedding = _integer(fields, f"{architecture}.embedding_length")
    head_length = embedding // most_heads if most_heads > 0 else 0
    template = fields.get("tokenizer.chat_template")
    return Header(
        architecture=architecture,
        name=str(fields.get("general.name", "")),
        context_length=_integer(fields, f"{architecture}.context_length"),
        block_count=blocks,
        embedding_length=embedding,
        head_count=most_heads,
        head_count_kv=_per_block(fields, f"{architecture}.attention.head_count_kv", blocks, most_heads),
        key_length=_integer(fields, f"{architecture}.attention.key_length", head_length),
        value_length=_integer(fields, f"{architecture}.attention.value_length", head_length),
        sliding_window=_integer(fields, f"{architecture}.attention.sliding_window"),
        vocab_size=_integer(fields, f"{architecture}.vocab_size", _length(fields.get("tokenizer.ggml.tokens"))),
        file_type=_file_type(fields),
        parameter_count=parameters,
        tensor_count=tensors,
        size_bytes=reader.size,
        chat_template=template if isinstance(template, str) else None,
        pooling_type=_integer(fields, f"{architecture}.pooling_type"),
    )


def _integer(fields: Mapping[str, _Value], key: str, default: int = 0) -> int:
    value = fields.get(key)
    return value if isinstance(value, int) else default


def _length(value: _Value | None) -> int:
    if isinstance(value, tuple):
        return len(value)
    return value if isinstance(value, int) else 0


def _per_block(fields: Mapping[str, _Value], key: str, blocks: int, default: int) -> tuple[int, ...]:
    value = fields.get(key, default)
    if isinstance(value, tuple):
        return tuple(int(item) if math.isfinite(item) else 0 for item in value[:blocks])
    return (value if isinstance(value, int) else default,) * blocks


def _file_type(fields: Mapping[str, _Value]) -> str:
    number = _integer(fields, "general.file_type", -1)
    return FILE_TYPES.get(number, "unknown" if number < 0 else f"type {number}")
