"""From a request to its first token with the real model asleep: through the front door, and the bare engine by hand."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.report import Report
from bench.wire import ENVIRONMENT, EXAMPLE, front_door, get, post, stream
from relight.config.load import load
from relight.engines.cpu import available_cpus, engine_threads
from relight.weights.wanted import require

RUNS = 9
QUESTION: dict[str, object] = {"model": "smol", "max_tokens": 8, "messages": [{"role": "user", "content": "What is a lamp?"}]}
BEST = {"GOMP_SPINCOUNT": "1000", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


def run() -> Report:
    """Measure both in turn, page cache warm."""
    ours: list[float] = []
    bare: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with front_door(EXAMPLE, log=log) as (_, address):
            get(address, "/livez")
            for _ in range(RUNS + 1):
                ours.append(stream(address, QUESTION).first_data_s * 1000)
                post(address, "/models/smol/sleep", {})
                _until_asleep(address)
                bare.append(_bare() * 1000)
        records = [json.loads(line) for line in log.read_text().splitlines()]
    timings = [record["interaction"]["timings"] for record in records if "interaction" in record][1:]
    ours, bare = ours[1:], bare[1:]  # the first of each reads what the others find in the page cache
    report = Report("Wake: request to first token, SmolLM2-135M asleep, short prompt")
    report.add("relight, from asleep", "ms", ours)
    report.add("bare engine by hand, exec to first token", "ms", bare)
    report.add("ratio", "x", [a / b for a, b in zip(ours, bare, strict=True)], "<= 1.3")
    for phase in ("queue", "wake", "prefill"):
        report.add(f"of which {phase}", "ms", [timing[f"{phase}_ms"] for timing in timings])
    return report


def weights() -> Path:
    """The example's real model; raises `WeightsError` with what to run when it is not there."""
    loaded = load(EXAMPLE)
    return require("smol", loaded.config.models["smol"], loaded.folder, loaded.config.weights.dir)


@contextmanager
def bare_engine(threads: int, *settings: str, env: dict[str, str] | None = None) -> Iterator[str]:
    """The engine by hand, once it is ready; yields its socket."""
    with tempfile.TemporaryDirectory() as folder:
        sock = f"{folder}/e.sock"
        command = [sys.executable, str(Path(__file__).with_name("bare.py")), str(weights()), sock, str(threads), *settings]
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


def _bare() -> float:
    began = time.perf_counter()
    with bare_engine(engine_threads(available_cpus())) as sock:
        spent = time.perf_counter() - began
        return spent + stream(sock, QUESTION).first_data_s


def _until_asleep(address: tuple[str, int] | str) -> None:
    while b'"state":"asleep"' not in get(address, "/status"):
        time.sleep(0.02)
