"""`relight doctor`: what stands between this configuration and an answer, and what to do about it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator

import click

from relight.cli.backend import provider_host
from relight.cli.checks import Check, Result, folder_check, machine_checks
from relight.cli.inspection import engine_check, has_weights, memory_of_all, model_checks, snapshots_check
from relight.cli.output import config_option, json_option, print_json, print_table
from relight.cli.provider import reach_check
from relight.cli.rehearsal import assistant_check
from relight.config.kinds import Kind, kind
from relight.config.load import Loaded, load
from relight.config.schema import Model
from relight.errors import ConfigError, ExitCode, RelightError
from relight.serve.snapshots import takes_snapshots
from relight.values import format_bytes
from relight.weights.wanted import require


@click.command()
@config_option
@json_option
@click.option(
    "--start",
    "starts",
    is_flag=True,
    help="Also start each engine, ask it once, and time it; ask each provider for its list of models.",
)
@click.option(
    "--target",
    type=click.Choice(["cloudrun"]),
    help="Also check whether it could run there; asks it, too, when signed in.",
)
@click.pass_context
def doctor(context: click.Context, config_file: str, target: str | None, *, as_json: bool, starts: bool) -> None:
    """Check whether this configuration can be served here; exit code 1 when something fails.

    Looks at Python, the configuration, CPU, port, keys, weights, engines, context, memory, providers and the assistant, and says
    what to do.
    """
    loaded: Loaded | ConfigError
    try:
        loaded = load(config_file)
    except ConfigError as error:
        loaded = error
    checks = list(_checks(config_file, loaded))
    if starts and isinstance(loaded, Loaded):
        checks += _starts(loaded)
    if target is not None and isinstance(loaded, Loaded):
        from relight.cli.applying import looked
        from relight.cli.target import target_checks

        case, _, unasked = looked(loaded, config_file)
        checks += target_checks(case, unasked)
    _show(checks, as_json=as_json)
    context.exit(ExitCode.FOUND if any(check.result is Result.FAIL for check in checks) else ExitCode.OK)


def _checks(config_file: str, loaded: Loaded | ConfigError) -> Iterator[Check]:
    yield from machine_checks(config_file, loaded)
    if isinstance(loaded, ConfigError):
        return
    models = loaded.config.models
    folder = loaded.weights_dir
    yield folder_check(folder, is_complete=all(has_weights(name, model, loaded) for name, model in models.items()))
    ours = [model for model in models.values() if kind(model) is Kind.OURS]
    yield from (engine_check(engine) for engine in dict.fromkeys(model.engine for model in ours))
    for name, model in models.items():
        yield from model_checks(name, model, loaded)
    if (check := assistant_check(loaded)) is not None:
        yield check
    yield from memory_of_all(loaded)
    yield from snapshots_check(loaded)


def _starts(loaded: Loaded) -> Iterator[Check]:
    for name, model in loaded.config.models.items():
        if kind(model) is Kind.PROVIDER:
            click.echo(f"{name}: asking {provider_host(model)} for its models …", err=True)
            if (check := reach_check(name, model, loaded)) is not None:
                yield check
        elif kind(model) is Kind.OURS and has_weights(name, model, loaded):  # else its own check has said so
            click.echo(f"{name}: starting the engine and asking it for a few words …", err=True)
            yield _start(name, model, loaded)
            if takes_snapshots(model):
                click.echo(f"{name}: trying whether it takes a prefix snapshot back …", err=True)
                yield _snapshots(name, model, loaded)


def _start(name: str, model: Model, loaded: Loaded) -> Check:
    from relight.cli.trial import try_out

    try:
        trial = asyncio.run(try_out(name, model, loaded))
    except RelightError as error:
        return Check(Result.FAIL, "start", error.message, error.hint or "see the engine's own words", name)
    seen = f"ready after {trial.load_s:.2f} s, {trial.answer} after {trial.answer_s:.2f} s more"
    seen += f", then {trial.rate:.0f} tokens/s" if trial.rate else ""
    seen += f"; {format_bytes(trial.memory)} resident" if trial.memory else ""
    return Check(Result.PASS, "start", seen, model=name)


def _snapshots(name: str, model: Model, loaded: Loaded) -> Check:
    from relight.cli.baking import prove

    try:
        baked = asyncio.run(prove(name, model, require(name, model, loaded.folder, loaded.config.weights.dir)))
    except RelightError as error:
        return Check(Result.WARN, "snapshots", error.message, error.hint or "it is served without them", name)
    if baked.reason is not None:
        return Check(Result.WARN, "snapshots", baked.reason, "it is served without them: prompts are read after each wake", name)
    seen = f"{baked.cached_tokens} of {baked.tokens} tokens known after taking them back, the answer is the same"
    return Check(Result.PASS, "snapshots", f"{seen}; {format_bytes(baked.size // baked.tokens)} a token", model=name)


def _show(checks: list[Check], *, as_json: bool) -> None:
    if as_json:
        print_json(checks)
        return
    rows = [(c.result, f"{c.model}: {c.check}" if c.model else c.check, c.seen, c.advice or "") for c in checks]
    print_table(("", "check", "what was seen", "what to do"), rows)
    count = Counter(check.result for check in checks)
    click.echo(f"{count[Result.PASS]} passed, {count[Result.WARN]} to look at, {count[Result.FAIL]} failed")
