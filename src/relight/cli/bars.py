"""Progress of long work on files: a bar on a terminal, a plain line now and then elsewhere. Writes to standard error only."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from relight.values import format_bytes
from relight.weights.progress import Phase, Report, Update

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

_LINE_EVERY_S = 10.0


class Bars:
    """One line of progress at a time, in phases; a context manager, so that the terminal is left as it was found."""

    def __init__(self, console: Console | None = None, *, now: Callable[[], float] = time.monotonic) -> None:
        from rich.console import Console

        self._console = console or Console(stderr=True)
        self._now = now
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._doing: tuple[str, Phase] | None = None
        self._began = (0.0, 0)
        self._said = 0.0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._progress = _progress(self._console)
            self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._progress is not None:
            self._clear()
            self._progress.stop()

    def report(self, name: str) -> Report:
        """Where the work on the model `name` reports to."""
        return lambda update: self._show(name, update)

    def say(self, line: str) -> None:
        """Print a line that stays."""
        self._clear()
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _show(self, name: str, update: Update) -> None:
        if update.note:
            self.say(f"{name}: {update.note}")
            return
        if self._doing != (name, update.phase):
            self._begin(name, update)
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=update.done, total=update.total)
        elif self._progress is None and self._now() - self._said >= _LINE_EVERY_S:
            self._line(name, update)

    def _begin(self, name: str, update: Update) -> None:
        self._clear()
        self._doing = (name, update.phase)
        self._began = (self._now(), update.done)
        if self._progress is not None:
            self._task = self._progress.add_task(f"{name}: {update.phase}", total=update.total, completed=update.done)
        else:
            self._line(name, update)

    def _line(self, name: str, update: Update) -> None:
        """`smol: downloading 40MiB of 93.8MiB, 12MiB/s`, without a bar."""
        self._said = self._now()
        text = f"{name}: {update.phase}"
        if update.total is not None:
            text += f" {format_bytes(update.done)} of {format_bytes(update.total)}"
        elif update.done:
            text += f" {format_bytes(update.done)}"
        took, new = self._said - self._began[0], update.done - self._began[1]
        if took > 0 and new > 0:
            text += f", {format_bytes(round(new / took))}/s"
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _clear(self) -> None:
        self._doing = None
        if self._progress is not None and self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None


def _progress(console: Console) -> Progress:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )


class TokenBar:
    """How much of a prompt is read; a bar on a terminal, a plain line now and then elsewhere."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True)
        self._progress: Progress | None = None
        self._doing: tuple[str, TaskID] | None = None
        self._said = 0.0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (BarColumn(), MofNCompleteColumn(), TextColumn("tokens"), TimeRemainingColumn())
            text = TextColumn("{task.description}", markup=False)
            self._progress = Progress(text, *columns, console=self._console, transient=True)
            self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._progress is not None:
            self._progress.stop()

    def say(self, line: str) -> None:
        """Print a line that stays."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def show(self, name: str, done: int, total: int) -> None:
        """`done` of `total` tokens of the prefix `name` are read."""
        if self._progress is not None:
            if self._doing is None or self._doing[0] != name:
                if self._doing is not None:
                    self._progress.remove_task(self._doing[1])
                self._doing = name, self._progress.add_task(f"{name}: reading", total=total)
            self._progress.update(self._doing[1], completed=done, total=total)
        elif time.monotonic() - self._said >= _LINE_EVERY_S:
            self._said = time.monotonic()
            self.say(f"{name}: read {done} of {total} tokens")
