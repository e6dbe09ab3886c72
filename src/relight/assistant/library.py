"""Passages looked up for a question: by words (BM25) and by meaning (vectors), the two rankings put together. Knows no prompt.

numpy and bm25s are imported when the index is built, not before.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from relight.assistant.cutting import cut, windows
from relight.assistant.embedding import need, single_threaded
from relight.assistant.knowledge import Document
from relight.assistant.naming import unnamed
from relight.assistant.passages import Found
from relight.assistant.terms import Terms, terms
from relight.assistant.unrelated import SENTENCES
from relight.assistant.vectors import vectors

if TYPE_CHECKING:
    from relight.assistant.embedding import Embedder, Vectors

# Reciprocal rank fusion: Cormack, Clarke and Büttcher, SIGIR 2009, who found 60 best on TREC.
_FUSION: Final = 60
# How far down each ranking counts.
_DEPTH: Final = 20
# By words, a passage has to have this much of what is asked, by weight: a third of it is more than one common word.
COVERED: Final = 0.3
# By meaning, it has to be more alike than three of four messages that have nothing to do with anything here. So every embedder
# and every library has a floor of its own: the more there is, the likelier something is alike by accident.
UNLIKE: Final = 0.75
# So few terms are no question by themselves, when something was said before.
_SHORT: Final = 2


class _Meaning(Struct, frozen=True):
    """Vectors of windows, passage by passage: those of the n-th begin at row `starts[n]`. Less than `floor` is no likeness."""

    rows: Vectors
    starts: Sequence[int]
    floor: float

    def cosines(self, vector: Vectors) -> Vectors:
        """The cosine of each passage: that of its best window."""
        import numpy as np

        found: Vectors = np.maximum.reduceat(self.rows @ vector, self.starts)
        return found


class _Index(Struct, frozen=True):
    terms: Terms
    meaning: _Meaning | None


class Library:
    """The passages of documents. `find` may be called from any thread; what takes long is done once, by `build`.

    Without an `embedder` passages are found by their words alone. Vectors are kept in `cache`/passages, if it is given.
    """

    def __init__(
        self,
        documents: Sequence[Document],
        embedder: Embedder | None = None,
        *,
        cache: Path | None = None,
        paragraphs: bool = False,
        subject: str | None = None,
    ) -> None:
        """With `paragraphs` each is a passage. `subject` is whom all of it is about: a name that stands everywhere tells nothing
        apart, so it is left out of what is compared, and of the question with it the words for "you"."""
        self.passages = cut(documents, paragraphs=paragraphs)
        self._whole = paragraphs
        self._subject = subject
        self._embedder = embedder
        self._cache = cache / "passages" if cache is not None else None
        self._index: _Index | None = None
        self._lock = threading.Lock()

    def build(self) -> None:
        """Make the index, unless it is there. Blocks: some 10 ms a passage whose vectors are not kept yet.

        Raises `WeightsError` when a library it needs is not installed.
        """
        self._built()

    def find(self, question: str, history: Sequence[tuple[str, str]] = (), k: int = 4) -> tuple[Found, ...]:
        """The at most `k` passages that answer `question`, best first; none when nothing is about it. Blocks for milliseconds.

        `history` is what was said before, as role and text, oldest first: a question of a word or two ("and the second one?") is
        looked up with what the user said last. Builds the index if nobody did.
        """
        asked = terms(question)
        if not asked and "?" not in question:
            return ()  # thanks, a greeting
        if len(asked) <= _SHORT and (before := [text for role, text in history if role == "user"]):
            question = f"{before[-1]}\n{question}"
            asked = terms(question)
        index = self._built()
        words = _by_words(index.terms, asked)
        cosines = self._cosines(index.meaning, question)
        meaning = [] if cosines is None or index.meaning is None else _best(cosines, index.meaning.floor)
        return tuple(
            Found(self.passages[n], score, _rank(words, n), _rank(meaning, n), None if cosines is None else float(cosines[n]))
            for n, score in _fused(words, meaning)[:k]
        )

    def _cosines(self, meaning: _Meaning | None, question: str) -> Vectors | None:
        if self._embedder is None or meaning is None:
            return None
        return meaning.cosines(self._embedder.embed([self._plain(question)])[0])

    def _plain(self, text: str) -> str:
        return text if self._subject is None else unnamed(text, self._subject)

    def _built(self) -> _Index:
        with self._lock:
            if self._index is None:
                need("numpy", "bm25s")
                single_threaded()
                texts = [f"{passage.title}\n{passage.text}" for passage in self.passages]
                self._index = _Index(Terms(texts), self._meant())
            return self._index

    def _meant(self) -> _Meaning | None:
        if self._embedder is None or not self.passages:
            return None
        import numpy as np

        groups: dict[int, list[str]] = {}
        starts, count = [], 0
        for passage in self.passages:
            said = (
                [f"{passage.headings[-1]}: {passage.text}" if passage.headings else passage.text]
                if self._whole
                else windows(passage)
            )
            said = [self._plain(text) for text in said]
            groups.setdefault(id(passage.document), []).extend(said)
            starts.append(count)
            count += len(said)
        *rows, unrelated = vectors([*groups.values(), SENTENCES], self._embedder, self._cache)
        meaning = _Meaning(np.concatenate(rows), starts, 0.0)
        best = [float(meaning.cosines(vector).max()) for vector in unrelated]
        return _Meaning(meaning.rows, starts, float(np.quantile(best, UNLIKE)))


def _by_words(index: Terms, asked: Sequence[str]) -> list[int]:
    """The passages that have enough of the terms, best first."""
    scores = index.scores(asked)
    return [n for n in _best(scores, 0.0) if scores[n] > 0 and index.covered(asked, n) >= COVERED]


def _best(scores: Vectors, floor: float) -> list[int]:
    """The numbers of the highest scores that reach `floor`, best first; of equal ones the first."""
    import numpy as np

    order: list[int] = np.argsort(-scores, kind="stable")[:_DEPTH].tolist()
    return [n for n in order if scores[n] >= floor]


def _fused(*rankings: Sequence[int]) -> list[tuple[int, float]]:
    """Numbers by the sum of 1 / (60 + rank) over the rankings they stand in, best first."""
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, number in enumerate(ranking, 1):
            scores[number] = scores.get(number, 0.0) + 1 / (_FUSION + rank)
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))


def _rank(ranking: Sequence[int], number: int) -> int | None:
    return ranking.index(number) + 1 if number in ranking else None
