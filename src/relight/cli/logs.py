"""`relight logs`: what the deployed service wrote, as Cloud Logging keeps it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import click
import msgspec

from relight.cli.connected import connected
from relight.cli.output import DurationType, config_option
from relight.cloud import journal
from relight.cloud.google import Google
from relight.cloud.journal import SEVERITIES, Entry, Query
from relight.errors import CloudError
from relight.values import Duration

_LIMIT = 100
_DAY_S = 24 * 3600
_SINCE = "1h"
_QUIET = frozenset({"DEFAULT", "DEBUG", "INFO", "NOTICE"})
_CHOICES = tuple(name.lower() for name in SEVERITIES[1:])


@click.command()
@config_option
@click.option(
    "--follow", "-f", "follows", is_flag=True, help="Go on with what is written from now on, some seconds late, until Ctrl-C."
)
@click.option("--since", type=DurationType(), default=_SINCE, show_default=True, help="How far back.")
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
    show = _as_json if as_json else _Lines(datetime.now(UTC).date())
    try:
        found = journal.entries(google, query, limit=limit)
        if not found and not as_json:
            click.echo(_nothing(google, query, since), err=True)
        show(found)
        if follows and not as_json:
            click.echo("waiting for more, which comes some seconds late; Ctrl-C ends it", err=True)
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


def _nothing(google: Google, query: Query, since: Duration) -> str:
    """Why nothing is shown, as far as one look at the service tells."""
    gone = _gone(google, query)
    if gone is not None:
        return gone
    is_narrowed = query.severity is not None or query.text is not None or query.errors
    what = "such entries" if is_narrowed else "entries"
    return f"no {what} of the last {since}; --since {'24h' if since < _DAY_S else '30d'} looks further back"


def _gone(google: Google, query: Query) -> str | None:
    """What is not there that was asked about; None when it is, or cannot be seen."""
    from relight.cloud.changing import read_revision
    from relight.cloud.reading import read_service

    try:
        if read_service(google, query.service) is None:
            return f"there is no service {query.service} in {google.project}, {google.region}; relight deploy makes it"
        if query.revision is not None and read_revision(google, query.service, query.revision) is None:
            return f"there is no revision {query.revision}; relight status shows them"
    except CloudError:  # whoever may read the log may not see the service
        return None
    return None


class _Lines:
    """Prints entries for people: the revision where it changes, the date only where not all of them are of today."""

    def __init__(self, today: date) -> None:
        self._today = today
        self._is_today: bool | None = None
        self._revision: str | None = None

    def __call__(self, found: Iterable[Entry]) -> None:
        found = list(found)
        if self._is_today is None:
            self._is_today = all(entry.time.date() == self._today for entry in found)
        for entry in found:
            self._head(entry.revision)
            is_short = self._is_today and entry.time.date() == self._today
            stamp = entry.time.strftime("%H:%M:%S" if is_short else "%Y-%m-%d %H:%M:%S")
            mark = "" if entry.severity in _QUIET else f"{entry.severity.lower()}: "
            for line in entry.text.splitlines() or [""]:
                click.echo(f"{stamp}  {mark}{line}")

    def _head(self, revision: str) -> None:
        if revision == self._revision:
            return
        zone = " (times are UTC)" if self._revision is None else ""
        self._revision = revision
        click.echo(f"{revision or 'of no revision'}{zone}")
