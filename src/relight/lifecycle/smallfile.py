"""A small file of what was measured, read and replaced as a whole. A file that cannot be read says nothing."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TypeVar

import msgspec

from relight.decoding import NOT_JSON

T = TypeVar("T")


def read(file: Path, kind: type[T]) -> T | None:
    """What the file holds, if it is there and of that shape."""
    with contextlib.suppress(OSError, *NOT_JSON):
        return msgspec.json.decode(file.read_bytes(), type=kind)
    return None


def replace(file: Path, value: object) -> None:
    """Put `value` in the place of what the file held; whoever reads meanwhile finds the one or the other. Raises `OSError`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(f".{os.getpid()}")
    draft.write_bytes(msgspec.json.encode(value))
    draft.replace(file)
