"""A download that is not done: which bytes of it are here, and of which file they are. Knows no network.

FILE.part        the bytes, each at its place
FILE.part.json   what they are a part of, and, when they came in several ranges, which are there
"""

from __future__ import annotations

import os
import stat
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
    """The notes of a part of what `label` names; those that cannot be read count as none, and so do those of somebody else: what
    they left is hashed with the rest, and nobody may have said what the whole should be."""
    if not (_is_own(part) and _is_own(_path(part))):
        return None
    try:
        notes = msgspec.json.decode(_path(part).read_bytes(), type=Notes)
    except (OSError, *NOT_JSON):
        return None
    return notes if notes.label == label else None


def fresh(part: Path) -> None:
    """Begin anew, with an empty file of our own: never into one that somebody put there, or through their link."""
    part.unlink(missing_ok=True)
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))


def write_notes(part: Path, notes: Notes) -> None:
    """Put the notes beside the part, whole or not at all."""
    at = _path(part)
    draft = store.beside(at, f".{os.getpid()}")
    fresh(draft)
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


def _is_own(path: Path) -> bool:
    """Whether this is a file, no link, and of whoever asks."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()


def _path(part: Path) -> Path:
    return store.beside(part, ".json")
