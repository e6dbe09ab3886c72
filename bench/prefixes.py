"""From a request with a long shared prefix to its first token, the model asleep: with a baked snapshot, and the bare engine."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from bench.report import Report
from bench.wake import bare_engine, weights
from bench.wire import ENVIRONMENT, front_door, get, post, stream
from relight.engines.cpu import available_cpus, engine_threads

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
        for one in baked:
            report.add(f"{one['tokens']} tokens: bytes per token", "B", [one["size"] / one["tokens"]])
            report.add(
                f"{one['tokens']} tokens: restore, checked, in an awake engine", "MB/s", [one["size"] / one["restore_s"] / 1e6]
            )
        report.notes.append(
            f"context {CONTEXT}, {engine_threads(available_cpus())} threads; tokens: {[one['tokens'] for one in baked]}"
        )
    return report


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
