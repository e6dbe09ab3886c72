"""What is measured of one door in one round, and how the raw counts become figures. Knows no gateway by name."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from bench.gateways.accounting import cpu_ns, pss_mib, settle
from bench.gateways.client import Refused
from bench.gateways.load import Job, to_line
from bench.gateways.place import Door
from bench.wire import ENVIRONMENT, ROOT

CONCURRENCY: Final = 32
CHUNKS: Final = 32
STREAMS: Final = 64
PACE_MS: Final = 20
LONG_PROMPT: Final = 50_000

Figures = dict[str, float]
Round = dict[str, Figures]
"""Figures of each door."""
Read = Callable[[Round, str], float]


@dataclass(slots=True)
class Generator:
    """The load generator's process."""

    _process: subprocess.Popen[bytes]

    def run(self, job: Job) -> Figures:
        """One job's counts; raises `Refused` with what the server did wrong."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(to_line(job))
        stdin.flush()
        line = stdout.readline()
        if not line:
            raise RuntimeError("the load generator ended")
        found = json.loads(line)
        if "error" in found:
            raise Refused(found["error"])
        return {key: float(value) for key, value in found.items()}


@contextmanager
def generator(core: int) -> Iterator[Generator]:
    """A load generator on that core, stopped at the end."""
    argv = [sys.executable, "-m", "bench.gateways.load", str(core)]
    process = subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=ENVIRONMENT, start_new_session=True
    )
    try:
        yield Generator(process)
    finally:
        process.kill()
        process.communicate()


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of load; `read` turns its counts and the processor time (µs) that the gateway spent into figures."""

    name: str
    job: Callable[[Door, float], Job]
    read: Callable[[Figures, float], Figures]
    of_upstream: bool = False
    """Whether it is also run against the upstream directly, to know what a gateway adds."""


@dataclass(slots=True)
class Measured:
    """Figures by door and round; a figure that could not be had is not there, and `failures` says why."""

    rounds: list[Round] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)

    def samples(self, read: Read, name: str) -> list[float]:
        """What `read` finds for the door of that name in each round; rounds without it are left out."""
        found = []
        for one in self.rounds:
            try:
                found.append(read(one, name))
            except KeyError:
                continue
        return found


def measure(scenario: Scenario, door: Door, load: Generator, seconds: float) -> Figures:
    """Run one scenario on one door; raises `Refused`."""
    settle()
    before = 0 if door.pid is None else cpu_ns(door.pid)
    counts = load.run(scenario.job(door, seconds))
    settle()
    spent_us = 0.0 if door.pid is None else (cpu_ns(door.pid) - before) / 1000
    figures = scenario.read(counts, spent_us)
    if door.pid is not None:
        figures["pss_mib"] = pss_mib(door.pid)
    return figures


def one_round(doors: list[Door], load: Generator, seconds: float, failures: dict[str, str]) -> Round:
    """Every scenario on every door, one door right after the other."""
    found: Round = {door.name: {} for door in doors}
    for scenario in SCENARIOS:
        for door in doors:
            if door.pid is None and not scenario.of_upstream:
                continue
            try:
                found[door.name] |= measure(scenario, door, load, seconds)
            except Refused as error:
                failures[f"{door.name}, {scenario.name}"] = str(error)
    return found


def _share(counts: Figures, spent_us: float) -> Figures:
    return {
        "chunk_p50_us": counts["chunk_p50_us"],
        "chunk_p99_us": counts["chunk_p99_us"],
        "first_p50_us": counts["first_p50_us"],
        "paced_cpu_us": spent_us / counts["chunks"],
        "core_percent": spent_us / counts["wall_s"] / 1e4,
        "chunks_per_s": counts["chunks"] / counts["wall_s"],
    }


SCENARIOS: Final = (
    Scenario(
        "one request at a time",
        lambda door, seconds: Job("latency", door.target, seconds),
        lambda counts, _: {"p50_us": counts["p50_us"]},
        of_upstream=True,
    ),
    Scenario(
        f"{CONCURRENCY} requests at a time",
        lambda door, seconds: Job("throughput", door.target, seconds, CONCURRENCY),
        lambda counts, spent_us: {"request_cpu_us": spent_us / counts["requests"]},
    ),
    Scenario(
        "prompts of 50 KB",
        lambda door, seconds: Job("throughput", door.target, seconds, CONCURRENCY, prompt_bytes=LONG_PROMPT),
        lambda counts, spent_us: {"long_cpu_us": spent_us / counts["requests"]},
    ),
    Scenario(
        f"{CONCURRENCY} streams that do not wait",
        lambda door, seconds: Job("throughput", door.target, seconds, CONCURRENCY, chunks=CHUNKS),
        lambda counts, spent_us: {"chunk_cpu_us": spent_us / counts["chunks"]},
    ),
    Scenario(
        f"{STREAMS} streams of {1000 // PACE_MS} chunks/s",
        lambda door, seconds: Job(
            "paced", door.target, concurrency=STREAMS, chunks=max(10, round(seconds * 1000 / PACE_MS)), pace_ms=PACE_MS
        ),
        _share,
        of_upstream=True,
    ),
)
