"""Everything of a service in the cloud, found by its marks and taken away: what is labelled as ours, and nothing else.

What is there is looked for each time, so a removal that was stopped goes on when it is run again. Service accounts go last: by
them their roles elsewhere are found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from relight.cloud.accounts import accounts_of, delete_account
from relight.cloud.buckets import buckets_of, delete_bucket
from relight.cloud.grants import accounts_on, found_grants, revoke
from relight.cloud.reading import read_service
from relight.cloud.registry import delete_repository, found_repository, images_of
from relight.cloud.release import delete_service
from relight.cloud.schedules import delete_schedule, found_schedules
from relight.cloud.secrets import delete_secret, secrets_of
from relight.cloud.seen import seen
from relight.cloud.standing import instance_of
from relight.cloud.states import state_of
from relight.cost import prices
from relight.deploy import names
from relight.deploy.desired import Desired, Grant
from relight.deploy.price import usd
from relight.deploy.warm import region_of
from relight.values import counted

if TYPE_CHECKING:
    from relight.cloud.google import Google
    from relight.cloud.work import Show

_LEAST_USD: Final = 0.001
"""What is less is not worth a number."""
_ON_BUCKETS: Final = ("roles/storage.objectUser", "roles/storage.legacyBucketReader")


class Kind(StrEnum):
    """What can be ours, in the order in which it goes."""

    SCHEDULE = "schedule"
    SERVICE = "service"
    REPOSITORY = "repository"
    SECRET = "secret"  # noqa: S105 - a kind of thing
    BUCKET = "bucket"
    ROLE = "role"
    ACCOUNT = "account"


class Owned(Struct, frozen=True, kw_only=True):
    """A thing of ours; `cost` is what it costs as it is, in words. `grant` is what a role stands for."""

    kind: Kind
    name: str
    cost: str
    grant: Grant | None = None


class Left(Struct, frozen=True, kw_only=True):
    """A thing that stays, and why."""

    kind: Kind
    name: str
    why: str


class Estate(Struct, frozen=True, kw_only=True):
    """What is ours, in the order in which it goes, and what stays though it looks like it."""

    owned: tuple[Owned, ...]
    left: tuple[Left, ...]


def estate(google: Google, desired: Desired, show: Show, *, keeps_weights: bool = False) -> Estate:
    """What there is of the service that `desired` is about. With `keeps_weights` its buckets stay. Raises `CloudError`."""
    service = desired.service
    show.doing(f"looking for everything of {service}")
    owned, left = list[Owned](), list[Left]()
    for found in (*_schedules(google, service), *_service(google, service), *_repository(google, service)):
        (owned if isinstance(found, Owned) else left).append(found)  # type: ignore[arg-type]  # one or the other
    owned += [
        Owned(kind=Kind.SECRET, name=name, cost=f"{usd(prices.SURROUNDINGS.secret_version_month)} a month for each version")
        for name in secrets_of(google, service)
    ]
    buckets = [Owned(kind=Kind.BUCKET, name=name, cost=_bucket_cost(google, name)) for name in buckets_of(google, service)]
    accounts = accounts_of(google, service)
    for one in buckets:
        others = [] if keeps_weights else _others_on(google, desired, one.name, accounts)
        if keeps_weights or others:
            why = f"others use it too: {', '.join(others)}" if others else "weights are kept (--keep-weights)"
            left.append(Left(kind=Kind.BUCKET, name=one.name, why=why))
        else:
            owned.append(one)
    left += _foreign_bucket(google, desired, [one.name for one in buckets])
    owned += _roles(google, desired, accounts, owned, [one.name for one in left if one.kind is Kind.BUCKET])
    owned += [Owned(kind=Kind.ACCOUNT, name=email, cost="nothing") for email in accounts]
    return Estate(owned=tuple(owned), left=tuple(left))


def remove(google: Google, owned: Owned, show: Show) -> None:
    """Take one thing away; what is gone already is fine. Blocks. Raises `CloudError`."""
    show.doing(f"removing {owned.kind} {owned.name}")
    match owned.kind:
        case Kind.SCHEDULE:
            delete_schedule(google, owned.name, region_of(google.region))
        case Kind.SERVICE:
            delete_service(google, owned.name, show)
        case Kind.REPOSITORY:
            delete_repository(google, owned.name, show)
        case Kind.SECRET:
            delete_secret(google, owned.name)
        case Kind.BUCKET:
            delete_bucket(google, owned.name, show)
        case Kind.ROLE:
            if owned.grant is not None:
                revoke(google, owned.grant)
        case Kind.ACCOUNT:
            delete_account(google, owned.name)


# --- what is ours


def _schedules(google: Google, service: str) -> Iterator[Owned]:
    cost = f"{usd(prices.SURROUNDINGS.schedule_month)} a month"
    yield from (Owned(kind=Kind.SCHEDULE, name=name, cost=cost) for name in sorted(found_schedules(google, service)))


def _service(google: Google, name: str) -> Iterator[Owned | Left]:
    found = read_service(google, name)
    if found is None:
        return
    if not _is_ours(name, dict(found.labels)):
        yield Left(kind=Kind.SERVICE, name=name, why=_UNMARKED)
        return
    state = state_of(found)
    kept = state.settings.min_instances * prices.per_month_kept(instance_of(state.template, google.region))
    cost = f"{usd(kept)} a month for what it keeps awake" if kept and not state.is_off else "nothing while nobody uses it"
    yield Owned(kind=Kind.SERVICE, name=name, cost=cost)


def _repository(google: Google, service: str) -> Iterator[Owned | Left]:
    name = names.repository(service)
    found = found_repository(google, name)
    if found is None:
        return
    if not _is_ours(service, found.labels):
        yield Left(kind=Kind.REPOSITORY, name=name, why=_UNMARKED)
        return
    images = images_of(google, name)
    size = sum(image.size for image in images) / 1e9
    cost = f"{_monthly(size * prices.SURROUNDINGS.image_gb_month)} for {counted(len(images), 'image')}"
    yield Owned(kind=Kind.REPOSITORY, name=name, cost=cost)


def _bucket_cost(google: Google, name: str) -> str:
    def ask(**how: Any) -> list[int]:
        return [int(blob.size or 0) for blob in google.storage.list_blobs(name, **how)]

    none: list[int] = []
    sizes = seen(lambda: google.call(f"see what is in the bucket {name}", ask), none)
    return f"{_monthly(sum(sizes) / 1e9 * prices.SURROUNDINGS.bucket_gb_month)} for {counted(len(sizes), 'object')}"


def _monthly(amount: float) -> str:
    return f"{usd(amount)} a month" if amount == 0 or amount >= _LEAST_USD else "next to nothing"


def _others_on(google: Google, desired: Desired, bucket: str, accounts: Iterable[str]) -> list[str]:
    """Accounts of others that may use a bucket of ours: another service whose configuration names it, say."""
    ours = {f"serviceAccount:{email}" for email in accounts}
    ours |= {grant.member for grant in (*desired.grants, *desired.builder_grants)}
    return sorted(member.partition(":")[2] for member in accounts_on(google, f"bucket:{bucket}") - ours)


def _foreign_bucket(google: Google, desired: Desired, ours: Iterable[str]) -> Iterator[Left]:
    """The bucket that the configuration names, when somebody else made it."""
    if desired.uses_bucket and desired.bucket not in ours and desired.bucket != names.bucket(google.project, desired.service):
        yield Left(
            kind=Kind.BUCKET, name=desired.bucket, why="made by somebody else: what relight put there (weights/, prefixes/) stays"
        )


def _roles(
    google: Google, desired: Desired, accounts: Iterable[str], owned: Iterable[Owned], kept: Iterable[str]
) -> Iterator[Owned]:
    """Roles of accounts that go, on what stays (`kept` are buckets): those on what goes are gone with it."""
    members = {f"serviceAccount:{email}" for email in accounts}
    go = {f"{one.kind}:{one.name}" for one in owned} | {f"account:{email}" for email in accounts}
    wanted = {grant for grant in (*desired.grants, *desired.builder_grants) if grant.member in members and grant.on not in go}
    # What the configuration wanted of a bucket when it was deployed is not what it wants now.
    wanted |= {Grant(role, member, f"bucket:{name}") for name in kept for role in _ON_BUCKETS for member in members}
    for grant in sorted(found_grants(google, wanted)):
        yield Owned(kind=Kind.ROLE, name=f"{grant.role} on {grant.on}", cost="nothing", grant=grant)


_UNMARKED: Final = "it has not the labels of relight"


def _is_ours(service: str, labels: dict[str, str]) -> bool:
    return names.labels(service).items() <= labels.items()


__all__ = ["Estate", "Kind", "Left", "Owned", "estate", "remove"]
