"""Word pieces, as the model's own tokenizer makes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from relight.assistant.wordpiece import Vocabulary, read_vocabulary, words

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "tide", "##mark", "##s", "un", "##able", "?", "cafe", "a"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What's up?", ["what", "'", "s", "up", "?"]),
        ("a\tb\nc\u00a0d\u200be", ["a", "b", "c", "de"]),
        ("Où est naïve café", ["ou", "est", "naive", "cafe"]),
        ("漢字 ok", ["漢", "字", "ok"]),
        ("C++ v2.0 — „gut“", ["c", "+", "+", "v2", ".", "0", "—", "„", "gut", "“"]),
        ("a\x00b\ufffdc", ["abc"]),
        ("¿qué?", ["¿", "que", "?"]),
        ("", []),
        ("🙂", ["🙂"]),
        ("ΟΔΟΣ", ["οδοσ"]),
    ],
)
def test_words_are_small_plain_and_signs_stand_alone(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@pytest.mark.timeout(60)
def test_run_of_accents_takes_no_longer_than_other_text() -> None:
    # Sorted by `normalize`, as many take minutes.
    assert words("e" + "\u0301\u0316" * 200_000 + "a") == ["ea"]


def test_longest_piece_comes_first_and_the_rest_goes_on() -> None:
    vocabulary = Vocabulary(PIECES)
    assert vocabulary.numbers("the tidemarks?") == [4, 5, 6, 7, 10]


@pytest.mark.parametrize("text", ["unbearable", "x" * 150, "🙂"])
def test_word_without_pieces_is_one_unknown(text: str) -> None:
    assert Vocabulary(PIECES).numbers(text) == [1]


def test_vocabulary_is_read_a_piece_a_line(tmp_path: Path) -> None:
    file = tmp_path / "vocab.txt"
    file.write_text("\n".join(PIECES) + "\n")
    vocabulary = read_vocabulary(file)
    assert (len(vocabulary), vocabulary.first, vocabulary.last) == (13, 2, 3)
    assert vocabulary.ranks["the"] < vocabulary.ranks["cafe"]


def test_word_with_an_accent_changes_nothing_for_the_words_around_it() -> None:
    plain, told = "Hello, what's\tnew at 9?\x0bI'm OK", words("Hello, what's\tnew at 9?\x0bI'm OK")
    assert words(f"{plain} Café\u00a0ΣΑΣ") == [*told, "cafe", "σασ"]
