"""A confusion matrix as an SVG, readable on light and on dark pages. Knows counts and names, not what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from xml.sax.saxutils import escape

_CELL: Final = 56
_LEFT: Final = 130
_TOP: Final = 110
_STYLE: Final = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .title { font-size: 15px; font-weight: 600 }
  .axis { font-size: 11px; fill: #656d76 }
  .cell { stroke: #8c959f; stroke-opacity: .25 }
  .right { fill: #0f766e }
  .wrong { fill: #d4760a }
  .nought { fill-opacity: .45 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .axis { fill: #9198a1 }
    .right { fill: #2dd4bf }
    .wrong { fill: #f0a13c }
  }
"""


def draw(title: str, table: Mapping[str, Mapping[str, int]]) -> str:
    """The matrix: a row for what is right, a column for what was found; the deeper a cell, the larger its share of the row."""
    names = list(table)
    width, height = _LEFT + _CELL * len(names) + 10, _TOP + _CELL * len(names) + 10
    parts = [
        f'<text class="title" x="0" y="18">{escape(title)}</text>',
        f'<text class="axis" x="{_LEFT - 8}" y="{_TOP - 8}" text-anchor="end">right ↓  found →</text>',
    ]
    for number, name in enumerate(names):
        x, y = _LEFT + (number + 0.5) * _CELL, _TOP + (number + 0.5) * _CELL + 5
        parts.append(f'<text x="{x + 4:.0f}" y="{_TOP - 8}" transform="rotate(-45 {x + 4:.0f} {_TOP - 8})">{escape(name)}</text>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y:.0f}" text-anchor="end">{escape(name)}</text>')
    for row, name in enumerate(names):
        parts += [_cell(row, column, table[name][other], sum(table[name].values())) for column, other in enumerate(names)]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">'
    return "\n".join([head, f"<style>{_STYLE}</style>", *parts, "</svg>"]) + "\n"


def _cell(row: int, column: int, count: int, total: int) -> str:
    x, y = _LEFT + column * _CELL, _TOP + row * _CELL
    kind = "right" if row == column else "wrong"
    depth = 0.75 * count / total if total else 0.0
    return (
        f'<rect class="cell {kind}" x="{x}" y="{y}" width="{_CELL}" height="{_CELL}" fill-opacity="{depth:.2f}"/>'
        f'<text class="{"" if count else "nought"}" x="{x + _CELL / 2:.0f}" y="{y + _CELL / 2 + 5:.0f}" '
        f'text-anchor="middle">{count}</text>'
    )
