from __future__ import annotations

from pathlib import Path

import pytest

from relight.weights.fingerprint import fingerprint


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_same_bytes_have_the_same_fingerprint_wherever_they_lie(tmp_path: Path) -> None:
    data = bytes(range(256)) * 20_000
    assert fingerprint(written(tmp_path / "a", data)) == fingerprint(written(tmp_path / "b", data))


@pytest.mark.parametrize("change", [lambda data: b"x" + data[1:], lambda data: data + b"x", lambda data: data[:-1]])
def test_other_weights_have_another(tmp_path: Path, change: object) -> None:
    data = bytes(range(256)) * 20_000
    assert callable(change)
    assert fingerprint(written(tmp_path / "a", data)) != fingerprint(written(tmp_path / "b", change(data)))


def test_file_that_changes_is_read_again(tmp_path: Path) -> None:
    first = fingerprint(written(tmp_path / "a", b"one"))
    assert fingerprint(written(tmp_path / "a", b"three")) != first


def test_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        fingerprint(tmp_path / "none")
