"""What was said so far, out of a request, and as much of it as the model can read. No HTTP, and no system text of a client's.

Only what user and assistant said is taken: an instruction that comes with a request stays what it is, somebody's words.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from msgspec import Struct

from relight.errors import BodyTooLarge, InvalidRequest
from relight.values import format_bytes

_ROLES: Final = ("user", "assistant")
_LATEST: Final = 6  # messages
_GLANCE: Final = 600  # characters
_NOT_TAKEN: Final = ("system", "developer", "tool", "function")


class Said(Struct, frozen=True):
    """One message: `role` is user or assistant."""

    role: str
    text: str


class Conversation(Struct, frozen=True):
    """A user's message, and what was said before; user and assistant take turns in it, the user begins."""

    message: str
    history: tuple[Said, ...] = ()
    dropped: int = 0
    """Messages that were left out: too many, or nothing that a user or the assistant said."""


def conversation(messages: object, *, max_message: int, max_history: int) -> Conversation:
    """The conversation in the `messages` of a chat request. `max_message` in bytes, of one message of a user.

    Raises `InvalidRequest` for what is none, and `BodyTooLarge` for a message that is too long.
    """
    if not isinstance(messages, list) or not messages:
        raise InvalidRequest("messages: should be a list of at least one message")
    said = [found for number, one in enumerate(messages) if (found := _said(one, f"messages[{number}]")) is not None]
    if not said or said[-1].role != "user":
        raise InvalidRequest("messages: the last one should be the user's", hint="the assistant answers what a user says")
    *before, last = said
    for one in said:
        if one.role == "user":
            _check_size(one, max_message)
    kept = _in_turns(_newest(before, max_history, max_message * (max_history + 1)))
    return Conversation(last.text, tuple(kept), len(messages) - 1 - len(kept))


def recent(history: Sequence[Said]) -> tuple[Said, ...]:
    """As much of a history as tells what a message follows on: who looks at each word of it has an end."""
    return tuple(Said(said.role, said.text[:_GLANCE]) for said in history[-_LATEST:])


Count = Callable[[Sequence[Said]], Awaitable[int]]
"""Tokens of the whole prompt with this history."""


async def fit(history: Sequence[Said], room: int, count: Count) -> int:
    """How many of the oldest messages to leave out, by whole turns, so that the prompt has at most `room` tokens.

    Asks `count` about log2 of the number of turns times. When not even the message alone fits, everything is left out: who
    reads the prompt says that it is too long.
    """
    starts = [number for number, said in enumerate(history) if said.role == "user"] + [len(history)]
    low, high = 0, len(starts) - 1
    while low < high:
        middle = (low + high) // 2
        if await count(history[starts[middle] :]) <= room:
            high = middle
        else:
            low = middle + 1
    return starts[low]


def _said(one: Any, where: str) -> Said | None:
    if not isinstance(one, dict):
        raise InvalidRequest(f"{where}: should be an object with role and content")
    role = one.get("role")
    if role in _NOT_TAKEN:
        return None
    if role not in _ROLES:
        raise InvalidRequest(f"{where}.role: should be user or assistant")
    return Said(role, _text(one.get("content"), where))


def _text(content: Any, where: str) -> str:
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if not isinstance(content, list):
        raise InvalidRequest(f"{where}.content: should be text")
    parts = []
    for part in content:
        text = part.get("text") if isinstance(part, dict) else None
        if not isinstance(text, str):
            raise InvalidRequest(f"{where}.content: the assistant reads text only", hint="send the words alone")
        parts.append(text)
    return "\n".join(parts)


def _check_size(said: Said, limit: int) -> None:
    size = len(said.text.encode(errors="replace"))
    if size > limit:
        raise BodyTooLarge(
            f"message: has {format_bytes(size)}, and the assistant reads {format_bytes(limit)} at most",
            hint="send less, or raise assistant.max_message",
        )
    if not said.text.strip():
        raise InvalidRequest("message: is empty")


def _newest(said: Sequence[Said], most: int, most_bytes: int) -> list[Said]:
    """The newest messages that are no more than `most`, and no larger together than `most_bytes`."""
    kept: list[Said] = []
    for one in reversed(said):
        most_bytes -= len(one.text.encode(errors="replace"))
        if len(kept) >= most or most_bytes < 0:
            break
        kept.append(one)
    return kept[::-1]


def _in_turns(said: Sequence[Said]) -> list[Said]:
    """Who says several things in a row says one, and the user begins: many templates insist on it."""
    turns: list[Said] = []
    for one in said:
        if turns and turns[-1].role == one.role:
            turns[-1] = Said(one.role, f"{turns[-1].text}\n\n{one.text}")
        elif turns or one.role == "user":
            turns.append(one)
    if turns and turns[-1].role == "user":
        turns.pop()  # it was never answered, and the message follows
    return turns
