"""Where the shared part of a prompt ends, found on tokens; and that part of a request, without a user's words. No I/O."""

from __future__ import annotations

from typing import Any, Final

from relight.prefixes.key import leading

# They differ in their first character and in their first token, whatever the vocabulary.
_ANYBODY: Final = ("Why?", "8 x")


def shared_part(chat: dict[str, Any]) -> dict[str, Any]:
    """The request without what a user said, and without what was answered."""
    messages = chat.get("messages") or []
    return {**chat, "messages": messages[: leading(messages)]}


def variants(chat: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two requests that differ in the words of the user alone."""
    shared = shared_part(chat)
    first, second = ({**shared, "messages": [*shared["messages"], {"role": "user", "content": said}]} for said in _ANYBODY)
    return first, second


def common_prefix(one: list[int], two: list[int]) -> list[int]:
    """The tokens that both begin with."""
    for place, (left, right) in enumerate(zip(one, two, strict=False)):
        if left != right:
            return one[:place]
    return one[: min(len(one), len(two))]
