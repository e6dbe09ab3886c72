"""Messages of which somebody said what mode they ask for, or whether the mode they got was right. Knows files, no detector."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from relight.assistant.conversation import Said
from relight.decoding import NOT_JSON
from relight.errors import UsageError

if TYPE_CHECKING:
    from relight.assistant.modes import Detection

_BY_GUESS: Final = ("classifier", "default")
"""Whose choices a threshold changes."""


class Labelled(Struct, frozen=True):
    """A message, and what is known of its mode.

    `mode` None: it belongs to none (out of scope). `also`: other modes that are right as well. `wrong`: it is only known that
    this mode was not right, as a thumb down tells; then `mode` means nothing.
    """

    text: str
    mode: str | None
    also: tuple[str, ...] = ()
    history: tuple[Said, ...] = ()
    kind: str = "plain"
    wrong: str | None = None

    @property
    def in_scope(self) -> bool:
        """Whether it belongs to a mode, as far as is known."""
        return self.mode is not None

    def accepts(self, mode: str | None) -> bool:
        """Whether `mode` (None: none) is a right answer."""
        if self.wrong is not None:
            return mode != self.wrong
        return mode == self.mode or mode in self.also


class _Turn(Struct):
    role: str
    content: str


class _Line(Struct):
    text: str
    mode: str | None
    also: tuple[str, ...] = ()
    history: tuple[_Turn, ...] = ()
    kind: str = "plain"


def read(lines: Iterable[bytes], name: str, modes: Iterable[str]) -> list[Labelled]:
    """The messages in lines of JSON. Raises `UsageError` that names the line: no JSON, or a mode that there is not."""
    known = frozenset(modes)
    found = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            told = msgspec.json.decode(line, type=_Line)
        except NOT_JSON as error:
            raise UsageError(
                f"{name}:{number}: {error}", hint='a line is {"text": "…", "mode": "NAME" or null, "history"?: […], "also"?: […]}'
            ) from None
        for mode in (told.mode, *told.also):
            if mode is not None and mode not in known:
                raise UsageError(f'{name}:{number}: there is no mode "{mode}"', hint=f"there are: {', '.join(sorted(known))}")
        history = tuple(Said(turn.role, turn.content) for turn in told.history)
        found.append(Labelled(told.text, told.mode, told.also, history, told.kind))
    if not found:
        raise UsageError(f"{name}: has no messages", hint='a line is {"text": "…", "mode": "NAME" or null}')
    return found


def rated(lines: Iterable[bytes]) -> list[Labelled]:
    """Messages out of a service's log whose answers were rated: up says that the mode was right, down that it was not.

    Takes only those whose mode the classifier chose, or nobody (by rules and names no threshold changes anything), and whose text
    is in the log (`log.content`). Lines that are no records of ours are passed over.
    """
    spoken: dict[str, dict[str, Any]] = {}
    ratings: dict[str, str] = {}
    for line in lines:
        try:
            told = msgspec.json.decode(line)
        except NOT_JSON:
            continue
        if isinstance(told, dict):
            _note(told, spoken, ratings)
    return [case for id_, rating in ratings.items() if id_ in spoken for case in _case(spoken[id_], rating)]


def _note(told: dict[str, Any], spoken: dict[str, dict[str, Any]], ratings: dict[str, str]) -> None:
    interaction, feedback = told.get("interaction"), told.get("feedback")
    if isinstance(interaction, dict) and interaction.get("mode_by") in _BY_GUESS:
        spoken[str(interaction.get("id"))] = interaction
    if isinstance(feedback, dict) and feedback.get("rating") in ("up", "down"):
        # Who changes their mind means the last word.
        ratings[str(feedback.get("interaction"))] = feedback["rating"]


def _case(interaction: dict[str, Any], rating: str) -> Iterator[Labelled]:
    said = _said(interaction.get("content"))
    if not said or said[-1].role != "user":
        return
    mode = interaction.get("mode") or None
    chosen = mode if interaction["mode_by"] == "classifier" else None
    history = tuple(said[:-1])
    if rating == "up":
        yield Labelled(said[-1].text, chosen, history=history, kind="rated")
    elif chosen is not None:
        yield Labelled(said[-1].text, None, history=history, kind="rated", wrong=chosen)


def _said(content: Any) -> list[Said]:
    """The conversation in a record's content: the body of a request to `/chat` or `/v1/chat/completions`, or its fields."""
    if isinstance(content, dict) and isinstance(content.get("request"), dict):
        content = content["request"]
    if not isinstance(content, dict):
        return []
    turns = content.get("messages") or content.get("history") or []
    said = [
        Said(turn["role"], turn["content"])
        for turn in turns
        if isinstance(turn, dict) and turn.get("role") in ("user", "assistant") and isinstance(turn.get("content"), str)
    ]
    message = content.get("message")
    return [*said, Said("user", message)] if isinstance(message, str) else said


def found_mode(found: Detection) -> str | None:
    """The mode that a detection claims; the default's is no claim."""
    return None if found.by == "default" else found.mode
