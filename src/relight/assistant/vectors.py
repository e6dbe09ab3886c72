"""Vectors of a library's texts, kept between starts: DIR/DIGEST.vectors, one file a document. Knows texts and an embedder only.

A file is 32 bytes of SHA-256 of what follows, then rows of 32-bit floats, one a text. Its name is a digest of the texts and of
the embedder's name: what changes is made anew, and only that. A file that is damaged is as if it were not there.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from relight.assistant.embedding import Embedder, Vectors

_UNUSED_S: Final = 60 * 86_400.0
_DIGEST: Final = 32
_FLOAT: Final = 4


def vectors(groups: Sequence[Sequence[str]], embedder: Embedder, folder: Path | None) -> list[Vectors]:
    """The vectors of each group of texts; each group is kept in a file of its own in `folder`, or nowhere.

    Blocks for as long as the embedder takes for what is not kept. A folder that cannot be used only means that nothing is kept.
    """
    found = [_group(texts, embedder, folder) for texts in groups]
    if folder is not None:
        _clear(folder)
    return found


def _group(texts: Sequence[str], embedder: Embedder, folder: Path | None) -> Vectors:
    file = folder / f"{_digest(embedder.name, texts)}.vectors" if folder is not None else None
    if file is not None and (kept := _load(file, len(texts))) is not None:
        return kept
    rows = embedder.embed(texts)
    if file is not None:
        _save(file, rows)
    return rows


def _load(file: Path, count: int) -> Vectors | None:
    """The rows of a file, if it is whole."""
    import numpy as np

    try:
        raw = file.read_bytes()
    except OSError:
        return None
    data = raw[_DIGEST:]
    if not data or hashlib.sha256(data).digest() != raw[:_DIGEST] or len(data) % (count * _FLOAT):
        return None
    with contextlib.suppress(OSError):
        os.utime(file)
    return np.frombuffer(data, np.dtype("<f4")).reshape(count, -1)


def _save(file: Path, rows: Vectors) -> None:
    """Keep rows, whole or not at all, for this user alone: from vectors one can guess at texts."""
    data = rows.astype("<f4", copy=False).tobytes()
    draft = file.with_name(f"{file.stem}.{os.getpid()}-{secrets.token_hex(4)}.part")
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as target:
                target.write(hashlib.sha256(data).digest() + data)
            draft.replace(file)
        finally:
            draft.unlink(missing_ok=True)


def _clear(folder: Path) -> None:
    """Remove what nobody used for two months, and drafts of processes that ended as long ago."""
    oldest = time.time() - _UNUSED_S
    with contextlib.suppress(OSError):
        for file in list(folder.iterdir()):
            if file.suffix in (".vectors", ".part") and file.stat().st_mtime < oldest:
                file.unlink(missing_ok=True)


def _digest(name: str, texts: Sequence[str]) -> str:
    hashed = hashlib.sha256()
    for text in (name, *texts):
        part = text.encode("utf-8", "surrogatepass")
        hashed.update(b"%d:" % len(part) + part)
    return hashed.hexdigest()
