"""On which line each key of a TOML text stands: `tomllib` reads values but forgets places."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

Path = tuple[str, ...]


def key_lines(text: str) -> dict[Path, int]:
    """First line (from 1) of every key and table in `text`, which must be valid TOML.

    A statement is the shortest run of lines that parses by itself, so strings and arrays over many lines need no rules here.
    """
    lines: dict[Path, int] = {}
    table: Path = ()
    for number, parsed, is_header in _statements(text):
        paths = list(_paths(parsed))
        if is_header:
            table = paths[-1]
            paths = [table]
        for path in paths:
            lines.setdefault(path if is_header else (*table, *path), number)
    return lines


def _statements(text: str) -> Iterator[tuple[int, dict[str, Any], bool]]:
    start, pending = 1, ""
    # Only \n ends a line in TOML; str.splitlines would also cut inside strings.
    for number, line in enumerate(text.split("\n"), start=1):
        if not pending:
            start = number
        pending += line + "\n"
        try:
            parsed = tomllib.loads(pending)
        except tomllib.TOMLDecodeError:
            continue
        if parsed:
            yield start, parsed, pending.lstrip().startswith("[")
        pending = ""


def _paths(parsed: Any, path: Path = ()) -> Iterator[Path]:
    """Every path in `parsed`, outer before inner; a list of tables counts as its first."""
    if isinstance(parsed, list) and parsed and all(isinstance(entry, dict) for entry in parsed):
        parsed = parsed[0]
    if isinstance(parsed, dict):
        for name, value in parsed.items():
            yield (*path, name)
            yield from _paths(value, (*path, name))
