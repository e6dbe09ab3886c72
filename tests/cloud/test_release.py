"""A service comes to be, changes, fails, is taken back and switched off, and whatever others set on it stays."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from google.cloud.run_v2 import Container, EnvVar, Service, Volume, VolumeMount
from google.cloud.run_v2.types import TrafficTarget, VpcAccess
from msgspec.structs import replace

from relight.cloud.back import go_back
from relight.cloud.google import Google
from relight.cloud.reading import read_service
from relight.cloud.release import (
    RevisionFailed,
    address_of,
    delete_service,
    deploy_revision,
    mark_tested,
    set_invokers,
    set_off,
    set_on,
    shift_traffic,
    update_service,
)
from relight.cloud.work import Silent
from relight.deploy.names import CANDIDATE
from relight.deploy.plan import UNBUILT
from relight.deploy.service import Traffic
from relight.deploy.steps import DeployRevision, SetInvokers, ShiftTraffic, SmokeTest, Step, UpdateService
from relight.errors import CloudError, CloudLost
from tests.cloud.fake.cloud import Cloud
from tests.cloud.fake.run import NO_SECRET, TOO_LATE, UNAUTHORIZED, UNHEALTHY, Outcome, Run
from tests.cloud.fake.run_rules import LATEST
from tests.cloud.fake.server import Fault, Killed, Refused
from tests.cloud.scene import Scene

NAME = "projects/my-project/locations/europe-west4/services/portfolio"


@pytest.fixture
def scene(cloud: Cloud, google: Google) -> Scene:
    return Scene(cloud, google)


@pytest.fixture
def run(cloud: Cloud) -> Run:
    return cloud.run


def only(steps: list[Step], kind: type[Step]) -> Step:
    (step,) = [step for step in steps if isinstance(step, kind)]
    return step


def deploying(scene: Scene) -> DeployRevision:
    step = only(scene.steps(), DeployRevision)
    assert isinstance(step, DeployRevision)
    return step


def writes(cloud: Cloud) -> list[str]:
    return [call for call in cloud.calls if not call.startswith("GET")]


# --- a deployment


def test_service_is_made_with_all_that_is_wished_and_nothing_is_left_to_do(scene: Scene, run: Run) -> None:
    assert scene.deploy() == ["deploy-revision", "smoke-test"]
    assert scene.steps() == []
    there = scene.there()
    assert there.template == scene.template
    assert there.settings == scene.desired.settings
    assert there.traffic == (Traffic(revision=None, percent=100),)
    assert (there.latest_ready, there.reconciling, there.is_off) == (there.latest_created, False, False)
    assert run.serving("portfolio") == {there.latest_ready: 100}


def test_change_is_checked_before_it_is_made(scene: Scene, run: Run) -> None:
    run.rules.append(_refuse("template.containers.image: no"))
    with pytest.raises(CloudError, match=r"could not make the service portfolio: template\.containers\.image: no"):
        scene.deploy()
    assert len(writes(scene.cloud)) == 1
    assert run.services == {}


def test_new_revision_is_tagged_and_gets_no_traffic_before_it_is_tested(scene: Scene, run: Run) -> None:
    scene.deploy()
    first = scene.there().latest_ready
    scene.wish(cpu=8)
    scene.do(deploying(scene))
    there = scene.there()
    assert there.latest_ready not in (None, first)
    assert there.traffic == (
        Traffic(revision=first, percent=100),
        Traffic(revision=there.latest_ready, percent=0, tag=CANDIDATE),
    )
    assert run.serving("portfolio") == {first: 100}
    assert address_of(scene.google, "portfolio", percent=0) == (
        f"{scene.cloud.address}/serving/portfolio/candidate",
        f"{scene.cloud.address}/serving/portfolio",
    )
    assert scene.deploy() == ["smoke-test", "shift-traffic"]
    assert scene.steps() == []
    assert scene.there().traffic == (Traffic(revision=None, percent=100),)


def test_traffic_goes_over_step_by_step(scene: Scene, run: Run) -> None:
    scene.deploy()
    first = scene.there().latest_ready
    scene.wish(cpu=8, gradual=True)
    seen = []
    while steps := scene.steps():
        scene.do(steps[0])
        seen.append(run.serving("portfolio").get(first or "", 0))
        assert sum(run.serving("portfolio").values()) == 100
    assert seen == [100, 100, 90, 90, 50, 50, 0]


def test_revisions_are_named_anew_each_time(scene: Scene, run: Run) -> None:
    scene.deploy()
    for cpu in (8, 4, 8, 4):
        scene.wish(cpu=cpu)
        scene.deploy()
    names = [name.rpartition("/")[2] for name in run.revisions]
    assert len(set(names)) == 5
    assert [name[:-3] for name in names] == sorted(name[:-3] for name in names)
    assert all(name.startswith("portfolio-000") for name in names)


def test_image_that_was_built_a_moment_ago_is_deployed_by_its_digest(scene: Scene) -> None:
    step = deploying(scene)
    unbuilt = replace(step, template=replace(step.template, image=step.template.image.replace(scene.digest, UNBUILT)))
    with pytest.raises(CloudError, match="is not built"):
        deploy_revision(scene.google, unbuilt, digest=None, show=scene.show)
    deploy_revision(scene.google, unbuilt, digest=scene.digest, show=scene.show)
    assert scene.there().template == scene.template


def test_settings_change_without_a_new_revision(scene: Scene, run: Run) -> None:
    scene.deploy()
    scene.wish(max_instances=1, min_instances=1)
    scene.wish(ingress="internal")
    assert scene.deploy() == ["update-service"]
    assert len(run.revisions) == 1
    assert scene.steps() == []


def test_gpu_redundancy_that_is_wished_without_a_gpu_is_no_difference(scene: Scene) -> None:
    scene.wish(zonal_redundancy=True)
    scene.deploy()
    assert scene.steps() == []


def test_account_that_nobody_knows_yet_is_waited_for(scene: Scene, cloud: Cloud) -> None:
    email = "portfolio-serve@my-project.iam.gserviceaccount.com"
    cloud.iam.accounts[email].known_at = cloud.now + 6
    scene.deploy()
    assert scene.steps() == []
    assert sum(cloud.slept) >= 14


def test_right_that_nobody_knows_yet_is_waited_for(scene: Scene, cloud: Cloud) -> None:
    held = cloud.secrets.policies.bindings.pop("portfolio-RELIGHT_KEYS")
    cloud.later(4, lambda: cloud.secrets.policies.bindings.update({"portfolio-RELIGHT_KEYS": held}))
    scene.deploy()
    assert scene.steps() == []


def test_what_a_service_waits_for_is_shown(scene: Scene, run: Run) -> None:
    run.outcomes.append(Outcome(requests=9))
    scene.deploy()
    name = scene.there().latest_ready
    assert f"starting {name}: Deploying Revision." in scene.show.told


# --- failures


@pytest.mark.parametrize("outcome", [UNHEALTHY, UNAUTHORIZED, NO_SECRET, TOO_LATE], ids=lambda outcome: outcome.reason)
def test_revision_that_fails_is_told_in_the_platforms_words_and_leaves_the_traffic(
    scene: Scene, run: Run, outcome: Outcome
) -> None:
    scene.deploy()
    first = scene.there().latest_ready
    scene.wish(cpu=8)
    run.outcomes.append(outcome)
    with pytest.raises(RevisionFailed) as failed:
        scene.deploy()
    assert failed.value.reason == outcome.reason
    assert failed.value.said == outcome.message
    assert failed.value.service == "portfolio"
    assert f"{NAME}/revisions/{failed.value.revision}" in run.revisions
    assert failed.value.revision != first
    assert run.serving("portfolio") == {first: 100}
    assert scene.there().latest_ready == first
    scene.deploy()
    assert scene.steps() == []
    assert set(run.serving("portfolio")) == {scene.there().latest_ready} != {first}


def test_first_revision_that_fails_leaves_a_service_that_the_next_run_repairs(scene: Scene, run: Run) -> None:
    run.outcomes.append(UNHEALTHY)
    with pytest.raises(RevisionFailed, match="HEALTH_CHECK_CONTAINER_ERROR: The user-provided container failed"):
        scene.deploy()
    there = scene.there()
    assert (there.latest_ready, there.uri) == (None, None)
    assert scene.deploy() == ["deploy-revision", "smoke-test"]
    assert scene.steps() == []


def test_settings_change_although_the_last_revision_failed(scene: Scene, run: Run) -> None:
    scene.deploy()
    first = scene.there().latest_ready
    scene.wish(cpu=8)
    run.outcomes.append(UNHEALTHY)
    with pytest.raises(RevisionFailed):
        scene.deploy()
    set_off(scene.google, "portfolio")
    assert scene.there().is_off
    set_on(scene.google, "portfolio")
    assert not scene.there().is_off
    assert first is not None
    go_back(scene.google, "portfolio", first, scene.show)
    assert run.serving("portfolio") == {first: 100}
    assert [(item.revision, item.percent) for item in scene.there().traffic] == [(first, 100)]


def test_revision_that_never_comes_to_an_end_is_given_up(scene: Scene, run: Run, cloud: Cloud) -> None:
    run.outcomes.append(Outcome(requests=100_000))
    with pytest.raises(CloudError, match=r"could not start the revision portfolio-00001-\w+ within 660 s"):
        scene.deploy()
    assert sum(cloud.slept) < 700


# --- others


def test_change_by_somebody_else_is_never_written_over(scene: Scene, run: Run, cloud: Cloud) -> None:
    scene.deploy()
    scene.wish(cpu=8)
    step = deploying(scene)
    real = run._patch

    def patch(*args: object, **named: object) -> object:
        if not run.service("portfolio").annotations.get("theirs"):
            service = run.service("portfolio")
            service.annotations["theirs"] = "yes"
            service.etag = "another"
        return real(*args, **named)  # type: ignore[arg-type]

    cloud._routes = [(method, path, patch if handler == real else handler) for method, path, handler in cloud._routes]
    with pytest.raises(CloudLost, match="changed at the same moment"):
        scene.do(step)
    scene.deploy()
    assert scene.steps() == []
    assert run.service("portfolio").annotations["theirs"] == "yes"


def test_service_that_somebody_made_in_between_is_looked_at_anew(scene: Scene) -> None:
    step = deploying(scene)
    scene.deploy()
    with pytest.raises(CloudLost):
        scene.do(step)


def test_what_others_set_stays(scene: Scene, run: Run) -> None:
    scene.deploy()

    def change(service: Service) -> None:
        main = service.template.containers[0]
        main.env.append(EnvVar(name="THEIRS", value="kept"))
        main.command = ["/bin/sh"]
        main.volume_mounts.append(VolumeMount(name="scratch", mount_path="/scratch", sub_path="x"))
        service.template.volumes.append(Volume(name="scratch", empty_dir={"medium": 1, "size_limit": "1Gi"}))
        service.template.containers.insert(
            0, Container(name="collector", image="us-docker.pkg.dev/other/x:1", depends_on=["main"])
        )
        service.template.vpc_access = VpcAccess(connector="theirs", egress=2)
        service.template.annotations["theirs"] = "yes"
        service.labels["team"] = "theirs"
        service.description = "theirs"
        service.custom_audiences.append("https://theirs.example")
        service.traffic = [*service.traffic, TrafficTarget(type_=LATEST, tag="stable")]

    scene.by_hand(change, "template", "labels", "description", "custom_audiences", "traffic")
    before = run.service("portfolio")
    scene.wish(cpu=8, ingress="internal")
    assert scene.deploy() == ["update-service", "deploy-revision", "smoke-test", "shift-traffic"]
    assert scene.steps() == []
    after = run.service("portfolio")
    side, main = after.template.containers
    assert side == before.template.containers[0]
    assert main.resources.limits["cpu"] == "8"
    assert [var.value for var in main.env if var.name == "THEIRS"] == ["kept"]
    assert main.command == ["/bin/sh"]
    assert main.volume_mounts == before.template.containers[1].volume_mounts
    assert after.template.volumes == before.template.volumes
    assert after.template.vpc_access == before.template.vpc_access
    assert after.template.annotations == {"theirs": "yes"}
    assert after.labels["team"] == "theirs"
    assert after.description == "theirs"
    assert after.custom_audiences == ["https://theirs.example"]
    assert [(item.percent, item.tag) for item in after.traffic] == [(100, ""), (0, "stable")]


def test_split_of_others_is_held_as_it_is_while_a_revision_starts(scene: Scene, run: Run) -> None:
    scene.deploy()
    first = scene.there().latest_ready
    scene.wish(cpu=8)
    scene.deploy()
    second = scene.there().latest_ready
    assert first is not None
    traffic = [TrafficTarget(type_=LATEST, percent=70), TrafficTarget(type_=2, revision=first, percent=30)]
    scene.by_hand(lambda service: setattr(service, "traffic", traffic), "traffic")
    scene.wish(cpu=4)
    scene.do(deploying(scene))
    assert run.serving("portfolio") == {second: 70, first: 30}


# --- lost connections


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("nth", [1, 2], ids=["trying-out", "changing"])
@pytest.mark.parametrize("is_new", [True, False], ids=["create", "update"])
def test_deployment_whose_answers_are_lost_ends_as_any_other(scene: Scene, run: Run, is_new: bool, nth: int, after: bool) -> None:
    if not is_new:
        scene.deploy()
        scene.wish(cpu=8, min_instances=1, gradual=True, invokers=["user:me@example.com"])
    steps, lost = scene.steps(), 0
    while steps and lost < 20:
        scene.cloud.faults[:] = [Fault(_nth_change(nth), after=after)]
        try:
            scene.do(steps[0])
        except CloudLost:
            assert after
            lost += 1
        steps = scene.steps()
    assert steps == []
    assert (lost > 0) == (after and nth == 2)
    there = scene.there()
    assert there.template == scene.template
    assert run.serving("portfolio") == {there.latest_ready: 100}
    assert len(run.revisions) == (1 if is_new else 2)


def _nth_change(nth: int) -> Callable[[str], bool]:
    """Whether a call is the change number `nth` of those that it was asked about; each is first tried out."""
    seen = 0

    def when(call: str) -> bool:
        nonlocal seen
        seen += not call.startswith("GET")
        return seen == nth and not call.startswith("GET")

    return when


@pytest.mark.parametrize("nth", range(12))
def test_deployment_that_is_killed_at_any_call_goes_on_where_it_was(scene: Scene, cloud: Cloud, run: Run, nth: int) -> None:
    scene.deploy()
    scene.wish(cpu=8, gradual=True)
    _kill(scene, nth)
    scene.deploy()
    assert scene.steps() == []
    assert run.serving("portfolio") == {scene.there().latest_ready: 100}
    assert len(run.revisions) == 2


def _kill(scene: Scene, nth: int) -> None:
    """Deploy, and die in the pause or the call number `nth` after the first."""
    calls = 0
    real = scene.google.call

    def call(*args: object, **named: object) -> object:
        nonlocal calls
        calls += 1
        if calls > nth + 2:
            raise Killed
        return real(*args, **named)  # type: ignore[arg-type]

    scene.google.call = call  # type: ignore[method-assign, assignment]
    with pytest.raises(Killed):
        scene.deploy()
    scene.google.call = real  # type: ignore[method-assign]


# --- who may call


def test_invokers_are_exactly_those_that_are_wished_and_other_bindings_stay(scene: Scene, cloud: Cloud, run: Run) -> None:
    conditional = {"role": "roles/run.invoker", "members": ["user:c@example.com"], "condition": {"title": "t", "expression": "e"}}
    scene.deploy()
    run.policies.bindings[NAME] = {"roles/run.invoker": {"allUsers"}, "roles/run.viewer": {"user:v@example.com"}}
    run.policies.conditional[NAME] = [conditional]
    scene.wish(invokers=["user:me@example.com", "group:team@example.com"])
    step = only(scene.steps(), SetInvokers)
    assert isinstance(step, SetInvokers)
    cloud.fail(r"POST .*:setIamPolicy", Refused(409, "ABORTED", "There were concurrent policy changes."))
    set_invokers(scene.google, step)
    assert run.policies.bindings[NAME] == {
        "roles/run.invoker": {"user:me@example.com", "group:team@example.com"},
        "roles/run.viewer": {"user:v@example.com"},
    }
    assert run.policies.conditional[NAME] == [conditional]
    assert scene.there().invokers == ("group:team@example.com", "user:me@example.com")
    written = len(writes(cloud))
    set_invokers(scene.google, step)
    assert len(writes(cloud)) == written


def test_invokers_that_always_conflict_are_looked_at_anew(scene: Scene, cloud: Cloud) -> None:
    scene.deploy()
    scene.wish(invokers=["user:me@example.com"])
    cloud.fail(r"POST .*:setIamPolicy", Refused(409, "ABORTED", "There were concurrent policy changes."), times=99)
    with pytest.raises(CloudLost):
        scene.deploy()


# --- afterwards


@pytest.mark.parametrize("tag", ["", "candidate"], ids=["untagged", "tag-elsewhere"])
def test_latest_revision_that_has_no_traffic_by_somebodys_hand_is_given_a_tag_and_tested(
    scene: Scene, run: Run, tag: str
) -> None:
    scene.deploy()
    first = scene.there().latest_ready
    assert first is not None
    scene.wish(cpu=8, gradual=True)
    scene.deploy()
    traffic = [TrafficTarget(type_=2, revision=first, percent=100, tag=tag), TrafficTarget(type_=LATEST, tag="stable")]
    scene.by_hand(lambda service: setattr(service, "traffic", traffic), "traffic")
    step = scene.steps()[0]
    assert isinstance(step, SmokeTest)
    assert step.percent == 0
    scene.do(step)
    assert run.serving("portfolio") == {first: 100}
    assert scene.there().traffic == (
        Traffic(revision=first, percent=100),
        Traffic(revision=None, percent=0, tag="stable"),
        Traffic(revision=scene.there().latest_ready, percent=0, tag=CANDIDATE),
    )
    scene.deploy()
    assert scene.steps() == []
    assert run.serving("portfolio") == {scene.there().latest_ready: 100}


@pytest.mark.parametrize("forgets", [False, True], ids=["kept", "forgotten"])
def test_service_is_switched_off_and_on_with_as_many_instances_as_before(scene: Scene, run: Run, forgets: bool) -> None:
    scene.wish(min_instances=1, max_instances=3)
    scene.deploy()
    before = scene.there()
    set_off(scene.google, "portfolio")
    assert (run.service("portfolio").scaling.min_instance_count, run.service("portfolio").scaling.max_instance_count) == (1, 3)
    if forgets:
        run.service("portfolio").scaling.max_instance_count = 0
        run.service("portfolio").scaling.min_instance_count = 0
    off = scene.there()
    assert off == replace(before, is_off=True)
    assert scene.steps() == []
    scaling = run.service("portfolio").scaling
    assert (scaling.scaling_mode.name, "manual_instance_count" in scaling, scaling.manual_instance_count) == ("MANUAL", True, 0)
    written = len(writes(scene.cloud))
    set_off(scene.google, "portfolio")
    assert len(writes(scene.cloud)) == written
    set_on(scene.google, "portfolio")
    assert scene.there() == before
    assert "manual_instance_count" not in run.service("portfolio").scaling
    assert set(run.service("portfolio").annotations) == {"relight-tested"}
    written = len(writes(scene.cloud))
    set_on(scene.google, "portfolio")
    assert len(writes(scene.cloud)) == written


def test_settings_that_change_while_a_service_is_off_leave_it_off(scene: Scene) -> None:
    scene.deploy()
    set_off(scene.google, "portfolio")
    scene.wish(ingress="internal")
    step = only(scene.steps(), UpdateService)
    assert isinstance(step, UpdateService)
    update_service(scene.google, step)
    assert scene.there().is_off


def test_deleted_service_is_gone_and_deleting_it_again_is_fine(scene: Scene, cloud: Cloud, run: Run) -> None:
    scene.deploy()
    cloud.fail("^DELETE ", after=True)
    delete_service(scene.google, "portfolio", Silent())
    assert (run.services, run.revisions, scene.state()) == ({}, {}, None)
    delete_service(scene.google, "portfolio", Silent())


def test_service_that_is_not_there_is_said(scene: Scene) -> None:
    for ask in (
        lambda: address_of(scene.google, "portfolio", percent=100),
        lambda: mark_tested(scene.google, "portfolio", 100),
        lambda: set_off(scene.google, "portfolio"),
    ):
        with pytest.raises(CloudError, match="there is no service portfolio in my-project, europe-west4"):
            ask()


@pytest.mark.parametrize("percent", [0, 100])
def test_service_without_an_address_is_said(scene: Scene, run: Run, percent: int) -> None:
    run.address_of = lambda _service, _tag: ""
    scene.do(deploying(scene))
    with pytest.raises(CloudError, match="portfolio has no address"):
        address_of(scene.google, "portfolio", percent=percent)


def test_share_without_a_revision_for_the_rest_is_looked_at_anew(scene: Scene) -> None:
    scene.deploy()
    step = ShiftTraffic(name="portfolio", percent=10, previous=None, reason="", cost="", undo="")
    with pytest.raises(CloudLost):
        shift_traffic(scene.google, step, scene.show)


def test_test_is_noted_for_the_revision_that_was_asked(scene: Scene) -> None:
    scene.deploy()
    mark_tested(scene.google, "portfolio", 50, revision="portfolio-00007-abc")
    tested = scene.there().tested
    assert tested is not None
    assert (tested.revision, tested.percent) == ("portfolio-00007-abc", 50)
    assert isinstance(only(scene.steps(), SmokeTest), SmokeTest)
    assert read_service(scene.google, "portfolio") is not None


def _refuse(message: str) -> Callable[[Service], None]:
    def rule(_: Service) -> None:
        raise Refused(400, "INVALID_ARGUMENT", message)

    return rule
