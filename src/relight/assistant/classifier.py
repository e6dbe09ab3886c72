"""A mode out of examples: near which of them a message lies, and whether it lies nearer to them than to the rest of the world.

Two scores, because what chooses well among modes is bad at saying that none fits: the mode is that of the three nearest examples
(mean similarity, the nearest weighs most); whether there is one at all is its similarity, less that to the three nearest of the
messages in `unrelated`. A mode's `about` is cut into its phrases, which count as examples. What all texts have in common is
taken off first. No training, so nothing to fit at start but vectors, and every answer can be shown.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from relight.assistant.embedding import embed_once, remembered, unit
from relight.assistant.reliance import before, reliance
from relight.assistant.spelling import Speller
from relight.assistant.unrelated import SENTENCES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from relight.assistant.conversation import Said
    from relight.assistant.embedding import Embedder, Vectors
    from relight.config.assistant import Mode

_WEIGHTS: Final = (1, 2, 3)
"""Of the nearest texts, the nearest last. A mean lets two that are half as near outvote one that says the very thing."""
_ASKED: Final = "what about your {}?"
"""How a phrase would be asked for: it is compared half as it stands, half as this."""
_PROOF_OF_TOPICS: Final = 0.8
"""How far a phrase proves that a message is for the service: "bread" is near to every recipe, a visitor's question is not."""
_GOES_ON: Final = 0.1
"""Added where a message lives from the one before: most who go on stay with the subject."""
_SHORTEST_PHRASE: Final = 4  # characters
_SHOWN: Final = 5
THRESHOLD: Final = 0.5
_AMBIGUOUS: Final = 0.4
"""Below this share for the best mode, a decider is asked as well."""


class Calibration(Struct, frozen=True):
    """From similarities to probabilities: logistic in the distance to the rest of the world, softmax over the modes.

    Fitted to the development messages of `examples/portfolio` (`fitted` in bench/modes.py), so that at 0.5 a message is as likely
    in scope as out of it, were both as frequent.
    """

    middle: float
    slope: float
    sharpness: float


CALIBRATIONS: Final = {
    "minilm": Calibration(middle=-0.098, slope=26.9, sharpness=40.0),
    "static": Calibration(middle=-0.077, slope=5.3, sharpness=16.0),
    "ngram": Calibration(middle=-0.116, slope=11.2, sharpness=33.0),
}


class Neighbour(Struct, frozen=True):
    """An example (`mode` None: a message that is unrelated), and how similar a message is to it, at most 1."""

    text: str
    mode: str | None
    similarity: float


class Verdict(Struct, frozen=True):
    """The best mode.

    `inside` is the probability that the message belongs to any mode, `confidence` that it belongs to this one; it `is_sure` when
    `inside` reaches the threshold, and `is_ambiguous` when another mode is nearly as near. `distance` and `similarities` are what
    these were made of; `reliance` is how much the message before counted.
    """

    mode: str
    confidence: float
    inside: float
    is_sure: bool
    is_ambiguous: bool
    scores: dict[str, float]
    reliance: float
    distance: float
    similarities: dict[str, float]
    why: str


class Classifier:
    """Immutable once built; may be asked from any thread."""

    def __init__(
        self, embedder: Embedder, modes: Mapping[str, Mode], *, threshold: float | None = None, folder: Path | None = None
    ) -> None:
        """Blocks for the vectors of the examples: milliseconds when `folder` has them, else some milliseconds each."""
        self._embedder = embedder
        self._calibration = CALIBRATIONS[embedder.kind]
        self.threshold = THRESHOLD if threshold is None else threshold
        taught = {name: mode for name, mode in modes.items() if mode.examples}
        if not taught:
            raise ValueError("a classifier needs a mode with examples")
        self.modes = tuple(taught)
        messages = [(name, text) for name, mode in taught.items() for text in mode.examples]
        topics = [(name, text) for name, mode in taught.items() for text in phrases(mode.about)]
        self._taught = [*messages, *topics]
        self._speller = Speller(embedder.ranks, [*(text for _, text in self._taught), *_names(modes)])
        vectors = embed_once(embedder, [*(text for _, text in messages), *SENTENCES], folder)
        asked = embed_once(_Topics(embedder), [text for _, text in topics], folder) if topics else vectors[:0]
        made_of = (embedder.name, "apart", str(len(messages)), *(text for _, text in self._taught), *SENTENCES)
        self._place(vectors[: len(messages)], asked, vectors[len(messages) :], made_of, folder)

    def _place(self, messages: Vectors, topics: Vectors, unrelated: Vectors, made_of: Sequence[str], folder: Path | None) -> None:
        import numpy as np

        vectors = np.concatenate([messages, topics, unrelated])
        # Every sentence is similar to every other to some extent; without their mean, the rest is what they say.
        self._common = vectors.mean(axis=0)
        self._examples, unrelated = np.split(unit(vectors - self._common), [len(self._taught)])
        owners = np.array([self.modes.index(name) for name, _ in self._taught])
        self._of = [np.flatnonzero(owners == number) for number in range(len(self.modes))]
        self._proof = np.where(np.arange(len(owners)) < len(messages), 1, _PROOF_OF_TOPICS).astype(np.float32)
        examples = self._examples[: len(messages)]

        def fits(found: NDArray[np.intp]) -> bool:
            return found.dtype == np.intp and found.ndim == 1 and len(found) > 0 and bool(found.max() < len(unrelated))

        kept = remembered(made_of, folder, lambda: _unlike(unrelated, examples), fits)
        self._unrelated = unrelated[kept]
        self._unrelated_texts = [SENTENCES[number] for number in kept]

    def judge(self, message: str, history: Sequence[Said] = ()) -> Verdict:
        """The mode of `message`; what the user said last counts as far as the message relies on it."""
        import numpy as np

        weight = reliance(message, history)
        examples, unrelated = self._similarities(message, history)
        by_mode = np.array([_near(examples[own]) for own in self._of], dtype=np.float32)
        best = int(np.argmax(by_mode))
        distance = float(_near((self._proof * examples)[self._of[best]]) - _near(unrelated)) + _GOES_ON * weight
        shares = _softmax(self._calibration.sharpness * by_mode)
        inside = _logistic(self._calibration.slope * (distance - self._calibration.middle))
        share = float(shares[best])
        is_sure = inside >= self.threshold
        return Verdict(
            mode=self.modes[best],
            confidence=inside * share,
            inside=inside,
            is_sure=is_sure,
            is_ambiguous=is_sure and share < _AMBIGUOUS,
            scores={name: inside * float(shares[number]) for number, name in enumerate(self.modes)},
            reliance=weight,
            distance=distance,
            similarities=dict(zip(self.modes, map(float, by_mode), strict=True)),
            why=_why(inside, self.threshold, self.modes[best], share, weight),
        )

    def nearest(self, message: str, history: Sequence[Said] = (), count: int = _SHOWN) -> list[Neighbour]:
        """The examples and the unrelated messages that `message` is most similar to, as `judge` compares them."""
        examples, unrelated = self._similarities(message, history)
        told = [(text, name) for name, text in self._taught] + [(text, None) for text in self._unrelated_texts]
        similar = [*map(float, examples), *map(float, unrelated)]
        found = [Neighbour(text, mode, round(one, 3)) for (text, mode), one in zip(told, similar, strict=True)]
        return sorted(found, key=lambda one: -one.similarity)[:count]

    def read_as(self, message: str) -> str:
        """`message` as it is compared, with slips corrected."""
        return self._speller.corrected(message)

    def _similarities(self, message: str, history: Sequence[Said]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """To each example, and to each unrelated message; what the user said before counts as far as the message relies on it."""
        weight = reliance(message, history)
        texts = [message, f"{before(history)} {message}"] if weight else [message]
        vectors = self._embedder.embed([self._speller.corrected(text) for text in texts])
        vector = unit((1 - weight) * vectors[0] + weight * vectors[-1] - self._common)
        return self._examples @ vector, self._unrelated @ vector


class _Topics:
    """An `Embedder` of phrases: half as they stand, half as somebody would ask for them, because messages are seldom nouns."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self.kind, self.name, self.ranks = embedder.kind, f"{embedder.name}-topics", embedder.ranks

    def embed(self, texts: Sequence[str]) -> Vectors:
        """See `Embedder`."""
        return unit(self._embedder.embed(texts) + self._embedder.embed([_ASKED.format(text) for text in texts]))


def phrases(about: str | None) -> list[str]:
    """The parts of a description between commas, colons and full stops."""
    parts = [" ".join(part.split()) for part in re.split(r"[:,;.]\s", f"{about or ''} ")]
    return [part for part in parts if len(part) >= _SHORTEST_PHRASE]


def _names(modes: Mapping[str, Mode]) -> list[str]:
    return [text for name, mode in modes.items() for text in (name, mode.about or "", *mode.keywords)]


def _unlike(unrelated: Vectors, messages: Vectors) -> NDArray[np.intp]:
    """Which are nearer to one another than to the examples that are messages: the others may well be the service's subject."""
    import numpy as np

    to_others = unrelated @ unrelated.T
    np.fill_diagonal(to_others, -1)
    kept = np.flatnonzero(_near(unrelated @ messages.T) <= _near(to_others))
    return kept if len(kept) else np.arange(len(unrelated))


def _near(similarities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of each row: the weighted mean of the largest, or of all when there are fewer."""
    import numpy as np

    count = min(similarities.shape[-1], len(_WEIGHTS))
    largest = np.sort(np.partition(similarities, -count, axis=-1)[..., -count:], axis=-1)
    weights = np.array(_WEIGHTS[-count:], dtype=np.float32)
    found: NDArray[np.float32] = largest @ (weights / weights.sum())
    return found


def _softmax(values: NDArray[np.float32]) -> NDArray[np.float32]:
    import numpy as np

    raised = np.exp(values - values.max())
    shares: NDArray[np.float32] = raised / raised.sum()
    return shares


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value > -50 else 0.0


def _why(inside: float, threshold: float, mode: str, share: float, weight: float) -> str:
    after = f", read after the message before (weight {weight:.1f})" if weight else ""
    if inside < threshold:
        return f"in scope {inside:.2f}, below the threshold {threshold:.2f}; nearest would be {mode}{after}"
    return f"in scope {inside:.2f}, and {share:.2f} of that for {mode}{after}"
