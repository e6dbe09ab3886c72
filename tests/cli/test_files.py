from __future__ import annotations

import os
from pathlib import Path

import pytest

from relight.cli.files import write_text
from relight.errors import UsageError


def test_written_file_is_whole_readable_and_alone(tmp_path: Path) -> None:
    file = tmp_path / "new" / "page.md"
    write_text(file, "täxt\n")
    write_text(file, "again\n")
    assert file.read_text(encoding="utf-8") == "again\n"
    umask = os.umask(0)
    os.umask(umask)
    assert file.stat().st_mode & 0o777 == 0o666 & ~umask
    assert list(file.parent.iterdir()) == [file]


def test_text_that_cannot_be_encoded_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    write_text(file, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(file, "half \ud800")
    assert file.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(UsageError, match=r"page\.md: cannot be written"):
        write_text(tmp_path / "file" / "page.md", "x")
