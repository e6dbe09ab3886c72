"""`relight status`: how the deployed service stands, and what the month has cost so far."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from relight.cli.connected import connected
from relight.cli.output import config_option, json_option, print_json, print_table
from relight.cli.receipts import last_receipt
from relight.cloud.journal import escaped
from relight.deploy.price import usd
from relight.errors import ExitCode
from relight.values import counted, format_duration

if TYPE_CHECKING:
    from relight.cloud.standing import RevisionState, Standing

_SHOWN: Final = 10
_MONITORING: Final = "monitoring.googleapis.com"
_LOGGING: Final = "logging.googleapis.com"


@click.command()
@config_option
@json_option
@click.pass_context
def status(context: click.Context, config_file: str, *, as_json: bool) -> None:
    """Show the deployed service: revisions, traffic, instances, last wakes, and what the month has cost so far.

    Exit code 1 when there is no such service.
    """
    from relight.cli.progress import Progress
    from relight.cloud.standing import standing

    loaded, google = connected(config_file)
    name, now = loaded.config.service.name, datetime.now(UTC)
    with Progress() as progress:
        progress.doing(f"looking at {name}")
        found = standing(google, name, now=now)
    if as_json:
        print_json(found)
    elif found is None:
        click.echo(f"there is no service {name} in {google.project}, {google.region}; relight deploy makes it")
    else:
        show(found, now, deployed=last_deployment(loaded.folder, found, now))
    context.exit(ExitCode.FOUND if found is None else ExitCode.OK)


def last_deployment(folder: Path, found: Standing, now: datetime) -> str | None:
    """What `relight deploy` did last from this folder; None where it left no receipt, or one of what is gone meanwhile."""
    last = last_receipt(folder, found.project, found.region, found.service)
    if last is None or (last.revision is not None and last.revision not in {one.name for one in found.revisions}):
        return None
    try:
        at = datetime.fromisoformat(last.at).astimezone(UTC)
    except ValueError:
        return None
    when = f"{at:%Y-%m-%d %H:%M} UTC, {age(at, now)} ago"
    return f"from here ({when}): {counted(last.steps, 'step')}, to {escaped(last.revision or 'no revision that is ready')}"


def show(found: Standing, now: datetime, *, deployed: str | None = None) -> None:
    """Print how it stands, for people; `deployed` is what was done last."""
    click.echo(f"{found.service} in {found.project}, {found.region}: {found.url or 'no address yet'}")
    for name, text in [*_lines(found), *([("deployed", deployed)] if deployed else [])]:
        click.echo(f"  {name:<10} {text}")
    rows = [_row(one, now) for one in found.revisions[:_SHOWN]]
    print_table(("revision", "age", "image", "traffic", "ready"), rows, title="Revisions")
    if len(found.revisions) > _SHOWN:
        click.echo(f"and {len(found.revisions) - _SHOWN} older ones")
    if found.wakes:
        wakes = [(age(one.time, now), one.model, f"{one.seconds:.1f} s", one.revision) for one in reversed(found.wakes)]
        print_table(("ago", "model", "took", "revision"), wakes, title="Last wakes")


def _lines(found: Standing) -> list[tuple[str, str]]:
    if found.is_off:
        state = "off: nothing wakes it; relight on"
    elif found.changing is not None:
        state = f"busy: {found.changing}"
    else:
        state = "on"
    lines = [("state", state), ("instances", _instances(found))]
    for window in found.windows:
        does = "asked whether it is ready" if window.instances is None else f"{window.instances} kept from then on"
        lines.append(("window", f"{window.cron} {window.time_zone}: {does}"))
    lines += [("window", f"{name} was paused or changed; relight deploy sets it right") for name in found.broken_windows]
    if found.tested is not None:
        lines.append(("tested", f"{found.tested.revision}{_with(found.tested.percent)}"))
    if (newest := found.unfinished) is not None:
        lines.append(("unfinished", _unfinished(newest)))
    if found.wakes is None:
        lines.append(("wakes", _unknown(_LOGGING, found)))
    elif not found.wakes:
        lines.append(("wakes", "none among the last records of seven days"))
    return [*lines, ("month", _month(found))]


def _with(percent: int) -> str:
    """What a revision had when it was tested."""
    return {0: ", before it got traffic", 100: ""}.get(percent, f", with {percent} % of the traffic")


def _unfinished(newest: RevisionState) -> str:
    if not newest.is_ready:
        return f"{newest.name}, the newest, is not ready; relight deploy goes on"
    has = f"{newest.percent} % of the traffic" if newest.percent else "no traffic"
    return f"{newest.name}, the newest, has {has} (stopped, or gone back from); relight deploy goes on"


def _unknown(api: str, found: Standing) -> str:
    return f"unknown: {api} is not enabled, or you may not see it (gcloud services enable {api} --project={found.project})"


def _instances(found: Standing) -> str:
    kept = f"{found.kept} kept, {found.most or 'no limit'} at most"
    if found.instances is None:
        return f"{kept}; at work: {_unknown(_MONITORING, found)}"
    return f"{found.instances.active} at work, {found.instances.idle} idle a few minutes ago; {kept}"


def _month(found: Standing) -> str:
    month = found.month
    if month.usd is None or month.billable_s is None:
        return _unknown(_MONITORING, found)
    asked = "" if month.requests is None else f"{counted(month.requests, 'request')}, "
    since = month.since.strftime("%-d %B")
    hours = month.billable_s / 3600
    said = f"about {usd(month.usd)} since {since} (UTC), minutes late and before the free tier: {asked}{hours:.1f} hours paid"
    return "; ".join([f"{said} at {usd(found.hour_usd)}", *month.caveats])


def _row(one: RevisionState, now: datetime) -> tuple[str, ...]:
    traffic = f"{one.percent} %" if one.percent else "–"
    tagged = f" ({', '.join(one.tags)})" if one.tags else ""
    return one.name, age(one.created, now), one.image, traffic + tagged, "yes" if one.is_ready else f"no: {one.why}"


def age(then: datetime, now: datetime) -> str:
    """`3d`, `5h`, `12m`: the largest unit."""
    seconds = max(0.0, (now - then).total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return format_duration(int(seconds))
