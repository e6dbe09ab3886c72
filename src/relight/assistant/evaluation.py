"""How good a detector is: over labelled messages, in numbers that can be argued with. Pure; the clock is an argument."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from relight.assistant.labelled import Labelled, found_mode

if TYPE_CHECKING:
    from relight.assistant.modes import Detection, Detector

NONE: Final = "none"
"""How tables call what has no mode."""
_BINS: Final = 10


class Outcome(Struct, frozen=True):
    """One message and what was found for it; `inside` is how sure it was to be in scope, `took_ms` how long it took."""

    case: Labelled
    found: Detection
    inside: float
    took_ms: float

    @property
    def claimed(self) -> str | None:
        """The mode that was found; None when the detector abstained."""
        return found_mode(self.found)

    @property
    def is_right(self) -> bool:
        """Whether the claim is one of the right ones."""
        return self.case.accepts(self.claimed)


class Score(Struct, frozen=True):
    """One mode: `support` messages are of it; precision, recall and F1 as usual, None where nothing is to be divided."""

    mode: str
    support: int
    precision: float | None
    recall: float | None
    f1: float | None


class Scope(Struct, frozen=True):
    """How in scope and out of scope are told apart, at the threshold (recalls, their mean) and over all thresholds (AUROC)."""

    inside_recall: float
    outside_recall: float
    balanced_accuracy: float
    accuracy: float
    auroc: float


class Bin(Struct, frozen=True):
    """Answers whose confidence lies here: how sure they were, how many were right."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


class Evaluation(Struct, frozen=True):
    """All figures. Latencies are in milliseconds.

    `accuracy`: in-scope messages whose mode was found; to abstain is wrong there. `chosen`: the same when it has to choose.
    `overall`: of all messages.
    """

    count: int
    in_scope: int
    accuracy: float
    chosen: float
    overall: float
    kinds: dict[str, float]
    modes: list[Score]
    scope: Scope | None
    confusion: dict[str, dict[str, int]]
    ece: float
    calibration: list[Bin]
    p50_ms: float
    p99_ms: float
    by: dict[str, int]


def outcomes(detector: Detector, cases: Iterable[Labelled], now: Callable[[], float]) -> list[Outcome]:
    """Ask the detector for every message; `now` in seconds."""
    found = []
    for case in cases:
        began = now()
        detection = detector.detect(case.text, case.history)
        took_ms = 1000 * (now() - began)
        found.append(Outcome(case, detection, detector.inside(detection), took_ms))
    return found


def evaluate(found: Sequence[Outcome], modes: Sequence[str]) -> Evaluation:
    """All figures for these outcomes."""
    inside = [one for one in found if one.case.in_scope]
    times = sorted(one.took_ms for one in found)
    calibration = reliability(found)
    kinds = sorted({one.case.kind for one in found})
    return Evaluation(
        count=len(found),
        in_scope=len(inside),
        accuracy=_share(one.is_right for one in inside),
        chosen=_share(one.case.accepts(_forced(one.found)) for one in inside),
        overall=_share(one.is_right for one in found),
        kinds={kind: _share(one.is_right for one in found if one.case.kind == kind) for kind in kinds},
        modes=[_score(found, mode) for mode in modes],
        scope=scope(found),
        confusion=confusion(found, modes),
        ece=sum(bin_.count * abs(bin_.confidence - bin_.accuracy) for bin_ in calibration)
        / max(1, sum(b.count for b in calibration)),
        calibration=calibration,
        p50_ms=quantile(times, 0.5),
        p99_ms=quantile(times, 0.99),
        by={by: sum(one.found.by == by for one in found) for by in sorted({one.found.by for one in found})},
    )


def scope(found: Sequence[Outcome]) -> Scope | None:
    """In scope against out of scope; None when there are messages of one kind only."""
    inside = [one for one in found if one.case.in_scope]
    outside = [one for one in found if not one.case.in_scope]
    if not inside or not outside:
        return None
    kept, refused = _share(one.claimed is not None for one in inside), _share(one.claimed is None for one in outside)
    right = sum((one.claimed is not None) == one.case.in_scope for one in found)
    return Scope(
        kept, refused, (kept + refused) / 2, right / len(found), auroc([o.inside for o in inside], [o.inside for o in outside])
    )


def auroc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """The probability that a positive has the larger value; ties count half (Mann-Whitney)."""
    wins = sum((p > n) + 0.5 * (p == n) for p in positive for n in negative)
    return wins / (len(positive) * len(negative))


def confusion(found: Sequence[Outcome], modes: Sequence[str]) -> dict[str, dict[str, int]]:
    """How often each mode (a row, or none) was taken for each (a column, or none). A right answer counts on the diagonal."""
    # A message may be of a mode that is not judged here, as the default one.
    others = sorted({mode for one in found for mode in (one.case.mode, one.claimed) if mode is not None and mode not in modes})
    names = [*modes, *others, NONE]
    table = {row: dict.fromkeys(names, 0) for row in names}
    for one in found:
        if one.case.wrong is not None:
            continue
        row = one.case.mode or NONE
        column = row if one.is_right else (one.claimed or NONE)
        table[row][column] += 1
    return table


def reliability(found: Sequence[Outcome]) -> list[Bin]:
    """Claims sorted into ten bins by confidence; empty ones are left out."""
    claims = [
        (one.found.confidence, one.is_right) for one in found if one.claimed is not None and one.found.confidence is not None
    ]
    bins = []
    for number in range(_BINS):
        low, high = number / _BINS, (number + 1) / _BINS
        here = [(sure, right) for sure, right in claims if low <= sure < high or (number == _BINS - 1 and sure >= high)]
        if here:
            bins.append(Bin(low, high, len(here), sum(sure for sure, _ in here) / len(here), _share(right for _, right in here)))
    return bins


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which `share` of the sorted values lie (nearest rank)."""
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _forced(found: Detection) -> str | None:
    """The mode that it would have taken, had it not been allowed to abstain."""
    if found.by != "default":
        return found.mode
    return max(found.scores, key=lambda mode: found.scores[mode], default=None)


def _score(found: Sequence[Outcome], mode: str) -> Score:
    """A message with several right modes counts for the one that was found."""
    support = [one for one in found if (one.case.mode == mode and not one.is_right) or (one.is_right and one.claimed == mode)]
    claims = [one for one in found if one.claimed == mode]
    right = sum(one.is_right for one in claims)
    precision = right / len(claims) if claims else None
    recall = right / len(support) if support else None
    f1 = 2 * precision * recall / (precision + recall) if precision and recall else None
    return Score(mode, len(support), precision, recall, f1)


def _share(values: Iterable[bool]) -> float:
    told = list(values)
    return sum(told) / len(told) if told else 0.0
