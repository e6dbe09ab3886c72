"""From what should be and what is to the steps between them, in order. Pure: the same two give the same plan.

Nothing is changed that the configuration does not name: a thing that somebody else made is used as it is, and what others set on
our service stays. What is there already takes no step, so a plan made after any of its own steps is the rest of it, and after all
of them it is empty.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from relight.deploy.desired import Account, Desired, Grant
from relight.deploy.facts import Builder, Costs
from relight.deploy.observed import Observed, SecretState
from relight.deploy.price import Words
from relight.deploy.rollout import rollout
from relight.deploy.service import SecretRef, Template
from relight.deploy.steps import (
    AddSecretVersion,
    BuildImage,
    CreateBucket,
    CreateRepository,
    CreateSecret,
    CreateServiceAccount,
    EnableApis,
    GrantRole,
    RemoveSchedule,
    SetCleanup,
    SetSchedule,
    Step,
    UploadWeights,
)
from relight.deploy.warm import PING_PATH, Schedule, region_of

KEPT_IMAGES: Final = 5
UNBUILT: Final = "sha256:(of the build)"
"""Stands for the digest of an image that a step of the same plan builds."""


class Plan(Struct, frozen=True, kw_only=True):
    """The steps to a service, in order."""

    project: str
    region: str
    service: str
    steps: tuple[Step, ...]


def plan(desired: Desired, observed: Observed, costs: Costs | None = None, *, image_bytes: int | None = None) -> Plan:
    """What has to be done. `costs` None leaves amounts out; `image_bytes` is what an image takes, where that is known."""
    words = Words(costs)
    steps = [
        *_apis(desired, observed),
        *_repository(desired, observed, words, image_bytes),
        *_accounts(desired, observed),
        *_secrets(desired, observed, words),
        *_bucket(desired, observed, words),
        *_grants(desired, observed),
        *_weights(desired, observed, words),
        *_build(desired, observed, words),
        *rollout(desired, _resolved(desired, observed), observed, words),
        *_grants_on_service(desired, observed),
        *_schedules(desired, observed, words),
    ]
    return Plan(project=desired.project, region=desired.region, service=desired.service, steps=tuple(steps))


def builds(desired: Desired, observed: Observed) -> bool:
    """Whether an image has to be built: none was given, and none is there that is made of the same."""
    return not desired.image.is_given and desired.image.reference not in observed.images


def _apis(desired: Desired, observed: Observed) -> Iterator[Step]:
    if missing := tuple(api for api in desired.apis if api not in observed.apis):
        yield EnableApis(
            apis=missing,
            reason="the service is made of them",
            cost="nothing by itself",
            undo="disable them where nothing else uses them; relight leaves them enabled",
        )


def _repository(desired: Desired, observed: Observed, words: Words, image_bytes: int | None) -> Iterator[Step]:
    if desired.image.is_given:
        return
    name, there = desired.repository, observed.repository
    if there is None:
        yield CreateRepository(
            name=name,
            region=desired.region,
            keeps=KEPT_IMAGES,
            labels=desired.labels,
            reason="Cloud Run takes images from a repository of its region",
            cost=words.images(image_bytes, KEPT_IMAGES),
            undo="relight destroy",
        )
    elif there.keeps == 0 and desired.labels.items() <= there.labels.items():
        yield SetCleanup(
            name=name,
            keeps=KEPT_IMAGES,
            reason="without a policy every image that was ever built is kept and paid for",
            cost=words.images(image_bytes, KEPT_IMAGES),
            undo="remove the policy",
        )


def _accounts(desired: Desired, observed: Observed) -> Iterator[Step]:
    for account in (*desired.accounts, *_builder(desired, observed)[0]):
        if account.email not in observed.accounts:
            yield CreateServiceAccount(
                name=account.email,
                purpose=account.purpose,
                reason="an account of its own, with no role but those that it needs",
                cost="nothing",
                undo="relight destroy",
            )


def _secrets(desired: Desired, observed: Observed, words: Words) -> Iterator[Step]:
    for need in desired.secrets:
        state = observed.secrets.get(need.secret)
        if state is None:
            yield CreateSecret(
                name=need.secret,
                labels=desired.labels,
                reason=f"the configuration names {need.variable}",
                cost="nothing without a version",
                undo="relight destroy",
            )
        if _needs_version(state):
            was = (
                "there is no version yet" if state is None or state.latest == 0 else "what is here differs from the last version"
            )
            yield AddSecretVersion(
                name=need.secret,
                variable=need.variable,
                version=_version(state),
                reason=was,
                cost=words.secret(),
                undo="destroy the version, and deploy with the one before",
            )


def _bucket(desired: Desired, observed: Observed, words: Words) -> Iterator[Step]:
    if desired.bucket not in observed.buckets and (desired.uses_bucket or _builder(desired, observed)[0]):
        yield CreateBucket(
            name=desired.bucket,
            region=desired.region,
            labels=desired.labels,
            reason=f"weights and snapshots: {desired.placement_reason}" if desired.weights else _why_bucket(desired),
            cost=words.bucket(),
            undo="relight destroy",
        )


def _grants(desired: Desired, observed: Observed) -> Iterator[Step]:
    for grant in (*desired.grants, *_builder(desired, observed)[1]):
        if grant not in observed.grants and not _is_on_service(grant):
            yield _grant(grant)


def _grants_on_service(desired: Desired, observed: Observed) -> Iterator[Step]:
    """What can be granted only when the service is there."""
    yield from (_grant(grant) for grant in desired.grants if grant not in observed.grants and _is_on_service(grant))


def _grant(grant: Grant) -> Step:
    return GrantRole(grant=grant, reason="the account needs it, and nothing more", cost="nothing", undo="remove the binding")


def _is_on_service(grant: Grant) -> bool:
    return grant.on.startswith("service:")


def _schedules(desired: Desired, observed: Observed, words: Words) -> Iterator[Step]:
    """New jobs before old ones go: what the service keeps in a window that is open stays explained by one of them."""
    for timed in desired.schedules:
        schedule = _addressed(timed.schedule, observed)
        if observed.schedules.get(schedule.name) != schedule:
            yield SetSchedule(
                name=schedule.name,
                service=desired.service,
                schedule=schedule,
                reason=timed.reason,
                cost=words.schedule(timed),
                undo="take the window out of the configuration, and deploy again",
            )
    wanted = {timed.schedule.name for timed in desired.schedules}
    for name in sorted(set(observed.schedules) - wanted):
        yield RemoveSchedule(
            name=name,
            region=region_of(desired.region),
            reason="no window has it",
            cost="nothing any more",
            undo="put the window back, and deploy again",
        )


def _addressed(schedule: Schedule, observed: Observed) -> Schedule:
    there = observed.service
    if schedule.uri or there is None or there.uri is None:
        return schedule
    return replace(schedule, uri=f"{there.uri.rstrip('/')}{PING_PATH}")


def _weights(desired: Desired, observed: Observed, words: Words) -> Iterator[Step]:
    there = observed.buckets.get(desired.bucket)
    for file in desired.weights:
        if there is None or there.objects.get(file.object) != file.size:
            yield UploadWeights(
                name=file.object,
                bucket=desired.bucket,
                model=file.model,
                size=file.size,
                sha256=file.sha256,
                reason=f"{file.model} is loaded from there: {desired.placement_reason}",
                cost=words.stored(file.size),
                undo="relight destroy",
            )


def _build(desired: Desired, observed: Observed, words: Words) -> Iterator[Step]:
    if builds(desired, observed):
        yield BuildImage(
            name=desired.image.reference,
            builder=desired.builder,
            reason="there is no image that is made of the same",
            cost=words.build(is_paid=desired.builder is Builder.CLOUD),
            undo="delete the image; the clean-up policy does in time",
        )


def _builder(desired: Desired, observed: Observed) -> tuple[tuple[Account, ...], tuple[Grant, ...]]:
    """The account that builds, and its roles, while there is something for it to build."""
    if desired.builder is Builder.CLOUD and builds(desired, observed):
        return (desired.builder_account,), desired.builder_grants
    return (), ()


def _resolved(desired: Desired, observed: Observed) -> Template:
    """The template with the image's digest and the numbers of versions."""
    versions = {need.variable: str(_wanted(observed.secrets.get(need.secret))) for need in desired.secrets}
    secrets = {name: SecretRef(ref.secret, versions[name]) for name, ref in desired.template.secrets.items()}
    return replace(desired.template, image=_digest(desired, observed), secrets=secrets)


def _digest(desired: Desired, observed: Observed) -> str:
    if desired.image.is_given:
        return desired.image.reference
    place, _, _ = desired.image.reference.rpartition(":")
    return f"{place}@{observed.images.get(desired.image.reference, UNBUILT)}"


def _needs_version(state: SecretState | None) -> bool:
    return state is None or state.latest == 0 or state.matches is False


def _version(state: SecretState | None) -> int:
    return 1 if state is None else state.latest + 1


def _wanted(state: SecretState | None) -> int:
    """The version that the service should have: the one that will be added, else the last."""
    return _version(state) if state is None or _needs_version(state) else state.latest


def _why_bucket(desired: Desired) -> str:
    return (
        "snapshots, which survive the instance there" if desired.uses_bucket else "what an image is built from goes there first"
    )
