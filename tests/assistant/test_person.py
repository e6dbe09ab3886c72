"""Of whom a message speaks, and all ways to name a person as one."""

from __future__ import annotations

import pytest

from relight.assistant.person import Person, Signs


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("does she write tests", "does you write tests"),
        ("where can i read mira ' s articles", "where can i read your articles"),
        ("is this her dog", "is this your dog"),
        ("Mira Anselm in person", "you you in person"),
        ("what do you charge", "what do you charge"),
        ("the admiral and the heron", "the admiral and the heron"),
    ],
)
def test_person_is_you_however_named(text: str, read: str) -> None:
    assert Person("Mira Anselm").as_you(text) == read


def test_name_that_is_an_everyday_word_is_left_alone() -> None:
    assert Person("Will Lund").as_you("will lund come ?") == "will you come ?"


@pytest.mark.parametrize(
    ("text", "signs"),
    [
        ("what does she charge?", Signs(person=True, you=False, visitor=False, company=False)),
        ("Mira's rate", Signs(person=True, you=False, visitor=False, company=False)),
        ("what should I charge?", Signs(person=False, you=False, visitor=True, company=False)),
        ("would you come to our office?", Signs(person=False, you=True, visitor=False, company=True)),
        ("the capital of France", Signs(person=False, you=False, visitor=False, company=False)),
    ],
)
def test_signs_tell_of_whom_a_message_speaks(text: str, signs: Signs) -> None:
    assert Person("Mira").signs(text) == signs
