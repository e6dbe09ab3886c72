"""Everything of a service goes, in an order that can be stopped anywhere, and nothing of anybody else does."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from google.cloud.scheduler_v1 import Job

from relight.cloud import accounts, buckets, grants, registry, release, schedules, secrets
from relight.cloud.destroying import Kind, estate, remove
from relight.cloud.google import Google
from relight.cloud.work import Silent
from relight.config.deploy import Placement, Window
from relight.config.schema import Config, Service
from relight.deploy.desired import Desired, desire
from relight.deploy.names import account
from relight.deploy.observed import Observed
from relight.deploy.plan import plan
from relight.deploy.steps import (
    AddSecretVersion,
    BuildImage,
    CreateBucket,
    CreateRepository,
    CreateSecret,
    CreateServiceAccount,
    DeployRevision,
    GrantRole,
    SetInvokers,
    SetSchedule,
    SmokeTest,
    Step,
)
from relight.errors import CloudError
from tests.cloud.fake.cloud import Cloud
from tests.cloud.fake.server import Refused
from tests.deploy.worlds import config, facts

SHOW = Silent()
RUN: dict[str, Any] = {
    "warm": {"office": Window()},
    "weights": Placement.BUCKET,
    "invokers": ("user:me@example.com",),
    "max_instances": 4,
}


def wish(name: str = "portfolio", **run: Any) -> Config:
    return config(service=Service(name=name), run={**RUN, **run})


class Site:
    """Deploys by the steps of a plan; what builds, uploads and asks is done by hand."""

    def __init__(self, cloud: Cloud, google: Google) -> None:
        self.cloud, self.google = cloud, google
        cloud.usage.enable()

    def deploy(self, wished: Config) -> Desired:
        desired = desire(wished, facts())
        for step in plan(desired, Observed(apis=frozenset(desired.apis))).steps:
            self._do(step, desired)
        return desired

    def _do(self, step: Step, desired: Desired) -> None:  # noqa: C901, PLR0912 - one case a step
        google = self.google
        match step:
            case CreateRepository():
                registry.create_repository(google, step, SHOW)
            case CreateServiceAccount():
                accounts.create_account(google, step, desired.service)
            case CreateSecret():
                secrets.create_secret(google, step)
            case AddSecretVersion():
                secrets.add_secret_version(google, step, "text", SHOW)
            case CreateBucket():
                buckets.create_bucket(google, step)
                for number in range(3):
                    self.cloud.storage.put(step.name, f"weights/{number}", b"weights")
            case GrantRole():
                grants.grant(google, step)
            case BuildImage():
                self.digest = self.cloud.registry.push(desired.repository, desired.service, step.name.rpartition(":")[2])
            case DeployRevision():
                release.deploy_revision(google, step, digest=self.digest, show=SHOW)
            case SetInvokers():
                release.set_invokers(google, step)
            case SmokeTest():
                release.mark_tested(google, step.name, step.percent)
            case SetSchedule():
                schedules.set_schedule(google, step)
            case _:
                pass


@pytest.fixture
def site(cloud: Cloud, google: Google) -> Site:
    return Site(cloud, google)


def destroy(google: Google, desired: Desired, **how: Any) -> list[str]:
    found = estate(google, desired, SHOW, **how).owned
    for one in found:
        remove(google, one, SHOW)
    return [one.kind for one in found]


def things(cloud: Cloud) -> dict[str, Any]:
    """Everything that there is."""
    return {
        "jobs": set(cloud.scheduler.jobs),
        "services": set(cloud.run.services),
        "revisions": set(cloud.run.revisions),
        "repositories": set(cloud.registry.kept),
        "secrets": set(cloud.secrets.held),
        "buckets": {name: set(bucket.objects) for name, bucket in cloud.storage.buckets.items()},
        "accounts": set(cloud.iam.accounts),
        "project": _bound(cloud.projects.policies.bindings),
        "on buckets": {name: found for name in cloud.storage.buckets if (found := _on_bucket(cloud, name))},
    }


def _on_bucket(cloud: Cloud, name: str) -> dict[str, set[str]]:
    return _bound({"": cloud.storage.policies.bindings.get(f"bucket:{name}", {})})


def _bound(bindings: dict[str, dict[str, set[str]]]) -> dict[str, set[str]]:
    return copy.deepcopy({role: members for roles in bindings.values() for role, members in roles.items() if members})


def test_everything_that_was_made_is_removed_and_the_project_is_as_it_was(site: Site, cloud: Cloud, google: Google) -> None:
    empty = things(cloud)
    desired = site.deploy(wish())
    assert things(cloud) != empty
    assert destroy(google, desired) == [
        *["schedule"] * 2,
        "service",
        "repository",
        "secret",
        "bucket",
        *["account"] * 3,
    ]
    left = things(cloud)
    assert left == empty
    assert estate(google, desired, SHOW).owned == ()


NEIGHBOURS = ("portfolio-2", "portfolio-warm", "my-portfolio", "portfoli")


def test_neighbours_of_nearly_the_same_name_survive(site: Site, cloud: Cloud, google: Google) -> None:
    for name in NEIGHBOURS:
        site.deploy(wish(name))
    # By hand: labels that are nearly ours, and things that only look like ours by their names.
    cloud.secrets.make("portfolio-mine", "text", labels={"relight-service": "portfolio"})
    cloud.secrets.make("portfolio-theirs", "text", labels={"managed-by": "terraform", "relight-service": "portfolio"})
    cloud.iam.make("portfolio-cron@my-project.iam.gserviceaccount.com", "managed by relight for portfolio2: x")
    cloud.iam.make("portfolio-admin@my-project.iam.gserviceaccount.com")
    by_hand = "projects/my-project/locations/europe-west4/jobs/portfolio-warm-mine"
    cloud.scheduler.jobs[by_hand] = Job(next(iter(cloud.scheduler.jobs.values())), name=by_hand, description="mine")
    cloud.storage.buckets["my-project-photos"] = copy.deepcopy(cloud.storage.buckets["my-project-portfolio-2-relight"])
    cloud.storage.buckets["my-project-photos"].settings["labels"] = {"managed-by": "relight"}
    cloud.projects.policies.bindings.setdefault("project", {}).setdefault("roles/logging.logWriter", set()).add(
        "user:x@example.com"
    )
    before = things(cloud)
    desired = site.deploy(wish())
    destroy(google, desired)
    assert things(cloud) == before


def test_what_has_not_our_labels_stays_and_is_told(site: Site, cloud: Cloud, google: Google) -> None:
    desired = site.deploy(wish(bucket="my-bucket"))
    cloud.registry.kept["europe-west4/relight-portfolio"].repository.labels.clear()
    cloud.run.service("portfolio").labels["relight-service"] = "another"
    cloud.storage.buckets["my-bucket"].settings["labels"] = {}
    found = estate(google, desired, SHOW)
    assert {(one.kind, one.name) for one in found.left} == {
        (Kind.SERVICE, "portfolio"),
        (Kind.REPOSITORY, "relight-portfolio"),
        (Kind.BUCKET, "my-bucket"),
    }
    destroy(google, desired)
    assert list(cloud.run.services)
    assert list(cloud.registry.kept)
    assert len(cloud.storage.buckets["my-bucket"].objects) == 3
    # Accounts of ours are gone, and so are their roles on what stays.
    assert not cloud.iam.accounts
    assert things(cloud)["on buckets"] == {}


def test_weights_can_be_kept(site: Site, cloud: Cloud, google: Google) -> None:
    desired = site.deploy(wish())
    assert "bucket" not in destroy(google, desired, keeps_weights=True)
    (name,) = cloud.storage.buckets
    assert len(cloud.storage.buckets[name].objects) == 3
    assert things(cloud)["on buckets"] == {}
    assert destroy(google, desired) == ["bucket"]


def test_removal_that_is_stopped_anywhere_goes_on(site: Site, cloud: Cloud, google: Google) -> None:
    empty = things(cloud)
    desired = site.deploy(wish())
    count = len(estate(google, desired, SHOW).owned)
    for left in range(count, 0, -1):
        found = estate(google, desired, SHOW).owned
        assert len(found) == left
        remove(google, found[0], SHOW)
        remove(google, found[0], SHOW)  # whose answer was lost
    assert things(cloud) == empty


def test_removal_that_is_refused_leaves_the_rest_and_says_what(site: Site, cloud: Cloud, google: Google) -> None:
    desired = site.deploy(wish())
    cloud.fail("DELETE /v1/.*/secrets", Refused(403, "PERMISSION_DENIED", "secretmanager.secrets.delete denied"), times=9)
    with pytest.raises(CloudError, match="could not delete the secret portfolio-RELIGHT_KEYS"):
        destroy(google, desired)
    cloud.faults.clear()
    assert destroy(google, desired)[0] == "secret"


def test_each_thing_is_told_with_what_it_costs(site: Site, cloud: Cloud, google: Google) -> None:
    desired = site.deploy(wish(min_instances=2))
    costs = {one.kind: one.cost for one in estate(google, desired, SHOW).owned}
    assert costs[Kind.SERVICE] == "$158 a month for what it keeps awake"
    assert costs[Kind.REPOSITORY] == "$0.04 a month for 1 image"
    assert costs[Kind.SECRET] == "$0.06 a month for each version"
    assert costs[Kind.BUCKET] == "next to nothing for 3 objects"
    assert costs[Kind.ACCOUNT] == "nothing"


def test_object_that_stays_though_it_is_removed_does_not_hold_it_for_ever(site: Site, cloud: Cloud, google: Google) -> None:
    desired = site.deploy(wish())
    cloud.fail("POST /batch", Refused(404, "NOT_FOUND", "No such object"), times=9)
    with pytest.raises(CloudError, match="could not empty the bucket my-project-portfolio-relight: weights/0 stays"):
        destroy(google, desired)
    cloud.faults.clear()
    assert destroy(google, desired)[0] == "bucket"


def test_account_that_somebody_else_made_keeps_its_roles(site: Site, cloud: Cloud, google: Google) -> None:
    theirs = "runner@my-project.iam.gserviceaccount.com"
    cloud.iam.make(theirs)
    desired = site.deploy(wish(service_account=theirs, bucket="my-bucket"))
    cloud.storage.buckets["my-bucket"].settings["labels"] = {}
    assert account("my-project", "portfolio", "warm") in cloud.iam.accounts
    assert cloud.iam.policies.members(theirs, "roles/iam.serviceAccountUser")
    destroy(google, desired)
    assert set(cloud.iam.accounts) == {theirs}
    assert not cloud.iam.policies.members(theirs, "roles/iam.serviceAccountUser")
    assert things(cloud)["on buckets"] == {"my-bucket": {"roles/storage.objectUser": {f"serviceAccount:{theirs}"}}}
