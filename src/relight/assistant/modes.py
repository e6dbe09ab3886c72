"""Which mode a message asks for: a cascade that stops at the first sure answer, and says who was sure. No I/O.

By name → rules → the classifier → the default. Where a decider is configured, whoever calls asks it between the last two
(`deciding`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct, field

from relight.assistant.question import asked
from relight.assistant.rules import Hit, Rules, decided
from relight.errors import InvalidRequest

if TYPE_CHECKING:
    from relight.assistant.classifier import Classifier, Verdict
    from relight.assistant.conversation import Said
    from relight.config.assistant import Mode


class Detection(Struct, frozen=True):
    """A mode, and why.

    `mode` is None when nothing fits and there is no default; `by` is explicit, rules, classifier, decider, hook or default.
    `confidence` is the probability that this mode is right, None where nobody guessed. `scores` are the classifier's, for every
    mode with examples; `why` is a sentence without the visitor's words.
    """

    mode: str | None
    confidence: float | None
    by: str
    scores: dict[str, float] = field(default_factory=dict)
    why: str = ""
    is_open: bool = False
    """Whether nothing was sure, or two modes are as likely, so that a decider may be asked."""


class Detector:
    """Finds the mode of a message. Immutable; may be called from any thread, blocks for milliseconds."""

    def __init__(self, modes: Mapping[str, Mode], classifier: Classifier | None, default: str | None) -> None:
        """`classifier` is None when no mode has examples. Raises `ConfigError` for a pattern that is none."""
        self.names = tuple(modes)
        self.rules = Rules(modes)
        self.classifier = classifier
        self.default = default

    def detect(self, message: str, history: Sequence[Said] = (), explicit: str | None = None) -> Detection:
        """The mode of `message`, given what was said before. Raises `InvalidRequest` when `explicit` names no mode."""
        if explicit is not None:
            return self._by_name(explicit)
        hits = self.hits(message)
        if (sure := decided(hits)) is not None:
            return Detection(sure, 1.0, "rules", why=f"the rule {hits[0].rule!r} of {sure}")
        conflict = _conflict(hits)
        if self.classifier is None:
            return self._nothing(None, conflict or "no rule holds, and no mode has examples")
        verdict = self.classifier.judge(message, history)
        if not verdict.is_sure:
            return self._mentioned(message) or self._nothing(verdict, conflict + verdict.why)
        return Detection(
            verdict.mode, verdict.confidence, "classifier", verdict.scores, conflict + verdict.why, is_open=verdict.is_ambiguous
        )

    def hits(self, message: str) -> list[Hit]:
        """The rules that hold for what is asked in `message`: "Tidemark is great, but how do I reach you?" is not about it."""
        return self.rules.hits(asked(message) or message)

    def _mentioned(self, message: str) -> Detection | None:
        """By a rule that holds somewhere in a message that nothing else can place."""
        hits = self.rules.hits(message)
        sure = decided(hits)
        if sure is None:
            return None
        return Detection(sure, 1.0, "rules", why=f"the rule {hits[0].rule!r} of {sure}, beside what is asked")

    def inside(self, found: Detection) -> float:
        """How sure it was that the message belongs to some mode: 1 by rule, 0 where nothing was known."""
        if found.by == "rules":
            return 1.0
        return sum(found.scores.values())

    def _by_name(self, name: str) -> Detection:
        if name not in self.names:
            raise InvalidRequest("mode: there is no such mode", hint=f"there are: {', '.join(self.names) or 'none'}")
        return Detection(name, None, "explicit", why="asked for by name")

    def _nothing(self, verdict: Verdict | None, why: str) -> Detection:
        if verdict is None:
            return Detection(self.default, None, "default", why=why, is_open=True)
        return Detection(self.default, 1 - verdict.inside, "default", verdict.scores, why, is_open=True)


def _conflict(hits: list[Hit]) -> str:
    modes = sorted({hit.mode for hit in hits})
    return f"rules of {' and '.join(modes)} hold at once; " if len(modes) > 1 else ""
