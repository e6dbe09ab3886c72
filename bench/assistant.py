"""What the assistant adds to a request, beside the same chat asked of the model itself: prompt, history, record, and the mode."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.report import Report
from bench.wire import Address, front_door, get, post
from relight.assistant.detector import is_prepared
from relight.config.assistant import DetectorKind

ROUNDS = 300
_WEIGHTS = Path("~/.cache/relight/weights").expanduser()
_PERSONA = "I am the assistant of Mira. I answer in two or three short sentences.\n\n" + "Mira built a tide clock. " * 60
_MODES = {
    "work": (
        "things she built, projects, tools, demos",
        ["what have you built?", "show me your projects", "is the code public?"],
    ),
    "contact": ("reaching or hiring her", ["how can I reach you?", "are you available?", "what do you charge?"]),
}
_HISTORY = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "Hello! What would you like to know?"}] * 3
_QUESTION = "#script tokens=1 which of your projects should I look at first?"


def run() -> Report:
    """Milliseconds of a lone request, one kind after the other in each round."""
    report = Report("The assistant")
    detector = DetectorKind.MINILM if is_prepared(DetectorKind.MINILM, _WEIGHTS) else DetectorKind.NGRAM
    with tempfile.TemporaryDirectory() as folder, front_door(_configured(Path(folder), detector)) as (_, address):
        get(address, "/livez")
        kinds = {
            "the same chat, asked of the model": ("/v1/chat/completions", _direct()),
            "/chat, its mode named": ("/chat", {"message": _QUESTION, "history": _HISTORY, "mode": "work"}),
            "/chat, its mode detected": ("/chat", {"message": _QUESTION, "history": _HISTORY}),
        }
        for path, body in kinds.values():
            post(address, path, body)
        spent: dict[str, list[float]] = {name: [] for name in kinds}
        detecting: list[float] = []
        for _ in range(ROUNDS):
            for name, (path, body) in kinds.items():
                took, answer = _timed(address, path, body)
                spent[name].append(took)
            detecting.append(answer["timings"]["mode_ms"])
    for name, samples in spent.items():
        report.add(name, "ms", samples)
    plain, named, detected = spent.values()
    report.add(f"of it the detection itself ({detector})", "ms", detecting)
    report.add("/chat adds, mode named", "ms", _difference(named, plain), "<= 1.5")
    beyond = [one - mode for one, mode in zip(detected, detecting, strict=True)]
    report.add("/chat adds, beyond the detection", "ms", _difference(beyond, plain), "<= 1.5")
    return report


def _configured(folder: Path, detector: DetectorKind) -> Path:
    (folder / "persona.md").write_text(_PERSONA, encoding="utf-8")
    lines = ["[models.fake]", 'engine = "scripted"', "[weights]", f'dir = "{_WEIGHTS}"', "[assistant]", 'model = "fake"']
    lines += ['persona = "persona.md"', f'detector = "{detector}"']
    for name, (about, examples) in _MODES.items():
        lines += [f"[assistant.modes.{name}]", f'about = "{about}"', f"examples = {json.dumps(examples)}"]
    config = folder / "relight.toml"
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return config


def _direct() -> dict[str, Any]:
    system = {"role": "system", "content": _PERSONA.strip()}
    return {"model": "fake", "messages": [system, *_HISTORY, {"role": "user", "content": _QUESTION}]}


def _timed(address: Address, path: str, body: dict[str, Any]) -> tuple[float, dict[str, Any]]:
    began = time.perf_counter()
    answer = post(address, path, body)
    took = (time.perf_counter() - began) * 1000
    said: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return took, said


def _difference(one: list[float], other: list[float]) -> list[float]:
    return [a - b for a, b in zip(one, other, strict=True)]
