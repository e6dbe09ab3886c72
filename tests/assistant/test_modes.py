"""The cascade: by name, by rule, by example, by default."""

from __future__ import annotations

import pytest

from relight.assistant.conversation import Said
from relight.assistant.detector import build
from relight.assistant.ngram import Ngram
from relight.config.assistant import Mode
from relight.errors import InvalidRequest
from tests.assistant.toy import MODES


def test_name_wins_over_everything() -> None:
    found = build(MODES, Ngram(), default="general").detect("espresso", explicit="events")
    assert (found.mode, found.by, found.confidence, found.is_open) == ("events", "explicit", None, False)


def test_name_that_is_no_mode_is_refused_with_those_that_are() -> None:
    with pytest.raises(InvalidRequest, match="there is no such mode; there are: menu, place, events, general"):
        build(MODES, Ngram(), default="general").detect("hi", explicit="x")


def test_rule_decides_before_the_examples_do() -> None:
    found = build(MODES, Ngram(), default="general").detect("is there live music when I drink espresso tonight?")
    assert (found.mode, found.by, found.confidence) == ("menu", "rules", 1.0)
    assert "espresso" in found.why


def test_rule_that_holds_beside_the_question_leaves_it_to_the_examples() -> None:
    found = build(MODES, Ngram(), default="general").detect("I love your espresso here. When do you open on Saturday?")
    assert (found.mode, found.by) == ("place", "classifier")


def test_rule_that_holds_beside_a_question_that_nobody_can_place_decides() -> None:
    found = build(MODES, Ngram(), threshold=1.0, default="general").detect("I love your espresso here. Qqq zzz www?")
    assert (found.mode, found.by) == ("menu", "rules")
    assert found.why.endswith("beside what is asked")


def test_rules_in_conflict_leave_it_to_the_examples_and_say_so() -> None:
    found = build(MODES, Ngram(), default="general").detect("which cakes do you have? espresso? opening hours?")
    assert (found.mode, found.by) == ("menu", "classifier")
    assert found.why.startswith("rules of menu and place hold at once; ")


def test_near_an_example_is_its_mode() -> None:
    found = build(MODES, Ngram(), default="general").detect("when do you open on Saturday?")
    assert (found.mode, found.by) == ("place", "classifier")
    assert found.confidence is not None
    assert 0.5 < found.confidence <= 1
    assert max(found.scores, key=lambda mode: found.scores[mode]) == "place"
    assert set(found.scores) == {"menu", "place", "events"}


def test_what_is_like_nothing_gets_the_default_and_stays_open() -> None:
    found = build(MODES, Ngram(), default="general").detect("write a Python function that sorts numbers")
    assert (found.mode, found.by, found.is_open) == ("general", "default", True)
    assert "below the threshold" in found.why
    assert found.confidence == pytest.approx(1 - sum(found.scores.values()))


def test_without_a_default_nothing_is_none() -> None:
    assert build(MODES, Ngram()).detect("translate this into Latin").mode is None


def test_threshold_of_one_abstains_from_what_is_not_certain() -> None:
    found = build(MODES, Ngram(), threshold=1.0, default="general").detect("when do you open on Saturday?")
    assert found.by == "default"


def test_without_examples_rules_alone_decide() -> None:
    modes = {"one": Mode(keywords=("cv",)), "two": Mode()}
    detector = build(modes, Ngram(), default="two")
    assert detector.detect("your cv").mode == "one"
    assert detector.detect("hello") == detector.detect("bye")
    assert detector.detect("hello").why == "no rule holds, and no mode has examples"


def test_follow_up_stays_in_the_mode_of_what_it_follows() -> None:
    detector = build(MODES, Ngram(), default="general")
    history = [Said("user", "is there live music tonight?"), Said("assistant", "Yes, a trio.")]
    assert detector.detect("and the second one?").by == "default"
    followed = detector.detect("and the second one?", history)
    assert (followed.mode, followed.by) == ("events", "classifier")
    assert "read after the message before" in followed.why


def test_change_of_subject_is_followed() -> None:
    detector = build(MODES, Ngram(), default="general")
    history = [Said("user", "is there live music tonight?"), Said("assistant", "Yes, a trio.")]
    assert detector.detect("do you serve breakfast with oat milk and cakes?", history).mode == "menu"


def test_why_never_repeats_the_visitor() -> None:
    detector = build(MODES, Ngram(), default="general")
    for message in ("when does sesame open on Sunday?", "sesame"):
        assert "sesame" not in detector.detect(message).why
