"""`relight doctor`: what stands between this configuration and an answer, and what to do about it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click

from relight.cli.checks import Check, Result, folder_check, machine_checks
from relight.cli.inspection import engine_check, has_weights, memory_of_all, model_checks
from relight.cli.output import config_option, json_option, print_json, print_table
from relight.config.load import Loaded, load
from relight.errors import ConfigError, ExitCode, RelightError
from relight.values import format_bytes


@click.command()
@config_option
@json_option
@click.option("--start", "starts", is_flag=True, help="Also start each engine, ask it once, and time it.")
@click.pass_context
def doctor(context: click.Context, config_file: str, *, as_json: bool, starts: bool) -> None:
    """Check whether this configuration can be served here; exit code 1 when something fails.

    Looks at Python, the configuration, CPU, port, weights, engines, context and memory, and says what to do.
    """
    loaded: Loaded | ConfigError
    try:
        loaded = load(config_file)
    except ConfigError as error:
        loaded = error
    checks = list(_checks(config_file, loaded))
    if starts and isinstance(loaded, Loaded):
        checks += _starts(loaded)
    _show(checks, as_json=as_json)
    context.exit(ExitCode.FOUND if any(check.result is Result.FAIL for check in checks) else ExitCode.OK)


def _checks(config_file: str, loaded: Loaded | ConfigError) -> Iterator[Check]:
    yield from machine_checks(config_file, loaded)
    if isinstance(loaded, ConfigError):
        return
    models = loaded.config.models
    folder = loaded.folder / Path(loaded.config.weights.dir).expanduser()
    yield folder_check(folder, is_complete=all(has_weights(name, model, loaded) for name, model in models.items()))
    yield from (engine_check(kind) for kind in dict.fromkeys(model.engine for model in models.values()))
    for name, model in models.items():
        yield from model_checks(name, model, loaded)
    yield from memory_of_all(loaded)


def _starts(loaded: Loaded) -> Iterator[Check]:
    from relight.cli.trial import try_out

    for name, model in loaded.config.models.items():
        if not has_weights(name, model, loaded):
            continue  # their own check has said so
        click.echo(f"{name}: starting the engine and asking it for a few words …", err=True)
        try:
            trial = asyncio.run(try_out(name, model, loaded))
        except RelightError as error:
            yield Check(Result.FAIL, "start", error.message, error.hint or "see the engine's own words", name)
            continue
        seen = f"ready after {trial.load_s:.2f} s, first token after {trial.first_token_s:.2f} s more"
        seen += f", then {trial.rate:.0f} tokens/s" if trial.rate else ""
        seen += f"; {format_bytes(trial.memory)} resident" if trial.memory else ""
        yield Check(Result.PASS, "start", seen, model=name)


def _show(checks: list[Check], *, as_json: bool) -> None:
    if as_json:
        print_json(checks)
        return
    rows = [(c.result, f"{c.model}: {c.check}" if c.model else c.check, c.seen, c.advice or "") for c in checks]
    print_table(("", "check", "what was seen", "what to do"), rows)
    count = Counter(check.result for check in checks)
    click.echo(f"{count[Result.PASS]} passed, {count[Result.WARN]} to look at, {count[Result.FAIL]} failed")
