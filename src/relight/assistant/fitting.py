"""The threshold that fits labelled or rated messages best, and what it is worth on messages it was not chosen by. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from relight.assistant.evaluation import Outcome
from relight.errors import UsageError

if TYPE_CHECKING:
    from relight.assistant.labelled import Labelled

FOLDS: Final = 5
_FEWEST: Final = 10
_MARGIN: Final = 1e-4


class Quality(Struct, frozen=True):
    """What a threshold is worth.

    `right` is the share of messages whose answer is right, `inside_kept` of those in scope that got a mode, `outside_refused` of
    those out of scope that got none, `balanced` the mean of these two (None where there are none).
    """

    right: float
    inside_kept: float | None
    outside_refused: float | None
    balanced: float | None


class Fit(Struct, frozen=True):
    """`threshold` was chosen by all messages; `before` and `after` are measured on held-out ones: each fold with the threshold
    that the others chose (`chosen`)."""

    threshold: float
    old: float
    before: Quality
    after: Quality
    chosen: list[float]
    count: int


def fit(found: Sequence[Outcome], old: float) -> Fit:
    """Refit the threshold that the detector used (`old`). The same messages always give the same folds.

    Raises `UsageError` when there are too few messages, or none that the classifier decided.
    """
    decided = [one for one in found if one.found.by in ("classifier", "default") and one.found.scores]
    if len(decided) < _FEWEST:
        raise UsageError(
            f"modes fit: {len(decided)} messages that the classifier decided are too few to choose by",
            hint=f"give {_FEWEST} or more",
        )
    chosen, before, after = [], [], []
    for held, others in folds(decided):
        threshold = best(others)
        chosen.append(threshold)
        before += [(one, old) for one in held]
        after += [(one, threshold) for one in held]
    return Fit(best(decided), old, _quality(before), _quality(after), chosen, len(decided))


def best(found: Sequence[Outcome]) -> float:
    """The threshold with the best balance of messages kept and refused, or, of rated ones, with the most right answers.

    The middle of the best range, to two digits: a threshold at an edge of it is luck.
    """
    values = sorted({one.inside for one in found})
    edges = [0.0, *((low + high) / 2 for low, high in pairwise(values)), min(1.0, values[-1] + _MARGIN)]
    worth = [_worth(found, edge) for edge in edges]
    top = max(worth)
    good = [edge for edge, value in zip(edges, worth, strict=True) if value >= top - 1e-12]
    # Ranges that are not neighbours may be equally good: the one around the middle of them.
    return round(good[len(good) // 2], 3)


def folds(found: Sequence[Outcome], count: int = FOLDS) -> Iterator[tuple[list[Outcome], list[Outcome]]]:
    """Held-out messages and the others, `count` times; each fold has its part of every mode."""
    strata: dict[str, list[Outcome]] = {}
    for one in found:
        strata.setdefault(f"{one.case.mode}/{one.case.wrong}", []).append(one)
    place: dict[int, int] = {}
    offset = 0
    for name in sorted(strata):
        for number, one in enumerate(sorted(strata[name], key=_digest)):
            place[id(one)] = (number + offset) % count
        offset += len(strata[name])
    for fold in range(count):
        held = [one for one in found if place[id(one)] == fold]
        others = [one for one in found if place[id(one)] != fold]
        if held and others:
            yield held, others


def _digest(one: Outcome) -> str:
    return hashlib.sha256(one.case.text.encode()).hexdigest()


def _at(one: Outcome, threshold: float) -> str | None:
    """The mode that is claimed with this threshold."""
    scores = one.found.scores
    return max(scores, key=lambda mode: scores[mode]) if one.inside >= threshold else None


def _worth(found: Sequence[Outcome], threshold: float) -> float:
    quality = _quality([(one, threshold) for one in found])
    is_rated = any(one.case.wrong is not None for one in found)
    return quality.right if is_rated or quality.balanced is None else quality.balanced


def _quality(taken: Sequence[tuple[Outcome, float]]) -> Quality:
    claims = [(one.case, _at(one, threshold)) for one, threshold in taken]
    kept = _share(claims, lambda case: case.wrong is None and case.in_scope, lambda _, mode: mode is not None)
    refused = _share(claims, lambda case: case.wrong is None and not case.in_scope, lambda _, mode: mode is None)
    right = _share(claims, lambda _: True, lambda case, mode: case.accepts(mode))
    return Quality(right or 0.0, kept, refused, None if kept is None or refused is None else (kept + refused) / 2)


def _share(
    claims: Sequence[tuple[Labelled, str | None]],
    which: Callable[[Labelled], bool],
    good: Callable[[Labelled, str | None], bool],
) -> float | None:
    told = [good(case, mode) for case, mode in claims if which(case)]
    return sum(told) / len(told) if told else None
