"""The form of a `.env` file: NAME=VALUE lines, read and changed. Knows no secret by name, and shows no value in a message."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from relight.errors import ConfigError

_ASSIGNMENT: Final = re.compile(r"\s*(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=(?P<value>.*)")
_QUOTED: Final = re.compile(r"""(?:'(?P<plain>[^']*)'|"(?P<escaped>(?:[^"\\]|\\.)*)")(?:\s+#.*)?""")
_COMMENT: Final = re.compile(r"\s#")
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r"}


def read_env(path: Path) -> dict[str, str]:
    """The variables in the file `path`, the last of a name winning; empty when there is no file.

    A value may stand in quotes (double quotes with \\n, \\t, \\" and \\\\), `export` may stand before a name, a comment after
    white space and #. Nothing is expanded. Raises `ConfigError` with the line of what is none of this.
    """
    return {name: value for _, name, value in _assignments(path, _text(path))}


def put_env(path: Path, name: str, value: str | None) -> str:
    """The text of the file `path` with `name` set to `value`, or without it for None; every other line is as it was.

    `value` must need no quotes. Where `name` stands more than once, only one is left.
    """
    text = _text(path)
    ours = [number for number, found, _ in _assignments(path, text) if found == name]
    lines = text.split("\n") if text else [""]
    if value is not None:
        if not ours:
            # The end of a file is an empty line after its last break, and stays that.
            lines[-1:] = [f"{name}={value}", ""] if not lines[-1] else [lines[-1], f"{name}={value}", ""]
        else:
            lines[ours.pop() - 1] = f"{name}={value}"
    return "\n".join(line for number, line in enumerate(lines, start=1) if number not in ours)


def _assignments(path: Path, text: str) -> Iterator[tuple[int, str, str]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        assignment = _ASSIGNMENT.fullmatch(line.rstrip())
        value = _value(assignment["value"]) if assignment else None
        if assignment is None or value is None:
            fault = "is not NAME=VALUE" if assignment is None else f"{assignment['name']}: quotes do not fit"
            raise ConfigError(f"{path}:{number}: {fault}", hint="write NAME=VALUE or NAME='VALUE', one a line")
        yield number, assignment["name"], value


def _value(text: str) -> str | None:
    """What stands behind the `=` means; None when its quotes do not fit."""
    if not text.lstrip().startswith(("'", '"')):
        return _COMMENT.split(text, maxsplit=1)[0].strip()
    quoted = _QUOTED.fullmatch(text.strip())
    if quoted is None or quoted["escaped"] is None:
        return quoted and quoted["plain"]
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), quoted["escaped"])


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text", hint="save the file as UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}", hint="check the path and its permissions") from None
