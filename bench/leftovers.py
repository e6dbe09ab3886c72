"""Programs that a client left behind: daemons that it started and did not end."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path


def end_at_home(home: Path) -> None:
    """End every process whose `HOME` this is: a folder made for one client, so nobody else's."""
    for pid in _at_home(home):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _at_home(home: Path) -> list[int]:
    mark = f"HOME={home}".encode()
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
    return found
