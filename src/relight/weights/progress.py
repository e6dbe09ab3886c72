"""What long work says while it runs. Knows neither who works nor who listens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    """What is being done to a file."""

    WAIT = "waiting"
    DOWNLOAD = "downloading"
    UNPACK = "unpacking"
    HASH = "checking"


@dataclass(frozen=True, slots=True)
class Update:
    """One step: bytes `done` of `total` (`None` when unknown) in this phase; `note` is a sentence worth a line."""

    phase: Phase
    done: int = 0
    total: int | None = None
    note: str = ""


Report = Callable[[Update], None]


def silent(update: Update) -> None:
    """Tell nobody."""
