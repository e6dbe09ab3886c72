"""`relight logs`: what the deployed service wrote, as Cloud Logging keeps it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import click
import msgspec

from relight.cli.connected import connected
from relight.cli.output import config_option
from relight.cloud import journal
from relight.cloud.google import Google
from relight.cloud.journal import SEVERITIES, Entry, Query
from relight.values import Duration

_LIMIT = 100
_SINCE = "1h"
_QUIET = frozenset({"DEFAULT", "DEBUG", "INFO", "NOTICE"})
_CHOICES = tuple(name.lower() for name in SEVERITIES[1:])


class _Since(click.ParamType[Duration]):
    """A duration."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Duration:
        try:
            return Duration.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command()
@config_option
@click.option(
    "--follow", "-f", "follows", is_flag=True, help="Go on with what is written from now on, some seconds late, until Ctrl-C."
)
@click.option("--since", type=_Since(), default=_SINCE, show_default=True, help="How far back.")
@click.option("--revision", help="Only this revision.")
@click.option("--severity", type=click.Choice(_CHOICES, case_sensitive=False), help="Only this severity and worse.")
@click.option("--errors", is_flag=True, help="Only what went wrong: errors, and requests that failed.")
@click.option("--text", help="Only entries that hold this text, anywhere.")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=_LIMIT, show_default=True, help="At most so many, the last ones."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, records of interactions whole.")
def logs(config_file: str, *, follows: bool, since: Duration, limit: int, as_json: bool, **wanted: Any) -> None:
    """Show what the deployed service wrote: a line for each request, what the engines said, what the platform did.

    Nothing is woken by it. That a request was opened is left out, and so is what Google's front says of requests that went well:
    the line of the request says more.
    """
    google, query = _asked(config_file, since, wanted)
    show = _as_json if as_json else _as_text
    try:
        found = journal.entries(google, query, limit=limit)
        show(found)
        if follows:
            _follow(journal.follow(google, query, after=found), show)
    except BrokenPipeError:
        # The reader (head, less) went away: click would make an error of it. Python must not try to flush again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _follow(found: Iterable[Entry], show: Callable[[Iterable[Entry]], None]) -> None:
    try:
        for entry in found:
            show((entry,))
    except KeyboardInterrupt:
        return  # how following ends


def _asked(config_file: str, since: Duration, wanted: dict[str, Any]) -> tuple[Google, Query]:
    """Who is asked, and what for. Raises `ConfigError` where no project is named, `NotSignedIn` where nobody is signed in."""
    loaded, google = connected(config_file)
    severity, begin = wanted.pop("severity"), datetime.now(UTC) - timedelta(seconds=since)
    name = loaded.config.service.name
    return google, Query(service=name, since=begin, severity=severity and severity.upper(), **wanted)


def _as_json(found: Iterable[Entry]) -> None:
    for entry in found:
        click.echo(msgspec.json.encode(entry).decode())


def _as_text(found: Iterable[Entry]) -> None:
    for entry in found:
        stamp = entry.time.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        mark = "" if entry.severity in _QUIET else f"{entry.severity.lower()}: "
        for line in entry.text.splitlines() or [""]:
            click.echo(f"{stamp}  {entry.revision}  {mark}{line}")
