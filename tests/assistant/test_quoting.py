from __future__ import annotations

import re
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.assistant.naming import about, unnamed
from relight.assistant.quoting import quoted, sayings


def language(grammar: str) -> set[str]:
    """Every text that a grammar of this shape allows."""
    rules = dict(line.split(" ::= ", 1) for line in grammar.splitlines())

    def texts(name: str) -> set[str]:
        match = re.fullmatch(r'"((?:[^"\\]|\\.)*)"(.*)', rules[name])
        assert match
        literal = match[1].replace('\\"', '"')
        rest = match[2].strip()
        if not rest:
            return {literal}
        following = {f"{literal} {text}" for other in re.findall(r"s\d+-\d+", rest) for text in texts(other)}
        return following | ({literal} if rest.endswith("?") else set())

    return {text for start in rules["root"].split(" | ") for text in texts(start)}


@given(st.integers(1, 14))
def test_answers_are_two_or_three_sentences_in_their_order(count: int) -> None:
    said = [f"Sentence {number}." for number in range(count)]
    offered = said[:12]
    sizes = {1: (1,), 2: (2,)}.get(len(offered), (2, 3))
    assert language(quoted(said)) == {" ".join(some) for size in sizes for some in combinations(offered, size)}


def test_quotes_and_line_breaks_of_a_sentence_stay_inside_its_literal() -> None:
    assert language(quoted(['She said "no"\nand left.'])) == {'She said "no" and left.'}


def test_sayings_are_sentences_without_headings_lists_and_code() -> None:
    text = "## Head\n\nOne is here. Two is there.\n\n- first\n- second\n\n```\ncode. code.\n```\n\n| a | b |"
    assert sayings(text) == ["One is here.", "Two is there.", "first", "second"]


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("what have you built?", "what has Mira built?"),
        ("do you know Rust?", "does Mira know Rust?"),
        ("are you free?", "is Mira free?"),
        ("what is your day rate?", "what is Mira's day rate?"),
        ("can you help?", "can Mira help?"),
        ("where you are now", "where Mira is now"),
        ("is youth work yours?", "is youth work Mira's?"),
    ],
)
def test_question_about_you_is_put_about_the_subject(question: str, said: str) -> None:
    assert about(question, "Mira") == said


def test_names_that_stand_everywhere_are_left_out_of_what_is_compared() -> None:
    assert unnamed("Mira's blog is what you read; Miranda stays", "Mira") == "blog is what read; Miranda stays"
    assert unnamed("Does Mira know your name?", "Mira") == "Does know name?"
