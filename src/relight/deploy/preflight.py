"""Everything that would fail, or cost what nobody meant, before anything is spent. Pure: the checks in their order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from relight.deploy import exposure, lasting, members, sizing, standing, windows
from relight.deploy.findings import Case, Finding, Severity
from relight.deploy.plan import Plan
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

_CHECKS: Final[tuple[Callable[[Case], Iterator[Finding]], ...]] = (
    standing.project,
    standing.naming,
    standing.credentials,
    standing.account_billing,
    standing.apis,
    standing.permissions,
    sizing.shape,
    sizing.region,
    sizing.billing,
    standing.quotas,
    sizing.weights,
    sizing.memory,
    sizing.gpu_memory,
    lasting.start,
    lasting.timeout,
    sizing.concurrency,
    sizing.kept_awake,
    windows.times,
    windows.effect,
    windows.models,
    sizing.oversized,
    standing.secrets,
    members.kinds,
    members.tester,
    standing.things,
    standing.policies,
    exposure.callers,
    exposure.network,
    exposure.content,
    exposure.platform,
)

_PERMISSIONS: Final[dict[type[Step], tuple[str, ...]]] = {
    EnableApis: ("serviceusage.services.enable",),
    CreateRepository: ("artifactregistry.repositories.create",),
    SetCleanup: ("artifactregistry.repositories.update",),
    CreateServiceAccount: ("iam.serviceAccounts.create",),
    CreateSecret: ("secretmanager.secrets.create",),
    AddSecretVersion: ("secretmanager.versions.add",),
    CreateBucket: ("storage.buckets.create",),
    UploadWeights: ("storage.objects.create",),
    BuildImage: ("cloudbuild.builds.create", "storage.objects.create", "iam.serviceAccounts.actAs"),
    UpdateService: ("run.services.update",),
    SetInvokers: ("run.services.setIamPolicy",),
    SmokeTest: ("run.services.update",),
    ShiftTraffic: ("run.services.update",),
    SetSchedule: ("cloudscheduler.jobs.create", "cloudscheduler.jobs.update"),
    RemoveSchedule: ("cloudscheduler.jobs.delete",),
}
_ON: Final = {
    "project": "resourcemanager.projects.setIamPolicy",
    "secret": "secretmanager.secrets.setIamPolicy",
    "bucket": "storage.buckets.setIamPolicy",
    "repository": "artifactregistry.repositories.setIamPolicy",
    "service": "run.services.setIamPolicy",
    "account": "iam.serviceAccounts.setIamPolicy",
}


def preflight(case: Case) -> tuple[Finding, ...]:
    """Every finding, what passed among them; without what was observed, what can be known offline and what cannot."""
    return tuple(finding for check in _CHECKS for finding in check(case))


def stops(findings: tuple[Finding, ...]) -> bool:
    """Whether nothing may be applied."""
    return any(finding.severity is Severity.ERROR for finding in findings)


def permissions_of(plan: Plan) -> frozenset[str]:
    """The permissions that the steps of a plan take."""
    return frozenset(permission for step in plan.steps for permission in _permissions(step))


def _permissions(step: Step) -> tuple[str, ...]:  # noqa: PLR0911 - one case a step
    match step:
        case DeployRevision(settings=None):
            return "run.services.update", "iam.serviceAccounts.actAs"
        case DeployRevision(settings=settings):
            # Only who may set its policy may make a service that Google does not guard.
            opens = settings is not None and settings.invoker_iam_disabled
            return ("run.services.create", "iam.serviceAccounts.actAs", *(["run.services.setIamPolicy"] if opens else []))
        case GrantRole(grant=grant):
            return (_ON[grant.on.partition(":")[0]],)
        case SetSchedule(schedule=schedule) if schedule.account is not None:
            return (*_PERMISSIONS[SetSchedule], "iam.serviceAccounts.actAs")
        case BuildImage(builder="this machine"):
            return ("artifactregistry.repositories.uploadArtifacts",)
        case UpdateService() if any(change.field == "invoker_iam_disabled" for change in step.changes):
            return "run.services.update", "run.services.setIamPolicy"
        case _:
            return _PERMISSIONS[type(step)]
