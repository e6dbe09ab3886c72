"""How a service stands: its revisions and their traffic, who is awake, its last wakes, what the month has cost. Changes nothing.

What may not be seen, or is not enabled, is unknown and not nothing: None.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from relight.cloud.journal import Query, entries, escaped
from relight.cloud.metrics import series, total, value
from relight.cloud.reading import progress, read_service
from relight.cloud.schedules import found_schedules
from relight.cloud.seen import seen
from relight.cloud.states import bytes_of, short, state_of
from relight.config.deploy import Billing, Gpu
from relight.cost import prices
from relight.deploy.observed import Tested
from relight.deploy.service import Template
from relight.deploy.warm import Schedule

if TYPE_CHECKING:
    from google.cloud.run_v2 import Revision, Service

    from relight.cloud.google import Google

# Points come two or three minutes late, one a minute.
_RECENT: Final = timedelta(minutes=6)
_LOOKS_BACK: Final = timedelta(days=7)
_MOST_ENTRIES: Final = 200
_WAKES: Final = 5
_ALL: Final = 100


class RevisionState(Struct, frozen=True, kw_only=True):
    """A revision; `why` is what the platform says of one that is not ready. `percent` is what it gets now."""

    name: str
    created: datetime
    image: str
    is_ready: bool
    why: str | None
    percent: int
    tags: tuple[str, ...] = ()


class Instances(Struct, frozen=True):
    """How many instances there were a few minutes ago; idle ones wait, and are kept for up to a quarter of an hour."""

    active: int
    idle: int


class Wake(Struct, frozen=True, kw_only=True):
    """A request that waited for an engine to start."""

    time: datetime
    model: str
    seconds: float
    revision: str


class Month(Struct, frozen=True, kw_only=True):
    """The month so far: requests, seconds of instances that are paid for, and what these cost in USD before the free tier.

    An estimate: at today's shape and list prices, as if every paid second were a busy one; without builds, images and secrets.
    """

    since: datetime
    requests: int | None
    billable_s: float | None
    usd: float | None
    caveats: tuple[str, ...] = ()


class Standing(Struct, frozen=True, kw_only=True):
    """A service as it stands. `kept` are the instances that it keeps at this moment, a window counted in; `most` is the limit."""

    service: str
    project: str
    region: str
    url: str | None
    is_off: bool
    changing: str | None
    """What it is busy with; None: it is at rest."""
    hour_usd: float
    """Of one instance that works."""
    kept: int
    most: int
    tested: Tested | None
    revisions: tuple[RevisionState, ...]
    unfinished: RevisionState | None
    """The newest revision where it has not all of the traffic: a deployment stopped, or somebody went back from it."""
    instances: Instances | None
    windows: tuple[Schedule, ...]
    broken_windows: tuple[str, ...]
    """Jobs that somebody paused or changed."""
    wakes: tuple[Wake, ...] | None
    month: Month


def standing(google: Google, name: str, *, now: datetime) -> Standing | None:
    """How the service stands; None when there is none. Raises `CloudError`."""
    service = read_service(google, name)
    if service is None:
        return None
    state = state_of(service)
    instance = instance_of(state.template, google.region)
    windows = found_schedules(google, name)
    revisions = revisions_of(google, service)
    return Standing(
        service=name,
        project=google.project,
        region=google.region,
        url=state.uri,
        is_off=state.is_off,
        changing=(progress(service) or "it is being changed") if state.reconciling else None,
        hour_usd=prices.per_hour(instance),
        kept=state.settings.min_instances,
        most=state.settings.max_instances,
        tested=state.tested,
        revisions=revisions,
        unfinished=None if state.reconciling else unfinished(revisions),
        instances=seen(lambda: _instances(google, name, now), None),
        windows=tuple(window for window in windows.values() if window is not None),
        broken_windows=tuple(name for name, window in windows.items() if window is None),
        wakes=seen(lambda: _wakes(google, name, now), None),
        month=_month(google, name, instance, now),
    )


def revisions_of(google: Google, service: Service) -> tuple[RevisionState, ...]:
    """The revisions of a service, the newest first, with the traffic that they really have."""
    shares: dict[str, int] = {}
    tags: dict[str, list[str]] = {}
    for status in service.traffic_statuses:
        # Without a name it is whichever is the latest that is ready.
        revision = status.revision or short(service.latest_ready_revision)
        shares[revision] = shares.get(revision, 0) + status.percent
        if status.tag:
            tags.setdefault(revision, []).append(status.tag)
    found = (_revision(one, shares, tags) for one in _every_revision(google, service.name))
    return tuple(sorted(found, key=lambda one: (one.created, one.name), reverse=True))


def before(revisions: Sequence[RevisionState]) -> RevisionState | None:
    """Where a rollback goes when nobody says: the newest that is ready and older than the one with most of the traffic."""
    serving = max(revisions, key=lambda one: one.percent, default=None)
    if serving is None or not serving.percent:
        return next((one for one in revisions if one.is_ready), None)
    at = revisions.index(serving)
    return next((one for one in revisions[at + 1 :] if one.is_ready), None)


def unfinished(revisions: Sequence[RevisionState]) -> RevisionState | None:
    """The newest of them, unless it has all of the traffic."""
    newest = next(iter(revisions), None)
    return newest if newest is not None and newest.percent < _ALL else None


def instance_of(template: Template, region: str) -> prices.Instance:
    """What is paid for while an instance of this template lives."""
    return prices.Instance(
        cpu=float(template.cpu),
        memory=bytes_of(template.memory),
        gpu=next((gpu for gpu in Gpu if gpu.value == template.accelerator), None),
        zonal_redundancy=not template.gpu_zonal_redundancy_disabled,
        billing=Billing.REQUEST if template.cpu_idle else Billing.INSTANCE,
        region=region,
    )


def short_digest(image: str) -> str:
    """The first twelve digits of an image's digest; its tag, or the end of its name, where it has none."""
    _, _, digest = image.partition("@sha256:")
    return digest[:12] if digest else image.rpartition("/")[2]


# --- revisions


def _every_revision(google: Google, service: str) -> list[Revision]:
    from google.cloud.run_v2 import ListRevisionsRequest

    what, found, token = f"list the revisions of {short(service)}", list[Any](), ""
    while True:
        request = ListRevisionsRequest(parent=service, page_token=token)
        page = google.call(what, google.revisions.list_revisions, request=request)
        found += page.revisions  # of this page: the client would ask for the next one without `call`
        if not (token := page.next_page_token):
            return found


def _revision(one: Revision, shares: dict[str, int], tags: dict[str, list[str]]) -> RevisionState:
    name = short(one.name)
    ready = next((condition for condition in one.conditions if condition.type_ == "Ready"), None)
    is_ready = ready is not None and ready.state.name == "CONDITION_SUCCEEDED"
    image = one.containers[0].image if one.containers else ""
    return RevisionState(
        name=name,
        created=datetime.fromtimestamp(one.create_time.timestamp(), UTC),
        image=short_digest(image),
        is_ready=is_ready,
        why=None if is_ready else escaped((ready.message if ready else "") or "it is not ready yet"),
        percent=shares.get(name, 0),
        tags=tuple(tags.get(name, ())),
    )


# --- the log


def _wakes(google: Google, name: str, now: datetime) -> tuple[Wake, ...]:
    found = entries(google, Query(service=name, since=now - _LOOKS_BACK), limit=_MOST_ENTRIES)
    wakes = [
        Wake(
            time=entry.time, model=escaped(str(entry.record.get("model") or "?")), seconds=waited / 1000, revision=entry.revision
        )
        for entry in found
        if entry.record is not None and (waited := _waited_ms(entry.record)) > 0
    ]
    return tuple(wakes[-_WAKES:])


def _waited_ms(record: dict[str, Any]) -> float:
    timings = record.get("timings")
    waited = timings.get("wake_ms") if isinstance(timings, dict) else None
    return float(waited) if isinstance(waited, int | float) else 0.0


# --- metrics


def _instances(google: Google, name: str, now: datetime) -> Instances:
    """The newest point of each series; one without a recent point has ended."""
    counts = {"active": 0, "idle": 0}
    for one in series(google, name, "container/instance_count", now - _RECENT, now):
        state = one["metric"].get("labels", {}).get("state", "")
        if state in counts:
            newest = max(one["points"], key=lambda point: point["interval"]["endTime"])
            counts[state] += round(value(newest))
    return Instances(**counts)


def _month(google: Google, name: str, instance: prices.Instance, now: datetime) -> Month:
    since = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    billable = seen(lambda: total(google, name, "container/billable_instance_time", since, now), None)
    requests = seen(lambda: total(google, name, "request_count", since, now), None)
    usd = None
    if billable is not None:
        fee = prices.rates(instance.region).request if instance.billing is Billing.REQUEST else 0.0
        usd = prices.per_hour(instance) / 3600 * billable + fee * (requests or 0)
    return Month(
        since=since,
        requests=None if requests is None else round(requests),
        billable_s=billable,
        usd=usd,
        caveats=prices.caveats(instance),
    )


__all__ = [
    "Instances",
    "Month",
    "RevisionState",
    "Standing",
    "Wake",
    "before",
    "instance_of",
    "revisions_of",
    "short_digest",
    "standing",
    "unfinished",
]
