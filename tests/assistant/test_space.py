"""Vectors of texts in one space: what they have in common is off, wide ones are narrowed, and a start reads one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest

from relight.assistant.space import Space, near

if TYPE_CHECKING:
    from relight.assistant.embedding import Vectors

MESSAGES, TOPICS, UNRELATED = ["m one", "m two"], ["t one", "t two", "t three"], [f"u {number}" for number in range(20)]


class Scattered:
    """An `Embedder`: a direction for each text, always the same, and one that all texts share. Counts what it is asked for."""

    kind = "ngram"
    ranks: Mapping[str, int] = MappingProxyType({})

    def __init__(self, width: int) -> None:
        self.name = f"scattered-{width}"
        self._width = width
        self.asked = 0

    def embed(self, texts: Sequence[str]) -> Vectors:
        import numpy as np

        self.asked += len(texts)
        if not texts:
            return np.zeros((0, self._width), np.float32)
        rows = [np.random.default_rng([*text.encode()]).standard_normal(self._width) + 2 for text in texts]
        return np.stack([row / np.linalg.norm(row) for row in rows]).astype(np.float32)


@pytest.mark.parametrize(("width", "kept"), [(40, 40), (600, 512), (2100, 2100)])
def test_wide_vectors_are_narrowed_as_far_as_that_is_quick(width: int, kept: int) -> None:
    space = Space(Scattered(width), MESSAGES, TOPICS, UNRELATED, None)
    assert space.taught.shape == (5, kept)
    assert space.unrelated.shape == (len(space.kept), kept)


@pytest.mark.parametrize("width", [40, 600])
def test_text_that_was_taught_lies_where_it_was_put(width: int) -> None:
    import numpy as np

    embedder = Scattered(width)
    space = Space(embedder, MESSAGES, TOPICS, UNRELATED, None)
    placed = space.place(embedder.embed(["m two", "u 3", "something else"]))
    np.testing.assert_allclose(np.linalg.norm(placed, axis=1), 1, atol=1e-5)
    assert (space.taught @ placed[0])[1] == pytest.approx(1, abs=1e-4)
    assert np.delete(space.taught @ placed[0], 1).max() < 0.6
    assert (space.unrelated @ placed[1])[list(space.kept).index(3)] == pytest.approx(1, abs=1e-4)
    assert (space.taught @ placed[2]).max() < 0.6


@pytest.mark.parametrize("width", [40, 600])
def test_second_start_embeds_nothing_and_finds_the_same(tmp_path: Path, width: int) -> None:
    import numpy as np

    first, second, third = (Scattered(width) for _ in range(3))
    made = Space(first, MESSAGES, TOPICS, UNRELATED, tmp_path)
    again = Space(second, MESSAGES, TOPICS, UNRELATED, tmp_path)
    assert second.asked == 0
    np.testing.assert_array_equal(made.taught, again.taught)
    np.testing.assert_array_equal(made.unrelated, again.unrelated)
    query = first.embed(["a question"])
    np.testing.assert_array_equal(made.place(query), again.place(query))
    Space(third, MESSAGES, [*TOPICS, "t four"], UNRELATED, tmp_path)
    assert third.asked == first.asked - 1 + 2


def test_message_and_topic_of_the_same_words_are_not_confused_in_the_file(tmp_path: Path) -> None:
    one = Space(Scattered(40), ["a"], ["b"], UNRELATED, tmp_path)
    other = Space(Scattered(40), ["a", "b"], [], UNRELATED, tmp_path)
    assert (one.taught[1] @ other.taught[1]) < 0.99


def test_near_is_the_weighted_mean_of_the_three_largest() -> None:
    import numpy as np

    found = near(np.array([[0.1, 0.9, 0.3, 0.5], [0.0, 0.0, 0.0, 0.6]], np.float32))
    np.testing.assert_allclose(found, [(3 * 0.9 + 2 * 0.5 + 0.3) / 6, 0.3], atol=1e-6)
    assert near(np.array([0.2, 0.8], np.float32)) == pytest.approx((3 * 0.8 + 2 * 0.2) / 5)
