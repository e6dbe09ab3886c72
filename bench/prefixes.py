"""From a request with a long shared prefix to its first token, the model asleep: with a baked snapshot, and the bare engine."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from bench.chart import Panel, draw
from bench.report import RESULTS, Report
from bench.wake import bare_engine, weights
from bench.wire import ENVIRONMENT, front_door, get, post, stream
from relight.cli.baking import Job, Oven
from relight.config.schema import Model
from relight.engines.cpu import available_cpus, engine_threads
from relight.engines.slots import Slots
from relight.prefixes.key import chain
from relight.prefixes.snapshot import verify
from relight.prefixes.store import Store
from relight.weights.gguf import kv_bytes_per_token, read_header

CONTEXT: Final = 8192
RUNS: Final = 5
_RELIGHT: Final = str(Path(sys.executable).with_name("relight"))
# Characters of the system text; a rule of it has about 30 tokens. What came of it is told in tokens.
SIZES: Final = {"short prompt": 0, "2,000 tokens": 72, "8,000 tokens": 278}
GOALS: Final = {"short prompt": "", "2,000 tokens": ">= 6", "8,000 tokens": ">= 40"}
_QUESTIONS: Final = (
    "What is a lamp?",
    "Who are you?",
    "Name a colour.",
    "How many days has a week?",
    "What is 3 plus 4?",
    "Why?",
)
_THINGS: Final = ("lamp", "kettle", "ladder", "parcel", "window", "bicycle", "notebook", "garden", "engine", "letter", "bridge")


def body(rules: int, question: str) -> dict[str, Any]:
    """A request as agents send it: tools and a long system text, both of the bench's own making, and a short question."""
    asked: dict[str, Any] = {"model": "smol", "max_tokens": 8, "temperature": 0}
    user = {"role": "user", "content": question}
    if not rules:
        return {**asked, "messages": [user]}
    return {**asked, "messages": [{"role": "system", "content": _system(rules)}, user]}


def run() -> Report:
    """Measure each size with snapshots, without them, and with the bare engine; page cache warm."""
    report = Report("Wake with a long shared prefix: request to first token, SmolLM2-135M asleep")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        config = home / "relight.toml"
        config.write_text(_config())
        for rules in SIZES.values():
            if rules:
                (home / f"{rules}.json").write_text(json.dumps(body(rules, "")))
        baked = json.loads(_command("bake", *(f"{rules}.json" for rules in SIZES.values() if rules), "--json", home=home))
        ours = _ours(home, config)
        for name, rules in SIZES.items():
            bare = [_bare(rules, question) * 1000 for question in _QUESTIONS[: 3 if not rules else 1]]
            seconds, records = ours[name]
            report.add(f"{name}: relight, from asleep", "ms", [first * 1000 for first in seconds])
            report.add(f"{name}: bare engine by hand, exec to first token", "ms", bare)
            middle = sorted(bare)[len(bare) // 2]
            goal = GOALS[name]
            report.add(f"{name}: bare / relight", "x", [middle / (first * 1000) for first in seconds], goal)
            for phase in ("wake", "restore", "prefill"):
                report.add(f"{name}: of which {phase}", "ms", [record["timings"][f"{phase}_ms"] for record in records])
        panels = [_panel(report, name) for name in SIZES]
        (RESULTS / "prefixes.svg").write_text(draw(report.title, panels))
        for one in baked:
            _bandwidth(report, home, one)
    _cache_types(report)
    tokens = ", ".join(str(one["tokens"]) for one in baked)
    report.notes.append(f"context {CONTEXT}, {engine_threads(available_cpus())} threads; prefixes of {tokens} tokens")
    return report


def _panel(report: Report, name: str) -> Panel:
    middles = {figure.name.partition(": ")[2]: figure.median for figure in report.figures if figure.name.startswith(f"{name}: ")}
    bars = {"relight": middles["relight, from asleep"], "bare engine": middles["bare engine by hand, exec to first token"]}
    return Panel(f"{name}: request to first token, ms", bars)


def _bandwidth(report: Report, home: Path, one: dict[str, Any]) -> None:
    """How fast a snapshot is read by the engine, beside a plain read of the same file."""
    (file,) = [found for found in (home / "snapshots").rglob("*.snapshot") if abs(found.stat().st_size - one["size"]) < 4096]
    plain, restored, checked = asyncio.run(_restores(file))
    title = f"snapshot of {one['tokens']} tokens"
    report.add(f"{title}: bytes per token, of the least", "x", [one["size"] / one["tokens"] / _least_bytes("f16")])
    report.add(f"{title}: plain read of the file", "GB/s", [one["size"] / seconds / 1e9 for seconds in plain])
    report.add(f"{title}: restored by the engine", "GB/s", [one["size"] / seconds / 1e9 for seconds in restored])
    pairs = zip(restored, plain, strict=True)
    report.add(f"{title}: restored / plain read, time", "x", [a / b for a, b in pairs], "<= 2")
    report.add(f"{title}: checked, while the engine loads", "GB/s", [one["size"] / seconds / 1e9 for seconds in checked])


async def _restores(file: Path) -> tuple[list[float], list[float], list[float]]:
    model = Model(source=f"file:{weights()}", context=CONTEXT, parallel=1)
    plain, restored, checked = [], [], []
    async with Oven("smol", model, weights(), Store(file.parent), "").engine() as (address, folder):
        (folder / "snapshot.bin").symlink_to(file)
        for _ in range(RUNS):
            began = time.perf_counter()
            with file.open("rb", buffering=0) as opened:
                while opened.read(1 << 20):
                    pass
            plain.append(time.perf_counter() - began)
            began = time.perf_counter()
            verify(file)
            checked.append(time.perf_counter() - began)
            began = time.perf_counter()
            await Slots(address).restore(0, "snapshot.bin")
            restored.append(time.perf_counter() - began)
    return plain, restored, checked


def _cache_types(report: Report) -> None:
    """What smaller types of the cache save, cost, and change in the answers."""
    found = {name: asyncio.run(_with_cache(name)) for name in ("f16", "q8_0", "q4_0")}
    reference = found["f16"][2]
    for name, (size, prefill_s, answers) in found.items():
        same = sum(one == two for one, two in zip(answers, reference, strict=True))
        report.add(f"cache type {name}: bytes per token", "B", [size])
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


def _least_bytes(name: str) -> int:
    return kv_bytes_per_token(read_header(weights()), name, name)


def _system(rules: int) -> str:
    things = [_THINGS[at % len(_THINGS)] for at in range(rules)]
    lines = (
        f"Rule {at + 1}: when somebody asks about the {thing}, say what it is for, mention number {at * 37 % 101}, and stop."
        for at, thing in enumerate(things)
    )
    return "You answer questions about a house.\n" + "\n".join(lines)


def _config() -> str:
    return f"""
[models.smol]
source = "file:{weights()}"
context = {CONTEXT}
parallel = 1
max_tokens = 64

[prefixes]
dir = "snapshots"
learn = false
"""


def _command(*words: str, home: Path) -> str:
    done = subprocess.run(
        [_RELIGHT, *words], cwd=home, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True, check=True, timeout=1800
    )
    return done.stdout


def _ours(home: Path, config: Path) -> dict[str, tuple[list[float], list[dict[str, Any]]]]:
    found: dict[str, tuple[list[float], list[dict[str, Any]]]] = {}
    log = home / "log"
    with front_door(config, log=log) as (_, address):
        get(address, "/livez")
        for name, rules in SIZES.items():
            firsts = []
            for question in _QUESTIONS[: RUNS + 1]:
                firsts.append(stream(address, body(rules, question)).first_data_s)
                post(address, "/models/smol/sleep", {})
                _until_asleep(address)
            found[name] = firsts[1:], []
    records = [json.loads(line) for line in log.read_text().splitlines()]
    told = [record["interaction"] for record in records if "interaction" in record and record["interaction"].get("model")]
    told = [one for one in told if one["dialect"] == "chat"]
    for at, name in enumerate(SIZES):
        found[name][1].extend(told[at * (RUNS + 1) + 1 : (at + 1) * (RUNS + 1)])
    return found


def _until_asleep(address: Any) -> None:
    while b'"asleep"' not in get(address, "/status"):
        time.sleep(0.05)


def _bare(rules: int, question: str) -> float:
    began = time.perf_counter()
    with bare_engine(engine_threads(available_cpus()), f"n_ctx={CONTEXT}", "n_parallel=1") as sock:
        spent = time.perf_counter() - began
        return spent + stream(sock, body(rules, question)).first_data_s
