"""YAML, read with the place of everything in it. Pure; the library says where things stand, but not as an editor needs it.

Its ends of blocks lie behind comments, and an alias has the place of its anchor; here both are where a reader sees them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from relight.agents.unfit import DEEPEST, Unfit

_ALIAS: Final = re.compile(r"\s*\*[^\s,\]}]+")
_DASH: Final = re.compile(r"(?:[ \t\r\n]+|#[^\n]*|[&!][^\s]*)*(?P<dash>-)(?=\s|$)")


@dataclass(frozen=True, slots=True)
class Node:
    """A value: where it stands (an empty one: behind its colon or dash), and what it holds."""

    start: int
    end: int
    entries: tuple[Entry, ...] = ()
    is_flow: bool = False
    is_map: bool = False
    is_alias: bool = False
    is_scalar: bool = False

    def number(self, step: str | int) -> int | None:
        if isinstance(step, int):
            return step if step < len(self.entries) else None
        return next((n for n, entry in enumerate(self.entries) if entry.key == step), None)


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry: from its name, or its dash in a block, to the end of its value."""

    key: str | None
    start: int
    behind: int
    """Where its colon or dash ends."""
    node: Node

    @property
    def end(self) -> int:
        return max(self.node.end, self.behind)


def root(text: str) -> Node | None:
    """The collection that a text, which can be read, holds; None where it holds none."""
    from ruamel.yaml import YAML

    found = YAML(typ="safe", pure=True).compose(text)
    if found is None or not isinstance(found.value, list):
        return None
    return _Places(text).node(found, found.start_mark.index, 0)


class _Places:
    """Turns the library's nodes into ours."""

    def __init__(self, text: str) -> None:
        self._text = text

    def node(self, found: Any, behind: int, depth: int) -> Node:
        """A node whose name or dash ends at `behind`."""
        if depth > DEEPEST:
            raise Unfit(f"is more than {DEEPEST} levels deep", line=found.start_mark.line + 1)
        start, end = found.start_mark.index, found.end_mark.index
        if start < behind:
            alias = _ALIAS.match(self._text, behind)
            return Node(behind, alias.end() if alias else behind, is_alias=True)
        if not isinstance(found.value, list):
            return Node(start, end, is_scalar=True) if end > start else Node(behind, behind, is_scalar=True)
        is_map = type(found).__name__ == "MappingNode"
        each = self._members if is_map else self._elements
        entries = tuple(each(found, depth))
        is_flow = bool(found.flow_style)
        end = end if is_flow or not entries else entries[-1].end
        return Node(start, end, entries, is_flow=is_flow, is_map=is_map)

    def _members(self, found: Any, depth: int) -> list[Entry]:
        entries = []
        for key, value in found.value:
            colon = self._text.find(":", key.end_mark.index) + 1
            name = key.value if isinstance(key.value, str) else None
            entries.append(Entry(name, key.start_mark.index, colon, self.node(value, colon, depth + 1)))
        return entries

    def _elements(self, found: Any, depth: int) -> list[Entry]:
        if found.flow_style:
            at, entries = found.start_mark.index, []
            for value in found.value:
                node = self.node(value, at, depth + 1)
                entries.append(Entry(None, node.start, node.start, node))
                at = node.end
            return entries
        entries, at = [], found.start_mark.index
        for value in found.value:
            dash = self._dash(at)
            node = self.node(value, dash + 1, depth + 1)
            entries.append(Entry(None, dash, dash + 1, node))
            at = entries[-1].end
        return entries

    def _dash(self, at: int) -> int:
        """The next dash that begins an element, behind blanks and comments."""
        found = _DASH.match(self._text, at)
        if found is None:
            raise Unfit("has a list that cannot be edited", line=self._text.count("\n", 0, at) + 1)
        return found.start("dash")
