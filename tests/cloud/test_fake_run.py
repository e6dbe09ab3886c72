"""The fake of Cloud Run is as strict as what is known of the real one: what it takes, refuses, fills in and keeps."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from google.api_core.exceptions import GoogleAPICallError, NotFound
from google.cloud.run_v2 import EnvVar, Service
from google.protobuf.field_mask_pb2 import FieldMask

from relight.cloud.google import Google
from relight.errors import CloudError
from tests.cloud.fake.cloud import Cloud
from tests.cloud.fake.run import UNHEALTHY, Outcome, Run

CONTAINER = {"image": "us-docker.pkg.dev/cloudrun/container/hello"}
L4 = {"cpu": "4", "memory": "16Gi", "nvidia.com/gpu": "1"}


@pytest.fixture
def run(cloud: Cloud) -> Run:
    cloud.usage.enable()
    return cloud.run


def make(google: Google, name: str = "x", **fields: Any) -> Service:
    """A service made by Google's own client."""
    service = Service({"template": {"containers": [CONTAINER]}, **fields})
    operation = google.services.create_service(parent=google.location, service=service, service_id=name)
    return google.wait("make it", operation, limit_s=60)  # type: ignore[no-any-return]


def gpu(limits: dict[str, str], *, idle: bool = False, kind: str = "nvidia-l4", most: int = 1) -> dict[str, Any]:
    return {
        "containers": [{**CONTAINER, "resources": {"limits": limits, "cpu_idle": idle}}],
        "node_selector": {"accelerator": kind},
        "scaling": {"max_instance_count": most},
        "gpu_zonal_redundancy_disabled": True,
    }


def test_fields_that_nobody_knows_are_refused(run: Run, address: str) -> None:
    body = json.dumps({"template": {"containers": [CONTAINER], "surprise": 1}}).encode()
    for query, sent in (("serviceId=x", body), ("serviceId=x&surprise=1", b"{}")):
        request = urllib.request.Request(f"{address}/v2/projects/my-project/locations/r/services?{query}", sent, method="POST")
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request)
        assert refused.value.code == 400
        assert b"surprise" in refused.value.read()


@pytest.mark.parametrize("key", ["run.googleapis.com/x", "autoscaling.knative.dev/maxScale"])
@pytest.mark.parametrize("where", ["labels", "annotations"])
def test_keys_of_the_platform_are_refused(run: Run, google: Google, where: str, key: str) -> None:
    fields: dict[str, Any] = {where: {key: "1"}}
    with pytest.raises(GoogleAPICallError, match="is not supported"):
        make(google, **fields)


@pytest.mark.parametrize("name", ["X", "1x", "x-", "x_y", "", "x" * 50])
def test_names_that_are_no_names_are_refused(run: Run, google: Google, name: str) -> None:
    with pytest.raises(GoogleAPICallError, match="valid name"):
        make(google, name)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (gpu(L4, idle=True), "CPU to be always allocated"),
        (gpu({**L4, "cpu": "2"}), "at least 4 CPU and 16Gi"),
        (gpu(L4, kind="nvidia-rtx-pro-6000"), "at least 20 CPU and 80Gi"),
        (gpu({"cpu": "4", "memory": "16Gi"}), "both its kind and a limit"),
        (gpu(L4, most=2), "requested 2 allowed 1"),
        ({"containers": [{**CONTAINER, "resources": {"limits": {"cpu": "1", "memory": "8Gi"}}}]}, "Invalid value"),
        ({"containers": [{**CONTAINER, "env": [{"name": "PORT", "value": "1"}]}]}, "reserved env names"),
        ({"containers": [{**CONTAINER, "startup_probe": {"period_seconds": 241}}]}, "between 0 and 240"),
        ({"containers": [{**CONTAINER, "volume_mounts": [{"name": "v", "mount_path": "/v"}]}]}, "there is no volume"),
        ({"containers": [CONTAINER], "revision": "y-1"}, "must begin with"),
        ({"containers": [CONTAINER], "service_account": "n@my-project.iam.gserviceaccount.com"}, "actAs' denied"),
        ({"containers": [{"image": "europe-west4-docker.pkg.dev/my-project/r/i:t"}]}, "not found"),
        ({"containers": [CONTAINER], "volumes": [{"name": "v", "gcs": {"bucket": "b"}}]}, "bucket 'b' does not exist"),
    ],
)
def test_what_the_platform_does_not_run_is_refused(run: Run, google: Google, template: dict[str, Any], said: str) -> None:
    run.quotas["NvidiaL4GpuAllocNoZonalRedundancyPerProjectRegion"] = 1
    with pytest.raises(GoogleAPICallError, match=said):
        make(google, template=template)
    assert run.services == {}


def test_secret_that_may_not_be_read_is_refused(run: Run, google: Google, cloud: Cloud) -> None:
    cloud.secrets.make("s", "text")
    ref = {"name": "S", "value_source": {"secret_key_ref": {"secret": "s", "version": "1"}}}
    with pytest.raises(GoogleAPICallError, match="Permission denied on secret: projects/123456789012/secrets/s/versions/1"):
        make(google, template={"containers": [{**CONTAINER, "env": [ref]}]})


def test_path_of_a_mask_that_is_not_in_the_body_is_cleared_and_others_stay(run: Run, google: Google) -> None:
    make(google, description="d", labels={"a": "b"})
    change(google, lambda service: Service(name=service.name, labels={"c": "d"}), "labels", "description")
    kept = run.service("x")
    assert (kept.description, dict(kept.labels)) == ("", {"c": "d"})
    assert kept.template.containers[0].image == CONTAINER["image"]


@pytest.mark.parametrize("path", ["surprise", "template.surprise", "uri", "etag"])
def test_path_of_a_mask_that_cannot_be_changed_is_refused(run: Run, google: Google, path: str) -> None:
    service = make(google)
    with pytest.raises(GoogleAPICallError, match="update_mask"):
        google.services.update_service(service=Service(name=service.name), update_mask=FieldMask(paths=[path]))


def test_etag_of_before_is_refused(run: Run, google: Google) -> None:
    service = make(google)
    change(google, lambda _: Service(name=service.name, description="d"), "description")
    with pytest.raises(GoogleAPICallError, match="but current version is"):
        change(google, lambda _: service, "description")


def test_revision_with_a_name_that_is_taken_is_refused(run: Run, google: Google) -> None:
    service = make(google, template={"containers": [CONTAINER], "revision": "x-1"})
    service.template.containers[0].env.append(EnvVar(name="A", value="b"))
    with pytest.raises(GoogleAPICallError, match="different configuration already exists"):
        change(google, lambda _: service, "template")


def test_traffic_that_is_not_all_of_it_is_refused(run: Run, google: Google) -> None:
    service = make(google)
    for traffic in ([{"type_": 1, "percent": 90}], [{"type_": 2, "revision": "x-9", "percent": 100}]):
        with pytest.raises(GoogleAPICallError, match="traffic"):
            change(google, lambda _, t=traffic: Service(name=service.name, traffic=t), "traffic")  # type: ignore[misc]


def test_service_is_reconciling_until_its_revision_is_ready(run: Run, google: Google) -> None:
    run.outcomes.append(Outcome(requests=3))
    google.services.create_service(
        parent=google.location, service=Service({"template": {"containers": [CONTAINER]}}), service_id="x"
    )
    seen = [google.services.get_service(name=f"{google.location}/services/x") for _ in range(3)]
    assert [service.reconciling for service in seen] == [True, True, False]
    assert [service.observed_generation for service in seen] == [0, 0, 1]
    assert [bool(service.latest_ready_revision) for service in seen] == [False, False, True]
    assert [service.ingress.value for service in seen] == [0, 0, 1]


def test_failed_revision_leaves_the_traffic_and_says_why(run: Run, google: Google) -> None:
    first = make(google).latest_ready_revision
    run.outcomes.append(UNHEALTHY)
    with pytest.raises(CloudError, match="is not ready and cannot serve traffic"):
        change(google, _with_variable, "template")
    assert run.serving("x") == {first.rpartition("/")[2]: 100}
    assert run.service("x").terminal_condition.reason.name == "REVISION_FAILED"


def test_revisions_are_listed_newest_first_page_by_page(run: Run, google: Google) -> None:
    make(google)
    for _ in range(3):
        change(google, _with_variable, "template")
    run.page = 2
    found = [one.name for one in google.revisions.list_revisions(parent=f"{google.location}/services/x")]
    assert found == list(reversed(run.revisions))
    with pytest.raises(GoogleAPICallError, match="has traffic, or is the latest"):
        google.revisions.delete_revision(name=found[0])
    google.wait("delete it", google.revisions.delete_revision(name=found[-1]), limit_s=60)
    with pytest.raises(NotFound):
        google.revisions.get_revision(name=found[-1])


def test_api_that_is_not_enabled_refuses_everything(cloud: Cloud, google: Google) -> None:
    with pytest.raises(GoogleAPICallError, match="Cloud Run Admin API has not been used in project"):
        make(google)


def change(google: Google, make_: Callable[[Service], Service], *paths: str) -> None:
    service = make_(google.services.get_service(name=f"{google.location}/services/x"))
    operation = google.services.update_service(service=service, update_mask=FieldMask(paths=paths))
    google.wait("change it", operation, limit_s=60)


def _with_variable(service: Service) -> Service:
    env = service.template.containers[0].env
    env.append(EnvVar(name=f"A{len(env)}", value="b"))
    return service
