"""Messages as people type them, put into the words that a model knows. Pure; knows no model.

Short forms of chats are written out, and a word that nobody knows becomes the commonest one that is a single slip away (a
letter more, less, other, or two exchanged). Words of the modes themselves are never changed: products have names.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from relight.assistant.wordpiece import words

_SHORT: Final = {
    "abt": "about", "bc": "because", "bcuz": "because", "bday": "birthday", "cant": "can not", "cna": "can", "cuz": "because",
    "doesnt": "does not", "dont": "do not", "gimme": "give me", "gonna": "going to", "gud": "good", "hav": "have",
    "hows": "how is", "hw": "how", "hwo": "how", "im": "i am", "n": "and", "pls": "please", "plz": "please", "ppl": "people",
    "r": "are", "rly": "really", "ru": "are you", "teh": "the", "tho": "though", "thx": "thanks", "u": "you", "ur": "your",
    "ure": "you are", "wanna": "want to", "wat": "what", "wen": "when", "whats": "what is", "wheres": "where is",
    "whos": "who is", "wht": "what", "wut": "what", "y": "why", "ya": "you", "yor": "your", "yr": "your", "yrs": "years",
    "yuo": "you",
}  # fmt: skip
_SHORTEST: Final = 4
_SHORTEST_RIGHT: Final = 3
_LONGEST: Final = 24  # what is longer is no word; there are 54 slips to each of its letters, each as long as itself
_MOST_WORDS: Final = 120  # a longer text is no message of a chat, and is read as it is


class Speller:
    """Corrects by the words of a vocabulary, which is sorted by how common they are, and by `own` words that come first."""

    def __init__(self, ranks: Mapping[str, int], own: Iterable[str]) -> None:
        self._ranks = ranks
        # Each word once before it is taken apart: descriptions repeat themselves, and a start waits for this.
        self._own = frozenset(words(" ".join({word for text in own for word in text.split()})))

    def corrected(self, text: str) -> str:
        """`text` in small letters, with its slips corrected as far as they could be told."""
        found = words(text)
        return text if len(found) > _MOST_WORDS else " ".join(self._word(word) for word in found)

    def _word(self, word: str) -> str:
        if word in self._own:
            return word
        if word in _SHORT:
            return _SHORT[word]
        if word in self._ranks or not _SHORTEST <= len(word) <= _LONGEST or not (word.isascii() and word.isalpha()):
            return word
        close = {slip for slip in _slips(word) if len(slip) >= _SHORTEST_RIGHT and (slip in self._own or slip in self._ranks)}
        return min(close, key=lambda slip: (slip not in self._own, self._ranks.get(slip, 0), slip), default=word)


def _slips(word: str) -> Iterator[str]:
    for at in range(len(word) + 1):
        before, after = word[:at], word[at:]
        if after:
            yield before + after[1:]
        if len(after) > 1:
            yield before + after[1] + after[0] + after[2:]
        for letter in string.ascii_lowercase:
            yield before + letter + after
            if after:
                yield before + letter + after[1:]
