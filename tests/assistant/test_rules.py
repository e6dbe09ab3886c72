"""Keywords and patterns."""

from __future__ import annotations

import pytest

from relight.assistant.rules import Rules, decided
from relight.config.assistant import Mode
from relight.errors import ConfigError


def rules(**modes: Mode) -> Rules:
    return Rules(modes)


@pytest.mark.parametrize(
    ("message", "found"),
    [
        ("Do you know C++?", ["c++"]),
        ("my CV please", ["cv"]),
        ("cvs", []),
        ("discover", []),
        ("slack\n water, is it free", ["slack water"]),
        ("Slackwater", []),
        ("see GitHub.", [r"\bgithub\b"]),
    ],
)
def test_keywords_are_whole_words_in_any_case(message: str, found: list[str]) -> None:
    asked = rules(one=Mode(keywords=("cv", "c++", "slack water", " "), patterns=(r"\bgithub\b",)))
    assert [hit.rule for hit in asked.hits(message)] == found


def test_rules_of_two_modes_decide_nothing() -> None:
    asked = rules(one=Mode(keywords=("cv",)), two=Mode(keywords=("talk",)))
    assert decided(asked.hits("cv")) == "one"
    assert decided(asked.hits("a talk about your cv")) is None
    assert decided(asked.hits("hello")) is None


def test_pattern_that_is_none_is_named_with_its_place() -> None:
    with pytest.raises(ConfigError, match=r"assistant\.modes\.one\.patterns\[1\]: is no regular expression.*single quotes"):
        rules(one=Mode(patterns=("fine", "(")))
