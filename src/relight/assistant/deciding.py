"""The question that a model is asked for a mode, and what its answer says. Pure: whoever calls sends it.

The model chooses one letter. Where the backend tells probabilities of the first token, those of the letters are compared; else
the letter that was written counts.
"""

from __future__ import annotations

import math
import re
import string
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from relight.assistant.fence import inert
from relight.assistant.modes import Detection

if TYPE_CHECKING:
    from relight.assistant.conversation import Said
    from relight.config.assistant import Mode

_EARLIER: Final = 4
_MOST_CHARACTERS: Final = 600
_EXAMPLES: Final = 2
_SURE: Final = 0.5
NONE: Final = "something else"


class Question(Struct, frozen=True):
    """A chat to send, and what its letters stand for (None: no mode). Ask for one token, temperature 0."""

    messages: list[dict[str, str]]
    letters: dict[str, str | None]

    @property
    def grammar(self) -> str:
        """GBNF that allows one of the letters and nothing else, for engines that take a grammar."""
        return "root ::= " + " | ".join(f'"{letter}"' for letter in self.letters)


def question(modes: Mapping[str, Mode], message: str, history: Sequence[Said] = ()) -> Question:
    """Ask which mode `message` asks for. Modes without `about` and examples are not offered; there may be 25."""
    told = [(name, text) for name, mode in modes.items() if mode.examples and (text := _told(name, mode))]
    options: list[tuple[str | None, str]] = [*told[: len(string.ascii_uppercase) - 1], (None, NONE)]
    letters = dict(zip(string.ascii_uppercase, (name for name, _ in options), strict=False))
    lines = [f"{letter}. {text}" for letter, (_, text) in zip(letters, options, strict=True)]
    system = "You sort messages of visitors by their topic. Answer with one letter and nothing else.\n\n" + "\n".join(lines)
    before = [f"{said.role}: {inert(said.text[:_MOST_CHARACTERS])}" for said in history[-_EARLIER:]]
    user = "\n".join(("Conversation so far:", *before, "", "Message:") if before else ("Message:",))
    text = f"{user}\n{inert(message[:_MOST_CHARACTERS])}\n\nLetter of its topic:"
    return Question([{"role": "system", "content": system}, {"role": "user", "content": text}], letters)


def read(asked: Question, text: str, first: Mapping[str, float] | None = None) -> tuple[str | None, float | None] | None:
    """The mode that an answer chooses, and how sure it is; None when it chooses nothing.

    `first` has the log-probabilities of candidates for the first token, where known (`log_probabilities`).
    """
    if first and (shares := _shares(asked, first)):
        letter = max(shares, key=lambda each: shares[each])
        return (asked.letters[letter], shares[letter]) if shares[letter] >= _SURE else None
    match = re.match(r"\W*([A-Z])\b", text)
    return (asked.letters[match[1]], None) if match and match[1] in asked.letters else None


def settled(open_: Detection, choice: tuple[str | None, float | None] | None) -> Detection:
    """What follows from `read`: the decider's mode, or what was found without it."""
    if choice is None or choice[0] is None:
        return open_
    return Detection(choice[0], choice[1], "decider", open_.scores, f"{open_.why}; the decider chose")


def log_probabilities(answer: Any) -> dict[str, float] | None:
    """Candidates for the first token out of a chat answer that was asked for with `logprobs` and `top_logprobs`."""
    try:
        top = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        return {str(one["token"]): float(one["logprob"]) for one in top}
    except (KeyError, IndexError, TypeError, ValueError):
        return None


def _told(name: str, mode: Mode) -> str:
    about = mode.about or name
    examples = "; ".join(mode.examples[:_EXAMPLES])
    return f"{about} For example: {examples}"


def _shares(asked: Question, first: Mapping[str, float]) -> dict[str, float]:
    """What of the probability falls to each letter, of that which falls to any."""
    found: dict[str, float] = {}
    for token, log in first.items():
        letter = token.strip()
        if letter in asked.letters and log <= 0:
            found[letter] = found.get(letter, 0.0) + math.exp(log)
    total = sum(found.values())
    return {letter: share / total for letter, share in found.items()} if total > 0 else {}
