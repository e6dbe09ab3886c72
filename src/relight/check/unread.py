"""Calls that a model wrote as text and its server passed on as such: which of them a server should have known. No I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from relight.check.question import Tool, misfit

# The marks that models' templates put around calls, and a fence around JSON.
_MARKS: Final = re.compile(r"<tool_call>|<function=|<\|python_tag\|>|\[TOOL_CALLS\]")
_FENCE: Final = "```"
_LANGUAGE: Final = re.compile(r"\A\w+")
_MOST: Final = 1 << 16  # characters: no call of a check's is longer
_DECODER: Final = json.JSONDecoder()


def unread_call(text: str, tools: Mapping[str, Tool]) -> str | None:
    """The call that stands in `text` as it should, marked as one or alone, so that no server may leave it; else `None`.

    What only looks like one (a tool that is told back, arguments that do not fit, an example among words) is the model's affair.
    """
    text = text[:_MOST]
    if mark := _MARKS.search(text):
        marked = text[mark.start() :]
        return next(
            (told for value, told in _objects(marked) if _is_call(value, tools) or _fits_named(value, marked, tools)), None
        )
    alone = _unfenced(text.strip())
    return next((told for value, told in _objects(alone) if told == alone and _is_call(value, tools)), None)


def resembles_call(text: str, tools: Mapping[str, Tool]) -> bool:
    """Whether the model at least tried."""
    return bool(_MARKS.search(text)) or any(f'"{name}"' in text for name in tools)


def _unfenced(text: str) -> str:
    """What stands in a fence, if that is all."""
    if len(text) < 2 * len(_FENCE) or not (text.startswith(_FENCE) and text.endswith(_FENCE)):
        return text
    return _LANGUAGE.sub("", text[len(_FENCE) : -len(_FENCE)]).strip()


def _objects(text: str) -> Iterator[tuple[dict[str, Any], str]]:
    """The JSON objects in a text, each with how it is written; what stands within another is not looked for."""
    at = text.find("{")
    while at >= 0:
        try:
            value, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            end = at + 1
        else:
            if isinstance(value, dict):
                yield value, text[at:end]
        at = text.find("{", end)


def _is_call(value: dict[str, Any], tools: Mapping[str, Tool]) -> bool:
    """An object with a name and arguments."""
    name = value.get("name")
    arguments = value.get("arguments", value.get("parameters"))
    return isinstance(name, str) and name in tools and _fits(arguments, tools[name])


def _fits_named(value: dict[str, Any], text: str, tools: Mapping[str, Tool]) -> bool:
    """Arguments behind a name, as in `<function=weather>{…}`."""
    return any(name in text and _fits(value, tool) for name, tool in tools.items())


def _fits(arguments: object, tool: Tool) -> bool:
    return isinstance(arguments, dict) and misfit(json.dumps(arguments), tool.schema) is None
