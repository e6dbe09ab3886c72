"""`relight docs`: the reference pages, generated from the schema of the configuration and the tree of commands."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import click

from relight.cli.files import write_text
from relight.config.reference import json_schema, markdown


@click.command()
@click.option("--write", "folder", type=click.Path(file_okay=False, path_type=Path), help="Write all pages into this folder.")
def docs(*, folder: Path | None) -> None:
    """Print the configuration reference, or write it with the command reference and the JSON Schema."""
    if folder is None:
        click.echo(markdown(), nl=False)
        return
    root = click.get_current_context().find_root().command
    pages = {name: generate(root) for name, generate in PAGES.items()}
    for name, text in pages.items():
        write_text(folder / name, text)
        click.echo(f"wrote {folder / name}")


def commands(root: click.Command) -> str:
    """A page with a heading for each command and a row for each of its arguments and options."""
    context = click.Context(root, info_name="relight")
    head = (
        "# Commands\n\nExit codes: 0 fine, 1 a check found something, 2 usage, 3 configuration, 4 engine, 5 network, 6 cloud.\n"
    )
    return "\n".join([head, *_command(root, context)])


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    yield f"## `{context.command_path}`\n\n{_prose(command.help or '')}\n"
    yield f"```\n{context.command_path} {' '.join(command.collect_usage_pieces(context))}\n```\n"
    rows = [_row(parameter, context) for parameter in command.params]
    if rows:
        yield "\n".join(["| argument or option | what it does | default |", "|---|---|---|", *rows, ""])
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None:
                yield from _command(inner, click.Context(inner, info_name=name, parent=context))


def _row(parameter: click.Parameter, context: click.Context) -> str:
    is_option = isinstance(parameter, click.Option)
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts)) if is_option else ""
    value = parameter.make_metavar(context)
    takes_value = not (isinstance(parameter, click.Option) and (parameter.is_flag or parameter.count))
    said = parameter.help or "" if isinstance(parameter, click.Option) else ""
    cells = (f"{names} `{value}`".strip() if takes_value else names, said, _default(parameter, context))
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _default(parameter: click.Parameter, context: click.Context) -> str:
    default = parameter.get_default(context, call=False)
    is_plain = isinstance(default, (str, int, float)) and not isinstance(default, bool)
    return f"`{default}`" if is_plain and default != "" else ""


def _prose(text: str) -> str:
    r"""A command's help as Markdown: paragraphs as they are, what stands behind click's `\b` as it is laid out."""
    parts = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(
        "```\n" + part.removeprefix("\b").strip("\n") + "\n```" if part.startswith("\b") else " ".join(part.split())
        for part in parts
    )


# Every generated page: file name -> what makes it, given the `relight` command.
PAGES: Final[dict[str, Callable[[click.Command], str]]] = {
    "configuration.md": lambda _: markdown(),
    "relight.schema.json": lambda _: json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n",
    "commands.md": commands,
}
