"""Text into the numbers of BERT's uncased vocabulary, as its own tokenizer does it. Knows no model.

Written out because the library that does it brings a hub client with it, and because a chat message is short: one takes some
tens of microseconds. The tests compare with what the library says.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_LONGEST_WORD: Final = 100  # characters; what is longer is one unknown word
# Ideographs are words by themselves.
_IDEOGRAPH: Final = re.compile(
    "([\u4e00-\u9fff\u3400-\u4dbf\U00020000-\U0002a6df\U0002a700-\U0002b81f\U0002b920-\U0002ceaf\uf900-\ufaff\U0002f800-\U0002fa1f])"
)
_ASCII_WORD: Final = re.compile(r"[a-z0-9]+|[!-/:-@\[-`{-~]")


class Vocabulary:
    """The pieces that words are cut into; `first` and `last` frame a text."""

    def __init__(self, pieces: list[str]) -> None:
        """Raises `ValueError` when the pieces that frame a text are not there."""
        self._number = dict(zip(pieces, range(len(pieces)), strict=True))
        if not {"[CLS]", "[SEP]", "[UNK]"} <= self._number.keys():
            raise ValueError("the vocabulary has no [CLS], [SEP] or [UNK]")
        self.first, self.last, self._unknown = (self._number[name] for name in ("[CLS]", "[SEP]", "[UNK]"))

    @property
    def ranks(self) -> Mapping[str, int]:
        """Pieces by number; whole words stand in the order of how common they are."""
        return self._number

    def __len__(self) -> int:
        return len(self._number)

    def numbers(self, text: str) -> list[int]:
        """The pieces of `text`, without the frame."""
        found: list[int] = []
        for word in words(text):
            found += self._pieces(word)
        return found

    def _pieces(self, word: str) -> list[int]:
        """The longest piece that the word begins with, then the longest that goes on, and so forth."""
        if len(word) > _LONGEST_WORD:
            return [self._unknown]
        number = self._number
        if word in number:
            return [number[word]]
        found, start = [], 0
        while start < len(word):
            mark = "##" if start else ""
            end = next((end for end in range(len(word), start, -1) if mark + word[start:end] in number), None)
            if end is None:
                return [self._unknown]
            found.append(number[mark + word[start:end]])
            start = end
        return found


def read_vocabulary(file: Path) -> Vocabulary:
    """The vocabulary in a `vocab.txt`, a piece a line. Raises `OSError` and `ValueError`."""
    return Vocabulary(file.read_text(encoding="utf-8").rstrip("\n").split("\n"))


def words(text: str) -> list[str]:
    """Words and signs in small letters without accents, in order."""
    if text.isascii() and text.isprintable():
        return _ASCII_WORD.findall(text.lower())
    # One "é" in a long text is no reason to look at every sign of it.
    return [word for run in text.split() for word in _words(run)]


def _words(run: str) -> list[str]:
    if run.isascii() and run.isprintable():
        return _ASCII_WORD.findall(run.lower())
    clean = "".join(_clean(sign) for sign in run)
    spaced = _IDEOGRAPH.sub(r" \1 ", clean)
    # Each sign by itself: Python's own way with a whole word knows a second small sigma, the model does not.
    plain = "".join(sign.lower() for sign in unicodedata.normalize("NFD", spaced) if unicodedata.category(sign) != "Mn")
    return [word for part in plain.split() for word in _cut(part)]


def _clean(sign: str) -> str:
    # Accents go here, and not only once letters are taken apart: `normalize` sorts a run of them in quadratic time.
    if unicodedata.combining(sign):
        return ""
    # What is not written: control and format signs, and what Unicode has not given out.
    return "" if sign == "\ufffd" or unicodedata.category(sign).startswith("C") else sign


def _cut(run: str) -> list[str]:
    """`run` with every punctuation mark by itself."""
    found: list[str] = []
    begin = 0
    for at, sign in enumerate(run):
        if _is_mark(sign):
            found += [run[begin:at], sign]
            begin = at + 1
    return [part for part in (*found, run[begin:]) if part]


def _is_mark(sign: str) -> bool:
    if sign.isascii():
        return not sign.isalnum()
    return unicodedata.category(sign).startswith("P")
