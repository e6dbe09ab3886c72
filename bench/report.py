"""How a benchmark reports: rows with medians and spreads, a table for people, JSON for later."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

RESULTS: Final = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured thing: every sample, in `unit`; `goal` in words when there is one."""

    name: str
    unit: str
    samples: list[float]
    goal: str = ""

    @property
    def median(self) -> float:
        """The middle sample."""
        return statistics.median(self.samples)


@dataclass(slots=True)
class Report:
    """What one benchmark found."""

    title: str
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, unit: str, samples: Sequence[float], goal: str = "") -> None:
        """Add one figure."""
        self.figures.append(Figure(name, unit, [round(sample, 4) for sample in samples], goal))

    def show(self) -> str:
        """The report as a table."""
        head = ("what", "median", "min", "max", "unit", "goal")
        rows = [
            (f.name, f"{f.median:.3g}", f"{min(f.samples):.3g}", f"{max(f.samples):.3g}", f.unit, f.goal) for f in self.figures
        ]
        widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)]
        return "\n".join([f"== {self.title}", *lines, *(f"  {note}" for note in self.notes)])

    def save(self, name: str) -> Path:
        """Write the report as JSON; returns where."""
        RESULTS.mkdir(parents=True, exist_ok=True)
        file = RESULTS / f"{name}.json"
        machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "machine": platform.machine()}
        found = {
            "title": self.title,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine,
            "notes": self.notes,
        }
        figures = [{**asdict(figure), "median": figure.median} for figure in self.figures]
        file.write_text(json.dumps({**found, "figures": figures}, indent=1) + "\n")
        return file
