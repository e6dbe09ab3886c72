"""How a service stands is told as the fake has it, and what cannot be seen is unknown, not nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from relight.cloud.google import Google
from relight.cloud.standing import Instances, RevisionState, Standing, before, short_digest, standing
from relight.config.deploy import Gpu
from relight.cost import prices
from relight.values import Bytes
from tests.cloud.fake.cloud import Cloud
from tests.cloud.fake.run import UNHEALTHY
from tests.cloud.scene import Scene

NOW = datetime(2026, 11, 22, 12, 0, 30, tzinfo=UTC)
FIRST = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def scene(cloud: Cloud, google: Google) -> Scene:
    found = Scene(cloud, google)
    found.deploy()
    return found


def look(scene: Scene) -> Standing:
    found = standing(scene.google, "portfolio", now=NOW)
    assert found is not None
    return found


def test_service_that_is_not_there_has_no_standing(cloud: Cloud, google: Google) -> None:
    assert standing(google, "portfolio", now=NOW) is None  # not even the API is
    cloud.usage.enable()
    assert standing(google, "portfolio", now=NOW) is None


def test_revisions_are_told_with_their_traffic_and_the_newest_first(scene: Scene) -> None:
    scene.wish(cpu=8)
    scene.deploy()
    new, old = look(scene).revisions
    assert (new.percent, old.percent) == (100, 0)
    assert (new.is_ready, new.why, old.is_ready) == (True, None, True)
    assert new.created > old.created
    assert new.image == scene.digest.removeprefix("sha256:")[:12]


def test_revision_that_failed_says_why_and_is_no_place_to_go_back_to(scene: Scene) -> None:
    scene.wish(cpu=8)
    scene.cloud.run.outcomes.append(UNHEALTHY)
    with pytest.raises(Exception, match="did not become ready"):
        scene.deploy()
    found = look(scene)
    failed, serving = found.revisions
    assert (failed.is_ready, failed.percent, serving.percent) == (False, 0, 100)
    assert failed.why is not None
    assert "failed to start" in failed.why
    assert before(found.revisions) is None


def test_way_back_is_the_newest_ready_one_before_the_one_that_serves() -> None:
    def revision(name: str, percent: int, *, is_ready: bool = True) -> RevisionState:
        return RevisionState(name=name, created=NOW, image="i", is_ready=is_ready, why=None, percent=percent)

    every = [revision("e", 0), revision("d", 90), revision("c", 10, is_ready=False), revision("b", 0), revision("a", 0)]
    found = before(every)
    assert found is not None
    assert found.name == "b"
    nobody = before([revision("b", 0, is_ready=False), revision("a", 0)])
    assert nobody is not None
    assert nobody.name == "a"


def test_instances_are_the_newest_point_of_each_series(scene: Scene) -> None:
    def point(minutes: float, value: int, state: str, **more: str) -> None:
        scene.cloud.metrics.add(
            "container/instance_count",
            more.get("service", "portfolio"),
            NOW - timedelta(minutes=minutes),
            value,
            labels={"state": state},
            revision=more.get("revision", "r1"),
            region=more.get("region", "europe-west4"),
        )

    point(4, 5, "active")
    point(3, 2, "active")
    point(3, 1, "active", revision="r2")
    point(3, 4, "idle")
    point(60, 9, "idle", revision="r0")  # ended
    point(2, 7, "active", service="portfolio-2")
    point(2, 7, "active", region="us-central1")
    assert look(scene).instances == Instances(active=3, idle=4)


def test_month_costs_what_was_billed_by_the_price_of_its_shape(scene: Scene) -> None:
    for at, seconds in (
        (FIRST - timedelta(minutes=5), 10_000),
        (FIRST + timedelta(days=3), 1_000),
        (NOW - timedelta(hours=1), 800),
    ):
        scene.cloud.metrics.add("container/billable_instance_time", "portfolio", at, seconds)
    scene.cloud.metrics.add("container/billable_instance_time", "portfolio-2", NOW - timedelta(hours=1), 5_000)
    scene.cloud.metrics.add("request_count", "portfolio", NOW - timedelta(hours=1), 40, labels={"response_code": "200"})
    scene.cloud.metrics.add("request_count", "portfolio", NOW - timedelta(hours=2), 2, labels={"response_code": "500"})
    month = look(scene).month
    assert (month.since, month.requests, month.billable_s) == (FIRST, 42, 1_800)
    instance = prices.Instance(cpu=4, memory=8 << 30, region="europe-west4")
    assert month.usd == pytest.approx(prices.per_hour(instance) / 2 + 42 * 0.4e-6)


def test_month_of_a_gpu_is_paid_at_its_price(scene: Scene) -> None:
    scene.wish(gpu=Gpu.L4, cpu=8, memory=Bytes(32 << 30))
    scene.cloud.run.quotas.clear()
    scene.deploy()
    scene.cloud.metrics.add("container/billable_instance_time", "portfolio", NOW - timedelta(hours=1), 3_600)
    assert look(scene).month.usd == pytest.approx(1.421, abs=0.001)  # the worked example of its price page


def test_first_minute_of_a_month_is_asked_for_as_a_minute(scene: Scene) -> None:
    early = datetime(2026, 12, 1, 0, 0, 5, tzinfo=UTC)
    scene.cloud.metrics.add("container/billable_instance_time", "portfolio", early, 3)
    found = standing(scene.google, "portfolio", now=early)
    assert found is not None
    assert found.month.billable_s == 3


@pytest.mark.parametrize("how", ["disabled", "hidden"])
def test_what_cannot_be_seen_is_unknown(scene: Scene, how: str) -> None:
    if how == "disabled":
        scene.cloud.usage.enabled -= {"monitoring.googleapis.com", "logging.googleapis.com"}
    else:
        scene.cloud.metrics.may_see = False
        scene.cloud.usage.enabled -= {"logging.googleapis.com"}
    found = look(scene)
    assert (found.instances, found.month.usd, found.month.requests, found.wakes) == (None, None, None, None)
    assert found.revisions


def test_last_wakes_are_those_of_our_own_records(scene: Scene) -> None:
    def record(minutes: float, wake_ms: float, service: str = "portfolio") -> None:
        what = {"message": "m", "interaction": {"model": "smol", "timings": {"wake_ms": wake_ms, "queue_ms": 1.0}}}
        scene.cloud.logging.add(service, "portfolio-1", "INFO", what, at=NOW - timedelta(minutes=minutes))

    for minutes in range(8):
        record(minutes, 1000.0 * (minutes + 1))
    record(0.5, 0.0)
    record(0.5, 9000.0, service="portfolio-2")
    record(60 * 24 * 8, 500.0)
    wakes = look(scene).wakes
    assert wakes is not None
    assert [wake.seconds for wake in wakes] == [5.0, 4.0, 3.0, 2.0, 1.0]
    assert (wakes[-1].model, wakes[-1].revision) == ("smol", "portfolio-1")


def test_digest_is_shown_short() -> None:
    assert short_digest("r/p/i@sha256:" + "ab" * 32) == "abababababab"
    assert short_digest("europe-west4-docker.pkg.dev/p/r/i:v1") == "i:v1"
