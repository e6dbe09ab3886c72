"""`relight prefixes`: which snapshots there are, throwing them away, recording what to make them of, and what breaks them."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click
import msgspec

from relight.cli.files import write_text
from relight.cli.output import config_option, json_option, print_json, print_table
from relight.config.load import Loaded, load
from relight.decoding import NOT_JSON
from relight.errors import RelightError, UsageError
from relight.prefixes.boundary import shared_part
from relight.prefixes.key import SETTINGS, Chain
from relight.prefixes.store import Entry, Store
from relight.serve.snapshots import ground_of, open_store, takes_snapshots
from relight.values import format_bytes

if TYPE_CHECKING:
    import socket

_SHORT = 12


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
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--port", "-p", type=click.IntRange(0, 65535), default=None, help="Port to listen on; wins over PORT.")
@config_option
@click.pass_obj
def record(bound: socket.socket | None, folder: Path, port: int | None, config_file: str) -> None:
    """Serve, and write what requests begin with to files in DIR: system prompt and tools, never a user's words.

    Point an agent at it, ask it anything, and stop it with Ctrl-C; then: relight bake DIR/*.json
    """
    from relight.cli.serve import serve_it

    loaded = load(config_file, flags={"server.port": port})
    serve_it(loaded, bound, _Recorder(folder))


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """What kept prompts from beginning as before, as `--json` prints it: how often, and what reading them again cost."""

    model: str
    what: str
    where: str
    times: int
    tokens: int
    seconds: float


@prefixes.command()
@click.argument("log", metavar="[LOG]", type=click.File("rb"), default="-")
@json_option
def why(log: BinaryIO, *, as_json: bool) -> None:
    """Say what kept prompts from beginning as before, from the records in LOG (or standard input), the dearest first.

    A date in a system prompt, say, has all behind it read again every day. prefixes.strip takes such things out.
    """
    causes = sorted(_causes(log), key=lambda cause: cause.seconds, reverse=True)
    if as_json:
        print_json(causes)
        return
    rows = [(one.model, one.what, one.where, one.times, one.tokens, f"{one.seconds:.1f} s") for one in causes]
    print_table(("model", "what changed", "where", "times", "tokens read again", "which took"), rows)
    if not causes:
        click.echo("every prompt began as the one before, as far as these records tell", err=True)


def _causes(log: BinaryIO) -> list[Cause]:
    found: dict[tuple[str, str, str], Cause] = {}
    for line in log:
        try:
            told = msgspec.json.decode(line, type=_Line).interaction
        except (*NOT_JSON, msgspec.ValidationError):
            continue  # what is no record of ours
        if told is None or told.prefix_break is None:
            continue
        broken = told.prefix_break
        key = (told.model, broken.what, broken.where)
        before = found.get(key, Cause(model=told.model, what=broken.what, where=broken.where, times=0, tokens=0, seconds=0.0))
        found[key] = msgspec.structs.replace(
            before, times=before.times + 1, tokens=before.tokens + broken.tokens, seconds=before.seconds + broken.seconds
        )
    return list(found.values())


class _Broken(msgspec.Struct, frozen=True):
    what: str
    where: str
    tokens: int
    seconds: float


class _Told(msgspec.Struct, frozen=True):
    model: str = ""
    prefix_break: _Broken | None = None


class _Line(msgspec.Struct, frozen=True):
    interaction: _Told | None = None


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
        shared = shared_part(msgspec.json.decode(body))
        kept = {name: shared[name] for name in ("messages", *SETTINGS) if name in shared}
        text = msgspec.json.format(msgspec.json.encode({"model": model, **kept}), indent=1).decode()
        file = self._folder / f"{model}-{chain.prefix[:_SHORT]}.json"
        try:
            write_text(file, text + "\n")
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
