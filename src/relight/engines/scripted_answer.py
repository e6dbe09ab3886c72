"""The answer that a script makes of a prompt, token by token. Pure: no I/O, no clock, no dialect's event shapes.

A token is a whitespace-separated word; in a tool call's arguments it is a run of letters or of other characters.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final

from relight.engines.script import Script, ToolCall
from relight.engines.scripted_prompt import Prompt
from relight.errors import ContextOverflow


class Kind(Enum):
    """What a part of an answer is."""

    REASONING = auto()
    TEXT = auto()
    CALL = auto()


@dataclass(frozen=True, slots=True)
class Section:
    """One part of an answer; each piece is one token. `name` is the called tool's."""

    kind: Kind
    pieces: tuple[str, ...]
    name: str = ""

    @property
    def text(self) -> str:
        """The whole part."""
        return "".join(self.pieces)


@dataclass(frozen=True, slots=True)
class Stamp:
    """What makes an answer this one: 32 hexadecimal digits, epoch seconds, the engine's model name."""

    id: str
    created: int
    model: str


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, ready to be put into a dialect. `finish` is in OpenAI's words."""

    stamp: Stamp
    sections: tuple[Section, ...]
    finish: str
    stop_word: str | None
    prompt_tokens: int
    cached_tokens: int
    prompt_ms: float
    token_ms: float
    include_usage: bool

    @property
    def tokens(self) -> int:
        """Generated tokens."""
        return sum(len(section.pieces) for section in self.sections)

    def pieces(self) -> Iterator[tuple[int, Section, int, str]]:
        """Each token with its section's index, the section and its own place in it."""
        for index, section in enumerate(self.sections):
            for place, piece in enumerate(section.pieces):
                yield index, section, place, piece

    def of(self, kind: Kind) -> list[Section]:
        """The sections of that kind."""
        return [section for section in self.sections if section.kind is kind]

    def timings(self) -> dict[str, float]:
        """llama.cpp's `timings`, computed from the script rather than measured, so that they are the same each time."""
        prompt_n = self.prompt_tokens - self.cached_tokens
        predicted_ms = max(self.token_ms * self.tokens, 0.001)
        return {
            "cache_n": self.cached_tokens,
            "prompt_n": prompt_n,
            "prompt_ms": self.prompt_ms,
            "prompt_per_token_ms": self.prompt_ms / max(prompt_n, 1),
            "prompt_per_second": 1000 * prompt_n / self.prompt_ms,
            "predicted_n": self.tokens,
            "predicted_ms": predicted_ms,
            "predicted_per_token_ms": predicted_ms / max(self.tokens, 1),
            "predicted_per_second": 1000 * self.tokens / predicted_ms,
        }


def compose(prompt: Prompt, script: Script, stamp: Stamp, context: int) -> Answer:
    """Make the answer to `prompt`, whose `user` no longer holds the script; that is the one of this turn.

    Raises `ContextOverflow`, in llama.cpp's words, when not one token could be added.
    """
    if prompt.tokens >= context:
        message = f"request ({prompt.tokens} tokens) exceeds the available context size ({context} tokens), try increasing it"
        raise ContextOverflow(message, prompt_tokens=prompt.tokens, context_tokens=context)
    sections, stop_word = _stopped(list(_sections(prompt, script)), prompt.stops)
    limit = context - prompt.tokens
    if prompt.max_tokens is not None:
        limit = min(limit, max(prompt.max_tokens, 1))  # llama.cpp gives one token even where none is wanted
    kept = tuple(_limited(sections, limit))
    is_cut = sum(len(section.pieces) for section in kept) < sum(len(section.pieces) for section in sections)
    natural = "tool_calls" if any(section.kind is Kind.CALL for section in kept) else "stop"
    return Answer(
        stamp=stamp,
        sections=kept,
        finish=script.finish or ("length" if is_cut else natural),
        stop_word=None if is_cut else stop_word,
        prompt_tokens=prompt.tokens,
        cached_tokens=min(script.cached, prompt.tokens),
        prompt_ms=max(1000 * (script.first + script.prefill), 0.001),
        token_ms=1000 * script.delay,
        include_usage=prompt.include_usage,
    )


# --- the answer ---------------------------------------------------------------------------------------------------

_PIECE: Final = re.compile(r"\s*\S+(?:\s+\Z)?|\s+")
_ARGUMENT: Final = re.compile(r"\w+|\W+")
_UNICODE_TEXT: Final = "Grüße, 世界! Ελλάδα naïve café привет 🔥 नमस्ते 👩‍🚀 שלום"


def _sections(prompt: Prompt, script: Script) -> Iterator[Section]:
    if script.empty:
        return
    if script.reasoning:
        yield Section(Kind.REASONING, _words(script.reasoning))
    if not script.tools or script.text is not None or script.tokens is not None:
        pieces = _words(_reply(prompt, script))
        yield Section(Kind.TEXT, pieces if script.tokens is None else _repeated(pieces, script.tokens))
    yield from map(_call, script.tools)


def _reply(prompt: Prompt, script: Script) -> str:
    if script.text is not None:
        return script.text.replace("{result}", prompt.results[-1]) if prompt.results else script.text
    if script.unicode:
        return _UNICODE_TEXT
    if prompt.tool_result is not None:
        return f"The tool answered: {prompt.tool_result}"
    return f"You said: {prompt.user}" if prompt.user else "This is the scripted engine: it repeats what you say."


def _call(call: ToolCall) -> Section:
    return Section(Kind.CALL, tuple(_ARGUMENT.findall(call.arguments)) or ("",), call.name)


def _words(text: str) -> tuple[str, ...]:
    return tuple(_PIECE.findall(text))


def _repeated(pieces: tuple[str, ...], count: int) -> tuple[str, ...]:
    again = itertools.cycle(f" {piece.strip()}" for piece in pieces or ("word",))
    return (pieces + tuple(itertools.islice(again, max(count - len(pieces), 0))))[:count]


def _stopped(sections: list[Section], stops: tuple[str, ...]) -> tuple[list[Section], str | None]:
    """Cut the answer before the first stop sequence in its text; what follows is never generated."""
    for index, section in enumerate(sections):
        found = [(section.text.index(stop), stop) for stop in stops if stop and stop in section.text]
        if section.kind is Kind.TEXT and found:
            at, stop = min(found)
            return [*sections[:index], replace(section, pieces=_words(section.text[:at]))], stop
    return sections, None


def _limited(sections: list[Section], limit: int) -> Iterator[Section]:
    for section in sections:
        pieces = section.pieces[: max(limit, 0)]
        limit -= len(pieces)
        if pieces:
            yield replace(section, pieces=pieces)
