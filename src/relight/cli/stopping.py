"""A polite end from outside (`kill`, a cancelled job of a build server), taken as Ctrl-C."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stoppable() -> Iterator[None]:
    """While it lasts SIGTERM raises `KeyboardInterrupt`: what is under way says where it stopped, and the terminal is left whole.

    Python would end at once, without a word and with the cursor hidden. For the main thread only.
    """

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
