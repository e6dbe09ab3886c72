"""`python -m bench gateways`: all gateways up at once, measured round by round, reported as a table, JSON and a chart.

`BENCH_ROUNDS` (5) and `BENCH_SECONDS` (2, per scenario) make it longer or shorter; `BENCH_ROUNDS=1` alone is a trial.
`BENCH_ONLY=own,nginx` leaves the others out.
"""

from __future__ import annotations

import os
import signal
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from bench import chart
from bench.gateways.accounting import MOCK, Cores, is_alive, last_words, running
from bench.gateways.client import Refused, Target, until_answering
from bench.gateways.litellm import litellm
from bench.gateways.load import Job
from bench.gateways.nginx import nginx
from bench.gateways.ours import own_engine, provider
from bench.gateways.place import Door, Gateway, LeftOut, Place
from bench.gateways.portkey import portkey
from bench.gateways.rows import DIRECT, fill
from bench.gateways.scenarios import CHUNKS, CONCURRENCY, Generator, Measured, generator, one_round
from bench.report import RESULTS, Report
from bench.wire import ENVIRONMENT, ROOT, free_port

GATEWAYS: Final[dict[str, Gateway]] = {
    "own": own_engine,
    "provider": provider,
    "nginx": nginx,
    "portkey": portkey,
    "litellm": litellm,
}


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure."""

    rounds: int
    seconds: float

    @classmethod
    def from_environment(cls) -> Effort:
        """BENCH_ROUNDS and BENCH_SECONDS."""
        rounds = int(os.environ.get("BENCH_ROUNDS", "5"))
        return cls(rounds, float(os.environ.get("BENCH_SECONDS", "0.4" if rounds == 1 else "2")))


def run() -> Report:
    """Measure all that can run here; what cannot is told in the notes."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: what was started is stopped
    effort, cores = Effort.from_environment(), Cores.here()
    report = Report(
        f"Gateways, one worker each on one core; medians of {effort.rounds} interleaved round{'s' if effort.rounds > 1 else ''}"
    )
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        upstream = stack.enter_context(_upstream(home, cores))
        doors, left_out = _open(stack, home, Place(home, cores, upstream.target.port))
        load = stack.enter_context(generator(cores.rest))
        measured = Measured(failures=_warm(doors, load, effort.seconds))
        for _ in range(effort.rounds):
            measured.rounds.append(one_round([upstream, *doors], load, effort.seconds, measured.failures))
    fill(report, measured, [door.name for door in doors])
    report.notes += [", ".join(f"{door.name} {door.version}" for door in doors)]
    report.notes += [f"left out: {name}: {why}" for name, why in left_out.items()]
    report.notes += [f"failed: {where}: {why}" for where, why in measured.failures.items()]
    if cores.gateway == cores.rest:
        report.notes.append("only one core: gateways share it with the upstream and the load, and all times are worse for it")
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "gateways.svg").write_text(chart.draw(report.title, _panels(measured, doors)))
    return report


@contextmanager
def _upstream(home: Path, cores: Cores) -> Iterator[Door]:
    folder = home / "upstream"
    folder.mkdir()
    port = free_port()
    argv = [sys.executable, "-m", MOCK, "--port", str(port)]
    with running(argv, core=cores.rest, folder=folder, env={**ENVIRONMENT, "PYTHONPATH": str(ROOT)}) as process:
        door = Door(DIRECT, "", Target("127.0.0.1", port), process.pid)
        _wait(door)
        yield replace(door, pid=None)  # nobody asks what the upstream uses


def _wait(door: Door) -> None:
    """Return when it answers."""
    request = door.target.request(Job("latency", door.target).body())
    until_answering(door.target, request, lambda: door.pid is not None and is_alive(door.pid))


def _open(stack: ExitStack, home: Path, shared: Place) -> tuple[list[Door], dict[str, str]]:
    """Start every gateway and wait for its first good answer."""
    doors, left_out = [], {}
    wanted = os.environ.get("BENCH_ONLY", ",".join(GATEWAYS)).split(",")
    for name, gateway in GATEWAYS.items():
        if name not in wanted:
            continue
        folder = home / name
        folder.mkdir()
        trial = ExitStack()
        try:
            door = trial.enter_context(gateway(Place(folder, shared.cores, shared.upstream_port)))
            _wait(door)
        except (LeftOut, Refused) as error:
            trial.close()
            left_out[name] = str(error)
            print(f"bench: {name} is left out: {error}; its last words: {last_words(folder)}", file=sys.stderr)
        except BaseException:
            trial.close()
            raise
        else:
            stack.push(trial.pop_all())
            doors.append(door)
    return doors, left_out


def _warm(doors: list[Door], load: Generator, seconds: float) -> dict[str, str]:
    """Some requests and streams for each before anything is measured; tells who failed at what."""
    failures = {}
    for door in doors:
        for chunks in (0, CHUNKS):
            try:
                load.run(Job("throughput", door.target, seconds, CONCURRENCY, chunks=chunks))
            except Refused as error:
                failures[f"{door.name}, warming up{' streams' if chunks else ''}"] = str(error)
    return failures


def _panels(measured: Measured, doors: list[Door]) -> list[chart.Panel]:
    def bars(figure: str) -> dict[str, float]:
        found = {door.name: measured.samples(lambda one, name: one[name][figure], door.name) for door in doors}
        return {name: statistics.median(samples) for name, samples in found.items() if samples}

    titles = {
        "CPU per request, µs": "request_cpu_us",
        "CPU per streamed chunk (64 streams of 50/s), µs": "paced_cpu_us",
        "Memory, MiB": "pss_mib",
    }
    return [chart.Panel(title, bars(figure)) for title, figure in titles.items()]
