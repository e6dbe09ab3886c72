"""How commands print: a table for people, `--json` for programs. Knows no command."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

import click
import msgspec

from relight.values import Duration

_PIPE_WIDTH: Final = 1000
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

_F = TypeVar("_F", bound=Callable[..., Any])


def json_option(command: _F) -> _F:
    """Add `--json` (as the parameter `as_json`)."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")(command)


def config_option(command: _F) -> _F:
    """Add `--config FILE` (as the parameter `config_file`), default `relight.toml`."""
    return click.option(
        "--config",
        "-c",
        "config_file",
        default="relight.toml",
        show_default=True,
        type=click.Path(dir_okay=False),
        help="Configuration file.",
    )(command)


class DurationType(click.ParamType[Duration]):
    """An option that takes a duration, such as "10m"."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Duration:
        try:
            return value if isinstance(value, Duration) else Duration.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def plain(text: str) -> str:
    """`text` without what a terminal would do instead of show; tabs and line ends stay."""
    return _CONTROL.sub("", text)


def print_json(value: object) -> None:
    """Print `value` as indented JSON."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    """Print rows as a table as wide as the terminal; plain when standard output is not one."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    # Markup off: a cell that says [models.smol] is text. A pipe has no width, and nothing may be cut on the way to grep.
    console = Console(markup=False)
    if not console.is_terminal:
        console.width = max(console.width, _PIPE_WIDTH)
    console.print(table)
