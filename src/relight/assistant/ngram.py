"""Vectors of the letters of a text: hashed runs of two to five. Needs no weights, and knows no meaning."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from relight.assistant.embedding import need, single_threaded, unit
from relight.assistant.wordpiece import words

if TYPE_CHECKING:
    from relight.assistant.embedding import Vectors

_DIMENSIONS: Final = 4096
_SHORTEST, _LONGEST = 2, 5
_MOST_WORDS: Final = 200


class Ngram:
    """An `Embedder` of 4096 dimensions, most of them zero."""

    kind = "ngram"
    name = "ngram-1"
    ranks: Mapping[str, int] = MappingProxyType({})

    def __init__(self) -> None:
        """Raises `WeightsError` when numpy is not installed."""
        need("numpy")
        single_threaded()

    def embed(self, texts: Sequence[str]) -> Vectors:
        """See `Embedder`. The second time that something occurs says less than the first: counts enter by their logarithm."""
        import numpy as np

        found = np.zeros((len(texts), _DIMENSIONS), np.float32)
        for row, text in enumerate(texts):
            for run, count in Counter(_runs(text)).items():
                # Not Python's own hash: that one differs in every process.
                found[row, zlib.crc32(run.encode()) % _DIMENSIONS] += 1 + np.log(count)
        return unit(found)


def _runs(text: str) -> Iterator[str]:
    for word in words(text)[:_MOST_WORDS]:
        framed = f" {word} "
        for length in range(_SHORTEST, _LONGEST + 1):
            yield from (framed[at : at + length] for at in range(len(framed) - length + 1))
