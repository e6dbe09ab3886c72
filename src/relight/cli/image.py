"""`relight image`: print, build and run the container of a configuration."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
import msgspec

from relight.cli.output import config_option, json_option, print_json, print_table
from relight.deploy.recipe import PORT, Part
from relight.errors import RelightError, UsageError
from relight.values import format_bytes

if TYPE_CHECKING:
    from relight.cli.imaging import Made
    from relight.config.load import Loaded
    from relight.deploy.builder import Size

_F = TypeVar("_F", bound=Callable[..., Any])
# What is the service's own: goal of at most 110 MB, because it is what every deploy sends again.
_APPLICATION: Final = frozenset({Part.DEPENDENCIES, Part.ENGINE, Part.APP})


class Built(msgspec.Struct, frozen=True):
    """A built image, as `--json` prints it. Sizes in bytes, uncompressed; `application` is dependencies, engine and app."""

    tag: str
    builder: str
    size: int
    application: int
    parts: dict[str, int]


def _builder_option(command: _F) -> _F:
    return click.option(
        "--builder", type=click.Choice(["podman", "docker"]), help="Use this one; without it, the first that is installed."
    )(command)


def _tag_option(command: _F) -> _F:
    return click.option("--tag", "-t", metavar="NAME", help="Name of the image; wins over deploy.image.name.")(command)


@click.group()
def image() -> None:
    """Print, build and run the container that every platform runs."""


@image.command("print")
@click.option(
    "--context",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Also make this folder with all that the build needs, for a builder of your own.",
)
@config_option
def print_command(folder: Path | None, config_file: str) -> None:
    """Print the Dockerfile of a configuration."""
    from relight.cli.imaging import made, read
    from relight.deploy.context import lay_out

    with made(read(config_file), _note) as found:
        if folder is not None:
            if folder.exists() and any(folder.iterdir()):
                raise UsageError(f"--context: {folder} is not empty", hint="name a folder that is not there yet")
            folder.mkdir(parents=True, exist_ok=True)
            lay_out(found.entries, folder)
        click.echo(found.dockerfile, nl=False)


@image.command()
@click.argument("more", metavar="[-- OPTION...]", nargs=-1)
@_tag_option
@_builder_option
@click.option("--base", metavar="NAME", help="Build on this image instead of deploy.image.base; NAME@sha256:… pins it.")
@click.option(
    "--pip-config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Configuration for pip (a mirror, a proxy, a certificate) while it installs; the image does not keep it.",
)
@config_option
@json_option
def build(  # noqa: PLR0913, PLR0917 - one parameter an option
    more: tuple[str, ...],
    tag: str | None,
    builder: str | None,
    base: str | None,
    pip_config: Path | None,
    config_file: str,
    *,
    as_json: bool,
) -> None:
    """Build the image with podman or docker, and show what its layers take.

    What stands behind `--` is handed to the builder's own `build` as it is, for example --network=host or --volume=…; progress
    goes to standard error. Only the files that the configuration names are seen by the build.
    """
    from relight.cli.imaging import made, read
    from relight.deploy.builder import Building, build_argv, history_argv, sizes
    from relight.deploy.recipe import layers

    program, loaded = _builder(builder), read(config_file)
    name = tag or _tag(loaded)
    with made(loaded, _note) as found, _laid_out(found, loaded) as folder:
        pip = None if pip_config is None else pip_config.resolve()
        _run(build_argv(program, folder, Building(tag=name, base=base, pip_config=pip, more=more)))
        history = _run(history_argv(program, name), captured=True)
    parts = sizes(history, layers(found.recipe))
    application = sum(one.bytes for one in parts if one.part in _APPLICATION)
    built = Built(name, program, sum(one.bytes for one in parts), application, {str(one.part): one.bytes for one in parts})
    if as_json:
        print_json(built)
    else:
        _show(built, parts)


@image.command()
@click.argument("more", metavar="[-- OPTION...]", nargs=-1)
@_tag_option
@_builder_option
@click.option("--port", "-p", type=click.IntRange(1, 65535), default=PORT, show_default=True, help="Port on this machine.")
@click.option("--network", metavar="NAME", help="Network of the container, `host` for this machine's own.")
@config_option
def run(  # noqa: PLR0913, PLR0917 - one parameter an option
    more: tuple[str, ...], tag: str | None, builder: str | None, port: int, network: str | None, config_file: str
) -> None:
    """Run the built image here as Cloud Run would: read-only, no capabilities, deploy.cloudrun's memory and CPUs, PORT set.

    It can be reached from this machine only. Secrets come from the environment or .env. Ctrl-C and SIGTERM reach it; ten seconds
    later it is killed. What stands behind `--` is handed to the builder's own `run` as it is.
    """
    from relight.cli.imaging import read
    from relight.deploy.builder import Running, run_argv

    program, loaded = _builder(builder), read(config_file)
    config, cloudrun = loaded.config, loaded.config.deploy.cloudrun
    secrets = _secrets(loaded)
    running = Running(
        tag=tag or _tag(loaded),
        service=config.service.name,
        port=port,
        memory=cloudrun.memory,
        cpus=min(cloudrun.cpu, os.cpu_count() or cloudrun.cpu),
        is_guarded=config.auth.keys.secret is not None or config.assistant.public or config.server.public,
        secrets=tuple(secrets),
        network=network,
    )
    argv = run_argv(program, running, more)
    sys.stderr.flush()
    # Not a child: signals, standard output and the exit code are then the builder's own. Secrets are in no argument list.
    os.execvpe(program, argv, os.environ | secrets)  # noqa: S606 - an argument list, no shell


def _secrets(loaded: Loaded) -> dict[str, str]:
    """The secrets that the configuration names, by the variables that the service reads. Raises `ConfigError`."""
    from relight.config.fields import SecretName
    from relight.config.keys import schema, walk
    from relight.config.secrets import resolve

    found = {}
    for path, _, name in walk(schema(), loaded.config):
        if path[-1] == "secret" and name:
            secret = resolve(SecretName(secret=name), loaded.folder, os.environ, key=".".join(path[:-1]))
            if secret is not None:
                found[name] = secret.reveal()
    return found


def _tag(loaded: Loaded) -> str:
    return loaded.config.deploy.image.name or loaded.config.service.name


def _builder(chosen: str | None) -> str:
    from relight.deploy.builder import BUILDERS

    for name in (chosen,) if chosen else BUILDERS:
        if shutil.which(name):
            return name
    raise UsageError(
        f"image: {chosen or 'neither podman nor docker'} is {'not ' if chosen else ''}installed",
        hint="install podman (Debian: apt-get install podman), or build elsewhere: relight image print --context DIR",
    )


@contextmanager
def _laid_out(found: Made, loaded: Loaded) -> Iterator[Path]:
    """The context as a private folder that is gone afterwards, on the disk of the weights where that can be written."""
    from relight.deploy.context import lay_out

    beside = loaded.weights_dir
    where = beside if os.access(beside, os.W_OK) else None
    with TemporaryDirectory(prefix=".image-", dir=where, ignore_cleanup_errors=True) as folder:
        lay_out(found.entries, Path(folder))
        yield Path(folder)


def _run(argv: Sequence[str], *, captured: bool = False) -> str:
    """Run the builder; its progress goes to standard error. Returns what it said when it is `captured`."""
    environment = os.environ | {"DOCKER_BUILDKIT": "1"}
    done = subprocess.run(
        argv, env=environment, stdout=subprocess.PIPE if captured else sys.stderr.fileno(), text=True, check=False
    )
    if done.returncode:
        raise RelightError(
            f"image: {argv[0]} {argv[1]} ended with code {done.returncode}",
            hint="its own words stand above; nothing was left behind",
        )
    return done.stdout or ""


def _show(built: Built, parts: Sequence[Size]) -> None:
    rows = [(str(one.part), format_bytes(one.bytes)) for one in parts]
    rows.append(("all", format_bytes(built.size)))
    print_table((built.tag, "size"), rows)
    click.echo(f"dependencies, engine and app: {format_bytes(built.application)}; run it: relight image run")


def _note(line: str) -> None:
    click.echo(line, err=True)
