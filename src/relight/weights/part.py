"""A download that is not done: which bytes of it are here, and of which file they are. Knows no network.

FILE.part        the bytes, each at its place
FILE.part.json   what they are a part of, and, when they came in several ranges, which are there
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from relight.decoding import NOT_JSON
from relight.weights import store


class Notes(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a part is a part of: with it, a later run can tell whether the server still has the same file.

    `ranges` are the bytes that are there, `[begin, end)` in order; `None`: all from the beginning to the end of the part.
    """

    label: str
    etag: str | None = None
    sha256: str | None = None
    version: str | None = None
    size: int | None = None
    ranges: tuple[tuple[int, int], ...] | None = None


def read_notes(part: Path, label: str) -> Notes | None:
    """The notes of a part of what `label` names; those that cannot be read count as none."""
    try:
        notes = msgspec.json.decode(_path(part).read_bytes(), type=Notes)
    except (OSError, *NOT_JSON):
        return None
    return notes if notes.label == label else None


def write_notes(part: Path, notes: Notes) -> None:
    """Put the notes beside the part, whole or not at all."""
    at = _path(part)
    draft = store.beside(at, f".{os.getpid()}")
    draft.write_bytes(msgspec.json.encode(notes))
    draft.replace(at)


def discard(part: Path) -> None:
    """Remove a part and its notes."""
    part.unlink(missing_ok=True)
    _path(part).unlink(missing_ok=True)


def held(part: Path) -> int | None:
    """Bytes that are here; `None` when there is no part."""
    try:
        size = part.stat().st_size if part.is_file() else None
    except OSError:
        return None
    if size is None:
        return None
    try:
        ranges = msgspec.json.decode(_path(part).read_bytes(), type=Notes).ranges
    except (OSError, *NOT_JSON):
        ranges = None
    # A part of several ranges has holes: its length says where the last of them ends.
    return size if ranges is None else sum(end - begin for begin, end in ranges)


def joined(ranges: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """The same bytes in as few ranges as they can be told in; `ranges` are in order and do not overlap."""
    found: list[tuple[int, int]] = []
    for begin, end in ranges:
        if found and found[-1][1] == begin:
            found[-1] = found[-1][0], end
        elif begin < end:
            found.append((begin, end))
    return tuple(found)


def _path(part: Path) -> Path:
    return store.beside(part, ".json")
