"""What every gateway is given and gives back, and how foreign ones are installed: pinned, in a cache outside the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.gateways.accounting import Cores
from bench.gateways.client import Target

CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "relight" / "bench"
_INSTALL_S: Final = 900.0


@dataclass(frozen=True, slots=True)
class Place:
    """One gateway's room: an empty folder, the cores, and the port of the upstream."""

    folder: Path
    cores: Cores
    upstream_port: int

    @property
    def upstream_url(self) -> str:
        """The upstream as an OpenAI base address."""
        return f"http://127.0.0.1:{self.upstream_port}/v1"


@dataclass(frozen=True, slots=True)
class Door:
    """A gateway that runs: where it listens and, to be accounted for, its process. The upstream itself has no process here."""

    name: str
    version: str
    target: Target
    pid: int | None


Gateway = Callable[[Place], AbstractContextManager[Door]]


class LeftOut(Exception):
    """A gateway cannot run on this machine; the text says why, and what to do."""


def install(name: str, version: str, steps: Callable[[Path], list[list[str]]]) -> Path:
    """The folder that the commands of `steps` have filled; they run once per version, and a half-done one is removed.

    Raises `LeftOut` with the last line of the command that failed.
    """
    folder = CACHE / f"{name}-{version}"
    finished = folder / "installed"
    if finished.exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    print(f"installing {name} {version} (once) …", file=sys.stderr, flush=True)
    for argv in steps(folder):
        try:
            done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=_INSTALL_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise LeftOut(f"{name} {version} cannot be installed: {error}") from error
        if done.returncode:
            words = (done.stderr or done.stdout).strip().splitlines()[-1:]
            raise LeftOut(f"{name} {version} cannot be installed: {' '.join(words) or f'exit code {done.returncode}'}")
    finished.touch()
    return folder
