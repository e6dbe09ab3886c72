"""Figures that can be worked out by hand, from outcomes that are written down."""

from __future__ import annotations

import itertools
import json
import xml.etree.ElementTree as ET

import pytest

from relight.assistant.conversation import Said
from relight.assistant.detector import build
from relight.assistant.evaluation import Outcome, auroc, evaluate, outcomes, quantile
from relight.assistant.fitting import best, fit, folds
from relight.assistant.labelled import Labelled, rated, read
from relight.assistant.modes import Detection
from relight.assistant.ngram import Ngram
from relight.assistant.picture import draw
from relight.errors import UsageError
from tests.assistant.toy import MODES


def outcome(right: str | None, found: str | None, inside: float = 0.8, **more: object) -> Outcome:
    scores = {"menu": inside / 4, "place": inside / 4} | ({found: 3 * inside / 4} if found else {})
    by = "classifier" if found else "default"
    detection = Detection(found or "general", scores.get(found or "menu"), by, scores)
    case = Labelled(f"{right}-{found}-{inside}", right, **more)  # type: ignore[arg-type]
    return Outcome(case, detection, inside, took_ms=2.0)


FOUND = [
    outcome("menu", "menu", 0.9),
    outcome("menu", "place", 0.7),
    outcome("place", "place", 0.9),
    outcome("place", None, 0.2),
    outcome(None, None, 0.1, kind="out_of_scope"),
    outcome(None, "menu", 0.6, kind="out_of_scope"),
]


def test_accuracy_counts_abstaining_as_wrong_and_says_what_it_would_have_been() -> None:
    told = evaluate(FOUND, ["menu", "place"])
    assert (told.count, told.in_scope, told.accuracy, told.overall) == (6, 4, 0.5, 0.5)
    assert told.chosen == 0.5  # the one that abstained has two equal scores, and menu comes first
    assert told.kinds == {"out_of_scope": 0.5, "plain": 0.5}
    assert told.by == {"classifier": 4, "default": 2}


def test_precision_and_recall_of_each_mode() -> None:
    menu, place = evaluate(FOUND, ["menu", "place"]).modes
    assert (menu.support, menu.precision, menu.recall, menu.f1) == (2, 0.5, 0.5, 0.5)  # one claim was out of scope
    assert (place.support, place.precision, place.recall) == (2, 0.5, 0.5)
    *_, idle = evaluate(FOUND, ["menu", "place", "events"]).modes
    assert (idle.support, idle.precision, idle.recall, idle.f1) == (0, None, None, None)


def test_scope_at_the_threshold_and_over_all() -> None:
    scope = evaluate(FOUND, ["menu", "place"]).scope
    assert scope is not None
    assert (scope.inside_recall, scope.outside_recall, scope.balanced_accuracy) == (0.75, 0.5, 0.625)
    assert scope.accuracy == pytest.approx(4 / 6)
    assert scope.auroc == pytest.approx(7 / 8)
    assert evaluate(FOUND[:4], ["menu", "place"]).scope is None


def test_auroc_of_ties_is_a_half() -> None:
    assert auroc([1, 1], [1]) == 0.5
    assert auroc([2], [1, 3]) == 0.5


def test_confusion_has_right_answers_on_the_diagonal() -> None:
    also = outcome("menu", "place", also=("place",))
    table = evaluate([*FOUND, also], ["menu", "place"]).confusion
    assert table == {
        "menu": {"menu": 2, "place": 1, "none": 0},
        "place": {"menu": 0, "place": 1, "none": 1},
        "none": {"menu": 1, "place": 0, "none": 1},
    }


def test_confusion_shows_modes_that_are_not_judged_as_well() -> None:
    table = evaluate([outcome("general", "menu")], ["menu"]).confusion
    assert table["general"] == {"menu": 1, "general": 0, "none": 0}


def test_calibration_compares_confidence_with_what_was_right() -> None:
    told = evaluate(FOUND, ["menu", "place"])
    assert sum(bin_.count for bin_ in told.calibration) == 4  # abstentions claim nothing
    by_low = {bin_.low: bin_ for bin_ in told.calibration}
    assert (by_low[0.6].count, by_low[0.6].accuracy) == (2, 1.0)
    assert by_low[0.6].confidence == pytest.approx(0.675)
    assert told.ece == pytest.approx((2 * 0.325 + 0.525 + 0.45) / 4)


def test_quantiles_are_values_that_occurred() -> None:
    assert quantile([1, 2, 3, 4], 0.5) == 3
    assert quantile([1, 2, 3, 4], 0.99) == 4
    assert quantile([], 0.5) == 0


def test_outcomes_take_the_time_of_each_message() -> None:
    ticks = itertools.count(step=0.25)
    detector = build(MODES, Ngram(), default="general")
    (one, two) = outcomes(detector, [Labelled("espresso", "menu"), Labelled("where are you?", "place")], lambda: next(ticks))
    assert (one.took_ms, one.claimed, one.inside, one.is_right) == (250.0, "menu", 1.0, True)
    assert two.claimed == "place"
    assert two.inside == pytest.approx(sum(two.found.scores.values()))


def test_picture_has_every_count_and_escapes_names() -> None:
    picture = draw("a < b", {"<x>": {"<x>": 3, "none": 0}, "none": {"<x>": 1, "none": 2}})
    root = ET.fromstring(picture)  # noqa: S314 - our own
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert [text for text in texts if text and text.isdigit()] == ["3", "0", "1", "2"]
    assert "<x>" in texts


def lines(*rows: object) -> list[bytes]:
    return [json.dumps(row).encode() for row in rows]


def test_labelled_lines_are_read_with_their_history() -> None:
    row = {
        "text": "and?",
        "mode": "menu",
        "also": ["place"],
        "history": [{"role": "user", "content": "cake"}],
        "kind": "follow_up",
    }
    (case, none) = read([*lines(row), b"\n", *lines({"text": "x", "mode": None})], "f", MODES)
    assert (case.text, case.mode, case.also, case.kind, case.history[0].text) == ("and?", "menu", ("place",), "follow_up", "cake")
    assert case.accepts("place")
    assert not case.accepts(None)
    assert none.accepts(None)
    assert not none.in_scope


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"{", r"f:1: "),
        (b'{"text": "x"}', r"f:1: .*mode"),
        (b'{"text": "x", "mode": "cakes"}', r'f:1: there is no mode "cakes"; there are: events, general, menu, place'),
        (b"", "f: has no messages"),
    ],
)
def test_line_that_is_none_is_named(text: bytes, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        read([text], "f", MODES)


def spoken(id_: str, by: str, mode: str, text: str) -> dict[str, object]:
    content = {"messages": [{"role": "system", "content": "no"}, {"role": "user", "content": text}]}
    return {"interaction": {"id": id_, "mode": mode, "mode_by": by, "content": content}}


CHAT = {
    "message": "and by bus?",
    "history": [{"role": "user", "content": "where?"}, {"role": "assistant", "content": "Here."}],
}


def thumb(id_: str, rating: str) -> dict[str, object]:
    return {"feedback": {"interaction": id_, "rating": rating}}


def test_rated_answers_of_the_classifier_become_labels() -> None:
    log = lines(
        spoken("1", "classifier", "menu", "cake?"),
        spoken("2", "classifier", "menu", "parking?"),
        spoken("3", "rules", "menu", "espresso"),
        spoken("4", "default", "general", "hello"),
        spoken("5", "classifier", "menu", "never rated"),
        {"interaction": {"id": "6", "mode": "menu", "mode_by": "classifier"}},
        {"interaction": {"id": "7", "mode": "place", "mode_by": "classifier", "content": {"request": CHAT}}},
        *(thumb(id_, "up") for id_ in "123467"),
        thumb("2", "down"),
        thumb("9", "up"),
    )
    found = {case.text: case for case in rated([*log, b"no json", b"[1]"])}
    assert set(found) == {"cake?", "parking?", "hello", "and by bus?"}
    assert found["and by bus?"].history == (Said("user", "where?"), Said("assistant", "Here."))
    assert found["cake?"].mode == "menu"
    assert found["parking?"].wrong == "menu"
    assert found["parking?"].accepts("place")
    assert not found["parking?"].accepts("menu")
    assert found["hello"].mode is None


INSIDE = [outcome("menu", "menu", 0.5 + number / 100) for number in range(20)]
OUTSIDE = [outcome(None, None, number / 50) for number in range(20)]


def test_best_threshold_parts_what_can_be_parted() -> None:
    threshold = best([*INSIDE, *OUTSIDE])
    assert 0.38 < threshold < 0.5


def test_rated_messages_choose_by_right_answers() -> None:
    wrong = [outcome(None, "menu", 0.3 + number / 100, wrong="menu") for number in range(10)]
    assert 0.39 < best([*INSIDE, *wrong]) < 0.5


def test_folds_hold_every_message_once_and_part_every_mode() -> None:
    everything = [*INSIDE, *OUTSIDE]
    parts = list(folds(everything))
    assert sorted(one.case.text for held, _ in parts for one in held) == sorted(one.case.text for one in everything)
    assert all(sum(one.case.in_scope for one in held) == 4 for held, _ in parts)
    assert all(not {id(one) for one in held} & {id(one) for one in others} for held, others in parts)
    again = list(folds(list(reversed(everything))))
    assert [{one.case.text for one in held} for held, _ in parts] == [{one.case.text for one in held} for held, _ in again]


def test_fit_measures_before_and_after_on_held_out_messages() -> None:
    told = fit([*INSIDE, *OUTSIDE], old=0.2)
    assert told.before.balanced == pytest.approx((1 + 10 / 20) / 2)
    assert told.after.balanced is not None
    assert told.after.balanced > 0.9
    assert (told.count, len(told.chosen), told.old) == (40, 5, 0.2)
    assert 0.38 < told.threshold < 0.5


def test_fit_of_too_few_is_refused() -> None:
    with pytest.raises(UsageError, match="2 messages that the classifier decided are too few"):
        fit(FOUND[:2], 0.5)
