"""Vectors kept in files: only whole ones of the same texts and embedder are used."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from relight.assistant.vectors import vectors
from tests.assistant.concepts import Concepts

GROUPS = [["a dog", "a boat"], ["the price"]]


def made(folder: Path, embedder: Concepts | None = None) -> int:
    """How many texts had to be embedded; what comes back is right whatever was kept."""
    embedder = embedder or Concepts()
    found = vectors(GROUPS, embedder, folder)
    expected = [Concepts().embed(group) for group in GROUPS]
    assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))
    return embedder.given


def test_kept_vectors_are_read_back(tmp_path: Path) -> None:
    assert [made(tmp_path / "new"), made(tmp_path / "new")] == [3, 0]
    assert {file.stat().st_mode & 0o777 for file in (tmp_path / "new").iterdir()} == {0o600}


def test_another_embedder_does_not_get_them(tmp_path: Path) -> None:
    assert [made(tmp_path), made(tmp_path, Concepts("concepts-2"))] == [3, 3]


@pytest.mark.parametrize("damage", ["shorter", "flipped", "empty"])
def test_damaged_file_is_made_anew(tmp_path: Path, damage: str) -> None:
    made(tmp_path)
    for file in tmp_path.iterdir():
        raw = file.read_bytes()
        file.write_bytes({"shorter": raw[:-4], "flipped": raw[:40] + bytes([raw[40] ^ 1]) + raw[41:], "empty": b""}[damage])
    assert [made(tmp_path), made(tmp_path)] == [3, 0]


def test_folder_that_cannot_be_used_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    assert made(tmp_path / "file" / "below") == 3


def test_what_nobody_used_for_long_is_removed(tmp_path: Path) -> None:
    made(tmp_path)
    old, young, other = (tmp_path / name for name in ("old.vectors", "young.vectors", "other.txt"))
    for file in (old, young, other):
        file.write_bytes(b"x")
    for file in (old, other):
        os.utime(file, (0, 0))
    made(tmp_path)
    assert [old.exists(), young.exists(), other.exists()] == [False, True, True]
