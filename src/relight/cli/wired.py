"""How a connection is shown: what changes in which file and why, what to export, what to run. Changes nothing."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import click
from msgspec import Struct

from relight.agents.disk import Change
from relight.agents.place import named
from relight.agents.wiring import Endpoint, Setting, Wiring
from relight.cli.output import folded, plain

_STARS: Final = "***"
# What stands behind such a name is shown only where it refers to something: "$NAME", "{env:NAME}", the name of a variable.
_SECRET: Final = re.compile(
    r"""(?ix) (?P<before> (?:key|token|secret|passw(?:or)?d|credential|authorization) ["']? \s* [:=] \s* ["']? )
    (?P<value> [^\s"',}\]\#]{6,} (?:\ [^\s"',}\]\#]+)* )"""
)
_REFERENCE: Final = re.compile(r"[${<%].*|[A-Z_][A-Z0-9_]*|none|true|false|null|[\d.]+", re.DOTALL)
_LOOSE: Final = re.compile(r"(?:sk|rl|pk|ghp|xox[a-z])[-_][A-Za-z0-9_-]{16,}|AIza[\w-]{30,}|eyJ[\w-]{20,}[.\w-]*")
_NAMED: Final = re.compile(r"\$\{?[A-Za-z_][A-Za-z0-9_]*\}?")
_COLOURS: Final = {"+": "green", "-": "red", "@": "cyan"}


class FileReport(Struct, frozen=True, kw_only=True):
    """One file, as `--json` prints it; `text` only where it was asked for, keys starred."""

    path: str
    state: str
    diff: str
    why: dict[str, str] = {}
    text: str | None = None


def state_of(change: Change) -> str:
    """What becomes of the file, in a word."""
    if not change.is_one:
        return "unchanged"
    return "created" if change.before is None else "removed" if change.after is None else "changed"


def report(change: Change, settings: Sequence[Setting] = (), *, with_text: bool = False) -> FileReport:
    """One file for a program."""
    return FileReport(
        path=change.where,
        state=state_of(change),
        diff="".join(f"{line}\n" for line in diff(change)),
        why={named(setting.at): setting.why for setting in settings if setting.why},
        text=starred(_text(change.after)) if with_text else None,
    )


def diff(change: Change) -> Iterator[str]:
    """A unified diff, line by line, keys starred and nothing in it that moves a cursor."""
    before, after = _text(change.before), _text(change.after)
    names = ("/dev/null" if change.before is None else change.where, "/dev/null" if change.after is None else change.where)
    for line in difflib.unified_diff(_lines(before), _lines(after), *names, lineterm="\n"):
        yield starred(plain(line.rstrip("\r\n")))
        if not line.endswith("\n"):
            yield "\\ No newline at end of file"


def show_change(change: Change, settings: Sequence[Setting] = ()) -> None:
    """Print the diff of one file, coloured on a terminal, and below it why its settings are what they are."""
    from rich.console import Console
    from rich.text import Text

    console = Console(markup=False, highlight=False)
    if not change.is_one:
        console.print(f"{change.where}: nothing changes", soft_wrap=True)
        return
    for line in diff(change):
        is_head = line.startswith(("+++", "---"))
        console.print(Text(line, style="bold" if is_head else _COLOURS.get(line[:1], "")), soft_wrap=True)
    if change.before == change.after:
        console.print(f"{change.where}: from now on with mode {change.mode:o}", soft_wrap=True)
    for why in dict.fromkeys(setting.why for setting in settings if setting.why):
        about = ", ".join(named(setting.at) for setting in settings if setting.why == why)
        click.secho(folded(f"{about}: {why}", start="  ", later="    "), dim=True)


def exports(environment: Mapping[str, str]) -> list[str]:
    """Lines for a shell; what refers to another variable is left to it."""
    return [f"export {name}={quoted(value)}" for name, value in environment.items()]


def quoted(value: str) -> str:
    """A value as a shell reads it back: in double quotes when it names variables, which it is to expand."""
    if not _NAMED.search(value):
        return shlex.quote(value)
    said, at = "", 0
    for found in _NAMED.finditer(value):
        said += re.sub(r'([\\"`$])', r"\\\1", value[at : found.start()]) + found[0]
        at = found.end()
    return '"' + said + re.sub(r'([\\"`$])', r"\\\1", value[at:]) + '"'


def show_after(wiring: Wiring, key_variable: str | None = None) -> None:
    """Print what is left to do: what to export, what to paste, what to run, and what to know."""
    if wiring.environment or key_variable:
        click.echo("\nset in the shell that starts it:")
        if key_variable:
            click.echo(f"  export {key_variable}=…   # your key")
        for line in exports(wiring.environment):
            click.echo(f"  {line}")
    if wiring.snippet:
        click.echo(f"\n{wiring.snippet.rstrip()}")
    if wiring.start:
        click.echo(f"\nstart it: {wiring.start}")
    for note in wiring.notes:
        click.echo(folded(note, start="  note: "))


def show_files(changes: Sequence[Change]) -> None:
    """Print whole files as they would be, keys starred."""
    for change in changes:
        click.secho(f"# {change.where}", bold=True)
        click.echo(starred(plain(_text(change.after))).rstrip("\n"))
        click.echo()


def described(endpoint: Endpoint) -> str:
    """`smol at http://127.0.0.1:8080 (8,192 tokens, 2,048 of them for an answer)`."""
    known = "" if endpoint.context is None else f"{endpoint.context:,} tokens"
    if known and endpoint.output is not None:
        known += f", at most {endpoint.output:,} of them for an answer"
    return f"{endpoint.model} at {endpoint.url}" + (f" ({known})" if known else "")


def starred(text: str) -> str:
    """`text` without what looks like a key: what is shown may be seen by others."""

    def star(found: re.Match[str]) -> str:
        return found[0] if _REFERENCE.fullmatch(found["value"]) else found["before"] + _STARS

    return _LOOSE.sub(_STARS, _SECRET.sub(star, text))


def _text(raw: bytes | None) -> str:
    return "" if raw is None else raw.decode("utf-8", errors="replace")


def _lines(text: str) -> list[str]:
    lines = text.split("\n")
    return [*(f"{line}\n" for line in lines[:-1]), *([lines[-1]] if lines[-1] else [])]
