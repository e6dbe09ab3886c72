"""`relight keys`: make, list and revoke the keys that the service's clients present. Only digests are ever written down."""

from __future__ import annotations

import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click
import msgspec

from relight.access.keys import Keys
from relight.access.keys import create as new_key
from relight.cli.output import config_option, json_option, print_json, print_table
from relight.config.dotenv import put_env, read_env
from relight.config.keys import KEYS_VARIABLE
from relight.config.load import load
from relight.config.secrets import ENV_FILE
from relight.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from relight.access.keys import Key

_SHORT = 8


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One key, as `--json` prints it; `sha256` holds the first characters, enough to tell two apart."""

    name: str
    sha256: str
    created: str | None = None


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A new key; `entry` is what is kept of it, `path` the file it was written into, if it was."""

    name: str
    key: str
    entry: str
    path: str | None = None


class Place(msgspec.Struct, frozen=True):
    """Where the entries lie: in the variable `name`, of the environment (`is_set`) or else of the file `path`."""

    name: str
    path: Path
    is_set: bool
    is_configured: bool
    keys: Keys


@click.group()
def keys() -> None:
    """Make, list and revoke keys of the service."""


@keys.command()
@click.argument("name")
@config_option
@json_option
def create(*, name: str, config_file: str, as_json: bool) -> None:
    """Make a key called NAME and print it, once; only its digest is kept, in .env beside the configuration.

    Only the key goes to standard output: KEY=$(relight keys create laptop).
    """
    place = _place(config_file)
    if place.keys.named(name) is not None:
        raise UsageError(
            f'keys: there is a key called "{name}" already', hint=f"choose another name, or: relight keys revoke {name}"
        )
    text, key = new_key(name, datetime.now(UTC).date().isoformat())
    if not place.is_set:
        _write(place, place.keys.with_key(key))
    if as_json:
        print_json(Made(name=name, key=text, entry=str(key), path=None if place.is_set else str(place.path)))
    else:
        click.echo(text)
    _tell_created(place, key)


@keys.command("list")
@config_option
@json_option
def list_command(*, config_file: str, as_json: bool) -> None:
    """List the keys by name, with the day each was made."""
    place = _place(config_file)
    rows = [Row(name=key.name, created=key.created, sha256=key.digest.hex()[:_SHORT]) for key in place.keys]
    if as_json:
        print_json(rows)
    elif rows:
        print_table(("name", "created", "sha256"), [(row.name, row.created or "–", row.sha256) for row in rows])
    else:
        click.echo("no keys; make one with: relight keys create NAME", err=True)
    _tell_unused(place)


@keys.command()
@click.argument("name")
@config_option
@json_option
def revoke(*, name: str, config_file: str, as_json: bool) -> None:
    """Take the key called NAME out; a server that runs knows it until it is started again."""
    place = _place(config_file)
    key = place.keys.named(name)
    if key is None:
        _refuse_unknown(name, place.keys)
    if place.is_set:
        raise UsageError(
            f"{place.name}: is set in the environment, which wins over {place.path}",
            hint=f'take the entry that begins with "{name}:" out there',
        )
    _write(place, place.keys.without(name))
    if as_json:
        print_json(Row(name=key.name, created=key.created, sha256=key.digest.hex()[:_SHORT]))
    click.echo(f"revoked {name} in {place.path}; start the server again to make it forget the key", err=True)


def _place(config_file: str) -> Place:
    # Who may reach the server is no question here, and the first key is made before the configuration can say that there are any.
    loaded = load(config_file, flags={"server.public": True})
    configured = loaded.config.auth.keys.secret
    name, path = configured or KEYS_VARIABLE, loaded.folder / ENV_FILE
    in_file = read_env(path).get(name, "")
    is_set = bool(os.environ.get(name, "").strip())
    keys = Keys.parse(os.environ[name], where=name) if is_set else Keys.parse(in_file, where=f"{path}: {name}")
    return Place(name, path, is_set, configured is not None, keys)


def _write(place: Place, keys: Keys) -> None:
    _replace(place.path, put_env(place.path, place.name, str(keys) if len(keys) else None))


def _replace(path: Path, text: str) -> None:
    """Put `text` at `path` in one step, readable by this user alone."""
    if path.is_symlink():
        # What it leads to may be shared with others or written by a tool; replacing the link would part the two in silence.
        raise UsageError(f"{path}: is a link to {path.readlink()}", hint="make it a file of its own")
    draft: str | None = None
    try:
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(draft).replace(path)
        draft = None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}", hint="fix the permissions of its folder") from None
    finally:
        if draft is not None:
            Path(draft).unlink(missing_ok=True)


def _tell_created(place: Place, key: Key) -> None:
    if place.is_set:
        click.echo(
            f"not written: {place.name} is set in the environment, which wins over {place.path}; "
            f"add this entry there, behind a comma:\n  {key}",
            err=True,
        )
    else:
        click.echo(f'made the key "{key.name}", shown only this once; its digest is in {place.path}, as {place.name}', err=True)
        click.echo("start the server again to make it known", err=True)
    _tell_unused(place)


def _tell_unused(place: Place) -> None:
    if not place.is_configured:
        click.echo(
            f'keys are not asked for yet; add to the configuration:\n[auth]\nkeys = {{ secret = "{place.name}" }}', err=True
        )


def _refuse_unknown(name: str, known: Keys) -> NoReturn:
    from relight.config.suggest import instead

    raise UsageError(f'keys: no key is called "{name}"', hint=instead(name, [key.name for key in known]))
