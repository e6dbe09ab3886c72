"""The benches' page cache: what is dropped is gone, and what is there is counted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from bench.pagecache import drop, engine_libraries, resident


def on_a_disk(folder: Path) -> bool:
    """Whether the folder's pages are copies of something: in memory alone there is nothing to drop them for."""
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    under = [(point, kind) for point, kind in mounts if folder.is_relative_to(point)]
    return max(under, key=lambda one: len(one[0]))[1] not in ("tmpfs", "ramfs")


def test_part_that_was_read_is_what_is_there(tmp_path: Path) -> None:
    if not on_a_disk(tmp_path):
        pytest.skip("temporary files lie in memory here")
    one, two = tmp_path / "one", tmp_path / "two"
    for file in (one, two):
        file.write_bytes(os.urandom(1 << 20))
    assert resident([one, two]) == 1.0
    drop([one])
    assert (resident([one]), resident([two]), resident([one, two])) == (0.0, 1.0, 0.5)
    assert len(one.read_bytes()) == 1 << 20
    assert resident([one]) == 1.0


def test_nothing_is_there_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    assert resident([]) == resident([tmp_path / "empty"]) == 0.0


def test_libraries_are_those_that_an_engine_maps() -> None:
    pytest.importorskip("xllamacpp")
    assert any("xllamacpp" in file.name for file in engine_libraries())
