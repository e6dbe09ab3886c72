"""The steps of a plan, done one after another; whoever stops in between goes on there, because a plan is made of what there is.

Nothing is kept about how far a deployment came: after a stop, a lost connection or a change by somebody else at the same moment,
it is looked anew and planned anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from msgspec.structs import replace

from relight.cloud import (
    accounts,
    buckets,
    building,
    grants,
    journal,
    project,
    pushing,
    registry,
    release,
    schedules,
    secrets,
    trial,
)
from relight.cloud.google import Google
from relight.cloud.work import Here, Show
from relight.deploy.causes import cause_of
from relight.deploy.desired import Desired
from relight.deploy.facts import Builder
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
from relight.errors import CloudError, CloudLost

_ROUNDS: Final = 5
"""Without a step that was done."""
_MOST_STEPS: Final = 200
_LINES: Final = 20


class Steps(Protocol):
    """Who is told about the steps as they go."""

    def planned(self, steps: tuple[Step, ...]) -> None:
        """These are to be done; more than once when it had to be looked anew."""
        ...

    def begins(self, step: Step) -> None:
        """One begins."""
        ...

    def ends(self, step: Step) -> None:
        """It is done."""
        ...

    def again(self, reason: str) -> None:
        """Nobody knows whether the last one took place: it is looked anew."""
        ...


class Applier:
    """Does single steps. Keeps nothing but the digests of images that it built and what the tests said."""

    def __init__(self, google: Google, desired: Desired, here: Here, wants: trial.Trial, show: Show) -> None:
        self._google, self._desired, self._here, self._wants, self._show = google, desired, here, wants, show
        self._digests: dict[str, str] = {}
        self.tried: list[trial.Tried] = []

    def do(self, step: Step) -> None:  # noqa: C901, PLR0912 - one case a step
        """One step. Raises `CloudError`; `CloudLost` when nobody knows whether it took place."""
        google, show = self._google, self._show
        match step:
            case EnableApis():
                project.enable_apis(google, step, show)
            case CreateRepository():
                registry.create_repository(google, step, show)
            case SetCleanup():
                registry.set_cleanup(google, step)
            case CreateServiceAccount():
                accounts.create_account(google, step, self._desired.service)
            case CreateSecret():
                secrets.create_secret(google, step)
            case AddSecretVersion():
                secrets.add_secret_version(google, step, self._here.secret(step.variable), show)
            case CreateBucket():
                buckets.create_bucket(google, step)
            case GrantRole():
                grants.grant(google, step)
            case UploadWeights():
                buckets.upload_weights(google, step, self._here.weights(step.model), show)
            case BuildImage():
                self._digests[step.name] = self._built(step)
            case DeployRevision():
                self._released(step)
            case UpdateService():
                release.update_service(google, step)
            case SetInvokers():
                release.set_invokers(google, step)
            case SmokeTest():
                self._try(step)
            case ShiftTraffic():
                release.shift_traffic(google, step, show)
            case SetSchedule():
                schedules.set_schedule(google, step)
            case RemoveSchedule():
                schedules.remove_schedule(google, step)

    def _built(self, step: BuildImage) -> str:
        if step.builder == Builder.LOCAL:
            return pushing.push_image(self._google, step, self._here, self._show, folder=self._here.folder)
        account, bucket = self._desired.builder_account.email, self._desired.bucket
        return building.build_image(self._google, step, self._here, self._show, account=account, bucket=bucket)

    def _released(self, step: DeployRevision) -> None:
        try:
            release.deploy_revision(self._google, step, digest=self._digests.get(step.reference), show=self._show)
        except release.RevisionFailed as failed:
            raise self._explained(failed) from failed

    def _explained(self, failed: release.RevisionFailed) -> CloudError:
        """With the revision's own last words, and what they mean."""
        lines = journal.failure_lines(self._google, failed.service, failed.revision, self._show)[-_LINES:]
        for line in lines:
            self._show.say(f"  │ {line}")
        found = cause_of(lines)
        hint = f"{found.why}: {found.do}" if found is not None else failed.hint
        told = CloudError(failed.message, hint=hint)
        told.__cause__ = failed
        return told

    def _try(self, step: SmokeTest) -> None:
        door = release.door_of(self._google, step.name)
        url, audience = release.address_of(self._google, step.name, percent=step.percent)
        wants = replace(
            self._wants,
            guarded=self._wants.guarded or door.is_guarded,
            is_reachable=self._wants.is_reachable and door.is_reachable,
        )
        self.tried.append(trial.trial(self._google, url, audience, wants=wants, show=self._show))
        # That of the revision that was asked: somebody else may have made another meanwhile.
        release.mark_tested(self._google, step.name, step.percent, revision=door.revision)


def apply(plan: Plan, again: Callable[[], Plan], do: Callable[[Step], None], told: Steps) -> int:
    """Do the steps of `plan`, and of what `again` (it looks and plans anew) finds, until nothing is left; returns how many.

    Raises `CloudError` for the first step that fails, and when it does not come to rest.
    """
    done, idle = 0, 0
    while plan.steps and idle < _ROUNDS and done < _MOST_STEPS:
        before = done
        told.planned(plan.steps)
        try:
            for step in plan.steps:
                told.begins(step)
                do(step)
                told.ends(step)
                done += 1
            reason = "something has changed meanwhile: there is more to do"
        except CloudLost as error:
            reason = error.message
        idle = idle + 1 if done == before else 0
        plan = again()
        if plan.steps:
            told.again(reason)
    if plan.steps:
        raise CloudError(
            f"cloud: after {done} steps there is still something to do: {plan.steps[0].kind} {plan.steps[0].target}",
            hint="somebody else may be changing the same service: run it again when they are done",
        )
    return done
