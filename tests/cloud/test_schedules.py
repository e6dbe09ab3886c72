"""Jobs of Cloud Scheduler: found as they were set, told from those of others, and that they do what they are for."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
from google.cloud.run_v2 import Service, ServiceScaling
from google.cloud.scheduler_v1 import Job
from google.protobuf import json_format
from msgspec.structs import replace

from relight.cloud import release
from relight.cloud.apply import Applier
from relight.cloud.google import Google
from relight.cloud.look import look
from relight.cloud.reading import PLACEHOLDER
from relight.cloud.schedules import found_schedules, remove_schedule, set_schedule
from relight.cloud.trial import Trial
from relight.cloud.work import Here, Silent
from relight.config.deploy import CloudRun, Warmth, Window
from relight.deploy import warm
from relight.deploy.body import service_body
from relight.deploy.desired import Desired, desire
from relight.deploy.observed import Observed
from relight.deploy.plan import plan
from relight.deploy.price import Words
from relight.deploy.rollout import rollout
from relight.deploy.service import Template
from relight.deploy.steps import RemoveSchedule, SetSchedule, SmokeTest
from relight.deploy.warm import Schedule
from relight.errors import CloudError
from tests.cloud.fake.cloud import Cloud
from tests.cloud.fake.server import Refused, Reply
from tests.cloud.scene import Scene
from tests.deploy.worlds import config, facts

JOBS = "projects/my-project/locations/europe-west4/jobs"
SERVICE = "projects/my-project/locations/europe-west4/services/portfolio"
WARM = "portfolio-warm@my-project.iam.gserviceaccount.com"
UNASKED = Trial(path="/", body={}, guarded=True, has_keys=False, asks_key=False, timeout_s=1)
COMPUTE = "123456789012-compute@developer.gserviceaccount.com"


@pytest.fixture(autouse=True)
def ready(cloud: Cloud) -> None:
    """A project where everything that is asked is enabled, with an account that jobs can come from."""
    cloud.usage.enable("cloudscheduler", "run")
    cloud.iam.make(WARM)


@pytest.fixture
def service(google: Google) -> Service:
    """A service that runs, with the settings of a real one."""
    desired = desire(config(run={"max_instances": 4}), facts())
    template: Template = replace(desired.template, image=PLACEHOLDER, service_account=COMPUTE, secrets={})
    body = json_format.ParseDict(service_body(template, desired.settings), Service.pb()())
    made = google.call(
        "make it", google.services.create_service, parent=google.location, service_id="portfolio", service=Service.wrap(body)
    )
    found: Service = google.wait("make it", made, limit_s=60)
    return found


def schedules(*windows: Window, account: str | None = WARM) -> list[Schedule]:
    run = CloudRun(warm={f"w{n}": window for n, window in enumerate(windows)}, project="my-project")
    timed = (
        *warm.scaling(run, project="my-project", service="portfolio", account=WARM),
        *warm.pinging(run, service="portfolio", account=account),
    )
    return [one.schedule for one in timed]


def step(schedule: Schedule, service: str = "portfolio") -> SetSchedule:
    return SetSchedule(name=schedule.name, service=service, schedule=schedule, reason="", cost="", undo="")


def remove(name: str) -> RemoveSchedule:
    return RemoveSchedule(name=name, region="europe-west4", reason="", cost="", undo="")


def test_what_was_set_is_found_and_nothing_before(cloud: Cloud, google: Google) -> None:
    assert found_schedules(google, "portfolio") == {}
    made = schedules(Window(), Window(hours="12:00-14:00", instances=2))
    for schedule in made:
        set_schedule(google, step(schedule))
    assert found_schedules(google, "portfolio") == {schedule.name: schedule for schedule in made}
    assert len(cloud.scheduler.jobs) == 4  # more than a page


def test_open_and_close_change_what_the_service_keeps_and_nothing_else(cloud: Cloud, google: Google, service: Service) -> None:
    up, down = schedules(Window(instances=2))
    for schedule in (up, down):
        set_schedule(google, step(schedule))
    assert cloud.scheduler.fire(up.name) == 403  # not allowed yet
    cloud.run.policies.bindings[SERVICE] = {"roles/run.developer": {f"serviceAccount:{WARM}"}}
    before = Service.to_dict(cloud.run.service("portfolio"))
    revisions = set(cloud.run.revisions)
    assert cloud.scheduler.fire(up.name) == 200
    there = Service.to_dict(cloud.run.service("portfolio"))
    assert there["scaling"]["min_instance_count"] == 2
    assert there["scaling"]["max_instance_count"] == before["scaling"]["max_instance_count"] == 4
    assert (there["template"], there["labels"], there["traffic"]) == (before["template"], before["labels"], before["traffic"])
    assert cloud.scheduler.fire(down.name) == 200
    assert cloud.run.service("portfolio").scaling.min_instance_count == 0
    assert set(cloud.run.revisions) == revisions


def test_window_does_not_switch_on_what_is_off(cloud: Cloud, google: Google, service: Service) -> None:
    there = cloud.run.service("portfolio")
    there.scaling = ServiceScaling(scaling_mode=ServiceScaling.ScalingMode.MANUAL, manual_instance_count=0)
    cloud.run.policies.bindings[SERVICE] = {"roles/run.developer": {f"serviceAccount:{WARM}"}}
    up, _ = schedules(Window())
    set_schedule(google, step(up))
    cloud.scheduler.fire(up.name)
    scaling = cloud.run.service("portfolio").scaling
    assert (scaling.scaling_mode.name, scaling.manual_instance_count) == ("MANUAL", 0)


def test_ping_asks_the_service_with_a_token_for_its_root(cloud: Cloud, google: Google, service: Service) -> None:
    asked: list[tuple[str, str]] = []

    def answer(request: object) -> Reply:
        asked.append((request.path, request.headers.get("authorization", "")))  # type: ignore[attr-defined]
        return Reply()

    cloud.run.address_of = lambda name, tag: f"{cloud.address}/at/{name}"
    cloud.run.service("portfolio").uri = f"{cloud.address}/at/portfolio"
    cloud.add(("GET", "/at/portfolio/readyz", answer))
    (guarded,) = schedules(Window(by=Warmth.PING))
    set_schedule(google, step(guarded))
    assert cloud.scheduler.fire(guarded.name) == 200
    assert asked == [("/at/portfolio/readyz", f"Bearer {WARM} for {cloud.address}/at/portfolio")]
    found = found_schedules(google, "portfolio")[guarded.name]
    assert found is not None
    assert replace(found, uri="") == guarded
    (plain,) = schedules(Window(by=Warmth.PING), account=None)
    set_schedule(google, step(plain))
    cloud.scheduler.fire(plain.name)
    assert asked[1][1] == ""


def test_job_that_was_changed_or_paused_is_found_as_none_and_set_right(cloud: Cloud, google: Google) -> None:
    up, down = schedules(Window())
    for schedule in (up, down):
        set_schedule(google, step(schedule))
    cloud.scheduler.jobs[f"{JOBS}/{up.name}"].http_target.body = b'{"scaling":{"minInstanceCount":50}}'
    changed = found_schedules(google, "portfolio")[up.name]
    assert changed != up
    cloud.scheduler.jobs[f"{JOBS}/{up.name}"].http_target.uri = "https://elsewhere.example"
    google.schedules.pause_job(name=f"{JOBS}/{down.name}")
    assert found_schedules(google, "portfolio") == {up.name: None, down.name: None}
    for schedule in (up, down):
        set_schedule(google, step(schedule))
    assert found_schedules(google, "portfolio") == {up.name: up, down.name: down}


def test_jobs_of_neighbours_are_not_ours(cloud: Cloud, google: Google) -> None:
    (up, down) = schedules(Window())
    set_schedule(google, step(up))
    # A service called portfolio-warm has jobs whose names begin as ours do, and somebody may take any name.
    neighbour = replace(down, name="portfolio-warm-warm-1800-0")
    set_schedule(google, step(neighbour, service="portfolio-warm"))
    by_hand = Job(cloud.scheduler.jobs[f"{JOBS}/{up.name}"], name=f"{JOBS}/portfolio-warm-lunch", description="mine")
    cloud.scheduler.jobs[by_hand.name] = by_hand
    assert set(found_schedules(google, "portfolio")) == {up.name}
    assert set(found_schedules(google, "portfolio-warm")) == {neighbour.name}


def test_job_of_somebody_else_is_not_overwritten(cloud: Cloud, google: Google) -> None:
    up, _ = schedules(Window())
    set_schedule(google, step(up))
    cloud.scheduler.jobs[f"{JOBS}/{up.name}"].description = "mine"
    with pytest.raises(CloudError, match="was not made by relight"):
        set_schedule(google, step(up))
    assert cloud.scheduler.jobs[f"{JOBS}/{up.name}"].description == "mine"


def test_removed_job_is_gone_and_can_be_removed_again(cloud: Cloud, google: Google) -> None:
    up, down = schedules(Window())
    for schedule in (up, down):
        set_schedule(google, step(schedule))
    remove_schedule(google, remove(up.name))
    remove_schedule(google, remove(up.name))
    assert list(cloud.scheduler.jobs) == [f"{JOBS}/{down.name}"]


@pytest.mark.parametrize("is_after", [False, True])
def test_lost_connection_and_busy_server_end_in_one_job(cloud: Cloud, google: Google, is_after: bool) -> None:
    up, _ = schedules(Window())
    cloud.fail("POST /v1/.*/jobs", after=is_after)
    set_schedule(google, step(up))
    cloud.fail("PATCH /v1/.*/jobs", Refused(503, "UNAVAILABLE", "busy"), after=is_after)
    set_schedule(google, step(replace(up, cron="0 9 * * 1-5")))
    cloud.fail("GET /v1/.*/jobs")
    assert found_schedules(google, "portfolio") == {up.name: replace(up, cron="0 9 * * 1-5")}


def test_where_scheduler_is_not_enabled_or_not_at_all_there_are_no_jobs(cloud: Cloud, google: Google) -> None:
    cloud.usage.enabled.discard("cloudscheduler.googleapis.com")
    assert found_schedules(google, "portfolio") == {}
    cloud.usage.enable("cloudscheduler")
    cloud.scheduler.locations.clear()
    assert found_schedules(google, "portfolio") == {}


def test_job_from_an_account_or_in_an_api_that_google_does_not_know_yet_is_waited_for(cloud: Cloud, google: Google) -> None:
    up, _ = schedules(Window())
    cloud.usage.enabled.discard("cloudscheduler.googleapis.com")
    cloud.later(3, lambda: cloud.usage.enable("cloudscheduler"))
    del cloud.iam.accounts[WARM]
    cloud.later(5, lambda: cloud.iam.make(WARM))
    set_schedule(google, step(up))
    assert found_schedules(google, "portfolio") == {up.name: up}
    assert len(cloud.slept) == 4


def test_plan_does_not_fight_with_a_window_that_is_open(cloud: Cloud, google: Google) -> None:
    scene = Scene(cloud, google)
    scene.wish(max_instances=4)
    scene.deploy()
    scene.wish(warm={"office": Window(instances=2)}, max_instances=4)
    for timed in scene.desired.schedules:
        set_schedule(google, step(timed.schedule))
    cloud.run.policies.bindings[SERVICE] = {"roles/run.developer": {f"serviceAccount:{WARM}"}}

    def left() -> list[str]:
        observed = Observed(service=scene.state(), schedules=found_schedules(google, "portfolio"))
        return [one.kind for one in rollout(scene.desired, scene.template, observed, Words(None))]

    up, down = (timed.schedule.name for timed in scene.desired.schedules)
    for job, kept in ((up, 2), (down, 0)):
        assert cloud.scheduler.fire(job) == 200
        assert scene.there().settings.min_instances == kept
        assert left() == []
    cloud.scheduler.fire(up)
    google.schedules.pause_job(name=f"{JOBS}/{up}")
    assert left() == ["update-service"]  # nobody would close it


def test_deployment_with_windows_ends_and_taking_them_out_does_as_well(cloud: Cloud, google: Google) -> None:
    cloud.run.address_of = lambda name, tag: f"{cloud.address}/serving/{name}"
    given = facts(image="europe-docker.pkg.dev/o/r/i@sha256:" + "0" * 64)
    run = {"invokers": ("user:me@example.com",), "max_instances": 3}
    windows = {"office": Window(), "pings": Window(by=Warmth.PING, hours="18:00-20:00")}
    assert _deployed(google, desire(config(run={**run, "warm": windows}), given))[-4:] == ["grant-role", *["set-schedule"] * 3]
    assert cloud.scheduler.fire("portfolio-warm-0800-1") == 200
    assert _deployed(google, desire(config(run={**run, "warm": windows}), given)) == []
    without = desire(config(run=run), given)
    assert _deployed(google, without) == ["set-invokers", "update-service", *["remove-schedule"] * 3]
    assert cloud.scheduler.jobs == {}
    assert cloud.run.service("portfolio").scaling.min_instance_count == 0


def _deployed(google: Google, desired: Desired) -> list[str]:
    """What was done, one step at a time, each by a plan of its own."""
    here = Here(secret=lambda name: "text", weights=Path, context=lambda: nullcontext([]))
    applier = Applier(google, desired, here, UNASKED, Silent())
    done: list[str] = []
    while steps := plan(desired, look(google, desired, texts=here.secret, quotas=[], show=Silent())).steps:
        if isinstance(steps[0], SmokeTest):
            release.mark_tested(google, steps[0].name, steps[0].percent)
        else:
            applier.do(steps[0])
        done.append(steps[0].kind)
        assert len(done) < 30
    return done
