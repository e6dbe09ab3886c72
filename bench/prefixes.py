"""From a request with a long shared prefix to its first token, the model asleep: with a baked snapshot, and the bare engine.

`BENCH_RUNS` (5) sets how often, `BENCH_TOKENS` (16000) the longest prefix: `BENCH_RUNS=1 BENCH_TOKENS=2000` is a trial that says
only whether everything works.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bench.chart import Panel, draw
from bench.gemma import gemma
from bench.pagecache import drop, engine_libraries, resident
from bench.report import RESULTS, Report
from bench.wake import bare_engine, until_asleep, weights
from bench.wire import ENVIRONMENT, Address, front_door, get, post, stream
from relight.cli.baking import Job, Oven
from relight.config.schema import Model
from relight.engines.cpu import available_cpus, engine_threads
from relight.engines.slots import Slots
from relight.prefixes.key import chain
from relight.prefixes.snapshot import verify
from relight.prefixes.store import Store
from relight.weights.gguf import kv_bytes_per_token, read_header

RUNS: Final = int(os.environ.get("BENCH_RUNS", "5"))
_MOST_TOKENS: Final = int(os.environ.get("BENCH_TOKENS", "16000"))
_RELIGHT: Final = str(Path(sys.executable).with_name("relight"))
_QUESTIONS: Final = (
    "What is a lamp?",
    "Who are you?",
    "Name a colour.",
    "How many days has a week?",
    "What is 3 plus 4?",
    "Why?",
)
_THINGS: Final = ("lamp", "kettle", "ladder", "parcel", "window", "bicycle", "notebook", "garden", "engine", "letter", "bridge")


@dataclass(frozen=True, slots=True)
class Weights:
    """A model of the bench, and the context that it is run with."""

    called: str
    file: Callable[[], Path]
    context: int


@dataclass(frozen=True, slots=True)
class Case:
    """A request: about as many tokens that it shares with others, the rules that make them, and what is wanted of it."""

    tokens: int
    rules: int
    weights: Weights
    goal: str
    bare_runs: int

    @property
    def name(self) -> str:
        """What its rows are called."""
        return f"{self.tokens:,} tokens" if self.tokens else "short prompt"


@dataclass(slots=True)
class Times:
    """What was measured of a case; in seconds. `dropped` tells the page cache's state."""

    dropped: bool
    ours: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    left: float = 0.0
    """The largest part of what was dropped that was still there."""


SMOL: Final = Weights("SmolLM2-135M", weights, 8192)
GEMMA: Final = Weights("Gemma 3 270M", gemma, 20480)
CASES: Final = (
    Case(0, 0, SMOL, ">= 0.87", 5),
    Case(2000, 72, SMOL, ">= 6", 3),
    Case(8000, 278, SMOL, ">= 40", 1),
    Case(16000, 570, GEMMA, ">= 60", 1),
)


def body(rules: int, question: str) -> dict[str, Any]:
    """A request as agents send it: tools and a long system text, both of the bench's own making, and a short question."""
    asked: dict[str, Any] = {"model": "smol", "max_tokens": 8, "temperature": 0}
    user = {"role": "user", "content": question}
    if not rules:
        return {**asked, "messages": [user]}
    return {**asked, "messages": [{"role": "system", "content": _system(rules)}, user]}


def run() -> Report:
    """Measure each size with snapshots and with the bare engine, page cache warm and dropped."""
    report = Report("Wake with a long shared prefix: request to first token, the model asleep")
    panels: list[Panel] = []
    for used in (SMOL, GEMMA):
        cases = [case for case in CASES if case.weights is used and case.tokens <= _MOST_TOKENS]
        if cases:
            panels += _measure(report, used, cases)
    _save_chart(report.title, panels)
    _cache_types(report)
    threads = engine_threads(available_cpus())
    report.notes.append(f"{threads} threads; bare / relight of a short prompt: 0.87 is 1.15 x the bare engine's time")
    return report


def _measure(report: Report, used: Weights, cases: list[Case]) -> Iterator[Panel]:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        config = home / "relight.toml"
        config.write_text(_config(used))
        shared = [case for case in cases if case.rules]
        for case in shared:
            (home / f"{case.rules}.json").write_text(json.dumps(body(case.rules, "")))
        names = [f"{case.rules}.json" for case in shared]
        baked = json.loads(_command("bake", *names, "--json", home=home)) if shared else []
        for one in baked:
            if one["state"] == "failed":
                raise RuntimeError(f"{used.called}: {one['reason']}")
        told = ", ".join(f"{one['tokens']}" for one in baked)
        report.notes.append(f"{used.called}: context {used.context}, prefixes of {told or 'no'} tokens")
        with _service(config, home / "log") as (address, records):
            for case in cases:
                for dropped in (False, True):
                    times = _times(case, home, address, records, dropped=dropped)
                    yield _told(report, case, times)
        for one in baked:
            _bandwidth(report, used, home, one)


def _times(case: Case, home: Path, address: Address, records: Callable[[], list[dict[str, Any]]], *, dropped: bool) -> Times:
    """Ours and the bare engine's, a question of its own each; the first of ours is not counted where the cache shall be warm."""
    times = Times(dropped)
    files = [case.weights.file(), *engine_libraries(), *(home / "snapshots").rglob("*.snapshot")]
    for number in range(RUNS + (not dropped)):
        question = _QUESTIONS[number % len(_QUESTIONS)]
        if dropped:
            times.left = max(times.left, _drop(files))
        times.ours.append(stream(address, body(case.rules, question)).first_data_s)
        post(address, "/models/smol/sleep", {})
        until_asleep(address)
    times.ours = times.ours[-RUNS:]
    times.records = records()[-RUNS:]
    for number in range(min(case.bare_runs, RUNS)):
        if dropped:
            times.left = max(times.left, _drop(files))
        times.bare.append(_bare(case, _QUESTIONS[number % len(_QUESTIONS)]))
    return times


def _drop(files: list[Path]) -> float:
    drop(files)
    return resident(files)


def _told(report: Report, case: Case, times: Times) -> Panel:
    """The rows and the chart's panel of a case."""
    name = f"{case.name}, page cache {'dropped' if times.dropped else 'warm'}"
    report.add(f"{name}: relight, from asleep", "ms", [first * 1000 for first in times.ours])
    report.add(f"{name}: bare engine by hand, exec to first token", "ms", [first * 1000 for first in times.bare])
    middle = statistics.median(times.bare)
    report.add(f"{name}: bare / relight", "x", [middle / first for first in times.ours], case.goal)
    for phase in ("wake", "restore", "prefill"):
        report.add(f"{name}: of which {phase}", "ms", [record["timings"][f"{phase}_ms"] for record in times.records])
    if times.dropped:
        report.add(f"{name}: of it still there", "%", [100 * times.left])
    bars = {"relight": statistics.median(times.ours) * 1000, "bare engine": middle * 1000}
    return Panel(f"{name} ({case.weights.called}): request to first token, ms", bars)


def _save_chart(title: str, panels: list[Panel]) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "prefixes.svg").write_text(draw(title, panels))


def _bandwidth(report: Report, used: Weights, home: Path, one: dict[str, Any]) -> None:
    """How fast a snapshot is read by the engine, beside a plain read of the same file."""
    files = [found for found in (home / "snapshots").rglob("*.snapshot") if verify(found).payload_bytes == one["size"]]
    plain, kept, restored, checked = asyncio.run(_restores(used, files[0]))
    title = f"snapshot of {one['tokens']} tokens"
    if used is SMOL:  # a sliding window keeps fewer tokens in some layers than in others
        report.add(f"{title}: bytes per token, of the least", "x", [one["size"] / one["tokens"] / _least_bytes(used, "f16")])
    else:
        report.add(f"{title}: bytes per token", "B", [one["size"] / one["tokens"]])
    size = one["size"]
    report.add(f"{title}: plain read of the file, bytes thrown away", "GB/s", [size / seconds / 1e9 for seconds in plain])
    report.add(f"{title}: plain read into memory", "GB/s", [size / seconds / 1e9 for seconds in kept])
    report.add(f"{title}: restored by the engine", "GB/s", [size / seconds / 1e9 for seconds in restored])
    report.add(f"{title}: restored / read into memory, time", "x", [a / b for a, b in zip(restored, kept, strict=True)], "<= 2")
    report.add(f"{title}: restored / read and thrown away, time", "x", [a / b for a, b in zip(restored, plain, strict=True)])
    report.add(f"{title}: checked, while the engine loads", "GB/s", [size / seconds / 1e9 for seconds in checked])


async def _restores(used: Weights, file: Path) -> tuple[list[float], list[float], list[float], list[float]]:
    model = Model(source=f"file:{used.file()}", context=used.context, parallel=1)
    plain, kept, restored, checked = [], [], [], []
    async with Oven("smol", model, used.file(), Store(file.parent), "").engine() as (address, folder):
        (folder / "snapshot.bin").symlink_to(file)
        for _ in range(RUNS):
            plain.append(_timed(lambda: _read(file)))
            kept.append(_timed(file.read_bytes))  # as a restored state has to lie in memory, so do these bytes
            checked.append(_timed(lambda: verify(file)))
            began = time.perf_counter()
            await Slots(address).restore(0, "snapshot.bin")
            restored.append(time.perf_counter() - began)
    return plain, kept, restored, checked


def _timed(do: Callable[[], object]) -> float:
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


def _read(file: Path) -> None:
    with file.open("rb", buffering=0) as opened:
        while opened.read(1 << 20):
            pass


def _cache_types(report: Report) -> None:
    """What smaller types of the cache save, cost, and change in the answers."""
    found = {name: asyncio.run(_with_cache(name)) for name in ("f16", "q8_0", "q4_0")}
    reference = found["f16"][2]
    for name, (size, prefill_s, answers) in found.items():
        same = sum(one == two for one, two in zip(answers, reference, strict=True))
        report.add(f"cache type {name}: bytes per token", "B", [size])
        report.add(f"cache type {name}: bytes per token, of the least", "x", [size / _least_bytes(SMOL, name)])
        report.add(f"cache type {name}: reading 600 tokens", "s", [prefill_s])
        report.add(f"cache type {name}: answers that are those of f16", "%", [100 * same / len(reference)])


async def _with_cache(name: str) -> tuple[float, float, list[str]]:
    args = () if name == "f16" else (f"--cache-type-k={name}", f"--cache-type-v={name}")
    model = Model(source=f"file:{weights()}", context=2048, parallel=1, args=args)
    asked = {**body(20, _QUESTIONS[0]), "stream": False}
    with tempfile.TemporaryDirectory() as folder:
        oven = Oven("smol", model, weights(), store := Store(Path(folder)), "0" * 64)
        (baked,) = await oven.bake([Job("bench", asked, chain(json.dumps(asked).encode()))], lambda *_: None)
        if baked.reason is not None:
            raise RuntimeError(baked.reason)
        (entry,) = store.entries("0" * 64).values()
        async with oven.engine() as (address, slots_folder):
            slots = Slots(address)
            await slots.restore(0, store.open_for_engine(entry, slots_folder).name)
            asked_again = [{**body(20, question), "max_tokens": 24} for question in _QUESTIONS]
            answers = [(await slots.answer(again, 0)).text for again in asked_again]
    return baked.size / baked.tokens, baked.bake_s or 0.0, answers


def _least_bytes(used: Weights, name: str) -> int:
    return kv_bytes_per_token(read_header(used.file()), name, name)


def _system(rules: int) -> str:
    things = [_THINGS[at % len(_THINGS)] for at in range(rules)]
    lines = (
        f"Rule {at + 1}: when somebody asks about the {thing}, say what it is for, mention number {at * 37 % 101}, and stop."
        for at, thing in enumerate(things)
    )
    return "You answer questions about a house.\n" + "\n".join(lines)


def _config(used: Weights) -> str:
    return f"""
[models.smol]
source = "file:{used.file()}"
context = {used.context}
parallel = 1
max_tokens = 64

[prefixes]
dir = "snapshots"
learn = false
"""


def _command(*words: str, home: Path) -> str:
    done = subprocess.run(
        [_RELIGHT, *words], cwd=home, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True, check=True, timeout=3600
    )
    return done.stdout


@contextmanager
def _service(config: Path, log: Path) -> Iterator[tuple[Address, Callable[[], list[dict[str, Any]]]]]:
    """A front door, and the records of the chats that it has answered so far."""

    def records() -> list[dict[str, Any]]:
        told = [json.loads(line).get("interaction") for line in log.read_text().splitlines()]
        return [one for one in told if one is not None and one["dialect"] == "chat"]

    with front_door(config, log=log) as (_, address):
        get(address, "/livez")
        yield address, records


def _bare(case: Case, question: str) -> float:
    began = time.perf_counter()
    settings = (f"n_ctx={case.weights.context}", "n_parallel=1")
    with bare_engine(engine_threads(available_cpus()), *settings, model=case.weights.file()) as sock:
        spent = time.perf_counter() - began
        return spent + stream(sock, body(case.rules, question)).first_data_s
