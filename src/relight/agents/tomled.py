"""TOML, edited with its comments, order and layout kept. Pure; a place is a path that `place` has resolved."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from typing import Any

from relight.agents.unfit import Unfit
from relight.config.lines import key_lines

Path = Sequence[str | int]


def read(text: str) -> Any:
    """What the text says. Raises `Unfit`."""
    try:
        return tomllib.loads(text.replace("\r\n", "\n"))
    except tomllib.TOMLDecodeError as error:
        # The message ends in its place: "(at line 3, column 7)" or "(at end of document)".
        what, _, where = str(error).removesuffix(")").rpartition(" (at ")
        place = re.fullmatch(r"line (\d+), column (\d+)", where)
        line, column = map(int, place.groups()) if place else (text.rstrip().count("\n") + 1, None)
        raise Unfit(what[:1].lower() + what[1:], line=line, column=column) from None
    except RecursionError:
        raise Unfit("is too deep to read") from None


def put(text: str, path: Path, value: object) -> str:
    """The text with `value` at `path`, whose container is there."""

    def change(container: Any, step: str | int) -> None:
        if isinstance(step, int) and step == len(container):
            container.append(value)
        else:
            container[step] = value

    return _edited(text, path, change)


def remove(text: str, path: Path) -> str:
    """The text without what is at `path`, which is there."""

    def change(container: Any, step: str | int) -> None:
        del container[step]

    return _edited(text, path, change)


def line_of(text: str, path: Path) -> int | None:
    """The line of the deepest part of `path` that has one of its own."""
    lines = key_lines(text.replace("\r\n", "\n"))
    names = tuple(step for step in path if isinstance(step, str))
    return next((lines[names[:end]] for end in range(len(names), 0, -1) if names[:end] in lines), None)


def _edited(text: str, path: Path, change: Any) -> str:
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    # Its new lines end in \n alone, and a mixture of both is told by nobody who reads TOML.
    is_crlf = text.count("\r\n") == text.count("\n") > 0
    plain = text.replace("\r\n", "\n") if is_crlf else text
    is_open = bool(plain) and not plain.endswith("\n")
    try:
        container: Any = tomlkit.parse(plain + "\n" * is_open)
        document = container
        for step in path[:-1]:
            container = container[step]
        change(container, path[-1])
        said = tomlkit.dumps(document)
    except (TOMLKitError, TypeError, ValueError, AttributeError, KeyError, IndexError) as error:
        raise Unfit(f"cannot be edited here ({type(error).__name__})", path=tuple(path)) from error
    said = _spaced(said, set(plain.split("\n")))
    if not plain.endswith("\n\n"):
        said = said.rstrip("\n") + "\n" * (bool(said.strip()) and not is_open)  # a table takes no empty line with it
    return said.replace("\n", "\r\n") if is_crlf else said


def _spaced(text: str, known: set[str]) -> str:
    """`text` with an empty line before each new table, as before most tables."""
    lines = text.split("\n")
    for number in reversed(range(1, len(lines))):
        is_new = lines[number].startswith("[") and lines[number] not in known
        if is_new and lines[number - 1] and not lines[number - 1].startswith("#"):
            lines.insert(number, "")
    return "\n".join(lines)
