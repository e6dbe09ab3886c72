"""Two scores out of examples: which mode, and whether any."""

from __future__ import annotations

from pathlib import Path

import pytest

from relight.assistant import space
from relight.assistant.classifier import Classifier, phrases
from relight.assistant.conversation import Said
from relight.assistant.ngram import Ngram
from relight.assistant.reliance import reliance
from relight.assistant.unrelated import SENTENCES
from relight.config.assistant import Mode
from tests.assistant.toy import MODES, Words

VOCABULARY = " ".join(text for mode in MODES.values() for text in mode.examples)


def test_phrases_of_a_description() -> None:
    about = "Mira's career: employers, Node.js, roles.\nAnd so on; the\n  last one."
    assert phrases(about) == ["Mira's career", "employers", "Node.js", "roles", "And so on", "the last one"]
    assert phrases(None) == []


def test_mode_is_that_of_the_nearest_examples() -> None:
    verdict = Classifier(Words(VOCABULARY), MODES).judge("when do you open on Sunday?")
    assert verdict.mode == "place"
    assert verdict.similarities["place"] > verdict.similarities["menu"] > verdict.similarities["events"]
    assert verdict.is_sure


def test_one_example_that_says_it_outvotes_two_that_nearly_do() -> None:
    modes = {
        "near": Mode(examples=("cake with cream", "cream with cake", "cream with nuts")),
        "exact": Mode(examples=("cake with plums", "plums and pears", "old lamps")),
    }
    verdict = Classifier(Words("cake with cream plums nuts pears and old lamps"), modes).judge("cake with plums")
    assert verdict.mode == "exact"


def test_topics_of_the_description_choose_a_mode() -> None:
    modes = {"menu": Mode(about="Plum cake, soup.", examples=("hello there",)), "place": Mode(examples=("which street?",))}
    found = Classifier(Ngram(), modes)
    assert found.judge("plum cake").mode == "menu"
    assert found.nearest("plum cake", count=1)[0].text == "Plum cake"


def test_topic_proves_four_fifths_of_what_an_example_does() -> None:
    modes = {"menu": Mode(about="which cakes we have", examples=("xyz",)), "place": Mode(examples=("uvw",))}
    found = Classifier(Ngram(), modes)
    nearest = found.nearest("which cakes do you have?", count=10_000)
    topic, example = (next(one.similarity for one in nearest if one.text == text) for text in ("which cakes we have", "xyz"))
    first, second, third = [one.similarity for one in nearest if one.mode is None][:3]
    expected = (3 * 0.8 * topic + 2 * example) / 5 - (3 * first + 2 * second + third) / 6
    assert found.judge("which cakes do you have?").distance == pytest.approx(expected, abs=0.002)


def test_message_that_goes_on_is_sooner_inside() -> None:
    found = Classifier(Ngram(), MODES)
    history = [Said("user", "is there live music tonight?")]
    assert found.judge("and then?", history).distance > found.judge("is there live music tonight? and then?").distance


def test_message_that_leaves_the_subject_is_further_out_than_one_that_goes_on() -> None:
    modes = {"events": Mode(examples=("do you have poetry readings?", "is there live music tonight?"))}
    found = Classifier(Words(" ".join([*SENTENCES, *modes["events"].examples])), modes)
    history = [Said("user", "do you have poetry readings?")]
    unlike, like = found.judge("tell me a joke", history), found.judge("tell me a reading", history)
    assert unlike.reliance == like.reliance == pytest.approx(0.6)
    by_itself = found.judge("tell me a joke").distance
    assert by_itself < unlike.distance < like.distance
    assert not unlike.is_sure


def test_message_that_goes_on_is_read_after_the_answer_too() -> None:
    found = Classifier(Words(VOCABULARY), MODES)
    asked = Said("user", "what is there?")
    told = [found.judge("and on Sunday?", [asked, Said("assistant", answer)]) for answer in ("Live music tonight.", "Cakes.")]
    assert told[0].similarities["events"] > told[1].similarities["events"]
    assert told[0].similarities["menu"] < told[1].similarities["menu"]


def test_scores_share_what_is_inside() -> None:
    verdict = Classifier(Ngram(), MODES).judge("where are you?")
    assert sum(verdict.scores.values()) == pytest.approx(verdict.inside, abs=1e-6)
    assert verdict.confidence == pytest.approx(verdict.scores[verdict.mode])


def test_modes_that_are_as_near_are_ambiguous() -> None:
    modes = {name: Mode(examples=("open on sunday",)) for name in ("one", "two", "three")}
    verdict = Classifier(Ngram(), modes).judge("open on sunday")
    assert verdict.is_sure
    assert verdict.is_ambiguous
    assert not Classifier(Ngram(), MODES).judge("where are you?").is_ambiguous


def test_subject_of_the_service_is_not_unrelated() -> None:
    jokes = {"jokes": Mode(examples=("tell me a joke", "do you know a good joke?", "make me laugh, tell a joke"))}
    assert not Classifier(Ngram(), MODES).judge("tell me a joke!").is_sure
    found = Classifier(Ngram(), jokes)
    assert found.judge("tell me a joke!").is_sure
    assert ("tell me a joke", None) not in [(one.text, one.mode) for one in found.nearest("tell me a joke")]


def test_neighbours_are_the_most_similar_first() -> None:
    nearest = Classifier(Ngram(), MODES).nearest("where are you", count=3)
    assert (nearest[0].text, nearest[0].mode) == ("where are you?", "place")
    assert [one.similarity for one in nearest] == sorted((one.similarity for one in nearest), reverse=True)


def test_neighbours_of_a_follow_up_are_those_of_what_it_follows() -> None:
    history = [Said("user", "is there live music tonight?"), Said("assistant", "Yes.")]
    nearest = Classifier(Ngram(), MODES).nearest("and the second one?", history)
    assert nearest[0].mode == "events"


def test_of_several_sentences_the_one_that_asks_counts_most() -> None:
    found = Classifier(Words(VOCABULARY), MODES)
    first, last = "do you serve breakfast with oat milk?", "when do you open on Sunday?"
    assert found.judge(f"{first} {last}").mode == "place"
    assert found.judge(f"{last} {first}").mode == "menu"


def test_person_is_the_same_however_named() -> None:
    modes = {
        "life": Mode(examples=("where do you live?", "your dog")),
        "work": Mode(examples=("which tools are good?", "a price")),
    }
    found = Classifier(Words("where do you live your dog which tools are good a price"), modes, subject="Mira")
    named = [found.judge(text).similarities["life"] for text in ("where do you live", "where do she live", "where do Mira live")]
    assert named[0] == pytest.approx(named[1]) == pytest.approx(named[2])
    assert found.judge("her dog").mode == "life"


def test_message_about_the_person_is_sooner_inside_than_the_same_about_the_visitor() -> None:
    found = Classifier(Ngram(), MODES, subject="Mira")
    about, visitor = found.judge("what should she cook"), found.judge("what should I cook")
    assert about.told[2:5] == (1, 0, 0)
    assert visitor.told[2:5] == (0, 0, 1)
    assert about.inside > visitor.inside
    assert Classifier(Ngram(), MODES).judge("what should she cook").told == ()


def test_modes_without_examples_are_never_chosen() -> None:
    assert Classifier(Ngram(), MODES).modes == ("menu", "place", "events")
    with pytest.raises(ValueError, match="a mode with examples"):
        Classifier(Ngram(), {"general": Mode(about="all")})


def test_vectors_are_made_once_for_the_same_examples(tmp_path: Path) -> None:
    first, second, third = (Words(VOCABULARY) for _ in range(3))
    told = Classifier(first, MODES, folder=tmp_path).judge("where are you?")
    again = Classifier(second, MODES, folder=tmp_path).judge("where are you?")
    assert first.asked > 100
    assert second.asked == 1
    assert told == again
    Classifier(third, {**MODES, "more": Mode(examples=("new",))}, folder=tmp_path)
    assert third.asked > 100


def test_what_is_unrelated_is_told_apart_once_and_anew_where_the_file_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numpy as np

    made: list[int] = []

    def counted(*arrays: object) -> object:
        made.append(len(made))
        return real(*arrays)  # type: ignore[arg-type]

    real = space._unlike
    monkeypatch.setattr(space, "_unlike", counted)
    words = Ngram()
    first = Classifier(words, MODES, folder=tmp_path).judge("what is the weather there?")
    assert Classifier(words, MODES, folder=tmp_path).judge("what is the weather there?") == first
    assert len(made) == 1
    for file in (tmp_path / "vectors").iterdir():
        if np.load(file).ndim == 1:
            np.save(file, np.array([10**6]))
    assert Classifier(words, MODES, folder=tmp_path).judge("what is the weather there?") == first
    assert len(made) == 2


HISTORY = [Said("user", "do you serve cake?"), Said("assistant", "We do.")]


@pytest.mark.parametrize(
    ("message", "weight"),
    [
        ("and the second one?", 1.0),
        ("on Sundays?", 0.8),
        ("is there parking near the station for my bicycle", 0.2),
        ("please tell me which concerts, readings, films happen", 0.0),
    ],
)
def test_reliance_falls_with_every_word_that_has_a_topic(message: str, weight: float) -> None:
    assert reliance(message, HISTORY) == pytest.approx(weight)
    assert reliance(message, HISTORY[1:]) == 0.0


@pytest.mark.parametrize(
    ("message", "weight"), [("thanks!", 0.0), ("ok cool, good night", 0.0), ("ok and then?", 1.0), ("?!", 1.0)]
)
def test_courtesies_rely_on_nothing(message: str, weight: float) -> None:
    assert reliance(message, HISTORY) == weight
