"""How long work in the cloud is told: a moving line on a terminal, plain lines elsewhere. Writes to standard error only."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from relight.values import format_bytes

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

_LINE_EVERY_S: Final = 10.0
# What others wrote (a build's log) must not drive the terminal.
_CONTROL: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Progress:
    """Implements `cloud.work.Show`; a context manager, so that the terminal is left as it was found."""

    def __init__(self, console: Console | None = None, *, now: Callable[[], float] = time.monotonic) -> None:
        from rich.console import Console

        self._console = console or Console(stderr=True)
        self._now = now
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._doing = ""
        self._said = 0.0
        self._began: tuple[str, float, int] = ("", 0.0, 0)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            columns = (TextColumn("  {task.description}", markup=False), BarColumn(bar_width=20), TimeElapsedColumn())
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.rest()
        if self._bar is not None:
            self._bar.stop()

    def rest(self) -> None:
        """Nothing is waited for any more."""
        self._doing = ""
        if self._bar is not None and self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None

    def say(self, line: str) -> None:
        """A line that stays."""
        self._console.print(_CONTROL.sub("", line), markup=False, highlight=False, soft_wrap=True)

    def doing(self, what: str) -> None:
        """What is waited for; the next one takes its place."""
        what = _CONTROL.sub("", what).replace("\n", " ")
        if what == self._doing:
            return
        self.rest()
        self._doing = what
        if self._bar is not None:
            self._task = self._bar.add_task(what, total=None)
        else:
            self.say(f"  {what}")

    def hint(self, what: str) -> None:
        """As `doing`, where lines move; where they stay, who ends it says so."""
        if self._bar is not None:
            self.doing(what)

    def sent(self, name: str, done: int, total: int) -> None:
        """So many bytes of `name` are uploaded."""
        if self._began[0] != name or done < self._began[2]:
            self.rest()
            self._began, self._said = (name, self._now(), done), 0.0
        took, new = self._now() - self._began[1], done - self._began[2]
        text = f"uploading {name}: {format_bytes(done)} of {format_bytes(total)}"
        text += f", {format_bytes(round(new / took))}/s" if took > 0 and new > 0 else ""
        if self._bar is not None:
            self._task = self._bar.add_task(text, total=total) if self._task is None else self._task
            self._bar.update(self._task, description=text, completed=done, total=total)
        elif done == total or self._now() - self._said >= _LINE_EVERY_S:
            self._said = self._now()
            self.say(f"  {text}")
