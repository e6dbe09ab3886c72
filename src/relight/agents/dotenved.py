"""NAME=value lines, edited one by one: every other line stays. Pure; what a line says is read as `.env` files are read here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from relight.agents.unfit import Unfit, newline_of

Path = Sequence[str | int]

_LINE: Final = re.compile(r"(?P<before>\s*(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=)(?P<value>.*)")
_QUOTED: Final = re.compile(r"""(?:'(?P<plain>[^']*)'|"(?P<escaped>(?:[^"\\]|\\.)*)")(?:\s+#.*)?""")
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r"}
_PLAIN: Final = re.compile(r"[\w.:/@%+,=~$-]*", re.ASCII)


def read(text: str) -> Any:
    """The variables, the last of a name winning. Raises `Unfit`."""
    found = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if (assignment := _assignment(number, line)) is not None:
            value = _value(assignment["value"].strip())
            if value is None:
                raise Unfit(f"{assignment['name']}: quotes do not fit", line=number)
            found[assignment["name"]] = value
    return found


def put(text: str, path: Path, value: object) -> str:
    """The text with a variable set: in its line, the last of that name, else in a new one at the end."""
    (name,) = path
    said, lines, newline = _quoted(value), text.split("\n"), newline_of(text)
    for number in reversed(range(len(lines))):
        assignment = _assignment(number + 1, lines[number])
        if assignment is not None and assignment["name"] == name:
            lines[number] = assignment["before"] + said + ("\r" if lines[number].endswith("\r") else "")
            return "\n".join(lines)
    gap = newline if text and not text.endswith("\n") else ""
    return f"{text}{gap}{name}={said}{newline}"


def remove(text: str, path: Path) -> str:
    """The text without the lines of a variable."""
    (name,) = path
    lines = text.split("\n")
    found = [_assignment(number, line) for number, line in enumerate(lines, start=1)]
    return "\n".join(line for line, one in zip(lines, found, strict=True) if one is None or one["name"] != name)


def line_of(text: str, path: Path) -> int | None:
    """The line of a variable."""
    for number, line in enumerate(text.split("\n"), start=1):
        if path and (one := _assignment(number, line)) is not None and one["name"] == path[0]:
            return number
    return None


def _assignment(number: int, line: str) -> re.Match[str] | None:
    if not line.strip() or line.lstrip().startswith("#"):
        return None
    found = _LINE.fullmatch(line.rstrip("\r"))
    if found is None:
        raise Unfit("should be NAME=value", line=number)
    return found


def _value(text: str) -> str | None:
    if not text.startswith(("'", '"')):
        return re.split(r"\s#", text, maxsplit=1)[0].strip()
    quoted = _QUOTED.fullmatch(text)
    if quoted is None or quoted["escaped"] is None:
        return quoted and quoted["plain"]
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), quoted["escaped"])


def _quoted(value: object) -> str:
    text = said(value)
    if _PLAIN.fullmatch(text):
        return text
    if "'" not in text and "\n" not in text and "\r" not in text:
        return f"'{text}'"
    escaped = re.sub(r'(["\\])', r"\\\1", text).replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'


def said(value: object) -> str:
    """A value as a variable holds it, which knows text alone."""
    return str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)
