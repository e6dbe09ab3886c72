"""Whether what a request holds beside its words reaches the model: by the tokens of its prompt, with it and without.

A template that leaves the tools out, and a server that drops a picture, answer as if nothing were wrong.
"""

from __future__ import annotations

import struct
import zlib
from base64 import b64encode
from dataclasses import dataclass, replace
from typing import Final

from relight.check.question import Question
from relight.check.tools import ASK, TOOLS
from relight.check.unit import FEW, Check, Heard, Place
from relight.check.verdict import Outcome, failed, passed, unsure

# Two functions cannot be described in fewer tokens, nor a picture.
_LEAST: Final = 6
_COLOUR: Final = "Which colour has this picture?"
_SIDE: Final = 64
"""Pixels; models that cut pictures into squares want some."""


@dataclass(frozen=True, slots=True)
class _Pair:
    """The same question without something, and with it."""

    bare: Heard
    full: Heard

    @property
    def counts(self) -> tuple[int, int] | None:
        """Tokens of the two prompts; `None` where they tell nothing: uncounted, or counted without what is remembered."""
        bare, full = self.bare.answer.prompt_tokens, self.full.answer.prompt_tokens
        return None if bare is None or full is None or full < bare else (bare, full)


async def _pair(place: Place, bare: Question, full: Question) -> _Pair:
    """Ask for both, without first: a server that counts only what it does not remember would count the second as nothing."""
    return _Pair(await place.ask(bare), await place.ask(full))


async def _tools(place: Place) -> Outcome:
    bare = place.question(ASK, stream=place.must_stream, max_tokens=FEW)
    pair = await _pair(place, bare, replace(bare, tools=TOOLS, choice="auto" if place.tongue.has_choice else None))
    if problem := pair.full.problem or pair.bare.problem:
        return unsure(f"nothing to compare: {problem}")
    if pair.counts is None:
        return unsure("the tokens of the prompt are not told, so nobody can see whether tools are among them")
    without, with_them = pair.counts
    if with_them - without < _LEAST:
        return failed(f"the model never sees the tools: {_with_and_without(without, with_them)}")
    return passed(f"{with_them} tokens with tools, {without} without")


async def _picture(place: Place) -> Outcome:
    bare = place.question(_COLOUR, stream=place.must_stream, max_tokens=FEW)
    pair = await _pair(place, bare, replace(bare, turns=(replace(bare.turns[0], picture=_png()),)))
    heard, sees = pair.full, _says_vision(place)
    if heard.refusal is not None:
        if (heard.reply.status or 0) >= 500:
            return failed(f"{heard.problem}: clients ask again and again", "answer 400, and say that the model reads text alone")
        return failed(f"the list says that it sees, but {heard.problem}") if sees else passed(f"refused: {heard.problem}")
    if heard.problem:
        return failed(heard.problem)
    if pair.counts is None:
        return unsure("it is taken, but nobody can see whether it is among the tokens of the prompt")
    without, with_it = pair.counts
    if with_it - without < _LEAST:
        return failed(f"it is taken without a word, and the model never sees it: {_with_and_without(without, with_it)}")
    return passed(f"understood: {with_it} tokens with it, {without} without")


def _with_and_without(without: int, with_it: int) -> str:
    same = f"{without} tokens with and without"
    return same if with_it == without else f"{with_it} tokens with, {without} without"


def _says_vision(place: Place) -> bool:
    able = place.session.facts.get("capabilities")
    return isinstance(able, list) and "vision" in able


def _png() -> str:
    """A red square as a PNG file, in base64 (the format: RFC 2083)."""
    head = struct.pack(">IIBBBBB", _SIDE, _SIDE, 8, 2, 0, 0, 0)
    rows = (b"\x00" + b"\xc8\x10\x10" * _SIDE) * _SIDE
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    chunks = (struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts)
    return b64encode(b"\x89PNG\r\n\x1a\n" + b"".join(chunks)).decode()


CHECKS: Final = (
    Check(
        "tools.shown", "the model is shown the tools", _tools, "agents work by calling tools: a model that sees none calls none",
        "take a model whose chat template knows tools, or give it such a template (llama.cpp: --jinja --chat-template-file FILE)",
    ),
    Check(
        "image", "a picture is understood or refused", _picture,
        "an agent that shows a screenshot is answered as if the model had seen it",
        "refuse with 400 what the model cannot read, and say so",
    ),
)  # fmt: skip
