"""The project of a configuration, asked by whoever is signed in; and whether somebody can be asked before it is changed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from relight.cloud.google import Google, signed_in
from relight.config.load import Loaded, load
from relight.errors import ConfigError, UsageError

_F = TypeVar("_F", bound=Callable[..., Any])


def yes_option(command: _F) -> _F:
    """Add `--yes` (as the parameter `is_sure`)."""
    return click.option("--yes", "-y", "is_sure", is_flag=True, help="Do not ask before something is changed.")(command)


def project_of(loaded: Loaded) -> tuple[str, str]:
    """Project and region of a configuration. Raises `ConfigError` when it names no project."""
    run = loaded.config.deploy.cloudrun
    if run.project is None:
        raise ConfigError(
            "deploy.cloudrun.project: no project is named",
            hint='add to relight.toml: [deploy.cloudrun] project = "my-project" (or set RELIGHT_DEPLOY__CLOUDRUN__PROJECT)',
        )
    return run.project, run.region


def connected(config_file: str) -> tuple[Loaded, Google]:
    """The configuration and its project. Raises `ConfigError` without a project, `NotSignedIn` when nobody is signed in."""
    loaded = load(config_file)
    project, region = project_of(loaded)
    return loaded, signed_in(project, region)


def connected_to_change(command: str, config_file: str, *, as_json: bool, is_sure: bool) -> tuple[Loaded, Google]:
    """As `connected`, for a command that changes something: raises `UsageError` as well, when nobody can be asked.

    A configuration that is wrong is told first: it is what has to be mended in any case.
    """
    loaded = load(config_file)
    project, region = project_of(loaded)
    need_somebody(command, as_json=as_json, is_sure=is_sure)
    return loaded, signed_in(project, region)


def need_somebody(command: str, *, as_json: bool, is_sure: bool, hint: str = "add --yes") -> None:
    """Raises `UsageError` when nobody can be asked whether to go on: for a program, or without a terminal."""
    if not is_sure and (as_json or not is_attended()):
        raise UsageError(f"{command}: nobody can be asked whether to go on", hint=hint)


def is_attended() -> bool:
    """Whether somebody sits at the terminal who can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()
