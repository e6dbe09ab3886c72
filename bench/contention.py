"""Threads and waiting of the engine, alone and beside a busy process: what the defaults are chosen by."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench.report import Report
from bench.wake import BEST, QUESTION, bare_engine
from bench.wire import stream
from relight.engines.cpu import available_cpus, engine_threads

RUNS = 3
LONG: dict[str, object] = {**QUESTION, "max_tokens": 64, "temperature": 0}
WAITING: dict[str, dict[str, str]] = {
    "never spins": {**BEST, "GOMP_SPINCOUNT": "0"},
    "spins briefly (ours)": BEST,
    "libgomp's default": {"GLIBC_TUNABLES": BEST["GLIBC_TUNABLES"]},
}


def run() -> Report:
    """Wake time and decode rate of each combination, quiet and with one process that never rests."""
    report = Report("The engine beside a busy process, by threads and way of waiting")
    most = engine_threads(available_cpus())
    for busy in (False, True):
        for threads in sorted({1, most}):
            for waiting, env in WAITING.items():
                rates, wakes = [], []
                with _busy() if busy else _quiet():
                    for _ in range(RUNS):
                        began = time.perf_counter()
                        with bare_engine(threads, env=env) as sock:
                            wakes.append((time.perf_counter() - began + stream(sock, QUESTION).first_data_s) * 1000)
                            answer = stream(sock, LONG)
                            rates.append(answer.tokens / (answer.total_s - answer.first_data_s))
                name = f"{'busy' if busy else 'quiet'}, {threads} thread{'s' if threads > 1 else ''}, {waiting}"
                report.add(f"{name}: decode", "tokens/s", rates)
                report.add(f"{name}: wake", "ms", wakes)
    return report


@contextmanager
def _quiet() -> Iterator[None]:
    yield


@contextmanager
def _busy() -> Iterator[None]:
    other = multiprocessing.get_context("spawn").Process(target=spin, daemon=True)
    other.start()
    try:
        yield
    finally:
        other.kill()
        other.join()


def spin() -> None:
    """Never rest."""
    while True:
        pass
