"""What tells modes apart: three detectors on the example's test messages, and what each costs in time and memory.

Every figure of a method comes from child processes that are bound to one core. The test messages are only measured here;
thresholds and calibrations come from the files of development messages (`fitted`). Who works on the detection looks at those:
`python -m bench.modes quality minilm dev2` measures without the test messages, `python -m bench.modes start minilm` a start.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench.report import Report
from bench.wire import ENVIRONMENT
from relight.assistant.calibration import Calibration, Personal
from relight.assistant.classifier import Classifier
from relight.assistant.detector import build, open_embedder
from relight.assistant.evaluation import evaluate, outcomes
from relight.assistant.labelled import Labelled, read
from relight.assistant.topics import taught
from relight.config.assistant import DetectorKind
from relight.config.load import load

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from relight.config.assistant import Mode

EXAMPLE: Final = Path(__file__).parents[1] / "examples" / "portfolio"
STARTS: Final = 5
_SOBER: Final = 0.5
"""Topics and unrelated messages were written with development messages in view, so these are told apart more clearly than
messages to come: on 384 others, written for trials and not kept, the curve crossed a half at the same place, half as steep."""
_LENIENT: Final = 0.2
"""Of the logit: doubt is decided for the message. Who asks about the service and is told that it cannot help is worse off than
who asks for a poem and is told about the service. Both kinds of development message are told apart best at 0.1 to 0.3."""
_DEVELOPMENT: Final = ("dev", "dev2", "dev3")
_RIDGE: Final = 0.5
_WELCOMING: Final = 0.4
"""Added to the logit where the assistant answers for a person: as `_LENIENT`, for the same reason."""
_GOALS: Final = {"accuracy": ">= 90", "told apart": ">= 92", "p50": "<= 8", "p99": "<= 25", "start": "<= 150"}


def run() -> Report:
    """Measure; `relight modes prepare` must have been run for each detector."""
    report = Report("Modes: detectors on the test messages of examples/portfolio (8 examples a mode)")
    for kind in DetectorKind:
        _child(kind, "warm")  # vectors of the examples are remembered from here on
        told = [_child(kind, "start") for _ in range(STARTS)]
        quality = _child(kind, "quality")
        report.add(f"{kind}: right mode, in scope", "%", [quality["accuracy"]], _GOALS["accuracy"])
        report.add(f"{kind}: the same when it has to choose", "%", [quality["chosen"]])
        report.add(f"{kind}: in and out of scope told apart (balanced)", "%", [quality["balanced"]], _GOALS["told apart"])
        report.add(f"{kind}: the same, share of all messages", "%", [quality["scope"]])
        report.add(f"{kind}: AUROC", "", [quality["auroc"]])
        report.add(f"{kind}: confidence off by (ECE)", "%", [quality["ece"]])
        report.add(f"{kind}: a message, p50", "ms", quality["p50"], _GOALS["p50"])
        report.add(f"{kind}: a message, p99", "ms", quality["p99"], _GOALS["p99"])
        report.add(f"{kind}: start-up (libraries, model, examples)", "ms", [one["start_ms"] for one in told], _GOALS["start"])
        report.add(f"{kind}: resident memory on top", "MiB", [one["memory_mib"] for one in told])
    return report


def fitted(kind: DetectorKind) -> Calibration:
    """The constants of `calibration.CALIBRATIONS`, by the development messages: logistic in the distance, both kinds of message
    weighing the same, a little lenient; then the sharpness under which the right modes are likeliest."""
    import numpy as np

    classifier, cases = _classifier(kind, subject=None)
    verdicts = [classifier.judge(case.text, case.history) for case in cases]
    distances = np.array([[verdict.distance] for verdict in verdicts])
    constant, slope = _logistic(distances, np.array([case.in_scope for case in cases]))
    slope, middle = slope * _SOBER, -constant / slope
    return Calibration(round(middle - _LENIENT / slope, 3), round(slope, 1), _sharpness(classifier, cases))


def personal(kind: DetectorKind) -> Personal:
    """The constants of `calibration.PERSONAL`, in the same way. Those that stand there are from before the topics and unrelated
    messages that were written after `modes.dev3.jsonl`: with these, the distance looks worth more than it is."""
    import numpy as np

    classifier, cases = _classifier(kind, _configured()[2])
    told = np.array([classifier.judge(case.text, case.history).told[1:] for case in cases])
    constant, *weights = _logistic(told, np.array([case.in_scope for case in cases]))
    return Personal(round(constant + _WELCOMING, 2), *(round(weight, 1) for weight in weights))


def _classifier(kind: DetectorKind, subject: str | None) -> tuple[Classifier, list[Labelled]]:
    """The example's, and all development messages."""
    modes, weights_dir, _ = _configured()
    classifier = build(modes, open_embedder(kind, weights_dir), subject=subject, weights_dir=weights_dir).classifier
    if classifier is None:
        raise RuntimeError("the example has no modes with examples")
    return classifier, [case for part in _DEVELOPMENT for case in _messages(part, modes)]


def _logistic(values: NDArray[np.float64], right: NDArray[np.bool_]) -> list[float]:
    """The constant and the weights of the columns; both kinds of message weigh the same (Newton's method, a little ridge)."""
    import numpy as np

    mean, spread = values.mean(axis=0), values.std(axis=0)
    rows = np.concatenate([np.ones((len(values), 1)), (values - mean) / spread], axis=1)
    weights = np.where(right, 0.5 / right.sum(), 0.5 / (~right).sum()) * len(values)
    ridge, theta = np.diag([0.0] + [_RIDGE] * len(mean)), np.zeros(1 + len(mean))
    for _ in range(50):
        share = 1 / (1 + np.exp(-rows @ theta))
        gradient = rows.T @ (weights * (share - right)) + ridge @ theta
        theta -= np.linalg.solve((rows.T * (weights * share * (1 - share))) @ rows + ridge, gradient)
    found = theta[1:] / spread
    return [float(theta[0] - found @ mean), *map(float, found)]


def _sharpness(classifier: Classifier, cases: list[Labelled]) -> float:
    import numpy as np

    inside = [case for case in cases if case.in_scope]
    similarities = np.array(
        [list(classifier.judge(case.text, case.history).similarities.values()) for case in inside], dtype=np.float64
    )
    accepted = np.array([[case.accepts(mode) for mode in classifier.modes] for case in inside])

    def surprise(sharpness: float) -> float:
        raised = np.exp(sharpness * (similarities - similarities.max(axis=1, keepdims=True)))
        return float(-np.log((raised * accepted).sum(axis=1) / raised.sum(axis=1)).mean())

    return min((float(value) for value in range(2, 100)), key=surprise)


def _configured() -> tuple[Mapping[str, Mode], Path, str | None]:
    loaded = load(EXAMPLE / "relight.toml", environ={})
    section = loaded.config.assistant
    return taught(section.modes, loaded.folder), loaded.weights_dir, section.subject


def _messages(part: str, modes: Mapping[str, Mode]) -> list[Labelled]:
    with (EXAMPLE / f"modes.{part}.jsonl").open("rb") as file:
        return read(file, file.name, modes)


def _child(kind: DetectorKind, what: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.modes", what, kind]
    environment = {**ENVIRONMENT, "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True, timeout=600)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _resident_mib() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status: has no VmRSS")


def _started(kind: DetectorKind) -> dict[str, Any]:
    modes, weights_dir, subject = _configured()
    before, began = _resident_mib(), time.perf_counter()
    build(modes, open_embedder(kind, weights_dir), subject=subject, weights_dir=weights_dir).detect("hello, who are you?")
    return {"start_ms": 1000 * (time.perf_counter() - began), "memory_mib": _resident_mib() - before}


def _quality(kind: DetectorKind, part: str = "test") -> dict[str, Any]:
    modes, weights_dir, subject = _configured()
    detector = build(modes, open_embedder(kind, weights_dir), default="general", subject=subject, weights_dir=weights_dir)
    cases = _messages(part, modes)
    rounds = [evaluate(outcomes(detector, cases, time.perf_counter), list(modes)) for _ in range(3)]
    told, scope = rounds[0], rounds[0].scope
    if scope is None:
        raise RuntimeError("the messages are all in scope, or all out of it")
    shares = {"accuracy": told.accuracy, "chosen": told.chosen, "balanced": scope.balanced_accuracy, "scope": scope.accuracy}
    return {
        **{name: 100 * share for name, share in {**shares, "ece": told.ece}.items()},
        "auroc": scope.auroc,
        "p50": [one.p50_ms for one in rounds],
        "p99": [one.p99_ms for one in rounds],
    }


if __name__ == "__main__":
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    asked = DetectorKind(sys.argv[2])
    print(json.dumps(_quality(asked, *sys.argv[3:]) if sys.argv[1] == "quality" else _started(asked)))
