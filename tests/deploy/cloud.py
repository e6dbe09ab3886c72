"""A model of the cloud: what each step leaves behind. As plain as it can be, so that it can be checked by reading."""

from __future__ import annotations

import hashlib

from msgspec.structs import replace

from relight.deploy.names import CANDIDATE
from relight.deploy.observed import BucketState, Observed, Repository, SecretState, ServiceState, Tested
from relight.deploy.plan import UNBUILT
from relight.deploy.service import Template, Traffic, merged
from relight.deploy.steps import (
    AddSecretVersion,
    BuildImage,
    CreateBucket,
    CreateRepository,
    CreateSecret,
    CreateServiceAccount,
    DeployRevision,
    EnableApis,
    GrantRole,
    RemoveSchedule,
    SetCleanup,
    SetInvokers,
    SetSchedule,
    ShiftTraffic,
    SmokeTest,
    Step,
    UpdateService,
    UploadWeights,
)


def applied(step: Step, cloud: Observed) -> Observed:  # noqa: C901, PLR0911, PLR0912 - one line a step
    """The cloud after one step; asserts what the step must find."""
    match step:
        case EnableApis():
            assert not set(step.apis) & cloud.apis
            return replace(cloud, apis=cloud.apis | set(step.apis))
        case CreateRepository():
            assert cloud.repository is None
            return replace(cloud, repository=Repository(keeps=step.keeps, labels=step.labels))
        case SetCleanup():
            assert cloud.repository is not None
            return replace(cloud, repository=replace(cloud.repository, keeps=step.keeps))
        case CreateServiceAccount():
            assert step.name not in cloud.accounts
            return replace(cloud, accounts=cloud.accounts | {step.name})
        case CreateSecret():
            assert step.name not in cloud.secrets
            return replace(cloud, secrets={**cloud.secrets, step.name: SecretState()})
        case AddSecretVersion():
            assert step.version == cloud.secrets[step.name].latest + 1
            return replace(cloud, secrets={**cloud.secrets, step.name: SecretState(latest=step.version, matches=True)})
        case CreateBucket():
            assert step.name not in cloud.buckets
            return replace(cloud, buckets={**cloud.buckets, step.name: BucketState(region=step.region, labels=step.labels)})
        case GrantRole():
            return replace(_needs(step, cloud), grants=cloud.grants | {step.grant})
        case UploadWeights():
            there = cloud.buckets[step.bucket]
            there = replace(there, objects={**there.objects, step.name: step.size})
            return replace(cloud, buckets={**cloud.buckets, step.bucket: there})
        case BuildImage():
            assert cloud.repository is not None
            return replace(cloud, images={**cloud.images, step.name: digest_of(step.name)})
        case SetSchedule():
            assert cloud.service is not None
            account = step.schedule.account
            assert account is None or account in cloud.accounts
            return replace(cloud, schedules={**cloud.schedules, step.name: step.schedule})
        case RemoveSchedule():
            return replace(cloud, schedules={name: one for name, one in cloud.schedules.items() if name != step.name})
        case _:
            return replace(cloud, service=_service(step, cloud))


def digest_of(reference: str) -> str:
    """The digest that a build of the model gives an image."""
    return "sha256:" + hashlib.sha256(reference.encode()).hexdigest()


def _service(step: Step, cloud: Observed) -> ServiceState:
    if isinstance(step, DeployRevision):
        return _deployed(step, cloud)
    there = cloud.service
    assert there is not None
    match step:
        case UpdateService():
            return replace(there, settings=step.settings)
        case SetInvokers():
            assert (set(there.invokers) | set(step.added)) - set(step.removed) == set(step.members)
            return replace(there, invokers=step.members)
        case SmokeTest():
            assert there.latest_ready is not None
            return replace(there, tested=Tested(there.latest_ready, step.percent))
        case ShiftTraffic():
            return replace(there, traffic=_shifted(step, there))
    raise AssertionError(step)


def _deployed(step: DeployRevision, cloud: Observed) -> ServiceState:
    there, template = cloud.service, _built(step, cloud)
    assert template.service_account in cloud.accounts
    for ref in template.secrets.values():
        assert int(ref.version) == cloud.secrets[ref.secret].latest
    if there is None:
        assert step.is_first
        assert step.settings is not None
        return ServiceState(template=template, settings=step.settings, latest_created="s-1", latest_ready="s-1")
    name = f"s-{int(there.latest_created.removeprefix('s-')) + 1}"
    pinned = [replace(item, revision=item.revision or there.latest_ready, tag=None) for item in there.traffic if item.percent]
    held = (*pinned, Traffic(revision=name, percent=0, tag=CANDIDATE))
    traffic = (Traffic(revision=None, percent=100),) if step.is_first else held
    whole = merged(there.template, template, step.name)
    return replace(there, template=whole, latest_created=name, latest_ready=name, traffic=traffic)


def _shifted(step: ShiftTraffic, there: ServiceState) -> tuple[Traffic, ...]:
    if step.percent == 100:
        return (Traffic(revision=None, percent=100),)
    assert step.previous not in (None, there.latest_ready)
    return (
        Traffic(revision=there.latest_ready, percent=step.percent, tag=CANDIDATE),
        Traffic(revision=step.previous, percent=100 - step.percent),
    )


def _built(step: DeployRevision, cloud: Observed) -> Template:
    """With the digest that was not known when the plan was made."""
    digest = cloud.images.get(step.reference, step.template.image.partition("@")[2])
    assert digest != UNBUILT
    return replace(step.template, image=step.template.image.replace(UNBUILT, digest))


def _needs(step: GrantRole, cloud: Observed) -> Observed:
    """A role can be given only on what is there, to an account that is."""
    what, _, name = step.grant.on.partition(":")
    there = {"secret": name in cloud.secrets, "bucket": name in cloud.buckets, "repository": cloud.repository is not None}
    there |= {"service": cloud.service is not None, "account": name in cloud.accounts}
    assert there.get(what, True), step
    return cloud
