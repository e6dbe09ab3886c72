"""`relight bake`: make prefix snapshots now, so that no wake has to read those prefixes again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from relight.cli.output import config_option, json_option, print_json, print_table
from relight.cli.recording import patterns, to_bake
from relight.config.kinds import Kind, kind
from relight.config.load import Loaded, load
from relight.errors import ExitCode, UsageError
from relight.serve.snapshots import MEASURED, ground_of, open_store, takes_snapshots
from relight.values import format_bytes
from relight.weights.wanted import require

if TYPE_CHECKING:
    from relight.cli.baking import Baked
    from relight.cli.recorded import Recorded


@click.command()
@click.argument("files", metavar="[FILE]...", nargs=-1, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--model", "-m", "wanted", metavar="NAME", help="Bake for this model, whatever the files say.")
@click.option("--again", is_flag=True, help="Bake also what is there already.")
@click.option("--quiet", "-q", is_flag=True, help="Say nothing of what is there already.")
@config_option
@json_option
@click.pass_context
def bake(  # noqa: PLR0913 - one parameter an option
    context: click.Context,
    files: tuple[Path, ...],
    wanted: str | None,
    config_file: str,
    *,
    again: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Make snapshots of what the requests in FILE begin with: their system prompt and their tools.

    A FILE holds the JSON body of one request, in the dialect of chat completions, messages or responses; `relight prefixes
    record` writes such files from live traffic. Without FILE, those of prefixes.bake (where that is not set: prefixes/*.json)
    and the assistant's modes. Each snapshot is given back to an empty slot and asked, so that what the table says was measured.
    Exit code 1 when one could not be made.
    """
    from relight.cli.recorded import of_modes, read

    loaded = load(config_file)
    recorded = [read(file) for file in files or to_bake(loaded)]
    if not files and wanted is None:
        recorded += [mode for mode in of_modes(loaded) if takes_snapshots(loaded.config.models[mode.model or ""])]
    if not recorded:
        raise _nothing(loaded)
    baked: list[Baked] = []
    for name, requests in _by_model(recorded, loaded, wanted).items():
        baked += _bake(name, requests, loaded, again=again)
    if quiet:
        baked = [one for one in baked if one.state != "kept"]
    if as_json:
        print_json(baked)
    elif baked or not quiet:
        _show(baked)
    context.exit(ExitCode.FOUND if any(one.state == "failed" for one in baked) else ExitCode.OK)


def _nothing(loaded: Loaded) -> UsageError:
    modes = ", and there is no assistant" if not loaded.config.assistant.is_there else ""
    return UsageError(
        f"bake: nothing to bake: no {' and no '.join(patterns(loaded))} in {loaded.folder}{modes}",
        hint="name files with request bodies, or record some: relight prefixes record",
    )


def _by_model(recorded: Iterable[Recorded], loaded: Loaded, wanted: str | None) -> dict[str, list[Recorded]]:
    known = loaded.config.models
    found: dict[str, list[Recorded]] = {}
    for request in recorded:
        named = request.model if request.model in known else None
        name = wanted or named or loaded.config.answering_model()
        if name is None or name not in known:
            what = f'no model is called "{name}"' if name else "it is not clear for which model"
            raise UsageError(f"{request.name}: {what}", hint=f"say --model with one of: {', '.join(known)}")
        model = known[name]
        if not takes_snapshots(model):
            raise UsageError(
                f'{request.name}: "{name}" is served by {model.engine if kind(model) is Kind.OURS else "somebody else"}, which '
                "saves nothing",
                hint="snapshots are llama.cpp's: name a model that it serves",
            )
        found.setdefault(name, []).append(request)
    return found


def _bake(name: str, requests: list[Recorded], loaded: Loaded, *, again: bool) -> list[Baked]:
    from relight.cli.baking import Job, Oven
    from relight.cli.bars import TokenBar
    from relight.cli.recorded import as_asked
    from relight.lifecycle.measured import Measured

    model = loaded.config.models[name]
    jobs = [Job(request.name, *as_asked(request, name, loaded)) for request in requests]
    weights = require(name, model, loaded.folder, loaded.config.weights.dir)
    with TokenBar() as bar:
        measured = Measured(loaded.weights_dir / MEASURED)
        oven = Oven(name, model, weights, open_store(loaded, bar.say), ground_of(name, loaded), measured=measured)
        return asyncio.run(oven.bake(jobs, bar.show, again=again))


def _show(baked: list[Baked]) -> None:
    rows = [
        (
            one.name,
            one.model,
            one.state,
            one.tokens or "–",
            format_bytes(one.size) if one.size else "–",
            _seconds(one.bake_s),
            _seconds(one.restore_s),
            _seconds(one.saves_s),
        )
        for one in baked
    ]
    print_table(("prefix", "model", "", "tokens", "size", "read in", "restored in", "saves"), rows)
    for one in baked:
        if one.reason is not None:
            click.echo(f"{one.name}: {one.reason}", err=True)


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f} s"
