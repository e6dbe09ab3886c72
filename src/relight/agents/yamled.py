"""YAML, edited where it has to be: every other byte stays.

A round trip through a library keeps comments, but lays the rest of the file out anew; here it only says where things stand.
Pure; a place is a path that `place` has resolved.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final

from relight.agents.unfit import Unfit, newline_of
from relight.agents.yamled_tree import Entry, Node, root

Path = Sequence[str | int]

_PLAIN: Final = re.compile(r"[A-Za-z_][\w./@-]*(?: [\w./@-]+)*", re.ASCII)
_WORDS: Final = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
_REST_OF_LINE: Final = re.compile(r"[ \t]*(?:#[^\r\n]*)?")
_NOT_PRINTED: Final = re.compile("[\x7f-\x84\x86-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def read(text: str) -> Any:
    """What the text says; None when it says nothing. Raises `Unfit`."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        return YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = str(error.problem or error.context or "cannot be read").split("\n", 1)[0]
        raise Unfit(what, line=mark and mark.line + 1, column=mark and mark.column + 1) from None
    except (YAMLError, ValueError, TypeError) as error:
        raise Unfit(str(error).split("\n", 1)[0]) from None
    except RecursionError:
        raise Unfit("is too deep to read") from None


def put(text: str, path: Path, value: object) -> str:
    """The text with `value` at `path`, whose container is there. A new entry goes behind the last."""
    top = root(text)
    if top is None:
        return _begun(text, path, value)
    parent = _container(text, top, path)
    number = parent.number(path[-1])
    if number is None:
        return _insert(text, parent, path[-1], value)
    return _replace(text, parent, number, value)


def remove(text: str, path: Path) -> str:
    """The text without what is at `path`, which is there; comments around it stay."""
    top = root(text)
    if top is None:
        return text
    parent = _container(text, top, path)
    number = parent.number(path[-1])
    if number is None:
        return text
    if len(parent.entries) == 1:
        return _emptied(text, top, path[:-1])
    entry = parent.entries[number]
    if parent.is_flow:
        return _without_flow(text, parent, number)
    start = text.rfind("\n", 0, entry.start) + 1
    if text[start : entry.start].strip():  # "- name: x": the first of an element's entries, on the line of its dash
        return text[: entry.start] + text[parent.entries[number + 1].start :]
    return text[:start] + text[_line_end(text, entry.end) :]


def line_of(text: str, path: Path) -> int | None:
    """The line of the deepest part of `path` that is there."""
    node, at = root(text), 0
    for step in path:
        number = None if node is None else node.number(step)
        if node is None or number is None:
            break
        at, node = node.entries[number].start, node.entries[number].node
    return text.count("\n", 0, at) + 1


def _container(text: str, top: Node, path: Path) -> Node:
    node = top
    for number, step in enumerate(path):
        if node.is_alias:
            line = text.count("\n", 0, node.start) + 1
            raise Unfit("is an alias of another place, which an edit would change as well", line=line, path=tuple(path[:number]))
        if number == len(path) - 1:
            break
        entry = node.number(step)
        if entry is None:
            raise Unfit("comes from somewhere else in the file (<<)", path=tuple(path[: number + 1]))
        node = node.entries[entry].node
    return node


# --- editing ----------------------------------------------------------------------------------------------------------


def _begun(text: str, path: Path, value: object) -> str:
    """The first entry of a file that says nothing, behind what may be comments."""
    newline = newline_of(text)
    body, end = text, ""
    if closing := re.search(r"^(?:\.\.\.|null|~|\{\})[ \t]*\r?$", text, re.MULTILINE):
        body, end = text[: closing.start()], text[closing.end() :].lstrip("\r\n")
    gap = newline if body and not body.endswith("\n") else ""
    lines = _entry_lines(path[-1], value, "", "  ")
    return body + gap + newline.join(lines) + newline + end


def _insert(text: str, parent: Node, step: str | int, value: object) -> str:
    if parent.is_flow:
        return _insert_flow(text, parent, step, value)
    newline, first = newline_of(text), parent.entries[0]
    indent = " " * (first.start - (text.rfind("\n", 0, first.start) + 1))
    lines = _entry_lines(step, value, indent, _unit(text))
    at = parent.end
    if at and text[at - 1] == "\n":  # behind a block of text, which ends with its line
        return text[:at] + "".join(line + newline for line in lines) + text[at:]
    rest = _REST_OF_LINE.match(text, at)
    at = rest.end() if rest else at
    return text[:at] + "".join(newline + line for line in lines) + text[at:]


def _insert_flow(text: str, parent: Node, step: str | int, value: object) -> str:
    said = _flow(value) if isinstance(step, int) else f"{_scalar(step)}: {_flow(value)}"
    if not parent.entries:
        return text[: parent.start] + _brackets(text, parent)[0] + said + _brackets(text, parent)[1] + text[parent.end :]
    at = parent.entries[-1].end
    comma = re.compile(r"\s*,").match(text, at)
    if comma:
        return f"{text[: comma.end()]} {said},{text[comma.end() :]}"
    return f"{text[:at]}, {said}{text[at:]}"


def _brackets(text: str, node: Node) -> str:
    return text[node.end - 1].replace("}", "{}").replace("]", "[]")


def _replace(text: str, parent: Node, number: int, value: object) -> str:
    entry = parent.entries[number]
    node = entry.node
    if node.is_alias:
        raise Unfit("is an alias of another place", line=text.count("\n", 0, node.start) + 1)
    if parent.is_flow:
        gap = " " if node.end == node.start else ""
        return text[: node.start] + gap + _flow(value) + text[node.end :]
    is_below = "\n" in text[entry.behind : node.end]
    if _is_block(value):
        return _replace_by_block(text, entry, value, is_below=is_below)
    # A block of text ends behind its line, whose end stays.
    end = max(entry.behind, len(text[: node.end].rstrip("\r\n")))
    start = entry.behind if is_below or node.end == node.start else node.start
    return text[:start] + " " * (start == entry.behind) + _flow(value) + text[end:]


def _replace_by_block(text: str, entry: Entry, value: object, *, is_below: bool) -> str:
    node, newline, unit = entry.node, newline_of(text), _unit(text)
    indent = " " * (entry.start - (text.rfind("\n", 0, entry.start) + 1))
    block = "".join(newline + line for line in _block_lines(value, indent + unit, unit))
    if is_below:
        return text[: entry.behind] + block + text[len(text[: node.end].rstrip("\r\n")) :]
    # A comment behind the old value stays behind the name.
    head = text[: node.start].rstrip(" ") if node.end > node.start else text[: entry.behind]
    tail = text[node.end :] if node.end > node.start else text[entry.behind :]
    rest = _REST_OF_LINE.match(tail)
    end = rest.end() if rest else 0
    return head + tail[:end] + block + tail[end:]


def _emptied(text: str, top: Node, path: Path) -> str:
    """The text in which the collection at `path` loses its only entry."""
    if path:
        parent = _container(text, top, path)
        number = parent.number(path[-1])
        assert number is not None  # noqa: S101 - what it holds was there
        return put(text, path, {} if parent.entries[number].node.is_map else [])
    start = text.rfind("\n", 0, top.entries[0].start) + 1
    if top.is_flow:
        return text[: top.start] + _brackets(text, top) + text[top.end :]
    return text[:start] + text[_line_end(text, top.end) :]


def _without_flow(text: str, parent: Node, number: int) -> str:
    if number:
        return text[: parent.entries[number - 1].end] + text[parent.entries[number].end :]
    return text[: parent.entries[0].start] + text[parent.entries[1].start :]


def _line_end(text: str, at: int) -> int:
    """Behind the line in which `at` lies; an end that is behind a line already stays."""
    if at and text[at - 1] == "\n":
        return at
    found = text.find("\n", at)
    return len(text) if found < 0 else found + 1


# --- writing ----------------------------------------------------------------------------------------------------------


def _unit(text: str) -> str:
    found = re.findall(r"^ +(?=[^\s#])", text, re.MULTILINE)
    return min(found, key=len)[:8] if found else "  "


def _is_block(value: object) -> bool:
    return bool(value) and (
        isinstance(value, dict) or (isinstance(value, list) and any(isinstance(each, dict | list) for each in value))
    )


def _entry_lines(step: str | int, value: object, indent: str, unit: str) -> list[str]:
    if isinstance(step, int):
        return _element_lines(value, indent, unit)
    if not _is_block(value):
        return [f"{indent}{_scalar(step)}: {_flow(value)}"]
    return [f"{indent}{_scalar(step)}:", *_block_lines(value, indent + unit, unit)]


def _block_lines(value: Any, indent: str, unit: str) -> list[str]:
    if isinstance(value, dict):
        return [line for key, each in value.items() for line in _entry_lines(key, each, indent, unit)]
    return [line for each in value for line in _element_lines(each, indent, unit)]


def _element_lines(value: Any, indent: str, unit: str) -> list[str]:
    if not _is_block(value):
        return [f"{indent}- {_flow(value)}"]
    first, *rest = _block_lines(value, indent + "  ", unit)
    return [f"{indent}- {first.lstrip()}", *rest]


def _flow(value: object) -> str:
    """A value in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_scalar(key)}: {_flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(each) for each in value) + "]"
    return _scalar(value) if isinstance(value, str) else json.dumps(value, allow_nan=False)


def _scalar(text: str) -> str:
    """Text as it is where nobody can take it for something else, else in double quotes, whose escapes are those of JSON."""
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return _NOT_PRINTED.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False))
