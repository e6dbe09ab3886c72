"""Slips and short forms, and what must not be touched."""

from __future__ import annotations

import pytest

from relight.assistant.spelling import Speller

RANKS = {
    word: rank for rank, word in enumerate(["the", "you", "what", "have", "email", "address", "built", "blog", "form", "ford"])
}


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("wat hav u bulit", "what have you built"),
        ("teh emial", "the email"),
        ("wht ppl", "what people"),
        ("adress?", "address ?"),
        ("blogg", "blog"),
        ("forx", "form"),  # two words are as near: the commoner one
    ],
)
def test_slips_become_the_commonest_word_that_is_near(typed: str, expected: str) -> None:
    assert Speller(RANKS, ()).corrected(typed) == expected


def test_words_of_the_modes_are_left_alone_and_come_first() -> None:
    speller = Speller(RANKS, ("Tell me about Blogr",))
    assert speller.corrected("blogr blgor") == "blogr blogr"


@pytest.mark.parametrize("typed", ["mny", "kafka", "v2 c3po", "höhe"])
def test_short_unknown_and_foreign_words_stay(typed: str) -> None:
    assert Speller(RANKS, ()).corrected(typed) == typed.replace("ö", "o")


def test_word_that_is_too_long_to_be_one_is_left_as_it_is() -> None:
    ranks = {"a" * 24: 0}
    assert Speller(ranks, ()).corrected("a" * 22 + "xa") == "a" * 24
    assert Speller(ranks, ()).corrected("a" * 25) == "a" * 25


def test_long_text_is_read_as_it_is() -> None:
    text = "Teh " * 200
    assert Speller(RANKS, ()).corrected(text) == text
