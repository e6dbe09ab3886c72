"""Rows laid out in columns for a terminal of some width, no word of them broken. Pure; prints nothing.

In this order: columns with room for every word; columns in which a rare long word (an address, a digest) takes lines of its own;
each row as a few lines with its columns named.
"""

from __future__ import annotations

import math
import textwrap
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

_GAP: Final = 3
_NARROW_GAP: Final = 2
_READABLE: Final = 24
"""Columns that a sentence needs beside others: below that it is a ladder of single words."""
_SENTENCE: Final = 5  # words
_MOST: Final = 0.9
"""Rows whose words have room in their columns; those of the others stand on lines of their own."""
_NOTHING: Final = frozenset({"", "–"})

Rows = Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Line:
    """A line as it is printed; `is_head`: it names what is below it."""

    text: str
    is_head: bool = False


def laid_out(columns: Sequence[str], rows: Rows, width: int) -> list[Line]:
    """The rows in at most `width` columns, but for words that are longer."""
    for share, gap in ((1.0, _GAP), (1.0, _NARROW_GAP), (_MOST, _NARROW_GAP)):
        if (widths := _widths(columns, rows, width - _span(columns, gap), share)) is not None:
            return list(_table(columns, rows, widths, gap, width))
    return list(_listing(columns, rows, width))


def filled(text: str, width: int, start: str = "", later: str = "") -> str:
    """`text` in lines of `width` columns, the first behind `start`, the others behind `later`; long words stay whole."""
    return textwrap.fill(
        text,
        max(width, len(later) + 8),
        initial_indent=start,
        subsequent_indent=later,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _span(columns: Sequence[str], gap: int) -> int:
    """What is no cell: the margins, and the gaps between."""
    return 2 + gap * (len(columns) - 1)


def _widths(columns: Sequence[str], rows: Rows, room: int, share: float) -> list[int] | None:
    """The columns' widths with room for the words of that share of the rows; None where there is none."""
    cells = [[row[place] for row in rows] for place in range(len(columns))]
    widths = [max(_longest(cell.splitlines()) for cell in (name, *each)) for name, each in zip(columns, cells, strict=True)]
    least = [
        min(whole, max(_length(name), _of_share([_least(cell) for cell in each], share)))
        for name, each, whole in zip(columns, cells, widths, strict=True)
    ]
    if room < sum(least):
        return None
    while sum(widths) > room:  # the widest gives way, so that none is narrow beside one that has more than it needs
        place = max((place for place in range(len(widths)) if widths[place] > least[place]), key=lambda place: widths[place])
        widths[place] -= 1
    return widths


def _of_share(lengths: Sequence[int], share: float) -> int:
    return sorted(lengths)[math.ceil(share * len(lengths)) - 1] if lengths else 0


def _least(cell: str) -> int:
    """The narrowest column that a cell can be read in."""
    words = cell.split()
    return max(_longest(words), min(_READABLE, _longest(cell.splitlines())) if len(words) >= _SENTENCE else 0)


def _longest(parts: Iterable[str]) -> int:
    return max(map(_length, parts), default=0)


def _length(text: str) -> int:
    """Columns of a terminal that `text` takes."""
    wide = sum(unicodedata.east_asian_width(one) in "WF" for one in text)
    return len(text) + wide - sum(map(bool, map(unicodedata.combining, text)))


def _table(columns: Sequence[str], rows: Rows, widths: Sequence[int], gap: int, most: int) -> Iterator[Line]:
    places = [1 + sum(widths[:number]) + gap * number for number in range(len(widths))]
    for line in _lines(columns, places, widths, most):
        yield Line(line, is_head=True)
    yield Line(f" {'─' * (places[-1] + widths[-1] - 1)}")
    for row in rows:
        yield from map(Line, _lines(row, places, widths, most))


def _lines(row: Sequence[str], places: Sequence[int], widths: Sequence[int], most: int) -> Iterator[str]:
    """A row; a word that is too wide for its column reaches into the next ones, which then begin below it."""
    lines: list[str] = []
    first = 0
    for cell, place, width in zip(row, places, widths, strict=True):
        parts = [part for line in cell.splitlines() for part in _wrapped(line, width)]
        wide = _longest(parts)
        if place + wide > most:
            first, place = len(lines), max(2, most - wide)  # noqa: PLW2901 - it stands elsewhere
        for number, part in enumerate(parts, first):
            lines += [""] * (number + 1 - len(lines))
            lines[number] += " " * (place - _length(lines[number])) + part
        first += len(parts) if wide > width + 1 else 0
    yield from (line.rstrip() for line in lines or [""])


def _wrapped(line: str, width: int) -> list[str]:
    return textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False)


def _listing(columns: Sequence[str], rows: Rows, width: int) -> Iterator[Line]:
    """Each row as a heading and, below it, what its other columns say."""
    # A column without a name says how it went: it belongs to what comes next.
    heads = 2 if not columns[0] and len(columns) > 1 else 1
    margin = max((len(name) for name in columns[heads:]), default=0) + 4
    for row in rows:
        yield Line(filled("  ".join(cell for cell in row[:heads] if cell), width, "", "  "), is_head=True)
        for name, cell in zip(columns[heads:], row[heads:], strict=True):
            if cell not in _NOTHING:
                yield Line(filled(cell, width, f"  {name}".ljust(margin), " " * margin))
