"""Small GGUF files and wheels, written by hand."""

from __future__ import annotations

import hashlib
import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

_CODES: dict[type, tuple[int, str]] = {bool: (7, "<?"), int: (4, "<I"), float: (6, "<f")}


def gguf(keys: Mapping[str, object] | None = None, *, elements: int = 64, version: int = 3, padding: int = 0) -> bytes:
    """A GGUF file with one F32 tensor of `elements`; `keys` are added to those every model has, None drops one."""
    fields: dict[str, object] = {
        "general.architecture": "llama",
        "general.name": "Tiny",
        "general.file_type": 3,
        "llama.context_length": 2048,
        "llama.block_count": 2,
        "llama.embedding_length": 64,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2,
        "tokenizer.ggml.tokens": ["<s>", "</s>", "a", "b", "ab"],
        "tokenizer.ggml.scores": [0.0, -1.0, 2.5, 1.0, 0.5],
        "tokenizer.chat_template": "{{ messages }}",
        **(keys or {}),
    }
    fields = {key: value for key, value in fields.items() if value is not None}
    head = b"GGUF" + struct.pack("<IQQ", version, 1, len(fields))
    head += b"".join(_text(key) + _value(value) for key, value in fields.items())
    head += _text("token_embd.weight") + struct.pack("<IQIQ", 1, elements, 0, 0)
    return head + bytes(-len(head) % 32) + bytes(range(256)) * (elements // 64) + bytes(padding)


def big_gguf() -> bytes:
    """About 1 MiB of it, with content that differs everywhere, so that a wrong resume shows."""
    small = gguf(elements=64)
    blocks = (hashlib.sha256(str(number).encode()).digest() for number in range(32 * 1024))
    return small + b"".join(blocks)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def wheel(folder: Path, name: str, members: Mapping[str, bytes], *, version: str = "1.0", requires: Sequence[str] = ()) -> Path:
    """A wheel that pip takes, with `members` in it."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{name.replace('-', '_')}-{version}"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}", *(f"Requires-Dist: {line}" for line in requires)]
    described = {
        f"{stem}.dist-info/METADATA": ("\n".join(metadata) + "\n").encode(),
        f"{stem}.dist-info/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{stem}.dist-info/RECORD": b"",
    }
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in {**members, **described}.items():
            archive.writestr(member, content)
    return path


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _value(value: object) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", 8) + _text(value)
    if isinstance(value, list):
        if isinstance(value[0], str):
            return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(_text(item) for item in value)
        code, form = _CODES[type(value[0])]
        return struct.pack("<IIQ", 9, code, len(value)) + b"".join(struct.pack(form, item) for item in value)
    code, form = _CODES[type(value)]
    return struct.pack("<I", code) + struct.pack(form, value)
