"""From a request to its first token with the real model asleep: through the front door, and the bare engine by hand.

The page cache warm, and with the weights and the engine's libraries dropped from it before each start.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.pagecache import drop, engine_libraries, resident
from bench.report import Report
from bench.wire import ENVIRONMENT, EXAMPLE, front_door, get, post, stream
from relight.config.load import load
from relight.engines.cpu import available_cpus, engine_threads
from relight.weights.wanted import require

RUNS = int(os.environ.get("BENCH_RUNS", "9"))
QUESTION: dict[str, object] = {"model": "smol", "max_tokens": 8, "messages": [{"role": "user", "content": "What is a lamp?"}]}
BEST = {"GOMP_SPINCOUNT": "1000", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


def run() -> Report:
    """Measure both in turn, page cache warm and dropped."""
    ours: dict[bool, list[float]] = {False: [], True: []}
    bare: dict[bool, list[float]] = {False: [], True: []}
    files, left = [weights(), *engine_libraries()], 0.0
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with front_door(EXAMPLE, log=log) as (_, address):
            get(address, "/livez")
            for is_dropped in [False] * (RUNS + 1) + [True] * RUNS:
                left = max(left, _forget(files)) if is_dropped else left
                ours[is_dropped].append(stream(address, QUESTION).first_data_s * 1000)
                post(address, "/models/smol/sleep", {})
                until_asleep(address)
                left = max(left, _forget(files)) if is_dropped else left
                bare[is_dropped].append(_bare() * 1000)
        records = [json.loads(line) for line in log.read_text().splitlines()]
    timings = [record["interaction"]["timings"] for record in records if "interaction" in record][1:]
    for times in (ours, bare):
        del times[False][0]  # the first of each reads what the others find in the page cache
    report = Report("Wake: request to first token, SmolLM2-135M asleep, short prompt")
    for name, is_dropped in (("", False), ("page cache dropped: ", True)):
        mine, theirs = ours[is_dropped], bare[is_dropped]
        report.add(f"{name}relight, from asleep", "ms", mine)
        report.add(f"{name}bare engine by hand, exec to first token", "ms", theirs)
        report.add(f"{name}ratio", "x", [a / b for a, b in zip(mine, theirs, strict=True)], "<= 1.15")
        told = timings[RUNS:] if is_dropped else timings[:RUNS]
        for phase in ("queue", "wake", "prefill"):
            report.add(f"{name}of which {phase}", "ms", [timing[f"{phase}_ms"] for timing in told])
    report.notes.append(f"dropped: weights and the engine's libraries; at most {left:.0%} of them stayed, mapped by others")
    return report


def weights() -> Path:
    """The example's real model; raises `WeightsError` with what to run when it is not there."""
    loaded = load(EXAMPLE)
    return require("smol", loaded.config.models["smol"], loaded.folder, loaded.config.weights.dir)


@contextmanager
def bare_engine(threads: int, *settings: str, env: dict[str, str] | None = None, model: Path | None = None) -> Iterator[str]:
    """The engine by hand, once it is ready, with the weights `model` or those of the example; yields its socket."""
    with tempfile.TemporaryDirectory() as folder:
        sock = f"{folder}/e.sock"
        command = [
            sys.executable,
            str(Path(__file__).with_name("bare.py")),
            str(model or weights()),
            sock,
            str(threads),
            *settings,
        ]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**ENVIRONMENT, **(BEST if env is None else env)}
        )
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield sock
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def _forget(files: list[Path]) -> float:
    """Drop files from the page cache; the part that stays."""
    drop(files)
    return resident(files)


def _bare() -> float:
    began = time.perf_counter()
    with bare_engine(engine_threads(available_cpus())) as sock:
        spent = time.perf_counter() - began
        return spent + stream(sock, QUESTION).first_data_s


def until_asleep(address: tuple[str, int] | str) -> None:
    """Return when the front door's one model sleeps."""
    while b'"state":"asleep"' not in get(address, "/status"):
        time.sleep(0.02)
