"""A small assistant to classify for, and an embedder whose vectors can be worked out by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from relight.assistant.wordpiece import words
from relight.config.assistant import Mode

if TYPE_CHECKING:
    from relight.assistant.embedding import Vectors

MODES = {
    "menu": Mode(
        about="What the café serves: cakes, drinks, breakfast.",
        examples=("which cakes do you have?", "do you serve breakfast?", "is there oat milk for the coffee?"),
        keywords=("espresso",),
    ),
    "place": Mode(
        about="Where the café is and when it is open.",
        examples=("where are you?", "when do you open on Sunday?", "is there parking near the café?"),
        patterns=(r"\bopening hours\b",),
    ),
    "events": Mode(
        about="Concerts and readings in the café.",
        examples=("is there live music tonight?", "who reads next week?", "can I book the café for a concert?"),
    ),
    "general": Mode(about="Everything else."),
}


class Words:
    """An `Embedder`: one dimension for each word of its vocabulary, 1 where the text has it. Counts what it is asked for."""

    kind = "ngram"
    ranks: Mapping[str, int] = MappingProxyType({})

    def __init__(self, vocabulary: str, name: str = "words") -> None:
        self.name = name
        self._place = {word: number for number, word in enumerate(dict.fromkeys(words(vocabulary)))}
        self.asked = 0

    def embed(self, texts: Sequence[str]) -> Vectors:
        import numpy as np

        self.asked += len(texts)
        found = np.zeros((len(texts), len(self._place) + 1), np.float32)
        for row, text in enumerate(texts):
            for word in words(text):
                found[row, self._place.get(word, len(self._place))] = 1
            found[row] /= max(1.0, float(np.linalg.norm(found[row])))
        return found
