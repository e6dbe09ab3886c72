"""Calls written as JSON, one or several; and where a JSON text ends. Knows no tags and no tools; no I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from relight.wire.tool_repair import read
from relight.wire.translation import Json

NAMES: Final = ("name", "function", "tool", "tool_name", "function_name")
ARGUMENTS: Final = ("arguments", "parameters", "args", "params", "input", "tool_input")
WRAPPERS: Final = ("function", "function_call", "tool_call", "tool_calls", "function_calls")
_DEEPEST: Final = 4  # lists and wrappers around a call
_BESIDE: Final = frozenset({"id", "type", "index", "call_id", "tool_call_id"})


@dataclass(frozen=True, slots=True)
class Written:
    """A call as it was written."""

    name: str
    arguments: object
    """An object, or text that may be one."""
    is_flat: bool = False
    """The arguments stood beside the name, without a wrapper."""


class NoCall(ValueError):
    """The text is no call."""


def json_calls(text: str) -> list[Written]:
    """One call as a JSON object, or several in a list; also one object after the other. Raises `NoCall`."""
    try:
        found = _calls(read(text))
    except NoCall:
        raise
    except ValueError:
        found = [call for part in _objects(text) for call in _calls(_loaded(part))]
    if not found:
        raise NoCall
    return found


def _loaded(text: str) -> Any:
    try:
        return read(text)
    except ValueError as error:
        raise NoCall from error


def _objects(text: str) -> list[str]:
    """The objects of a row of them: `{…} {…}`, `{…}\\n{…}`, `{…}; {…}`."""
    parts, at = [], 0
    while at < len(text):
        end = json_end(text, at)
        if end is None:
            raise NoCall
        parts.append(text[at:end])
        rest = _BETWEEN.match(text, end)
        at = rest.end() if rest else end
        if at < len(text) and text[at] not in "{[":
            raise NoCall
    if len(parts) < 2:
        raise NoCall
    return parts


_BETWEEN: Final = re.compile(r"[\s,;]*")


def json_end(text: str, at: int) -> int | None:
    """Where the JSON object or list that begins at `at` ends; `None` when it does not."""
    tracker = Brackets()
    return tracker.feed(text, at)


class Brackets:
    """Follows JSON text piece by piece and finds the bracket that ends it."""

    __slots__ = ("depth", "in_text", "is_escaped")

    _PIECE = re.compile(r'["\\{}\[\]]')

    def __init__(self) -> None:
        self.depth = 0
        self.in_text = self.is_escaped = False

    def feed(self, text: str, at: int = 0) -> int | None:
        """Go on with `text` from `at`; returns where the value ends in it, if it does."""
        if self.is_escaped and at < len(text):
            self.is_escaped, at = False, at + 1
        while (piece := self._PIECE.search(text, at)) is not None:
            at = piece.end()
            if piece[0] == "\\":
                if self.in_text:
                    self.is_escaped = at >= len(text)
                    at += 1
            elif piece[0] == '"':
                self.in_text = not self.in_text
            elif not self.in_text:
                self.depth += 1 if piece[0] in "{[" else -1
                if self.depth <= 0:
                    return at
        return None


def _calls(value: Any, depth: int = 0) -> list[Written]:
    if isinstance(value, list) and depth < _DEEPEST:
        return [call for one in value for call in _calls(one, depth + 1)]
    if not isinstance(value, dict) or depth > _DEEPEST:
        raise NoCall
    for wrapper in WRAPPERS:
        if isinstance(value.get(wrapper), dict | list) and set(value) - {wrapper} <= _BESIDE:
            return _calls(value[wrapper], depth + 1)
    return [_call(value)]


def _call(value: Json) -> Written:
    key = next((key for key in NAMES if isinstance(value.get(key), str)), None)
    if key is None:
        raise NoCall
    name, given = value[key], next((one for one in ARGUMENTS if one in value), None)
    beside = {one: said for one, said in value.items() if one not in _BESIDE and one not in (key, given)}
    if given is None:
        return Written(name, beside, is_flat=True)
    # A tool that is described, not called.
    if beside or _is_schema(value[given]):
        raise NoCall
    return Written(name, {} if value[given] is None else value[given])


def _is_schema(value: object) -> bool:
    return isinstance(value, dict) and value.get("type") == "object" and isinstance(value.get("properties"), dict)
