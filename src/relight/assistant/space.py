"""Where texts lie: examples, topics and the rest of the world as vectors in one space, kept between starts. Knows no mode.

What all texts have in common is taken off first. Of wide vectors, the directions in which these texts differ most are kept: a
third of the numbers tells them apart as well, and a start reads one file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from relight.assistant.embedding import remembered, unit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from relight.assistant.embedding import Embedder, Vectors

_ASKED: Final = "what about your {}?"
"""How a topic would be asked for: messages are seldom nouns, so it is compared half as it stands, half as this."""
_WEIGHTS: Final = (1, 2, 3)
"""Of the nearest texts, the nearest last. A mean lets two that are half as near outvote one that says the very thing."""
_DIRECTIONS: Final = 512
_WIDEST: Final = 2048  # the directions of more dimensions take minutes to find


class Reading(NamedTuple):
    """How texts are put before they are compared; `name` changes whenever that does."""

    name: str
    read: Callable[[str], str]


class Space:
    """Immutable once built. `taught`: messages, then topics [texts, directions]; `unrelated`: those of `kept`, by number."""

    def __init__(  # noqa: PLR0913 - what a space is made of
        self,
        embedder: Embedder,
        messages: Sequence[str],
        topics: Sequence[str],
        unrelated: Sequence[str],
        folder: Path | None,
        *,
        reading: Reading | None = None,
    ) -> None:
        """Blocks: milliseconds when `folder` has it all, else some for each text, and seconds for the directions.

        With `reading`, texts are compared as it puts them.
        """
        import numpy as np

        taught = len(messages) + len(topics)
        made_of = (embedder.name, "space", reading.name if reading else "", str(len(messages)), *messages, *topics, *unrelated)

        def is_whole(found: Vectors) -> bool:
            return found.dtype == np.float32 and found.ndim == 2 and len(found) > taught + len(unrelated)

        def fits(found: NDArray[np.intp]) -> bool:
            return found.dtype == np.intp and found.ndim == 1 and len(found) > 0 and bool(found.max() < len(unrelated))

        def make() -> Vectors:
            read = reading.read if reading else str
            return _rows(embedder, *([read(text) for text in texts] for texts in (messages, topics, unrelated)))

        rows = remembered(made_of, folder, make, is_whole)
        first = len(rows) - taught - len(unrelated)
        self._directions, self._common = rows[: first - 1], rows[first - 1]
        self.taught, others = np.split(rows[first:], [taught])
        examples = self.taught[: len(messages)]
        self.kept = remembered((*made_of, "apart"), folder, lambda: _unlike(others, examples), fits)
        self.unrelated = others[self.kept]

    def place(self, vectors: Vectors) -> Vectors:
        """Vectors of the embedder in this space, of length 1; their products with those here are similarities."""
        return unit((vectors @ self._directions if len(self._directions) else vectors) - self._common)


def near(similarities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of each row: the weighted mean of the largest, or of all when there are fewer."""
    import numpy as np

    count = min(similarities.shape[-1], len(_WEIGHTS))
    largest = np.sort(np.partition(similarities, -count, axis=-1)[..., -count:], axis=-1)
    weights = np.array(_WEIGHTS[-count:], dtype=np.float32)
    found: NDArray[np.float32] = largest @ (weights / weights.sum())
    return found


def _rows(embedder: Embedder, messages: Sequence[str], topics: Sequence[str], unrelated: Sequence[str]) -> Vectors:
    """One below the other: the directions (or nothing), what is common, and every text, by the directions."""
    import numpy as np

    said = embedder.embed([*messages, *unrelated])
    asked = [embedder.embed(form) for form in (topics, [_ASKED.format(text) for text in topics])] if topics else [said[:0]]
    vectors = np.concatenate([said[: len(messages)], unit(sum(asked[1:], asked[0])), said[len(messages) :]])
    common = vectors.mean(axis=0, keepdims=True)
    apart = unit(vectors - common)
    if not _DIRECTIONS < apart.shape[1] <= _WIDEST:
        return np.concatenate([common, apart])
    _, found = np.linalg.eigh(apart.T @ apart)
    directions = found[:, ::-1][:, :_DIRECTIONS]
    return np.concatenate([directions, common @ directions, unit(apart @ directions)]).astype(np.float32)


def _unlike(unrelated: Vectors, messages: Vectors) -> NDArray[np.intp]:
    """Which are nearer to one another than to the examples that are messages: the others may well be the service's subject."""
    import numpy as np

    to_others = unrelated @ unrelated.T
    np.fill_diagonal(to_others, -1)
    kept = np.flatnonzero(near(unrelated @ messages.T) <= near(to_others))
    return kept if len(kept) else np.arange(len(unrelated))
