"""Warm windows: parts of the week in which instances are kept awake, worked out into jobs of Cloud Scheduler. Pure.

A window by instances changes how many the service keeps, up where it opens and down where it closes; windows may overlap, touch
and go past midnight, for what is worked out is how many there should be at each minute of the week. A window by pings asks
the service every few minutes, so that the platform does not take its idle instance away.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Final

from msgspec import Struct

from relight.config.deploy import CloudRun, Warmth, Window

DAY: Final = 1440
WEEK: Final = 7 * DAY
"""Minutes; the week begins on Monday."""
PING_PATH: Final = "/readyz"
MONTHLY: Final = 730 / 168
"""Weeks in a month, as prices count it."""

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
# Where Scheduler is, by its release notes up to 2026-09-24; a region that is missing here costs nothing but the way: a job only
# needs an address, so it can run next door.
_REGIONS: Final = {
    "asia": "east1 east2 northeast1 northeast2 northeast3 south1 south2 southeast1 southeast2 southeast3",
    "australia": "southeast1",
    "europe": "central2 west1 west2 west3 west4 west6 west12",
    "me": "central1 central2 west1",
    "northamerica": "northeast1 northeast2",
    "southamerica": "east1",
    "us": "central1 east1 east4 west1 west2 west3 west4",
}
_NEAR: Final = {"europe": "europe-west1", "asia": "asia-southeast1", "australia": "australia-southeast1", "me": "me-west1"}


class Schedule(Struct, frozen=True, kw_only=True):
    """A job: when, and what it does. `instances` are what it has the service keep; None: it only asks for an answer.

    `uri` is empty for a ping of a service that has no address yet. `account` is whom the request comes from; None: nobody.
    """

    name: str
    region: str
    cron: str
    time_zone: str
    uri: str
    instances: int | None = None
    account: str | None = None


class Timed(Struct, frozen=True, kw_only=True):
    """A schedule with its reason and what it makes of a month: hours of instances kept (beyond the usual), and pings."""

    schedule: Schedule
    reason: str
    kept_hours: float = 0.0
    pings: float = 0.0


def mark(service: str) -> str:
    """The description of a job of ours. Jobs have no labels; what has another description is somebody else's."""
    return f"managed-by=relight relight-service={service}"


def prefix(service: str) -> str:
    """How the names of a service's jobs begin."""
    return f"{service}-warm-"


def region_of(region: str) -> str:
    """Where the jobs of a service live: with it, or on its continent where Scheduler may not be with it."""
    continent, _, place = region.partition("-")
    return region if place in _REGIONS.get(continent, "").split() else _NEAR.get(continent, "us-central1")


def scale_uri(project: str, region: str, service: str) -> str:
    """Where the number of kept instances is changed; a PATCH with this mask touches nothing else of the service."""
    name = f"projects/{project}/locations/{region}/services/{service}"
    return f"https://run.googleapis.com/v2/{name}?updateMask=scaling.minInstanceCount"


def span(window: Window) -> tuple[int, int]:
    """First minute of the day and the one after the last, as the text has them; `24:00` is 1440."""
    start, end = (int(text[:2]) * 60 + int(text[3:]) for text in window.hours.split("-"))
    return start, end


def length(window: Window) -> int:
    """Minutes from its opening to its closing: past midnight where it closes before it opens. 0 where both are the same."""
    start, end = span(window)
    return end - start if end >= start else end - start + DAY


def days(window: Window) -> tuple[int, ...]:
    """The days on which it opens, Monday is 0; `fri-mon` goes past the week's end."""
    found: set[int] = set()
    for part in window.days.split(","):
        first, _, last = part.partition("-")
        start, end = _DAYS.index(first), _DAYS.index(last or first)
        found |= {(start + n) % 7 for n in range((end - start) % 7 + 1)}
    return tuple(sorted(found))


def said(name: str, window: Window) -> str:
    """`office (mon-fri 08:00-18:00)`."""
    return f"{name} ({window.days} {window.hours})"


def by_instances(run: CloudRun) -> dict[str, Window]:
    """The windows that keep instances."""
    return {name: window for name, window in run.warm.items() if window.by is Warmth.INSTANCES}


def by_ping(run: CloudRun) -> dict[str, Window]:
    """The windows that ask."""
    return {name: window for name, window in run.warm.items() if window.by is Warmth.PING}


def levels(windows: Mapping[str, Window], least: int) -> list[int]:
    """How many instances are kept at each minute of the week; `least` where no window is open."""
    found = [least] * WEEK
    for window in windows.values():
        start = span(window)[0]
        for day in days(window):
            for minute in range(length(window)):
                at = (day * DAY + start + minute) % WEEK
                found[at] = max(found[at], window.instances)
    return found


def scaling(run: CloudRun, *, project: str, service: str, account: str) -> tuple[Timed, ...]:
    """The jobs of all windows by instances: one for each time of day and number, on the days that have it."""
    windows = by_instances(run)
    if not windows:
        return ()
    zone = next(iter(windows.values())).time_zone  # preflight refuses several
    groups: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for at, level, lasts in _changes(levels(windows, run.min_instances)):
        groups.setdefault((at % DAY, level), []).append((at // DAY, lasts))
    uri, names = scale_uri(project, run.region, service), ", ".join(said(*item) for item in windows.items())
    return tuple(
        Timed(
            schedule=Schedule(
                name=f"{prefix(service)}{_clock(minute)}-{level}",
                region=region_of(run.region),
                cron=f"{minute % 60} {minute // 60} * * {_cron_days(day for day, _ in found)}",
                time_zone=zone,
                uri=uri,
                instances=level,
                account=account,
            ),
            reason=f"{level} kept from {minute // 60:02}:{minute % 60:02} on: {names}",
            kept_hours=sum(lasts for _, lasts in found) / 60 * (level - run.min_instances) * MONTHLY,
        )
        for (minute, level), found in sorted(groups.items())
    )


def pinging(run: CloudRun, *, service: str, account: str | None) -> tuple[Timed, ...]:
    """The jobs of all windows by ping: several where one goes past midnight, for cron has one list of days."""
    found = []
    for name, window in by_ping(run).items():
        every = max(1, round(window.every / 60))
        by_days: dict[tuple[int, ...], list[int]] = {}
        for hour, on in _hours(window).items():
            by_days.setdefault(on, []).append(hour)
        for number, (on, hours) in enumerate(by_days.items(), 1):
            found.append(
                Timed(
                    schedule=Schedule(
                        name=f"{prefix(service)}ping-{name}" + (f"-{number}" if number > 1 else ""),
                        region=region_of(run.region),
                        cron=f"{f'*/{every}' if every < 60 else 0} {_ranges(hours)} * * {_cron_days(on)}",
                        time_zone=window.time_zone,
                        uri="",
                        account=account,
                    ),
                    reason=f"asked every {every} min: {said(name, window)}",
                    pings=len(hours) * len(on) * 60 / every * MONTHLY,
                )
            )
    return tuple(found)


def _changes(found: list[int]) -> Iterator[tuple[int, int, int]]:
    """Minute, number and how many minutes it lasts, for every minute whose number is not that of the one before."""
    at = [minute for minute in range(WEEK) if found[minute] != found[minute - 1]]
    for minute, following in pairwise([*at, *(first + WEEK for first in at[:1])]):
        yield minute, found[minute], following - minute


def _hours(window: Window) -> dict[int, tuple[int, ...]]:
    """The hours of the day that a window has, in their order within it, each with its days (those after midnight one later)."""
    start, on = span(window)[0] // 60, days(window)
    count = -(-length(window) // 60)
    return {(start + n) % 24: tuple(sorted((day + (start + n) // 24) % 7 for day in on)) for n in range(count)}


def _cron_days(found: Iterator[int] | tuple[int, ...]) -> str:
    """Days as cron counts them, Sunday is 0; all of them are `*`."""
    every = sorted({(day + 1) % 7 for day in found})
    return "*" if len(every) == 7 else _ranges(every)


def _ranges(numbers: list[int]) -> str:
    """`1-5,7`."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ",".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)


def _clock(minute: int) -> str:
    return f"{minute // 60:02}{minute % 60:02}"
