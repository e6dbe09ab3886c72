"""A service is read as it was sent, whatever the server made of it; what the server would refuse is told before anything else."""

from __future__ import annotations

from typing import Any

import pytest
from google.cloud.run_v2 import Service
from google.cloud.run_v2.types import ServiceScaling
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from relight.cloud.google import Google
from relight.cloud.reading import found_service, held_quotas, read_service, refusals_of
from relight.cloud.states import (
    json_of,
    note_of_test,
    noted_test,
    service_from,
    settings_of,
    state_of,
    template_of,
    traffic_body,
    traffic_of,
)
from relight.cloud.work import Silent
from relight.config.deploy import Gpu
from relight.config.schema import Config
from relight.deploy.body import service_body, settings_over, template_over
from relight.deploy.desired import desire
from relight.deploy.facts import Facts
from relight.deploy.observed import Refusal
from relight.deploy.service import Probe, SecretRef, Settings, Template, Traffic, Volume, merged
from relight.errors import CloudError
from relight.values import Bytes
from tests.cloud.fake.cloud import Cloud
from tests.cloud.fake.run import UNHEALTHY, Outcome, Run
from tests.cloud.fake.run_rules import filled, invalid
from tests.cloud.fake.server import Killed, Refused
from tests.cloud.scene import Scene
from tests.deploy.worlds import GIB, wishes

NAME = "projects/my-project/locations/europe-west4/services/portfolio"
NAMES = st.from_regex(r"[A-Z][A-Z0-9_]{0,9}", fullmatch=True)


@pytest.fixture
def scene(cloud: Cloud, google: Google) -> Scene:
    return Scene(cloud, google)


@pytest.fixture
def run(cloud: Cloud) -> Run:
    return cloud.run


@st.composite
def templates(draw: st.DrawFn) -> tuple[Template, Settings]:
    """Anything that a configuration asks for, and what somebody may have set by hand besides."""
    config, known = draw(wishes())
    desired = desire(config, known)
    template = desired.template
    secrets = {name: SecretRef(ref.secret, str(draw(st.integers(1, 99)))) for name, ref in template.secrets.items()}
    theirs = {
        name: text for name, text in draw(st.dictionaries(NAMES, st.text(max_size=9), max_size=3)).items() if name not in secrets
    }
    volumes = draw(st.sampled_from([{}, {"theirs": Volume(bucket="b", path="/b", read_only=True)}]))
    template = replace(
        template,
        image="europe-west4-docker.pkg.dev/p/r/i@sha256:" + "0" * 64,
        secrets=secrets,
        env={**theirs, **template.env},
        volumes={**volumes, **template.volumes},
        session_affinity=draw(st.booleans()),
        gpu_zonal_redundancy_disabled=template.accelerator is None or draw(st.booleans()),
    )
    return template, desired.settings


def received(template: Template, settings: Settings, *, is_filled: bool = False) -> dict[str, Any]:
    """What comes back of a service that was sent."""
    service = service_from({"name": NAME, **service_body(template, settings)})
    if is_filled:
        filled(service, "123")
    return json_of(Service.deserialize(Service.serialize(service)))


def template_in(said: dict[str, Any]) -> Template:
    return template_of(said["template"], project="my-project")


# --- there and back


@given(templates(), st.booleans())
def test_what_was_sent_is_read_back(sent: tuple[Template, Settings], is_filled: bool) -> None:
    said = received(*sent, is_filled=is_filled)
    assert template_in(said) == sent[0]
    assert settings_of(said) == sent[1]


@given(templates(), templates())
def test_template_that_is_put_over_another_is_what_was_merged(
    old: tuple[Template, Settings], new: tuple[Template, Settings]
) -> None:
    said = received(*old, is_filled=True)
    whole = merged(template_in(said), new[0], "portfolio")
    body = {"name": NAME, **settings_over(said, new[1]), "template": template_over(said["template"], whole)}
    again = service_from(body)
    filled(again, "123")
    assert template_in(json_of(again)) == whole
    assert settings_of(json_of(again)) == new[1]


@given(wishes(), wishes())
def test_nothing_is_left_of_a_revision_that_was_read(old: tuple[Config, Facts], new: tuple[Config, Facts]) -> None:
    said = received(replace(desire(*old).template, image="i"), desire(*old).settings)
    said["template"]["revision"] = "portfolio-00001-abc"
    body = template_over(said["template"], replace(desire(*new).template, image="j"))
    assert "revision" not in body
    assert [container["image"] for container in body["containers"]] == ["j"]
    assert ("nodeSelector" in body) == (desire(*new).template.accelerator is not None)


@pytest.mark.parametrize(
    ("limits", "cpu", "memory"),
    [
        ({"cpu": "1000m", "memory": "8192Mi"}, "1", "8Gi"),
        ({"cpu": "500m", "memory": "512Mi"}, "500m", "512Mi"),
        ({"cpu": "0.5", "memory": "1G"}, "0.5", "1G"),
        ({"cpu": "4", "memory": "4294967296"}, "4", "4Gi"),
        ({}, "1", "512Mi"),
    ],
)
def test_sizes_are_read_as_we_write_them(limits: dict[str, str], cpu: str, memory: str) -> None:
    found = template_of({"containers": [{"image": "i", "resources": {"limits": limits}}]}, project="p")
    assert (found.cpu, found.memory) == (cpu, memory)


def test_service_that_others_made_with_next_to_nothing_is_read_with_the_servers_defaults() -> None:
    service = Service(name=NAME, template={"containers": [{"image": "i"}]})
    bare = state_of(service)
    filled(service, "123")
    full = state_of(service)
    assert bare.template.cpu_idle
    assert bare.template.startup_probe == full.template.startup_probe == Probe(path="", period_s=240, timeout_s=240, failures=1)
    assert bare == replace(
        full,
        template=replace(full.template, service_account=""),
    )


def test_resources_without_a_word_about_billing_are_billed_by_instance() -> None:
    found = template_of({"containers": [{"image": "i", "resources": {"limits": {"cpu": "1"}}}]}, project="p")
    assert not found.cpu_idle


def test_container_with_the_port_is_ours_wherever_it_stands() -> None:
    containers = [{"name": "side", "image": "s"}, {"name": "main", "image": "m", "ports": [{"containerPort": 9}]}]
    found = template_of({"containers": containers}, project="p")
    assert (found.image, found.port, found.port_name) == ("m", 9, "http1")


def test_secrets_of_the_project_are_called_by_their_own_names() -> None:
    def env(secret: str) -> dict[str, Any]:
        return {"name": "X", "valueSource": {"secretKeyRef": {"secret": secret, "version": "3"}}}

    for secret, name in (("projects/p/secrets/s", "s"), ("s", "s"), ("projects/q/secrets/s", "projects/q/secrets/s")):
        found = template_of({"containers": [{"image": "i", "env": [env(secret)]}]}, project="p")
        assert found.secrets == {"X": SecretRef(name, "3")}


def test_traffic_is_read_as_it_was_sent() -> None:
    traffic = (
        Traffic(revision=None, percent=90),
        Traffic(revision="s-1", percent=10, tag="candidate"),
        Traffic(revision="s-0", percent=0, tag="blue"),
    )
    service = service_from({"traffic": traffic_body(traffic)})
    assert traffic_of(json_of(service)["traffic"]) == traffic
    assert traffic_of(()) == (Traffic(revision=None, percent=100),)


@pytest.mark.parametrize("note", ["", "s-1", "s-1 x", " 10", "s-1 -5"])
def test_note_of_a_test_that_is_not_ours_is_none(note: str) -> None:
    assert noted_test(note) is None
    tested = noted_test(note_of_test("s-1", 10))
    assert tested is not None
    assert (tested.revision, tested.percent) == ("s-1", 10)


# --- what there is


def test_there_is_no_service_where_none_was_made_or_nothing_is_enabled(cloud: Cloud, google: Google, run: Run) -> None:
    assert "run.googleapis.com" not in cloud.usage.enabled
    assert found_service(google, "portfolio", Silent()) is None
    assert held_quotas(google, "portfolio") == {}
    cloud.usage.enable()
    assert found_service(google, "portfolio", Silent()) is None


def test_right_that_is_missing_is_no_missing_service(cloud: Cloud, google: Google) -> None:
    cloud.usage.enable()
    cloud.fail("^GET .*portfolio$", Refused(403, "PERMISSION_DENIED", "Permission 'run.services.get' denied"))
    with pytest.raises(CloudError, match=r"Permission 'run\.services\.get' denied"):
        found_service(google, "portfolio", Silent())


def test_deployment_that_goes_on_over_there_is_waited_for(scene: Scene, run: Run) -> None:
    _abandoned(scene, Outcome(requests=12))
    assert scene.cloud.run.service("portfolio").reconciling
    assert read_service(scene.google, "portfolio") is not None
    state = scene.there()
    assert (state.reconciling, state.latest_ready) == (False, state.latest_created)
    assert "waiting for portfolio: Deploying Revision." in scene.show.told


def test_deployment_that_fails_over_there_is_seen(scene: Scene) -> None:
    _abandoned(scene, replace_requests(UNHEALTHY, 12))
    state = scene.there()
    assert (state.reconciling, state.latest_ready) == (False, None)


def test_service_that_never_comes_to_rest_is_waited_for_as_long_as_it_may_start(scene: Scene, cloud: Cloud) -> None:
    _abandoned(scene, Outcome(requests=10_000))
    cloud.slept.clear()
    with pytest.raises(CloudError, match="portfolio is still being changed after 660 s"):
        scene.there()
    assert sum(cloud.slept) == 660


def replace_requests(outcome: Outcome, requests: int) -> Outcome:
    return Outcome(outcome.reason, outcome.message, requests)


def _abandoned(scene: Scene, outcome: Outcome) -> None:
    """Somebody's deployment died while the revision was starting."""
    scene.cloud.run.outcomes.append(outcome)
    wait = scene.google.wait

    def die(*_: object, **__: object) -> None:
        raise Killed

    scene.google.wait = die  # type: ignore[method-assign]
    with pytest.raises(Killed):
        scene.deploy()
    scene.google.wait = wait  # type: ignore[method-assign]


# --- what others hold


def test_gpus_that_others_hold_are_those_of_their_most_instances(scene: Scene, run: Run) -> None:
    scene.deploy()
    run.page = 1
    _make(run, "a", cpu="500m", memory="512Mi", most=4)
    _make(run, "b", cpu="8", memory="32Gi", most=3, gpu="nvidia-l4")
    _make(run, "c", cpu="20", memory="80Gi", most=2, gpu="nvidia-rtx-pro-6000")
    run.service("c").scaling = ServiceScaling(scaling_mode=2, manual_instance_count=1)
    _make(run, "d", cpu="1", memory="1Gi", most=100)
    run.service("d").scaling.max_instance_count = 2
    assert held_quotas(scene.google, "portfolio") == {
        "NvidiaL4GpuAllocNoZonalRedundancyPerProjectRegion": 3,
        "NvidiaRtxPro6000GpuAllocNoZonalRedundancyPerProjectRegion": 1000,
    }


def _make(run: Run, name: str, *, cpu: str, memory: str, most: int, gpu: str | None = None) -> None:
    limits = {"cpu": cpu, "memory": memory, **({"nvidia.com/gpu": "1"} if gpu else {})}
    template: dict[str, Any] = {
        "containers": [{"image": "i", "resources": {"limits": limits}}],
        "scaling": {"max_instance_count": most},
    }
    if gpu:
        template |= {"node_selector": {"accelerator": gpu}, "gpu_zonal_redundancy_disabled": True}
    place = NAME.replace("portfolio", name)
    run.services[place] = Service(name=place, template=template)


# --- what would be refused


def test_service_that_would_be_taken_is_tried_out_and_nothing_is_made(scene: Scene, run: Run) -> None:
    scene.cloud.iam.accounts.clear()
    scene.cloud.secrets.held.clear()
    scene.wish(bucket="not-there-yet")
    assert refusals_of(scene.google, scene.desired, None) == ()
    assert run.services == {}
    scene.cloud.usage.enabled.clear()
    assert refusals_of(scene.google, scene.desired, None) == ()


def test_every_policy_that_forbids_something_is_told(scene: Scene, run: Run) -> None:
    run.rules += [_forbids_public_invokers, _forbids_ingress]
    assert refusals_of(scene.google, scene.desired, None) == (
        Refusal("invoker_iam_disabled", "invoker_iam_disabled: violates constraint constraints/run.managed.requireInvokerIam"),
        Refusal("ingress", "ingress: violates constraint constraints/run.allowedIngress"),
    )


def test_quota_that_is_too_small_is_told_in_googles_words(scene: Scene, run: Run) -> None:
    scene.wish(gpu=Gpu.L4, cpu=8, memory=Bytes(32 * GIB), max_instances=3)
    run.quotas["NvidiaL4GpuAllocNoZonalRedundancyPerProjectRegion"] = 1
    (refusal,) = refusals_of(scene.google, scene.desired, None)
    assert refusal.field == "spec.template.metadata.annotations[autoscaling.knative.dev/maxScale]"
    assert refusal.message.endswith("requested 3 allowed 1")


def test_shape_that_does_not_exist_is_told(scene: Scene) -> None:
    scene.wish(cpu=1, memory=Bytes(32 * GIB))
    (refusal,) = refusals_of(scene.google, scene.desired, None)
    assert refusal.field == "template.containers.resources.limits"


def test_change_of_a_service_is_tried_out_over_what_is_there(scene: Scene, run: Run) -> None:
    scene.deploy()
    before = run.service("portfolio")
    assert refusals_of(scene.google, scene.desired, scene.there()) == ()
    run.rules.append(_forbids_ingress)
    scene.wish(cpu=8)
    (refusal,) = refusals_of(scene.google, scene.desired, scene.there())
    assert refusal.field == "ingress"
    assert run.service("portfolio") == before
    assert len(run.revisions) == 1


def test_right_to_deploy_that_is_missing_is_told(scene: Scene, cloud: Cloud) -> None:
    cloud.fail("^POST ", Refused(403, "PERMISSION_DENIED", "Permission 'run.services.create' denied on resource"))
    (refusal,) = refusals_of(scene.google, scene.desired, None)
    assert refusal == Refusal("service", "Permission 'run.services.create' denied on resource")


def test_server_that_is_busy_refuses_nothing(scene: Scene, cloud: Cloud) -> None:
    cloud.fail("^POST ", Refused(503, "UNAVAILABLE", "try again"), times=2)
    assert refusals_of(scene.google, scene.desired, None) == ()
    cloud.fail("^POST ", Refused(503, "UNAVAILABLE", "try again"), times=99)
    with pytest.raises(CloudError, match="try again"):
        refusals_of(scene.google, scene.desired, None)


def _forbids_public_invokers(service: Service) -> None:
    if service.invoker_iam_disabled:
        raise invalid("invoker_iam_disabled: violates constraint constraints/run.managed.requireInvokerIam")


def _forbids_ingress(service: Service) -> None:
    # What is not sent is what was there, else anything.
    if service.ingress.name == "INGRESS_TRAFFIC_ALL":
        raise invalid("ingress: violates constraint constraints/run.allowedIngress")
