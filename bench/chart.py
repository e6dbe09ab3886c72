"""Bars on a logarithmic scale as an SVG, readable on light and on dark pages. Knows numbers and names, not what they mean."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

_WIDTH: Final = 760
_LABEL: Final = 170
_VALUE: Final = 90
_BAR: Final = 20
_STEP: Final = 28
_HEAD: Final = 34
_GAP: Final = 22
_STYLE: Final = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .title { font-size: 15px; font-weight: 600 }
  .panel { font-weight: 600 }
  .tick { font-size: 10px; fill: #656d76 }
  line { stroke: #8c959f; stroke-opacity: .35 }
  rect { fill: #8c959f }
  .ours { fill: #d4760a }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .tick { fill: #9198a1 }
    .ours { fill: #f0a13c }
  }
"""


@dataclass(frozen=True, slots=True)
class Panel:
    """One figure: a bar for each name; shorter is better."""

    title: str
    bars: dict[str, float]


def draw(title: str, panels: list[Panel], *, ours: str = "relight") -> str:
    """The whole picture; bars whose name begins with `ours` stand out."""
    y, parts = 28.0, [f'<text class="title" x="0" y="18">{escape(title)}</text>']
    for panel in panels:
        bars = {name: value for name, value in panel.bars.items() if value > 0}
        if bars:
            parts += _panel(Panel(panel.title, bars), y, ours)
            y += _HEAD + _STEP * len(bars) + _GAP
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y:.0f}" role="img" aria-label="{escape(title)}">'
    return "\n".join([head, f"<style>{_STYLE}</style>", *parts, "</svg>"]) + "\n"


def decades(values: list[float]) -> tuple[int, int]:
    """The powers of ten that the axis spans: from below the smallest value to above the largest."""
    lowest = math.ceil(math.log10(min(values))) - 1
    return lowest, max(math.ceil(math.log10(max(values))), lowest + 1)


def shown(value: float) -> str:
    """Two digits where they matter, thousands set apart: 0.13, 4.2, 78, 15,800."""
    if value < 10:
        return f"{value:.2g}"
    return f"{round(value, 1 - math.floor(math.log10(value))):,.0f}" if value < 1000 else f"{round(value, -2):,.0f}"


def _panel(panel: Panel, y: float, ours: str) -> list[str]:
    low, high = decades(list(panel.bars.values()))
    per_decade = (_WIDTH - _LABEL - _VALUE) / (high - low)
    bottom = y + _HEAD + _STEP * len(panel.bars)
    parts = [f'<text class="panel" x="0" y="{y + 16:.0f}">{escape(panel.title)} (log scale, shorter is better)</text>']
    for power in range(low, high + 1):
        x = _LABEL + (power - low) * per_decade
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y + _HEAD - 4:.0f}" y2="{bottom:.0f}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 12:.0f}" text-anchor="middle">{10.0**power:,.10g}</text>')
    for row, (name, value) in enumerate(panel.bars.items()):
        top = y + _HEAD + row * _STEP
        width = max((math.log10(value) - low) * per_decade, 1.0)
        kind = ' class="ours"' if name.startswith(ours) else ""
        middle = top + _BAR / 2 + 5
        parts += [
            f'<text x="{_LABEL - 8}" y="{middle:.0f}" text-anchor="end">{escape(name)}</text>',
            f'<rect{kind} x="{_LABEL}" y="{top:.0f}" width="{width:.1f}" height="{_BAR}" rx="3"/>',
            f'<text x="{_LABEL + width + 6:.1f}" y="{middle:.0f}">{shown(value)}</text>',
        ]
    return parts
