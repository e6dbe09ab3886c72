"""Whether warm windows do what their author thinks, and what they cost. Pure checks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from relight.config.deploy import Billing, Window
from relight.config.suggest import instead, nearest
from relight.deploy import fit, warm
from relight.deploy.desired import billing_of
from relight.deploy.findings import Case, Finding, error, model_table, note, passed, run_toml, toml, warning
from relight.deploy.price import usd
from relight.values import Duration, counted

_RARE_S: Final = 600


def times(case: Case) -> Iterator[Finding]:
    """Whether each window has hours, in a time zone that there is."""
    run = case.config.deploy.cloudrun
    zones = _zones()
    for name, window in run.warm.items():
        if zones and window.time_zone not in zones:
            close = nearest(window.time_zone, zones)
            why = "Cloud Scheduler takes names of the tz database" + (f"; {instead(window.time_zone, [close])}" if close else "")
            yield _error(name, f'there is no time zone "{window.time_zone}"', why, time_zone=close or "Europe/Berlin")
        if warm.length(window) == 0:
            why = "it closes when it opens"
            yield _error(name, f"it has no hours: {window.hours}", why, hours="00:00-24:00")
    scaled = warm.by_instances(run)
    if len({window.time_zone for window in scaled.values()}) > 1:
        first = next(iter(scaled.values())).time_zone
        why = "windows that keep instances are worked out together, and summer time comes on different days"
        other = next(name for name, window in scaled.items() if window.time_zone != first)
        yield _error(other, f"its time zone is not {first}, which {next(iter(scaled))} has", why, time_zone=first)


def effect(case: Case) -> Iterator[Finding]:
    """Whether windows keep anything awake, and at what price."""
    run = case.config.deploy.cloudrun
    if not run.warm:
        return
    found = [*_instances(case), *(finding for name, window in warm.by_ping(run).items() for finding in _ping(case, name, window))]
    yield from found
    if not found:
        yield passed("windows", ", ".join(warm.said(*item) for item in run.warm.items()))


def models(case: Case) -> Iterator[Finding]:
    """Whether models stay awake in an instance that does."""
    longest = max((warm.length(window) for window in case.config.deploy.cloudrun.warm.values()), default=0) * 60
    for name, model in fit.ours(case.config).items():
        if model.idle_after < longest:
            why = "the instance is kept, and the model in it sleeps; it wakes faster there, but it has to"
            better = toml(model_table(name), idle_after=Duration(longest))
            yield note("sleep", f"{name} sleeps after {model.idle_after}, windows included", why, fit=better)


def _instances(case: Case) -> Iterator[Finding]:
    run = case.config.deploy.cloudrun
    windows = warm.by_instances(run)
    for name, window in windows.items():
        if window.instances > run.max_instances:
            what = f"instances = {window.instances}, max_instances = {run.max_instances}"
            yield _error(name, what, "Cloud Run refuses it when the window opens", instances=run.max_instances)
        elif window.instances <= run.min_instances:
            what = f"instances = {window.instances}, min_instances = {run.min_instances}"
            why = "as many are kept all the time"
            yield warning("windows", f"{name}: {what}", why, fit=run_toml(min_instances=0))
    if windows and min(warm.levels(windows, run.min_instances)) > run.min_instances:
        why = "no minute of the week is left: nothing is ever switched down, and the jobs do nothing"
        lasting = min(warm.levels(windows, run.min_instances))
        yield error("windows", "they never close", why, fit=run_toml(min_instances=lasting), do="and take the windows out")
    hours = sum(timed.kept_hours for timed in case.desired.schedules)
    if hours and case.costs is not None:
        full = ", the full price: billed by instance" if billing_of(run) is Billing.INSTANCE else ""
        what = f"{counted(round(hours), 'hour')} a month kept awake, {usd(hours * case.costs.idle_hour)}{full}"
        yield note("windows", what, "one that is open now begins with its next opening")


def _ping(case: Case, name: str, window: Window) -> Iterator[Finding]:
    if billing_of(case.config.deploy.cloudrun) is Billing.INSTANCE:
        why = "billed by instance, one that is pinged is paid for in full; kept instances cost the same, and are never taken away"
        yield _error(name, 'by = "ping"', why, by="instances")
        return
    start, end = warm.span(window)
    if start % 60 or end % 60:
        why = "pings begin and end at full hours"
        fitting = f"{start // 60:02}:00-{-(-end // 60):02}:00"
        yield _error(name, window.hours, why, hours=fitting)
    minutes = round(window.every / 60)
    if window.every % 60 or 60 % minutes:
        fitting_every = max(each for each in range(1, 61) if 60 % each == 0 and each <= max(1, minutes))
        yield _error(
            name, f"every = {window.every}", "cron counts minutes that divide an hour", every=Duration(fitting_every * 60)
        )
    elif window.every > _RARE_S:
        why = "an idle instance may be taken away after fifteen minutes, or earlier"
        fit = toml(_table(name), every=Duration(300))
        yield warning("windows", f"{name}: every = {window.every}", why, fit=fit)


def _error(name: str, what: str, why: str, **better: object) -> Finding:
    return error("windows", f"{name}: {what}", why, fit=toml(_table(name), **better))


def _table(name: str) -> str:
    return f"deploy.cloudrun.warm.{name}"


def _zones() -> frozenset[str]:
    """The time zones that this machine knows; none where it has no database of them."""
    from zoneinfo import available_timezones

    return frozenset(available_timezones())
