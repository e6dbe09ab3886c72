"""What applying a step takes from this machine, and where it tells how it goes. Knows neither commands nor clients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from relight.deploy.context import Entry


class Show(Protocol):
    """Where progress goes: standard error, or nowhere."""

    def say(self, line: str) -> None:
        """A line that stays: of a build's log, or what was found."""
        ...

    def doing(self, what: str) -> None:
        """What is waited for; the next one takes its place."""
        ...

    def sent(self, name: str, done: int, total: int) -> None:
        """So many bytes of `name` are uploaded."""
        ...


class Silent:
    """Tells nobody."""

    def say(self, line: str) -> None:
        """Nothing."""

    def doing(self, what: str) -> None:
        """Nothing."""

    def sent(self, name: str, done: int, total: int) -> None:
        """Nothing."""


@dataclass(frozen=True, slots=True)
class Here:
    """What this machine has. Each raises `RelightError` for what is not here.

    `secret`: the text of a variable, None when it is not here. `weights`: the file of a model, by its name. `context`: the files
    that an image is built from, as long as the context lasts. `folder`: on the disk where the weights lie.
    """

    secret: Callable[[str], str | None]
    weights: Callable[[str], Path]
    context: Callable[[], AbstractContextManager[Sequence[Entry]]]
    folder: Path | None = None
