"""Having weights in the page cache by the time that an engine maps them. A hint to the kernel: nothing depends on it."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path


def read_ahead(path: Path) -> None:
    """Ask the kernel to read `path` in the background; returns at once, and never fails."""
    threading.Thread(target=_advise, args=(path,), name="read ahead", daemon=True).start()


def _advise(path: Path) -> None:
    # The call itself waits while the queue of a slow disk is full.
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(descriptor)
