"""Words as they are looked up: folded, without those that say nothing; BM25 over them. Knows texts by their numbers only."""

from __future__ import annotations

import logging
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Scripts without spaces are looked up by pairs of signs.
_UNSPACED: Final = "\u0e00-\u0eff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_TERM: Final = re.compile(rf"(?P<run>[{_UNSPACED}]+)|[^\W_{_UNSPACED}]+[+#]*")
# English, and the words of questions; other languages are left to the weights of BM25.
_SILENT: Final = """
    a about all also am an and any anything are as at be because been being but by can could d did do does doing done for from get
    give got had has have having he hello her here hers hey hi him his how i if in into is it its just let like ll m many may me
    might more most much my no nor not of ok okay on one or other our out please re s shall she should so some something such t
    tell than thank thanks that the their them then there these they thing things this those to too up us ve very was we were what
    when where which while who whom whose why will with would yes you your yours
"""
_IS_SILENT: Final = frozenset(_SILENT.split())


def terms(text: str) -> list[str]:
    """The terms of a text in order: case, accents and the plural's s do not count, nor do words that say nothing."""
    # Accents go before letters are taken apart, too: `normalize` sorts a run of them in quadratic time.
    plain = _without_accents(unicodedata.normalize("NFKD", _without_accents(text.casefold())))
    found: list[str] = []
    for match in _TERM.finditer(unicodedata.normalize("NFKC", plain)):
        if run := match["run"]:
            found += [run[place : place + 2] for place in range(max(len(run) - 1, 1))]
        elif match[0] not in _IS_SILENT:
            found.append(_stem(match[0]))
    return found


def _without_accents(text: str) -> str:
    return text if text.isascii() else "".join(sign for sign in text if not unicodedata.combining(sign))


def _stem(word: str) -> str:
    """A word without the ending of its plural: enough for questions, and harmless in other languages."""
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


class Terms:
    """An index over texts: BM25 (the form of Lucene: k1 = 1.5, b = 0.75) of a question's terms, and how much of it they cover."""

    def __init__(self, texts: Sequence[str]) -> None:
        import bm25s  # type: ignore[import-untyped]

        # It sets its own logger to DEBUG, which would speak wherever the root logger does.
        logging.getLogger("bm25s").setLevel(logging.WARNING)
        split = [terms(text) for text in texts]
        self._has: list[frozenset[str]] = [frozenset(each) for each in split]
        count = Counter(term for each in self._has for term in each)
        self._weights = {term: _weight(here, len(texts)) for term, here in count.items()}
        self._unknown = _weight(0, len(texts))
        self._index: Any = None
        if count:
            self._index = bm25s.BM25()
            self._index.index(split, show_progress=False)

    def scores(self, asked: Sequence[str]) -> NDArray[np.float32]:
        """BM25 of every text, 0 where none of the terms stands."""
        import numpy as np

        known = [term for term in asked if term in self._weights]
        if not known:
            return np.zeros(len(self._has), np.float32)
        found: NDArray[np.float32] = self._index.get_scores(known)
        return found

    def covered(self, asked: Collection[str], text: int) -> float:
        """How much of what is asked stands in a text, 0 to 1: each term counts by its rarity, unknown ones as the rarest."""
        weights = {term: self._weights.get(term, self._unknown) for term in asked}
        total = sum(weights.values())
        return sum(weight for term, weight in weights.items() if term in self._has[text]) / total if total else 0.0


def _weight(here: int, texts: int) -> float:
    """Inverse document frequency as Lucene has it."""
    return math.log(1 + (texts - here + 0.5) / (here + 0.5))
