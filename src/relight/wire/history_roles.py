"""A conversation told so that the strictest template takes it; must not know whose template it is. No I/O.

Some templates refuse all but a system message and then user and assistant in turn, and know neither calls nor results. llama.cpp
says so with the template's own words. Then everything is told in that order: results by the user, calls in the words of the
answer that they belonged to, system messages further down by the user.
"""

from __future__ import annotations

import re
from itertools import groupby
from typing import Any, Final

from relight.wire.dialect import objects, words
from relight.wire.history import joined
from relight.wire.translation import Json

_REFUSED: Final = re.compile(r"jinja exception|parser for this template|while executing \w+ at line", re.IGNORECASE)
_SYSTEM: Final = ("system", "developer")
_GOES_ON: Final = "(The conversation goes on.)"


def is_refusal(message: str) -> bool:
    """Whether an engine's error says that the template refuses the messages."""
    return _REFUSED.search(message) is not None


def alternating(messages: list[Any], *, has_system: bool) -> list[Json]:
    """The same, as a system message, if the template takes one (`has_system`), and then user and assistant in turn."""
    told = objects(messages)
    leading = next((at for at, message in enumerate(told) if message.get("role") not in _SYSTEM), len(told))
    system = joined(*(message.get("content") for message in told[:leading]))
    said = groupby((message for message in map(_told, told[leading:]) if _says(message)), key=lambda message: message["role"])
    turns: list[Json] = [
        {"role": role, "content": row[0] if len(row) == 1 else joined(*row)}
        for role, row in ((role, [message["content"] for message in group]) for role, group in said)
    ]
    if not turns or turns[0]["role"] == "assistant":
        turns.insert(0, {"role": "user", "content": _GOES_ON})
    if not system:
        return turns
    if has_system:
        return [{"role": "system", "content": system}, *turns]
    return [{"role": "user", "content": joined(system, turns[0]["content"])}, *turns[1:]]


def _told(message: Json) -> Json:
    role, content = message.get("role"), message.get("content")
    if role == "tool":
        return {"role": "user", "content": joined("Result:", content)}
    if role != "assistant":
        return {"role": "user", "content": content if content is not None else ""}
    if calls := objects(message.get("tool_calls")):
        content = joined(content, *(_as_text(call.get("function")) for call in calls))
    return {"role": "assistant", "content": content if content is not None else ""}


def _as_text(function: object) -> str:
    if not isinstance(function, dict):
        return ""
    name, arguments = words(function.get("name")), function.get("arguments")
    said = arguments if isinstance(arguments, str) else "{}"
    return f'<tool_call>\n{{"name": "{name}", "arguments": {said}}}\n</tool_call>'


def _says(message: Json) -> bool:
    content = message["content"]
    return bool(content.strip()) if isinstance(content, str) else bool(content)
