"""An ONNX file, written by hand: the few messages of its format that an encoder needs. Knows no model.

ONNX is protocol buffers; field numbers are those of onnx.proto (IR version 9). The package that writes them is larger than the
file it would write, and is needed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_IR_VERSION: Final = 9
_OPSET: Final = 18
FUSED: Final = "com.microsoft"
"""The domain of the runtime's own operators, which do several steps at once."""
_TYPES: Final = {"float32": 1, "uint8": 2, "int8": 3, "int64": 7}
_FLOAT, _INT = 1, 2


class Graph:
    """Operators in order, with the constants they use; `write` gives the file's bytes."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes: list[bytes] = []
        self._constants: dict[str, bytes] = {}

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        """Keep an array under `name`; returns the name."""
        dims = b"".join(_number(1, size) for size in value.shape)
        kind = _number(2, _TYPES[value.dtype.name])
        self._constants[name] = dims + kind + _text(8, name) + _bytes(9, value.tobytes())
        return name

    def add(self, operator: str, inputs: Sequence[str], outputs: Sequence[str], domain: str = "", **settings: float) -> str:
        """Append an operator; returns the name of its first output. Whole numbers (none below zero) are integer settings."""
        parts = [_text(1, name) for name in inputs] + [_text(2, name) for name in outputs] + [_text(4, operator)]
        parts += [_bytes(5, _setting(name, value)) for name, value in settings.items()]
        self._nodes.append(b"".join(parts) + (_text(7, domain) if domain else b""))
        return outputs[0]

    def write(self, inputs: dict[str, tuple[int | str, ...]], outputs: dict[str, tuple[int | str, ...]]) -> bytes:
        """The whole file; shapes of inputs and outputs with a name for every size that is free."""
        parts = [_bytes(1, node) for node in self._nodes] + [_text(2, self._name)]
        parts += [_bytes(5, constant) for constant in self._constants.values()]
        parts += [_bytes(11, _value(name, shape)) for name, shape in inputs.items()]
        parts += [_bytes(12, _value(name, shape)) for name, shape in outputs.items()]
        sets = [_text(1, "") + _number(2, _OPSET), _text(1, FUSED) + _number(2, 1)]
        return _number(1, _IR_VERSION) + _bytes(7, b"".join(parts)) + b"".join(_bytes(8, one) for one in sets)


def _value(name: str, shape: tuple[int | str, ...]) -> bytes:
    dims = b"".join(_bytes(1, _number(1, size) if isinstance(size, int) else _text(2, size)) for size in shape)
    tensor = _number(1, _TYPES["float32"]) + _bytes(2, dims)
    return _text(1, name) + _bytes(2, _bytes(1, tensor))


def _setting(name: str, value: float) -> bytes:
    import struct

    if isinstance(value, int):
        return _text(1, name) + _number(3, value) + _number(20, _INT)
    return _text(1, name) + _tag(2, 5) + struct.pack("<f", value) + _number(20, _FLOAT)


def _tag(field: int, wire: int) -> bytes:
    return _varint(field << 3 | wire)


def _number(field: int, value: int) -> bytes:
    return _tag(field, 0) + _varint(value)


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


def _bytes(field: int, value: bytes) -> bytes:
    return _tag(field, 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
