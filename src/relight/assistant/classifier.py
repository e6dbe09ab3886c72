"""A mode out of examples: near which of them a message lies, and whether it lies nearer to them than to the rest of the world.

Two scores, because what chooses well among modes is bad at saying that none fits: the mode is that of the three nearest examples
(mean similarity, the nearest weighs most); whether there is one at all is its similarity, less that to the three nearest of the
messages in `unrelated`. A mode's `about` is cut into its phrases, which count as examples. No training, so nothing to fit at
start but vectors (`space`), and every answer can be shown. Where the assistant answers for a person, it counts as well whom a
message speaks of (`person`); of several sentences, the one that asks counts most (`question`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct, structs

from relight.assistant.calibration import CALIBRATIONS, PERSONAL
from relight.assistant.embedding import unit
from relight.assistant.person import READING, Person
from relight.assistant.question import asked
from relight.assistant.reliance import before, reliance
from relight.assistant.space import Reading, Space, near
from relight.assistant.spelling import Speller
from relight.assistant.unrelated import SENTENCES
from relight.assistant.wordpiece import words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from relight.assistant.conversation import Said
    from relight.assistant.embedding import Embedder
    from relight.config.assistant import Mode

_PROOF_OF_TOPICS: Final = 0.8
"""How far a phrase proves that a message is for the service: "bread" is near to every recipe, a visitor's question is not."""
_GOES_ON: Final = 0.1
"""Added where a message lives from the one before: most who go on stay with the subject."""
_LEAVES: Final = 0.5
"""How far it counts against a message in a conversation that by itself it is nearer to the rest of the world than to any mode:
"can you write me a poem?" does not belong to what was said before, however short it is."""
_ASKED: Final = 0.4
"""How much of a message of several sentences is the one that asks; the rest is the whole."""
_MOST_ANSWER: Final = 160  # characters of the answer before that are read with a message that goes on
_SHORTEST_PHRASE: Final = 4  # characters
_SHOWN: Final = 5
THRESHOLD: Final = 0.5
_AMBIGUOUS: Final = 0.4
"""Below this share for the best mode, a decider is asked as well."""


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
    told: tuple[float, ...]
    """What `PERSONAL` weighs; empty where the assistant answers for nobody in particular."""
    why: str


class Classifier:
    """Immutable once built; may be asked from any thread."""

    def __init__(
        self,
        embedder: Embedder,
        modes: Mapping[str, Mode],
        *,
        threshold: float | None = None,
        folder: Path | None = None,
        subject: str | None = None,
    ) -> None:
        """Blocks for the vectors of the examples: milliseconds when `folder` has them, else some milliseconds each.

        `subject` is the name of the person that the assistant answers for, if it does for one.
        """
        import numpy as np

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
        self._person = None if subject is None else Person(subject)
        reading = None if self._person is None else Reading(f"{READING} {subject}", self._meant)
        said, told = ([text for _, text in each] for each in (messages, topics))
        self._space = Space(embedder, said, told, SENTENCES, folder, reading=reading)
        owners = np.array([self.modes.index(name) for name, _ in self._taught])
        self._of = [np.flatnonzero(owners == number) for number in range(len(self.modes))]
        self._proof = np.where(np.arange(len(owners)) < len(messages), 1, _PROOF_OF_TOPICS).astype(np.float32)

    def judge(self, message: str, history: Sequence[Said] = ()) -> Verdict:
        """The mode of `message`; what was said before counts as far as the message relies on it."""
        import numpy as np

        weight = reliance(message, history)
        corrected = self._speller.corrected(message)
        examples, unrelated = self._similarities(corrected, message, history)
        by_mode = self._by_mode(examples[0])
        best = int(np.argmax(by_mode))
        proof = self._by_mode(self._proof * examples)
        distance = float(proof[best, 0] - near(unrelated[0])) + _GOES_ON * weight
        if 0 < weight < 1:
            distance -= _LEAVES * max(0.0, float(near(unrelated[1]) - proof[:, 1].max()))
        shares = _softmax(self._calibration.sharpness * by_mode)
        told = self._told(distance, corrected, is_later=bool(history))
        inside = _logistic(self._logit(distance, told))
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
            told=told,
            why=_why(inside, self.threshold, self.modes[best], share, weight),
        )

    def nearest(self, message: str, history: Sequence[Said] = (), count: int = _SHOWN) -> list[Neighbour]:
        """The examples and the unrelated messages that `message` is most similar to, as `judge` compares them."""
        examples, unrelated = (each[0] for each in self._similarities(self._speller.corrected(message), message, history))
        told = [(text, name) for name, text in self._taught] + [(SENTENCES[number], None) for number in self._space.kept]
        similar = [*map(float, examples), *map(float, unrelated)]
        found = [Neighbour(text, mode, round(one, 3)) for (text, mode), one in zip(told, similar, strict=True)]
        return sorted(found, key=lambda one: -one.similarity)[:count]

    def read_as(self, message: str) -> str:
        """`message` as it is compared, with slips corrected."""
        return self._as_you(self._speller.corrected(message))

    def _as_you(self, text: str) -> str:
        """`text`, whose words stand apart, as it is compared."""
        return text if self._person is None else self._person.as_you(text)

    def _meant(self, text: str) -> str:
        """What teaches, in the same words as messages."""
        return text if self._person is None else self._person.as_you(" ".join(words(text)))

    def _told(self, distance: float, corrected: str, *, is_later: bool) -> tuple[float, ...]:
        """What tells whether a message is in scope, in the order of `Personal`."""
        if self._person is None:
            return ()
        signs = self._person.signs(corrected)
        return (1.0, distance, *map(float, (signs.person, signs.you, signs.visitor, signs.company, is_later)))

    def _logit(self, distance: float, told: tuple[float, ...]) -> float:
        """Of being in scope."""
        if not told:
            return self._calibration.slope * (distance - self._calibration.middle)
        weights = structs.astuple(PERSONAL[self._embedder.kind])
        return math.fsum(weight * value for weight, value in zip(weights, told, strict=True))

    def _by_mode(self, similarities: NDArray[np.float32]) -> NDArray[np.float32]:
        """How near the nearest examples of each mode are: [modes, …] for […, examples]."""
        import numpy as np

        return np.stack([near(similarities[..., own]) for own in self._of])

    def _similarities(
        self, corrected: str, message: str, history: Sequence[Said]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """To each example, and to each unrelated message: of `message` as meant after `history`, then (if that matters) alone."""
        import numpy as np

        weight, part = reliance(message, history), asked(message)
        texts = [self._as_you(corrected)]
        if part is not None:
            texts.append(self.read_as(part))
        if weight:
            texts.append(f"{self.read_as(before(history) or '')} {self._meant(_answer(history))} {texts[0]}")
        vectors = self._embedder.embed(texts)
        meant = (1 - weight) * vectors[0] + weight * vectors[-1] if weight else vectors[0]
        placed = self._space.place(np.stack([meant, vectors[0]] if weight else [meant]))
        if part is not None:
            placed[0] = unit((1 - _ASKED) * placed[0] + _ASKED * self._space.place(vectors[1:2])[0])
        return placed @ self._space.taught.T, placed @ self._space.unrelated.T


def phrases(about: str | None) -> list[str]:
    """The parts of a description between commas, colons and full stops."""
    parts = [" ".join(part.split()) for part in re.split(r"[:,;.]\s", f"{about or ''} ")]
    return [part for part in parts if len(part) >= _SHORTEST_PHRASE]


def _names(modes: Mapping[str, Mode]) -> list[str]:
    return [text for name, mode in modes.items() for text in (name, mode.about or "", *mode.keywords)]


def _answer(history: Sequence[Said]) -> str:
    """The beginning of what the assistant answered last."""
    return history[-1].text[:_MOST_ANSWER] if history and history[-1].role == "assistant" else ""


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
