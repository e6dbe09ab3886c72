"""`relight destroy`: take everything of the service away, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from msgspec import Struct

from relight.cli.connected import connected, connected_to_change, yes_option
from relight.cli.output import config_option, json_option, print_json, print_table
from relight.cli.receipts import forget
from relight.cli.stopping import stoppable
from relight.errors import CloudError, UsageError

if TYPE_CHECKING:
    from relight.cli.progress import Progress
    from relight.cloud.destroying import Estate, Left, Owned
    from relight.cloud.google import Google


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
    from relight.cli.progress import Progress
    from relight.cli.target import facts_of
    from relight.cloud.destroying import estate
    from relight.deploy.desired import desire

    loaded, google = (
        connected(config_file) if plans else connected_to_change("destroy", config_file, as_json=as_json, is_sure=is_sure)
    )
    desired = desire(loaded.config, facts_of(loaded))
    with Progress() as progress:
        found = estate(google, desired, progress, keeps_weights=keeps_weights)
    if not as_json:
        _show(found, desired.service, f"{google.project}, {google.region}")
    goes_on = bool(found.owned) and not plans
    if goes_on and not is_sure:
        _ask(desired.service)
    if goes_on:
        with stoppable(), Progress() as progress:
            _remove(google, found.owned, progress)
    if not plans and not _has_service(found.left):
        forget(loaded.folder, google.project, google.region, desired.service)
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


def _remove(google: Google, owned: tuple[Owned, ...], progress: Progress) -> None:
    """Take one after the other away; whoever stops it, or is refused, is told how far it went."""
    from relight.cloud.destroying import remove

    gone = 0
    try:
        for one in owned:
            remove(google, one, progress)
            gone += 1
            progress.rest()
            progress.say(f"removed {one.kind} {one.name}")
    except (KeyboardInterrupt, CloudError):
        progress.rest()
        at = owned[min(gone, len(owned) - 1)]
        progress.say(f"stopped at {at.kind} {at.name}; {gone} of {len(owned)} are removed")
        progress.say("what is gone is gone; run it again to go on")
        raise


def _has_service(left: tuple[Left, ...]) -> bool:
    """Whether the service itself stays, because somebody else made it."""
    from relight.cloud.destroying import Kind

    return any(one.kind is Kind.SERVICE for one in left)


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
