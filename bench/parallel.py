"""Weights from a bucket: one stream against several ranges at once, and what the checking costs."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.report import Report
from bench.wire import ENVIRONMENT
from relight.weights.download import download
from relight.weights.patience import Patience
from relight.weights.progress import silent
from relight.weights.ranges import LONGEST, STREAMS, RangeJob, fetch_ranges
from relight.weights.registry import Remote
from relight.weights.web import Request

RUNS: Final = 3
SIZE_MIB: Final = 512
MB_PER_S: Final = 50
LATENCY_MS: Final = 40
_SHAPES: Final = ((2, LONGEST), (4, LONGEST), (8, 8 << 20), (8, 16 << 20), (8, LONGEST), (8, 64 << 20), (16, LONGEST))


def run() -> Report:
    """Measure; the runs of all shapes take turns."""
    report = Report(
        f"Weights from a bucket: {SIZE_MIB} MiB, {MB_PER_S} MB/s a connection, first byte after {LATENCY_MS} ms (simulated)"
    )
    with _bucket(SIZE_MIB, MB_PER_S, LATENCY_MS) as request, tempfile.TemporaryDirectory(dir=_memory()) as folder:
        one, shapes = list[float](), {shape: list[float]() for shape in _SHAPES}
        for _ in range(RUNS):
            one.append(_one_stream(request, Path(folder))[0])
            for shape, found in shapes.items():
                found.append(_ranges(request, Path(folder), *shape)[0])
    report.add("one stream", "s", one)
    for (streams, longest), found in shapes.items():
        mark = "  <- as shipped" if (streams, longest) == (STREAMS, LONGEST) else ""
        report.add(f"{streams} at once, ranges of {longest >> 20} MiB{mark}", "s", found)
        ratios = [alone / together for alone, together in zip(one, found, strict=True)]
        report.add("    times as fast as one stream", "x", ratios)
    _add_costs(report)
    report.notes.append("both ends and the disk (in memory) are this machine; no TLS. Each run's own ratio, not one of medians.")
    return report


def _add_costs(report: Report) -> None:
    with _bucket(SIZE_MIB, 0, 0) as request, tempfile.TemporaryDirectory(dir=_memory()) as folder:
        single = [_one_stream(request, Path(folder)) for _ in range(RUNS)]
        several = [_ranges(request, Path(folder), STREAMS, LONGEST) for _ in range(RUNS)]
    report.add("no limit: one stream", "MB/s", [SIZE_MIB * 1.048576 / wall for wall, _ in single])
    report.add("no limit: ranges", "MB/s", [SIZE_MIB * 1.048576 / wall for wall, _ in several])
    report.add("CPU of one stream, checked", "s/GB", [_per_gb(cpu) for _, cpu in single])
    report.add("CPU of ranges, checked", "s/GB", [_per_gb(cpu) for _, cpu in several])
    report.add("CPU of SHA-256 alone", "s/GB", [_hashing() for _ in range(RUNS)])


def _one_stream(request: Request, folder: Path) -> tuple[float, float]:
    part = folder / "m.gguf.part"
    return _timed(lambda: download(Remote(request), part, patience=Patience(), report=silent), part)


def _ranges(request: Request, folder: Path, streams: int, longest: int) -> tuple[float, float]:
    part = folder / "m.gguf.part"
    return _timed(lambda: fetch_ranges(RangeJob(request, part, Patience(), silent, streams, longest)), part)


def _timed(work: Callable[[], str | None], part: Path) -> tuple[float, float]:
    """Seconds of the clock, and of CPU."""
    began, used = time.perf_counter(), time.process_time()
    digest = work()
    took = time.perf_counter() - began, time.process_time() - used
    assert isinstance(digest, str)
    part.unlink()
    part.with_name(f"{part.name}.json").unlink()
    return took


def _hashing() -> float:
    block, hashed, used = os.urandom(1 << 20), hashlib.sha256(), time.process_time()
    for _ in range(SIZE_MIB):
        hashed.update(block)
    return _per_gb(time.process_time() - used)


def _per_gb(seconds: float) -> float:
    return seconds / (SIZE_MIB * 1.048576e-3)


def _memory() -> str | None:
    """As in a container of Cloud Run, whose files are memory."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - a folder of its own is made there


@contextmanager
def _bucket(size_mib: int, mb_per_s: float, latency_ms: float) -> Iterator[Request]:
    command = [sys.executable, "-m", "bench.bucket", str(size_mib), str(mb_per_s), str(latency_ms)]
    with subprocess.Popen(command, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            port = int(process.stdout.readline())
            yield Request(f"http://127.0.0.1:{port}/storage/v1/b/weights/o/m.gguf?alt=media", "gs://weights/m.gguf")
        finally:
            process.stdin.close()
