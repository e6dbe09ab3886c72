"""A Mamba of two layers with weights from a seed, as a GGUF file: it says nothing sensible, but always the same."""

from __future__ import annotations

import random
import struct
from array import array
from pathlib import Path

_WIDTH, _INNER, _STATE, _CONV, _RANK, _LAYERS = 64, 128, 16, 4, 4, 2
_ALIGNMENT = 32
_F32 = 0
_U32, _FLOAT, _STRING, _ARRAY, _INT = 4, 6, 8, 9, 5
_UNKNOWN, _CONTROL, _BYTE = 2, 3, 6
_TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)

_TOKENS = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
_KINDS = [_UNKNOWN, _CONTROL, _CONTROL, *[_BYTE] * 256]
Shape = tuple[int, ...]


def mamba(path: Path) -> Path:
    """Write the model to `path`: a recurrent one, whose state of a prompt has one size however long that is."""
    chance = random.Random(7)  # noqa: S311 - nothing is kept secret with it
    tensors = [(name, shape, _values(name, shape, chance)) for name, shape in _shapes()]
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(_fields())) + b"".join(_fields())
    offset = 0
    for name, shape, values in tensors:
        head += _text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, _F32, offset)
        offset += -(-len(values) * 4 // _ALIGNMENT) * _ALIGNMENT
    with path.open("wb") as file:
        file.write(_padded(head))
        for _, _, values in tensors:
            file.write(_padded(values.tobytes()))
    return path


def _shapes() -> list[tuple[str, Shape]]:
    """The tensors, fastest dimension first."""
    layer: list[tuple[str, Shape]] = [
        ("attn_norm.weight", (_WIDTH,)),
        ("ssm_in.weight", (_WIDTH, 2 * _INNER)),
        ("ssm_conv1d.weight", (_CONV, _INNER)),
        ("ssm_conv1d.bias", (_INNER,)),
        ("ssm_x.weight", (_INNER, _RANK + 2 * _STATE)),
        ("ssm_dt.weight", (_RANK, _INNER)),
        ("ssm_dt.bias", (_INNER,)),
        ("ssm_a", (_STATE, _INNER)),
        ("ssm_d", (_INNER,)),
        ("ssm_out.weight", (_INNER, _WIDTH)),
    ]
    layers = [(f"blk.{number}.{name}", shape) for number in range(_LAYERS) for name, shape in layer]
    return [("token_embd.weight", (_WIDTH, len(_TOKENS))), ("output_norm.weight", (_WIDTH,)), *layers]


def _values(name: str, shape: Shape, chance: random.Random) -> array[float]:
    count = 1
    for size in shape:
        count *= size
    if name.endswith("ssm_a"):
        return array("f", (-chance.uniform(0.05, 1.0) for _ in range(count)))  # a state that fades
    middle = 1.0 if "norm" in name else 0.0
    values = array("f", (chance.gauss(middle, 0.3) for _ in range(count)))
    if name.startswith("token_embd"):  # letters are louder than all else: what it says can be read
        for letter in range(ord("a"), ord("z") + 1):
            row = (_TOKENS.index("<0x00>") + letter) * _WIDTH
            values[row : row + _WIDTH] = array("f", (8 * value for value in values[row : row + _WIDTH]))
    return values


def _fields() -> list[bytes]:
    numbers = {
        "mamba.context_length": 4096,
        "mamba.embedding_length": _WIDTH,
        "mamba.feed_forward_length": 0,
        "mamba.attention.head_count": 0,
        "mamba.block_count": _LAYERS,
        "mamba.ssm.conv_kernel": _CONV,
        "mamba.ssm.inner_size": _INNER,
        "mamba.ssm.state_size": _STATE,
        "mamba.ssm.time_step_rank": _RANK,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
    }
    texts = {"general.architecture": "mamba", "tokenizer.ggml.model": "llama", "tokenizer.chat_template": _TEMPLATE}
    return [
        *(_text(name) + struct.pack("<I", _STRING) + _text(value) for name, value in texts.items()),
        *(_text(name) + struct.pack("<II", _U32, value) for name, value in numbers.items()),
        _text("mamba.attention.layer_norm_rms_epsilon") + struct.pack("<If", _FLOAT, 1e-5),
        _list("tokenizer.ggml.tokens", _STRING, [_text(token) for token in _TOKENS]),
        _list("tokenizer.ggml.scores", _FLOAT, [struct.pack("<f", 0.0)] * len(_TOKENS)),
        _list("tokenizer.ggml.token_type", _INT, [struct.pack("<i", kind) for kind in _KINDS]),
    ]


def _list(name: str, kind: int, values: list[bytes]) -> bytes:
    return _text(name) + struct.pack("<IIQ", _ARRAY, kind, len(values)) + b"".join(values)


def _text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _ALIGNMENT)
