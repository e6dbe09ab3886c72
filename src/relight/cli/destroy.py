"""`relight destroy`: take everything of the service away, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from msgspec import Struct

from relight.cli.connected import connected, need_somebody, yes_option
from relight.cli.output import config_option, json_option, print_json, print_table
from relight.errors import UsageError

if TYPE_CHECKING:
    from relight.cloud.destroying import Estate, Left, Owned


class Destroyed(Struct, frozen=True, kw_only=True):
    """What `--json` prints; with `--plan` nothing `was_removed`."""

    service: str
    project: str
    region: str
    was_removed: bool
    owned: tuple[Owned, ...]
    left: tuple[Left, ...]


@click.command()
@config_option
@json_option
@yes_option
@click.option("--plan", "plans", is_flag=True, help="Say what would be removed, and do nothing.")
@click.option("--keep-weights", "keeps_weights", is_flag=True, help="Keep the bucket with weights and snapshots.")
def destroy(config_file: str, *, as_json: bool, is_sure: bool, plans: bool, keeps_weights: bool) -> None:
    """Remove the service and everything that was made for it: jobs, images, secrets, bucket, roles, accounts.

    Only what is marked as made by relight for this service goes, for good. APIs stay enabled, logs stay as long as they are kept.
    It can be stopped and run again.
    """
    if not plans:
        need_somebody("destroy", as_json=as_json, is_sure=is_sure)
    from relight.cli.progress import Progress
    from relight.cli.target import facts_of
    from relight.cloud.destroying import estate, remove
    from relight.deploy.desired import desire

    loaded, google = connected(config_file)
    desired = desire(loaded.config, facts_of(loaded))
    with Progress() as progress:
        found = estate(google, desired, progress, keeps_weights=keeps_weights)
    if not as_json:
        _show(found, desired.service, f"{google.project}, {google.region}")
    goes_on = bool(found.owned) and not plans
    if goes_on and not is_sure:
        _ask(desired.service)
    if goes_on:
        with Progress() as progress:
            for one in found.owned:
                remove(google, one, progress)
                progress.rest()
                progress.say(f"removed {one.kind} {one.name}")
    if as_json:
        print_json(
            Destroyed(
                service=desired.service,
                project=google.project,
                region=google.region,
                was_removed=goes_on,
                owned=found.owned,
                left=found.left,
            )
        )
    elif goes_on:
        click.echo(f"nothing of {desired.service} is left in {google.project}, {google.region}" + _but(found))


def _ask(service: str) -> None:
    typed = click.prompt(f"This cannot be undone. Type {service} to remove all of it", err=True, default="", show_default=False)
    if typed.strip() != service:
        raise UsageError(f'destroy: got "{typed.strip()}", not {service}: nothing was removed')


def _show(found: Estate, service: str, place: str) -> None:
    if found.owned:
        rows = [(one.kind, one.name, one.cost) for one in found.owned]
        print_table(("what", "name", "costs"), rows, title=f"Of {service} in {place}")
    else:
        click.echo(f"nothing of {service} is in {place}")
    if found.left:
        print_table(("what", "name", "why"), [(one.kind, one.name, one.why) for one in found.left], title="Stays")


def _but(found: Estate) -> str:
    return f", but for {', '.join(one.name for one in found.left)}" if found.left else ""
