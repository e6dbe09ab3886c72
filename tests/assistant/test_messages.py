"""The labelled messages of the example: whole, balanced, and no message of the exam known beforehand.

Pure: reads `examples/portfolio`. Who builds or tunes the detection sees the examples, `modes.dev.jsonl` and `modes.dev2.jsonl`
(written later, more of it in conversations) and `modes.dev3.jsonl` (by two strangers); `modes.held.jsonl`, by a third, was
measured on once, and `modes.test.jsonl` is the exam.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from relight.assistant.classifier import phrases
from relight.assistant.topics import taught
from relight.config.load import load

PORTFOLIO = Path(__file__).parents[2] / "examples" / "portfolio"
KINDS = {"plain", "typo", "follow_up", "mixed", "out_of_scope"}
FIELDS = {"text", "mode", "also", "history", "kind"}
LIKENESS = 0.45
"""Two messages resemble each other from here on: the larger Jaccard index of two, of character trigrams and of sets of words."""


@dataclass(frozen=True, slots=True)
class Message:
    """One labelled message. `mode` is None when it is out of scope; `also` are the other modes that would be right."""

    text: str
    mode: str | None
    kind: str
    also: tuple[str, ...]
    history: tuple[tuple[str, str], ...]

    @property
    def asked(self) -> str:
        """What the visitor said: a message that goes on with a conversation, together with the visitor's last turn before it.

        Alone, "why?" resembles every other "why?"; what it asks, and whether that is known, is decided by what it follows.
        """
        said = [content for role, content in self.history if role == "user"]
        return " ".join([*said[-1:], self.text])


def read(name: str) -> list[Message]:
    """The messages of a file, one JSON object a line."""
    lines = (PORTFOLIO / name).read_text(encoding="utf-8").splitlines()
    return [_message(json.loads(line)) for line in lines]


def _message(found: dict[str, Any]) -> Message:
    assert set(found) <= FIELDS, found
    turns = found.get("history", [])
    assert all(set(turn) == {"role", "content"} for turn in turns), found
    history = tuple((turn["role"], turn["content"]) for turn in turns)
    return Message(found["text"], found["mode"], found["kind"], tuple(found.get("also", [])), history)


def examples() -> dict[str, list[str]]:
    """The examples of every mode of the example's configuration."""
    modes = tomllib.loads((PORTFOLIO / "relight.toml").read_text(encoding="utf-8"))["assistant"]["modes"]
    return {name: mode.get("examples", []) for name, mode in modes.items()}


def topics() -> list[str]:
    """What the modes' `about` teaches beside the examples."""
    modes = taught(load(PORTFOLIO / "relight.toml", environ={}).config.assistant.modes, PORTFOLIO)
    return [phrase for mode in modes.values() for phrase in phrases(mode.about)]


def normal(text: str) -> str:
    """Lower case, without apostrophes, every run of anything but letters and digits one space."""
    return " ".join(re.findall(r"\w+", re.sub("['’]", "", text.lower())))


def likeness(one: str, other: str) -> float:
    """0 (nothing in common) to 1: the larger Jaccard index of their trigrams (a space at each end) and of their sets of words."""
    return max(_jaccard(first, second) for first, second in zip(_sets(one), _sets(other), strict=True))


@cache
def _sets(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """Its trigrams and its words; each text is compared with hundreds of others."""
    padded = f" {normal(text)} "
    return frozenset(padded[at : at + 3] for at in range(len(padded) - 2)), frozenset(padded.split())


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared) if shared else 0.0


def alike(some: list[str], others: list[str]) -> list[tuple[str, str]]:
    """The pairs that resemble each other."""
    return [(one, other) for one, other in product(some, others) if likeness(one, other) >= LIKENESS]


DEV, DEV2, TEST = read("modes.dev.jsonl"), read("modes.dev2.jsonl"), read("modes.test.jsonl")
DEV3, HELD = read("modes.dev3.jsonl"), read("modes.held.jsonl")
STRANGERS = pytest.mark.parametrize("messages", [DEV3, HELD], ids=["dev3", "held"])
FILES = pytest.mark.parametrize("messages", [DEV, DEV2, TEST], ids=["dev", "dev2", "test"])


def test_there_are_at_least_four_hundred_messages_and_more_of_them_in_the_exam() -> None:
    assert len(DEV) + len(TEST) >= 480
    assert len(TEST) >= 280 > len(DEV) >= 200


@FILES
def test_every_message_has_words_a_kind_and_modes_of_the_configuration(messages: list[Message]) -> None:
    topical = {name for name, given in examples().items() if given}
    assert len(topical) == 6
    for message in messages:
        assert message.text.strip() == message.text != "", message
        assert message.kind in KINDS, message
        assert {message.mode, *message.also} <= {*topical, None}, message
        assert message.mode not in message.also, message


@FILES
def test_kind_agrees_with_mode_history_and_other_modes(messages: list[Message]) -> None:
    for message in messages:
        assert (message.kind == "out_of_scope") == (message.mode is None), message
        assert (message.kind != "mixed") or message.also, message
        assert (message.kind != "follow_up") or message.history, message
        assert (not message.history) or message.kind in {"follow_up", "out_of_scope"}, message
        assert [role for role, _ in message.history] == ["user", "assistant"] * (len(message.history) // 2), message


@FILES
def test_shares_of_the_kinds_are_as_stated(messages: list[Message]) -> None:
    share = {kind: count / len(messages) for kind, count in Counter(message.kind for message in messages).items()}
    assert 0.25 <= share["out_of_scope"] <= 0.30
    assert 0.08 <= share["typo"] <= 0.12
    assert 0.10 <= share["follow_up"] <= (0.16 if messages is DEV2 else 0.12)
    assert 0.05 <= share["mixed"] <= 0.08


@FILES
def test_modes_are_balanced(messages: list[Message]) -> None:
    counts = Counter(message.mode for message in messages if message.mode)
    assert max(counts.values()) <= 1.2 * min(counts.values()), counts


@STRANGERS
def test_messages_of_strangers_have_words_a_kind_and_a_mode(messages: list[Message]) -> None:
    topical = {name for name, given in examples().items() if given}
    assert len(messages) % 200 == 0
    for message in messages:
        assert message.text.strip() == message.text != "", message
        assert message.kind in KINDS, message
        assert message.mode in {*topical, None}, message
        assert [role for role, _ in message.history] == ["user", "assistant"] * (len(message.history) // 2), message
    counts = Counter(message.mode for message in messages if message.mode)
    assert max(counts.values()) <= 1.3 * min(counts.values()), counts


def test_every_topical_mode_teaches_with_eight_examples() -> None:
    assert Counter(len(given) for given in examples().values()) == {8: 6, 0: 1}


def test_likeness_tells_a_rewording_from_another_question() -> None:
    assert likeness("Do you have a blog?", "do you have the blog") >= LIKENESS
    assert likeness("Are you on-call?", "are you on call") == 1
    assert likeness("where did you study?", "how much is a day of your time") < LIKENESS


def test_no_message_of_the_exam_resembles_an_example() -> None:
    assert alike([message.asked for message in TEST], [text for given in examples().values() for text in given]) == []


def test_no_message_of_the_exam_resembles_a_topic() -> None:
    assert alike([message.asked for message in TEST], topics()) == []


def test_no_message_of_the_exam_resembles_one_of_dev() -> None:
    assert alike([message.asked for message in TEST], [message.asked for message in DEV]) == []


def test_no_message_of_dev_resembles_an_example() -> None:
    assert alike([message.asked for message in DEV], [text for given in examples().values() for text in given]) == []


def test_no_message_of_the_second_development_file_resembles_what_teaches() -> None:
    taught = [*(text for given in examples().values() for text in given), *topics()]
    assert alike([message.asked for message in DEV2], taught) == []
    assert alike([message.asked for message in DEV2], [message.asked for message in DEV]) == []


@FILES
def test_nothing_is_asked_twice(messages: list[Message]) -> None:
    asked = Counter((normal(message.asked) or message.text) for message in messages)
    assert [text for text, count in asked.items() if count > 1] == []
