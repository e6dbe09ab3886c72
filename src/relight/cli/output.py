"""How commands print: a table for people, `--json` for programs. Knows no command."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

import click
import msgspec

from relight.cli.columns import filled, laid_out
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


def folded(text: str, *, start: str = "", later: str | None = None, err: bool = False) -> str:
    """`start` and `text` in lines that fit the terminal, broken between words; later ones begin with `later` (as wide as
    `start`). What is longer than a line (an address, a command) stays whole, and where there is no terminal, all of it. What a
    terminal would do instead of show is left out."""
    text, start = plain(text), plain(start)
    if not (sys.stderr if err else sys.stdout).isatty():
        return start + text
    return filled(text, shutil.get_terminal_size().columns, start, " " * len(start) if later is None else later)


def print_json(value: object) -> None:
    """Print `value` as indented JSON."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    """Print rows as a table as wide as the terminal, no word of it broken; a row a line when standard output is not one."""
    # A pipe has no width, and nothing may be cut on the way to grep.
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _PIPE_WIDTH
    texts = [[plain(str(cell)) for cell in row] for row in rows]
    click.secho(title or "", italic=True)
    for line in laid_out(columns, texts, width):
        click.secho(line.text, bold=line.is_head)
    click.echo()
