"""Keywords and patterns."""

from __future__ import annotations

from re import _parser  # type: ignore[attr-defined]  # as in `ambiguity`

import pytest

from relight.assistant import ambiguity
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


def test_pattern_sees_the_beginning_of_a_message_and_keywords_all_of_it() -> None:
    asked = rules(one=Mode(keywords=("cv",), patterns=("price",)))
    assert [hit.rule for hit in asked.hits("x" * 995 + "price cv")] == ["cv", "price"]
    assert [hit.rule for hit in asked.hits("x" * 996 + "price cv")] == ["cv"]


@pytest.mark.parametrize(
    "pattern",
    [
        r"(a+)+$", r"(\w+\s*)+$", r"(.*,)*x", r"(.|\s)*x", r"(a|b|ab)*c", r"(x+x+)+y", r"(?:a?b?)*c", r"(\d+\.?)+$", "((ab)*)*",
        r"(?i:(A+))+b", r"(?=(a+)+b)x", r"((,\w+)*\w)+$", r"(a{1,9}){5,}b", r"(^|a+)+b", r"(\S+ ?)*$", r"(\w+ж*)+!", "(日+日?)+x",
        r"(?:x|(?:y|(\w+-?)+))z", r"(a)(?:\1+)+b",
    ],
)  # fmt: skip
def test_pattern_that_could_take_for_ever_is_refused(pattern: str) -> None:
    with pytest.raises(ConfigError, match=r"assistant\.modes\.one\.patterns\[1\]: may take for ever") as raised:
        rules(one=Mode(patterns=("fine", pattern)))
    assert "(a+)+ as a+" in str(raised.value.hint)


@pytest.mark.parametrize(
    "pattern",
    [
        r"(\w+,)*", r"(?:\w+\s)+x", "(foo|foobar)+", "(foo|fob|x)+", ".*price.*", r"\bprojects?\b", "what (is|are) (your|the)?",
        r"(https?://)?\S+", r"(\d{1,3}\.){3}\d+", "(a++)+b", "(?>a+)+b", "(?:very |really )*good", r"(?:\s+\w+){0,3}price",
        r"how (?:much|many)(?:\s+\w+)* cost", "(ab?)+", r"(.|\n)*x", r"(?:-\w+)*\w", r"(?<!a)(b+)(?:\1)?",
    ],
)  # fmt: skip
def test_pattern_with_one_way_through_a_repetition_is_taken(pattern: str) -> None:
    assert rules(one=Mode(patterns=(pattern,))).hits("") is not None


def test_pattern_that_is_none_is_named_with_its_place() -> None:
    with pytest.raises(ConfigError, match=r"assistant\.modes\.one\.patterns\[1\]: is no regular expression.*single quotes"):
        rules(one=Mode(patterns=("fine", "(")))


@pytest.mark.parametrize(
    ("pattern", "shown"),
    [
        ("price", 1000), (".*price.*", 1000), (r"\w+@\w+", 1000), (r"how (?:much|many)(?:\s+\w+)* cost", 1000),
        (r"(?>a+)+b", 1000), (r"^\W*(your |her )?(hobby|hobbies)\W*$", 1000), (r"(\d{1,3}\.){3}\d+", 1000),
        (".*a.*b", 181), (r"(?=.*a.*b)c", 181), ("(a|b)*(b|c)*d", 181), (r".*a(foo)?.*b", 181), (".*a.*b.*c", 69),
        (r"x{1,50}x{1,50}x{1,50}y", 69), (r"(?:\s+\w+){0,3}price", 69), ("a*a*a*a*b", 41),
    ],
)  # fmt: skip
def test_pattern_sees_the_less_the_more_repetitions_share_out_a_text(pattern: str, shown: int) -> None:
    (hit,) = rules(one=Mode(patterns=(f"(?:{pattern}|zq)",))).hits("zq")
    assert hit.found == "zq"
    assert ambiguity.seen(_parser.parse(pattern)) == shown


def test_pattern_that_shares_out_a_text_finds_nothing_beyond_what_it_sees() -> None:
    asked = rules(one=Mode(patterns=("a.*b.*c",)), two=Mode(patterns=("abc",)))
    assert [hit.mode for hit in asked.hits("x" * 178 + "abc")] == ["one", "two"]
    assert [hit.mode for hit in asked.hits("x" * 179 + "abc")] == ["two"]
