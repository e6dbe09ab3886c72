"""How long a wake takes: the median of the wakes that were measured, kept in a small file beside the weights."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Final

from relight.lifecycle import smallfile

_KEPT: Final = 9
_SAMPLE_BYTES: Final = 8 << 20
_ENGINE_START_S: Final = 0.4


class WakeTimes:
    """Measured wakes in seconds, per model. A file that cannot be read or written is no reason to fail."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._times = smallfile.read(file, dict[str, list[float]]) or {}
        self._estimates: dict[Path, float] = {}

    def add(self, model: str, seconds: float) -> None:
        """Note one wake."""
        self._times[model] = [*self._times.get(model, []), round(seconds, 4)][-_KEPT:]
        with contextlib.suppress(OSError):
            smallfile.replace(self._file, self._times)

    def expect(self, model: str, weights: Path | None) -> float:
        """Seconds that the next wake should take: the median so far, else weight bytes ÷ measured read rate."""
        if known := self._times.get(model):
            return sorted(known)[len(known) // 2]
        if weights is None:
            return _ENGINE_START_S
        if weights not in self._estimates:
            # Once: from the second time on the sample would lie in the page cache, and the rest of the file not.
            self._estimates[weights] = _ENGINE_START_S + _read_time(weights)
        return self._estimates[weights]


def _read_time(weights: Path) -> float:
    try:
        size = weights.stat().st_size
        began = time.perf_counter()
        with weights.open("rb", buffering=0) as file:
            got = len(file.read(_SAMPLE_BYTES))
        spent = time.perf_counter() - began
    except OSError:
        return 0.0
    return size * spent / got if got else 0.0
