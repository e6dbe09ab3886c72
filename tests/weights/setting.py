"""What several tests of weights ask for: a model's weights in a folder, and patience that takes no time."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from relight.config.schema import Model
from relight.weights.patience import Patience
from relight.weights.wanted import Wanted, wanted
from tests.weights.files import big_gguf

BIG: Final = big_gguf()


class Waits(list[float]):
    """What would have been slept, in seconds."""

    def patience(self, **changes: float) -> Patience:
        return Patience(
            attempts=4, longest_wait_s=changes.get("longest_wait_s", 60), read_timeout_s=10, sleep=self.append, jitter=lambda: 1.0
        )


def want(source: str, folder: Path, *, pin: str | None = None) -> Wanted:
    return wanted("smol", Model(source=source, sha256=pin), folder, "store")


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}
