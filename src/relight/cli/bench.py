"""`relight bench`: what a wake costs on this machine, with this configuration's model."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from relight.cli.output import config_option, json_option, print_json, print_table
from relight.config.load import Loaded, load
from relight.errors import UsageError
from relight.serve.snapshots import takes_snapshots
from relight.weights.wanted import require

if TYPE_CHECKING:
    from relight.cli.waking import Woken


@click.group()
def bench() -> None:
    """Measure on this machine."""


@bench.command()
@click.argument("name", metavar="[MODEL]", required=False)
@click.option("--tokens", multiple=True, type=click.IntRange(0), help="Length of the shared prefix; may be given several times.")
@click.option("--runs", default=3, show_default=True, type=click.IntRange(1), help="Wakes of each kind.")
@config_option
@json_option
def wake(name: str | None, tokens: tuple[int, ...], runs: int, config_file: str, *, as_json: bool) -> None:
    """Time a wake of MODEL, from the start of its engine to the first token of an answer, with and without a prefix snapshot.

    The prefixes are made up; without --tokens there are two, of none and of 1,000 tokens. Reading a long one takes its time.
    """
    loaded = load(config_file)
    name = _chosen(name, loaded)
    found = asyncio.run(_measure(name, loaded, tokens or (0, 1000), runs))
    if as_json:
        print_json(found)
        return
    columns = ("prefix", "", "wake", "restore", "read", "first token after", "")
    print_table(columns, [_cells(one, found) for one in found])


def _chosen(name: str | None, loaded: Loaded) -> str:
    models = loaded.config.models
    able = [known for known, model in models.items() if takes_snapshots(model)]
    if name is None and len(able) != 1:
        raise UsageError("bench: it is not clear of which model", hint=f"name one of: {', '.join(able) or 'none can be timed'}")
    if name is not None and name not in able:
        raise UsageError(f'bench: "{name}" cannot be timed', hint=f"name one of: {', '.join(able) or 'none can be timed'}")
    return name or able[0]


async def _measure(name: str, loaded: Loaded, sizes: tuple[int, ...], runs: int) -> list[Woken]:
    from relight.cli.bars import TokenBar
    from relight.cli.waking import Bench

    model = loaded.config.models[name]
    weights = require(name, model, loaded.folder, loaded.config.weights.dir)
    with TokenBar() as bar:
        timed = Bench(name, model, weights, bar)
        return [woken for size in sizes for woken in await timed.wakes(size, runs)]


def _cells(one: Woken, every: list[Woken]) -> tuple[str, ...]:
    plain = next(other.first_token_s for other in every if other.tokens == one.tokens and not other.snapshot)
    times = plain / one.first_token_s if one.snapshot else None
    prefix = f"{one.tokens} tokens" if one.tokens else "none"
    how = "snapshot" if one.snapshot else "read"
    shown = (one.wake_s, one.restore_s, one.prefill_s, one.first_token_s)
    return (prefix, how, *(f"{seconds:.2f} s" for seconds in shown), "" if times is None else f"{times:.1f} x faster")
