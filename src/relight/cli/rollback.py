"""`relight rollback`: give the traffic back to an earlier revision."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
from msgspec import Struct

from relight.cli.connected import connected_to_change, yes_option
from relight.cli.output import config_option, json_option, print_json
from relight.cli.status import age
from relight.errors import CloudError, UsageError

if TYPE_CHECKING:
    from relight.cloud.standing import RevisionState


class RolledBack(Struct, frozen=True, kw_only=True):
    """What `--json` prints: the revision that has all of the traffic now, and what had it before, in percent."""

    service: str
    to: str
    was: dict[str, int]
    changed: bool


@click.command()
@click.argument("revision", required=False)
@config_option
@json_option
@yes_option
def rollback(revision: str | None, config_file: str, *, as_json: bool, is_sure: bool) -> None:
    """Give all of the traffic to REVISION; left out: to the newest ready one before that which has most of it now.

    Nothing is built and nothing starts anew. The next `relight deploy` tests the revision of the configuration, and gives it the
    traffic again.
    """
    from relight.cli.progress import Progress
    from relight.cloud.back import go_back
    from relight.cloud.reading import settled
    from relight.cloud.standing import revisions_of

    loaded, google = connected_to_change("rollback", config_file, as_json=as_json, is_sure=is_sure)
    name = loaded.config.service.name
    with Progress() as progress:
        progress.doing(f"looking at {name}")
        service = settled(google, name, progress)
        if service is None:
            raise CloudError(
                f"cloud: there is no service {name} in {google.project}, {google.region}", hint="run: relight deploy"
            )
        every = revisions_of(google, service)
    to = chosen(every, revision)
    was = {one.name: one.percent for one in every if one.percent}
    is_new = was != {to.name: 100}
    if is_new and not is_sure:
        shares = ", ".join(f"{one} {percent} %" for one, percent in was.items()) or "nobody"
        click.echo(f"traffic: {shares} → {to.name} 100 % ({to.image}, {age(to.created, datetime.now(UTC))} old)", err=True)
        click.confirm("Go back?", abort=True, err=True)
    if is_new:
        with Progress() as progress:
            go_back(google, name, to.name, progress)
    done = RolledBack(service=name, to=to.name, was=was, changed=is_new)
    if as_json:
        print_json(done)
    elif not is_new:
        click.echo(f"{to.name} has all of the traffic already")
    else:
        click.echo(
            f"{to.name} has all of the traffic; the next relight deploy tests what is configured, and gives it the traffic"
        )


def chosen(every: tuple[RevisionState, ...], wanted: str | None) -> RevisionState:
    """The revision that the traffic goes to. Raises `UsageError` for one that is not there, or cannot serve."""
    from relight.cloud.standing import before

    ready = [one.name for one in every if one.is_ready]
    if wanted is None:
        found = before(every)
        if found is None:
            raise UsageError("rollback: there is no earlier revision that is ready", hint="relight status shows the revisions")
        return found
    found = next((one for one in every if one.name == wanted), None)
    if found is None:
        raise UsageError(f'rollback: there is no revision "{wanted}"', hint=f"ready are: {', '.join(ready) or 'none'}")
    if not found.is_ready:
        raise UsageError(f"rollback: {wanted} cannot serve: {found.why}", hint=f"ready are: {', '.join(ready) or 'none'}")
    return found
