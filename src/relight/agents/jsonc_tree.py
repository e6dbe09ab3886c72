"""JSON with comments and trailing commas, read with the place of everything in it: `//`, `/* */`, a comma behind the last.

Pure. What is read is what the settings of editors are written in; JSON5 with its other quotes is not.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Final

from relight.agents.unfit import DEEPEST, Unfit

_STRING: Final = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"')
_NUMBER: Final = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_WORD: Final = re.compile(r"[A-Za-z_$][\w$]*")
_GAP: Final = re.compile(r"(?:[ \t\r\n]+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_WORDS: Final = {"true": True, "false": False, "null": None}


@dataclass(slots=True)
class Item:
    """A member or an element: from its name, or its value, to the end of its value; and the comma behind it."""

    key: str | None
    start: int
    node: Node
    comma: int | None = None


@dataclass(slots=True)
class Node:
    """A value: where it stands, what it says, and what it holds."""

    start: int
    end: int
    value: Any
    items: list[Item] = field(default_factory=list)

    @property
    def is_container(self) -> bool:
        return isinstance(self.value, dict | list)

    def item(self, step: str | int) -> int | None:
        """The number of the member or element called `step`; of several of a name the last, as everybody reads it."""
        if isinstance(step, int):
            return step if step < len(self.items) else None
        return next((n for n in reversed(range(len(self.items))) if self.items[n].key == step), None)


def parse(text: str) -> Node | None:
    """The value of a text; None when it says nothing. Raises `Unfit`."""
    at = _gap(text, 0)
    if at == len(text):
        return None
    root = _value(text, at, 0)
    end = _gap(text, root.end)
    if end != len(text):
        raise Unfit.at(text, end, "should end here, has more")
    return root


def _gap(text: str, at: int) -> int:
    found = _GAP.match(text, at)
    end = found.end() if found else at
    if text.startswith("/*", end):
        raise Unfit.at(text, end, "a comment is not closed")
    return end


def _value(text: str, at: int, depth: int) -> Node:
    if depth > DEEPEST:
        raise Unfit.at(text, at, f"is more than {DEEPEST} levels deep")
    if text.startswith(("{", "["), at):
        return _collection(text, at, depth)
    if text.startswith('"', at):
        end = string_end(text, at)
        return Node(at, end, json.loads(text[at:end]))
    if number := _NUMBER.match(text, at):
        return Node(at, number.end(), _number(text, number))
    word = _WORD.match(text, at)
    if word and word[0] in _WORDS:
        return Node(at, word.end(), _WORDS[word[0]])
    raise Unfit.at(text, at, f"should be a value, got {_seen(text, at)}")


def _number(text: str, number: re.Match[str]) -> int | float:
    try:
        found: int | float = json.loads(number[0])
    except ValueError:  # Python refuses whole numbers of thousands of digits
        raise Unfit.at(text, number.start(), "is a number too long to read") from None
    return found


def _collection(text: str, start: int, depth: int) -> Node:
    is_object = text[start] == "{"
    close, at = "}" if is_object else "]", _gap(text, start + 1)
    node = Node(start, start, {} if is_object else [])
    while not text.startswith(close, at):
        item = _item(text, at, depth, is_object=is_object)
        node.items.append(item)
        if is_object:
            node.value[item.key] = item.node.value
        else:
            node.value.append(item.node.value)
        at = _gap(text, item.node.end)
        if text.startswith(",", at):
            item.comma, at = at, _gap(text, at + 1)
        elif not text.startswith(close, at):
            raise Unfit.at(text, at, f"should be a comma or {close}, got {_seen(text, at)}")
    node.end = at + 1
    return node


def _item(text: str, at: int, depth: int, *, is_object: bool) -> Item:
    if not is_object:
        return Item(None, at, _value(text, at, depth + 1))
    if not text.startswith('"', at):
        raise Unfit.at(text, at, f"should be a name in double quotes, got {_seen(text, at)}")
    end = string_end(text, at)
    colon = _gap(text, end)
    if not text.startswith(":", colon):
        raise Unfit.at(text, colon, f"should be a colon, got {_seen(text, colon)}")
    return Item(json.loads(text[at:end]), at, _value(text, _gap(text, colon + 1), depth + 1))


def string_end(text: str, at: int) -> int:
    """Behind the text in quotes that begins at `at`. Raises `Unfit`."""
    found = _STRING.match(text, at)
    if found is None:
        raise Unfit.at(text, at, "a text is not closed, or has a character that has to be escaped")
    return found.end()


def _seen(text: str, at: int) -> str:
    """What is there, short and without what may be a secret."""
    return f'"{text[at]}"' if at < len(text) else "the end of the file"
