"""The part of a message that is asked."""

from __future__ import annotations

import pytest

from relight.assistant.question import asked


@pytest.mark.parametrize(
    ("message", "part"),
    [
        ("I loved your talk in Berlin. How do I book a call?", "How do I book a call?"),
        ("We are a small shop; do you take small jobs", "do you take small jobs"),
        ("Can you help us? We have a deadline soon.", "Can you help us?"),
        ("I know the price, but when could you start?", "but when could you start?"),
        ("a very nice site - which tools do you use", "which tools do you use"),
        ("Your code looks fine. Anyway, where do you live?", "where do you live?"),
    ],
)
def test_last_question_or_sentence_is_what_is_asked(message: str, part: str) -> None:
    assert asked(message) == part


@pytest.mark.parametrize(
    "message", ["", "hello", "what do you charge per day?", "Hi there. What do you charge?", "???", "a - b - c"]
)
def test_message_that_is_all_one_has_no_part(message: str) -> None:
    assert asked(message) is None


def test_long_message_is_read_at_its_end() -> None:
    assert asked("what is this? " * 10_000 + "Then when do you open?") == "Then when do you open?"
