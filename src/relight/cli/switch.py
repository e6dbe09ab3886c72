"""`relight off` and `relight on`: hold the service at no instance at all, and let it go again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click
from msgspec import Struct

from relight.cli.connected import connected_to_change, yes_option
from relight.cli.output import config_option, json_option, print_json
from relight.deploy.price import usd
from relight.errors import CloudError

if TYPE_CHECKING:
    from relight.cloud.google import Google
    from relight.deploy.observed import ServiceState

_HOURS = 730


class Switched(Struct, frozen=True, kw_only=True):
    """What `--json` prints."""

    service: str
    is_off: bool
    changed: bool


@click.command()
@config_option
@json_option
@yes_option
def off(config_file: str, *, as_json: bool, is_sure: bool) -> None:
    """Switch the service off: no request wakes it, and nothing is paid for instances until `relight on`.

    What is stored (images, secrets, buckets, jobs) is kept, and paid for as before. A revision that has a tag (a candidate that
    was not let in, or that a rollback left) can still be woken at the address of its tag.
    """
    from relight.cloud.release import set_off

    _switch("off", config_file, set_off, as_json=as_json, is_sure=is_sure)


@click.command()
@config_option
@json_option
@yes_option
def on(config_file: str, *, as_json: bool, is_sure: bool) -> None:
    """Switch the service on again, with as many instances as before."""
    from relight.cloud.release import set_on

    _switch("on", config_file, set_on, as_json=as_json, is_sure=is_sure)


def _switch(to: str, config_file: str, do: Callable[[Google, str], None], *, as_json: bool, is_sure: bool) -> None:
    from relight.cli.progress import Progress
    from relight.cloud.reading import found_service

    loaded, google = connected_to_change(to, config_file, as_json=as_json, is_sure=is_sure)
    name = loaded.config.service.name
    with Progress() as progress:
        progress.doing(f"looking at {name}")
        there = found_service(google, name, progress)
    if there is None:
        raise CloudError(f"cloud: there is no service {name} in {google.project}, {google.region}", hint="run: relight deploy")
    is_new = there.is_off != (to == "off")
    if is_new and not is_sure:
        click.echo(_means(to, there, google.region), err=True)
        click.confirm(f"Switch {name} {to}?", abort=True, err=True)
    if is_new:
        with Progress() as progress:
            progress.doing(f"switching {name} {to}")
            do(google, name)
    if as_json:
        print_json(Switched(service=name, is_off=to == "off", changed=is_new))
    else:
        click.echo(f"{name} is {to}" + ("" if is_new else " already"))


def _means(to: str, there: ServiceState, region: str) -> str:
    """What the switch costs or saves."""
    from relight.cloud.standing import instance_of
    from relight.cost.prices import per_hour, per_idle_hour

    instance, kept = instance_of(there.template, region), there.settings.min_instances
    month = per_idle_hour(instance) * _HOURS * kept
    if to == "off":
        saved = (
            f"saves {usd(month)} a month for {kept} kept awake"
            if kept
            else "nothing is kept awake, so it saves what requests cost"
        )
        return f"off: whoever asks gets an error of the platform's; {saved} ({usd(per_hour(instance))} an hour awake)"
    cost = f"{usd(month)} a month for {kept} kept awake" if kept else "nothing while nobody asks"
    return f"on: {cost}, {usd(per_hour(instance))} an hour awake"
