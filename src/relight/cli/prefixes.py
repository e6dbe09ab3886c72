"""`relight prefixes`: which snapshots there are, throwing them away, recording what to make them of, and what breaks them."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import click
import msgspec

from relight.cli.files import write_text
from relight.cli.output import config_option, json_option, print_json, print_table
from relight.config.load import Loaded, load
from relight.decoding import NOT_JSON
from relight.errors import RelightError, UsageError
from relight.prefixes.key import Chain
from relight.prefixes.store import Entry, Store
from relight.serve.snapshots import ground_of, open_store, takes_snapshots
from relight.values import counted, format_bytes

_SHORT = 12
_RECORD_PORT = 8788


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One snapshot, as `--json` prints it. `size` in bytes; `model` is None when no model of this configuration can read it."""

    prefix: str
    label: str
    model: str | None
    tokens: int
    size: int
    prefill_s: float
    made_at: str
    path: str


@click.group()
def prefixes() -> None:
    """List, remove, record and explain prefixes: what models need not read again after a wake."""


@prefixes.command("list")
@config_option
@json_option
def list_command(config_file: str, *, as_json: bool) -> None:
    """List the snapshots: of which model, how many tokens, how large, and how long reading them would take."""
    loaded = load(config_file)
    rows = _rows(loaded, _store(loaded))
    if as_json:
        print_json(rows)
        return
    columns = ("prefix", "what", "model", "tokens", "size", "read in", "made")
    print_table(columns, [_cells(row) for row in rows])
    if not rows:
        click.echo(f"no snapshots in {loaded.config.prefixes.dir}; make some with: relight bake FILE", err=True)


@prefixes.command()
@click.argument("names", metavar="[PREFIX]...", nargs=-1)
@click.option("--foreign", is_flag=True, help="Remove those that no model of this configuration can read.")
@config_option
def remove(names: tuple[str, ...], config_file: str, *, foreign: bool) -> None:
    """Remove the snapshots whose names begin with PREFIX, as `relight prefixes list` shows them."""
    if not names and not foreign:
        raise UsageError("prefixes remove: nothing is named", hint="name prefixes as `relight prefixes list` shows them")
    loaded = load(config_file)
    store = _store(loaded)
    models = _models(loaded)
    for entry in _chosen(store, names) + ([one for one in store.all() if one.manifest.ground not in models] if foreign else []):
        store.remove(entry)
        manifest = entry.manifest
        click.echo(f"removed {manifest.prefix[:_SHORT]} ({manifest.label}), {format_bytes(manifest.payload_bytes)}")


@prefixes.command()
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(file_okay=False, path_type=Path))
@click.option("--port", "-p", type=click.IntRange(0, 65535), default=None, help="Port to listen on; wins over PORT.")
@click.option("--agent", metavar="NAME", help="Take down the first question of this agent, and answer it without a model.")
@click.option("--run", metavar="COMMAND", help="Start the agent so, with --agent; {url} in it becomes the address.")
@click.option("--env", multiple=True, metavar="NAME=VALUE", help="Variable of the agent's, with {url} or {v1}; may be repeated.")
@click.option(
    "--model", "-m", "wanted", metavar="NAME", help="The model that the agent will ask. Left out: the one that answers."
)
@click.option("--bake", "bakes", is_flag=True, help="Make the snapshot as well, with --agent.")
@config_option
@json_option
@click.pass_context
def record(context: click.Context, /, folder: Path | None, config_file: str, *, agent: str | None, **how: Any) -> None:
    """Serve, and write what requests begin with to files in DIR: system prompt and tools, never a user's words.

    Point an agent at it, ask it anything, and stop it with Ctrl-C; then: relight bake DIR/*.json

    With --agent no model is needed: the agent's first question is taken down and it is told that all is done. One that was
    connected (relight connect) is started in its own set-up, while nobody else serves at its address; another is started with
    --run, or by you. DIR is then, unless named, where `relight bake` looks.
    """
    if agent is not None:
        _record_agent(context, agent, load(config_file), folder, how)
        return
    if folder is None:
        raise UsageError("prefixes record: no folder is named", hint="name one, or an agent with --agent")
    from relight.cli.serve import serve_it

    serve_it(load(config_file, flags={"server.port": how["port"]}), context.obj, _Recorder(folder))


def _record_agent(context: click.Context, agent: str, loaded: Loaded, folder: Path | None, how: dict[str, Any]) -> None:
    from relight.bridge.recorder import PATIENCE_S
    from relight.cli import recording

    start, port, asks = recording.started(how["run"], how["env"]), how["port"], how["wanted"]
    if start is None and port is None and (connected := recording.as_connected(agent, os.environ)) is not None:
        start, port = connected.start, connected.port
        asks = asks or (connected.model if connected.model in loaded.config.models else None)
    elif port is None:
        port = 0 if start is not None else _RECORD_PORT
    model = recording.model_for(asks, loaded)
    if start is None:
        click.echo(f"ask {agent} anything, pointed at http://127.0.0.1:{port}", err=True)
    kept = recording.keep(recording.recorded(start, port, model, PATIENCE_S), agent, model, loaded, folder)
    if how["as_json"] and not how["bakes"]:
        print_json(kept)
    else:
        what = f"{format_bytes(kept.size)}, about {kept.tokens} tokens, {counted(kept.tools, 'tool')}"
        click.echo(f"recorded {kept.path}: {what}", err=True)
    if how["bakes"]:
        from relight.cli.bake import bake

        files = (Path(kept.path),)
        more: dict[str, Any] = {"wanted": None, "again": False, "quiet": False, "as_json": how["as_json"]}
        context.invoke(bake, files=files, config_file=str(loaded.path), **more)
    else:
        where = "" if kept.is_baked else f" {kept.path}"
        click.echo(f"now: relight bake{where}", err=True)


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """What kept prompts from beginning as before, as `--json` prints it: how often, and what reading them again cost."""

    model: str
    what: str
    where: str
    times: int
    tokens: int
    seconds: float
    counted: int = 0
    """Of the times, those whose tokens the engine has counted; those of the others are estimated by their text."""


@prefixes.command()
@click.argument("log", metavar="[LOG]", type=click.File("rb"), default="-")
@json_option
def why(log: BinaryIO, *, as_json: bool) -> None:
    """Say what kept prompts from beginning as before, from the records in LOG (or standard input), the dearest first.

    A date in a system prompt, say, has all behind it read again every day. prefixes.strip takes such things out, prefixes.pin
    keeps them as they were seen first.
    """
    causes = sorted(_causes(log), key=lambda cause: cause.seconds, reverse=True)
    if as_json:
        print_json(causes)
        return
    rows = [(one.model, one.what, one.where, one.times, _tokens(one), f"{one.seconds:.1f} s") for one in causes]
    print_table(("model", "what changed", "where", "times", "tokens read again", "which took"), rows)
    if not causes:
        click.echo("every prompt began as the one before, as far as these records tell", err=True)


def _tokens(cause: Cause) -> str:
    return f"{cause.tokens}" if cause.counted == cause.times else f"about {cause.tokens}"


def _causes(log: BinaryIO) -> list[Cause]:
    found: dict[tuple[str, str, str], Cause] = {}
    for model, broken, is_counted in _breaks(log):
        key = (model, broken.what, broken.where)
        before = found.get(key, Cause(model=model, what=broken.what, where=broken.where, times=0, tokens=0, seconds=0.0))
        found[key] = msgspec.structs.replace(
            before,
            times=before.times + 1,
            tokens=before.tokens + broken.tokens,
            seconds=before.seconds + broken.seconds,
            counted=before.counted + is_counted,
        )
    return list(found.values())


def _breaks(log: BinaryIO) -> list[tuple[str, _Broken, bool]]:
    """Each with the name of its model, and whether it was counted on tokens: a line of its own says so, after the record."""
    told: list[_Told] = []
    counted: dict[str, _Broken] = {}
    for line in log:
        try:
            said = msgspec.json.decode(line, type=_Line)
        except (*NOT_JSON, msgspec.ValidationError):
            continue  # what is no record of ours
        if said.interaction is not None and said.interaction.prefix_break is not None:
            told.append(said.interaction)
        elif said.prefix_break is not None and said.prefix_break.interaction:
            counted[said.prefix_break.interaction] = said.prefix_break
    return [(one.model, counted.get(one.id) or one.prefix_break, one.id in counted) for one in told if one.prefix_break]


class _Broken(msgspec.Struct, frozen=True):
    what: str
    where: str
    tokens: int
    seconds: float
    interaction: str = ""


class _Told(msgspec.Struct, frozen=True):
    id: str = ""
    model: str = ""
    prefix_break: _Broken | None = None


class _Line(msgspec.Struct, frozen=True):
    interaction: _Told | None = None
    prefix_break: _Broken | None = None


class _Recorder:
    """A file for each prefix, once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: set[str] = set()

    def saw(self, model: str, chain: Chain, body: bytes) -> None:
        """See `front.Recorder`."""
        if chain.prefix is None or chain.prefix in self._seen:
            return
        self._seen.add(chain.prefix)
        from relight.cli.recording import text_of

        text = text_of(model, msgspec.json.decode(body))
        file = self._folder / f"{model}-{chain.prefix[:_SHORT]}.json"
        try:
            write_text(file, text)
        except UsageError as error:
            click.echo(f"error: {error}", err=True)
        else:
            click.echo(f"recorded {file}, {format_bytes(len(text))}", err=True)


def _store(loaded: Loaded) -> Store:
    return open_store(loaded, lambda text: click.echo(text, err=True))


def _chosen(store: Store, names: tuple[str, ...]) -> list[Entry]:
    everything = store.all()
    chosen = []
    for name in names:
        found = [entry for entry in everything if entry.manifest.prefix.startswith(name)]
        if not found:
            raise UsageError(f"prefixes: none begins with {name}", hint="see: relight prefixes list")
        chosen += found
    return chosen


def _models(loaded: Loaded) -> dict[str, str]:
    """Names of models by what their snapshots can be read by."""
    found = {}
    for name, model in loaded.config.models.items():
        if takes_snapshots(model):
            with suppress(RelightError, OSError):  # weights that are not here read nothing
                found[ground_of(name, loaded)] = name
    return found


def _rows(loaded: Loaded, store: Store) -> list[Row]:
    models = _models(loaded)
    return [
        Row(
            prefix=entry.manifest.prefix,
            label=entry.manifest.label,
            model=models.get(entry.manifest.ground),
            tokens=entry.manifest.tokens,
            size=entry.manifest.payload_bytes,
            prefill_s=entry.manifest.prefill_s,
            made_at=datetime.fromtimestamp(entry.manifest.made_at, UTC).isoformat(timespec="seconds"),
            path=str(entry.path),
        )
        for entry in store.all()
    ]


def _cells(row: Row) -> tuple[str, ...]:
    model = row.model or "none of these"
    size, read = format_bytes(row.size), f"{row.prefill_s:.2f} s"
    return (row.prefix[:_SHORT], row.label, model, str(row.tokens), size, read, row.made_at[:16].replace("T", " "))
