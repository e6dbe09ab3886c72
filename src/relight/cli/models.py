"""`relight models`: list the models; download and check the weights of those that are served from here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from relight.cli.backend import called, place, why_no_weights
from relight.cli.output import config_option, json_option, print_json, print_table
from relight.config.kinds import Kind, kind
from relight.config.load import Loaded, load
from relight.config.schema import Model
from relight.errors import ExitCode, RelightError, UsageError
from relight.values import format_bytes
from relight.weights import store
from relight.weights.fetch import State, Wanted, Weights, fetch, state, verify, wanted
from relight.weights.part import held
from relight.weights.wanted import keeps_weights, size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from relight.weights.progress import Report

_SHORT = 12


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One model, as `--json` prints it: `kind` is its engine, `provider` or `list`, `size` in bytes.

    `state` tells of the weights that we keep, so it is None for those of others.
    """

    name: str
    kind: str
    place: str
    context: int | None = None
    size: int | None = None
    state: str | None = None
    sha256: str | None = None
    path: str | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What `pull` or `verify` found for one model; `size` in bytes."""

    name: str
    ok: bool
    fetched: bool = False
    sha256: str | None = None
    size: int | None = None
    path: str | None = None
    error: str | None = None


@click.group()
def models() -> None:
    """Download, list and check model weights."""


@models.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@config_option
@json_option
@click.pass_context
def pull(context: click.Context, names: tuple[str, ...], config_file: str, *, as_json: bool) -> None:
    """Download the weights of the models NAME, or of all; what is here already is left alone."""
    outcomes = _each(load(config_file), names, lambda want, report: fetch(want, report=report), _pulled)
    _finish(context, outcomes, as_json=as_json)


@models.command("verify")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@config_option
@json_option
@click.pass_context
def verify_command(context: click.Context, names: tuple[str, ...], config_file: str, *, as_json: bool) -> None:
    """Read the weights of the models NAME, or of all, and compare their digests; exit code 1 when one differs."""
    outcomes = _each(load(config_file), names, lambda want, report: verify(want, report=report), _verified)
    _finish(context, [(ExitCode.OK if outcome.ok else ExitCode.FOUND, outcome) for _, outcome in outcomes], as_json=as_json)


@models.command("list")
@config_option
@json_option
def list_command(config_file: str, *, as_json: bool) -> None:
    """List the models: what answers for each, where that comes from, and whether its weights are here."""
    loaded = load(config_file)
    rows = [_row(name, model, loaded) for name, model in loaded.config.models.items()]
    if as_json:
        print_json(rows)
        return
    columns = ("name", "kind", "where", "context", "size", "state", "sha256")
    print_table(columns, [_cells(row) for row in rows])


def _cells(row: Row) -> tuple[str, ...]:
    size = None if row.size is None else format_bytes(row.size)
    told = (row.place, row.context, size, row.state, (row.sha256 or "")[:_SHORT])
    return (row.name, row.kind, *(str(cell) if cell else "–" for cell in told))


def _row(name: str, model: Model, loaded: Loaded) -> Row:
    row = Row(name=name, kind=called(model), place=place(model))
    if kind(model) is Kind.OURS:
        row = msgspec.structs.replace(row, context=model.context)
    if not keeps_weights(model):
        return row
    want = wanted(name, model, loaded.folder, loaded.config.weights.dir)
    found = state(want)
    size = held(want.part) if found is State.PARTIAL else size_of(want.path)
    record = store.read_record(want.record) if found is State.DOWNLOADED else None
    return msgspec.structs.replace(
        row,
        place=want.source.text,
        size=size,
        state=str(found),
        sha256=record.sha256 if record else model.sha256,
        path=str(want.path) if found is State.DOWNLOADED else None,
    )


def _each(
    loaded: Loaded,
    names: tuple[str, ...],
    work: Callable[[Wanted, Report], Weights],
    describe: Callable[[Wanted, Weights], Iterable[str]],
) -> list[tuple[int, Outcome]]:
    """Do `work` for every model that was asked for; one that fails does not keep the others from being done."""
    from relight.cli.bars import Bars

    outcomes = []
    # Every reference is read before the first download: a typing error in the last one should not cost a wait.
    wants = [wanted(name, model, loaded.folder, loaded.config.weights.dir) for name, model in _chosen(loaded, names)]
    with Bars() as bars:
        for want in wants:
            try:
                weights = work(want, bars.report(want.name))
            except RelightError as error:
                bars.say(f"error: {error}")
                outcomes.append((error.exit_code, Outcome(name=want.name, ok=False, error=str(error))))
                continue
            for line in describe(want, weights):
                bars.say(line)
            outcomes.append((0, _done(want, weights)))
    return outcomes


def _done(want: Wanted, weights: Weights) -> Outcome:
    return Outcome(
        name=want.name,
        ok=True,
        fetched=weights.fetched,
        sha256=weights.sha256,
        size=weights.size,
        path=str(weights.path),
    )


def _chosen(loaded: Loaded, names: tuple[str, ...]) -> list[tuple[str, Model]]:
    known = loaded.config.models
    for name in names:
        if name not in known:
            raise UsageError(f'models: no model is called "{name}"', hint=f"configured: {', '.join(known) or 'none'}")
    chosen = {name: known[name] for name in names or known}
    for name, model in chosen.items():
        if reason := why_no_weights(model):
            click.echo(f"{name}: {reason}", err=True)
    return [(name, model) for name, model in chosen.items() if keeps_weights(model)]


def _pulled(want: Wanted, weights: Weights) -> Iterable[str]:
    what = "downloaded" if weights.fetched else "already here"
    yield f"{want.name}: {what}, {format_bytes(weights.size)}, {_about(weights.path)}"
    if want.sha256 is None:
        yield f'{want.name}: to stay with exactly this file, add to [models.{want.name}]:  sha256 = "{weights.sha256}"'


def _verified(want: Wanted, weights: Weights) -> Iterable[str]:
    if want.sha256 is None and not want.is_ours:
        yield f"{want.name}: readable, but no models.{want.name}.sha256 to compare with; it is {weights.sha256}"
    else:
        yield f"{want.name}: as it should be, sha256 {weights.sha256}"


def _about(path: Path) -> str:
    """The header in a few words."""
    from relight.weights.gguf import read_header

    header = read_header(path)
    return f"{header.architecture}, {header.parameters} parameters, {header.file_type}, made for {header.context_length} tokens"


def _finish(context: click.Context, outcomes: list[tuple[int, Outcome]], *, as_json: bool) -> None:
    if as_json:
        print_json([outcome for _, outcome in outcomes])
    context.exit(max((code for code, _ in outcomes), default=0))
