"""JSON with comments and trailing commas, edited where it has to be: every other byte stays.

Pure; a place is a path of names and numbers that `place` has resolved. No library that is kept edits such text without Node.js.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from relight.agents.jsonc_tree import Item, Node, parse, string_end
from relight.agents.unfit import newline_of

Path = Sequence[str | int]

_REST_OF_LINE: Final = re.compile(r"(?:[ \t]+|/\*[^\n]*?\*/)*(?P<line>//[^\r\n]*)?")


def read(text: str) -> Any:
    """What the text says; None when it says nothing. Raises `Unfit`."""
    root = parse(text)
    return None if root is None else root.value


def put(text: str, path: Path, value: object) -> str:
    """The text with `value` at `path`, whose container is there. A new member or element goes behind the last."""
    root = parse(text)
    if root is None:
        text = _begun(text)
        root = parse(text)
        assert root is not None  # noqa: S101 - it was begun
    if not path:
        return _with_value(text, root, value)
    parent = _container(root, path)
    number = parent.item(path[-1])
    if number is None:
        return _insert(text, parent, path[-1], value)
    return _with_value(text, parent.items[number].node, value)


def remove(text: str, path: Path) -> str:
    """The text without what is at `path`, which is there; comments beside it stay."""
    while (root := parse(text)) is not None:
        parent = _container(root, path)
        number = parent.item(path[-1])
        if number is None:
            return text
        text = _without(text, parent, number)
        if isinstance(path[-1], int):
            break  # a name may stand more than once, an element does not
    return text


def line_of(text: str, path: Path) -> int | None:
    """The line of the deepest part of `path` that is there."""
    node, at = parse(text), 0
    for step in path:
        number = None if node is None else node.item(step)
        if node is None or number is None:
            break
        at, node = node.items[number].start, node.items[number].node
    return text.count("\n", 0, at) + 1


def _container(root: Node, path: Path) -> Node:
    node = root
    for step in path[:-1]:
        number = node.item(step)
        if number is None:
            raise KeyError(step)
        node = node.items[number].node
    return node


# --- editing ----------------------------------------------------------------------------------------------------------


def _begun(text: str) -> str:
    """An empty object behind what may be comments."""
    newline = newline_of(text)
    gap = newline if text and not text.endswith("\n") else ""
    return f"{text}{gap}{{}}{newline}"


def _with_value(text: str, node: Node, value: object) -> str:
    base = _indent_at(text, node.start)
    return text[: node.start] + _dump(value, _Style.of(text), base) + text[node.end :]


def _insert(text: str, parent: Node, step: str | int, value: object) -> str:
    """The text with one more item; a comma goes behind the one before it, its comment stays on its line."""
    if not parent.items:
        return _first(text, parent, step, value)
    style, last = _Style.of(text), parent.items[-1]
    behind = last.node.end if last.comma is None else last.comma + 1
    rest = _REST_OF_LINE.match(text, behind)
    assert rest is not None  # noqa: S101 - it matches nothing as well
    # Blanks in front of a closing bracket stay in front of it.
    end = rest.end() if rest["line"] else behind + len(text[behind : rest.end()].rstrip(" \t"))
    if "\n" in text[parent.start : last.start] or rest["line"]:
        base = _indent_at(text, parent.start) + style.unit
        indent = _indent_at(text, last.start) if _is_first_on_line(text, last.start) else base
        said = f"{style.newline}{indent}{_name(step, ': ')}{_dump(value, style, indent)}"
    else:
        is_tight = _is_tight(text, parent)
        said = f"{'' if is_tight else ' '}{_name(step, ':' if is_tight else ': ')}{_inline(value)}"
    before, after = ("", ",") if last.comma is not None else (",", "")
    return text[: last.node.end] + before + text[last.node.end : end] + said + after + text[end:]


def _first(text: str, parent: Node, step: str | int, value: object) -> str:
    """The text with the first item of a collection, on a line of its own behind what comments there are."""
    style, base = _Style.of(text), _indent_at(text, parent.start)
    end = parent.start + 1 + len(text[parent.start + 1 : parent.end - 1].rstrip())
    said = _name(step, ": ") + _dump(value, style, base + style.unit)
    return f"{text[:end]}{style.newline}{base}{style.unit}{said}{style.newline}{base}{text[parent.end - 1 :]}"


def _name(step: str | int, colon: str) -> str:
    return "" if isinstance(step, int) else json.dumps(step, ensure_ascii=False) + colon


def _without(text: str, parent: Node, number: int) -> str:
    item = parent.items[number]
    cuts = [_own_part(text, item)]
    if item.comma is not None:
        cuts.append((item.comma, item.comma + 1))
    elif number:
        before = parent.items[number - 1].comma
        assert before is not None  # noqa: S101 - this one follows it
        cuts.append((before, before + 1))
    kept, at = "", 0
    for start, end in sorted(cuts):
        kept, at = kept + text[at : max(at, start)], max(at, end)
    left = kept + text[at:]
    return _closed(left, parent.start) if len(parent.items) == 1 else left


def _own_part(text: str, item: Item) -> tuple[int, int]:
    """What goes with an item: its line, when nothing else is on it; else the blanks that kept it apart."""
    end = item.node.end
    if item.comma is not None and not text[end : item.comma].strip():
        end = item.comma + 1  # else a comment stands between them, and stays
    after = end + len(text[end:]) - len(text[end:].lstrip(" \t"))
    if not _is_first_on_line(text, item.start):
        before = len(text[: item.start].rstrip(" \t"))
        return (item.start, after) if text[before - 1] in "{[" else (before, end)
    found = re.compile(r"\r?\n").match(text, after)
    return (_line_start(text, item.start), found.end()) if found else (item.start, after)


def _closed(text: str, start: int) -> str:
    """The collection at `start`, from which the last item went: without blanks, if that is all it holds."""
    end = start + 1 + len(text[start + 1 :]) - len(text[start + 1 :].lstrip())
    return text[: start + 1] + text[end:] if text[end] in "}]" else text


def _is_tight(text: str, parent: Node) -> bool:
    """Whether a collection in one line is written without blanks."""
    last = parent.items[-1]
    if last.key is not None:
        return last.node.start == string_end(text, last.start) + 1
    comma = parent.items[0].comma
    return comma is not None and len(parent.items) > 1 and parent.items[1].start == comma + 1


def _line_start(text: str, at: int) -> int:
    return text.rfind("\n", 0, at) + 1


def _is_first_on_line(text: str, at: int) -> bool:
    return not text[_line_start(text, at) : at].strip(" \t")


def _indent_at(text: str, at: int) -> str:
    line = text[_line_start(text, at) : at]
    return line[: len(line) - len(line.lstrip(" \t"))]


# --- writing ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Style:
    """How the text is laid out."""

    unit: str
    newline: str

    @classmethod
    def of(cls, text: str) -> _Style:
        found = re.search(r"^[ \t]+(?=[\"\[{])", text, re.MULTILINE)
        return cls(found[0] if found else "  ", newline_of(text))


def _dump(value: object, style: _Style, indent: str) -> str:
    """`value` over several lines where it holds more than plain values, its first line not indented."""
    if isinstance(value, dict) and value:
        inner = indent + style.unit
        said = [f"{json.dumps(key, ensure_ascii=False)}: {_dump(each, style, inner)}" for key, each in value.items()]
        return _spread("{}", said, style, indent)
    if isinstance(value, list) and any(isinstance(each, dict | list) for each in value):
        return _spread("[]", [_dump(each, style, indent + style.unit) for each in value], style, indent)
    return _inline(value)


def _spread(brackets: str, said: list[str], style: _Style, indent: str) -> str:
    between = f",{style.newline}{indent}{style.unit}"
    return f"{brackets[0]}{between[1:]}{between.join(said)}{style.newline}{indent}{brackets[1]}"


def _inline(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
