"""A service as Google's client has it, read into what we know of it. Pure: asks nobody.

What the server fills in where nothing was sent is read as that, and its other ways of writing the same (`1000m` for one CPU) as
ours: none of it is a difference.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from relight.deploy import names
from relight.deploy.body import main_container
from relight.deploy.observed import ServiceState, Tested
from relight.deploy.service import Probe, SecretRef, Settings, Template, Traffic, Volume

if TYPE_CHECKING:
    from google.cloud.run_v2 import Service

OFF: Final = "relight-off"
"""Annotation of a service that is switched off: the least and the most instances that it had, for when it is on again."""
_OPEN: Final = "INGRESS_TRAFFIC_ALL"
_MANUAL: Final = "MANUAL"
_LATEST: Final = "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST"
_UNITS: Final = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40, "k": 10**3, "M": 10**6, "G": 10**9, "": 1}
_SERVER_MOST: Final = 100
_PERIOD_S, _TIMEOUT_S, _FAILURES = 10, 1, 3


def state_of(service: Service, invokers: Iterable[str] = ()) -> ServiceState:
    """What is known of a service; `invokers` are who may call it."""
    said = json_of(service)
    return ServiceState(
        template=template_of(said.get("template", {}), project=project_of(service.name)),
        settings=settings_of(said),
        latest_created=short(service.latest_created_revision),
        latest_ready=short(service.latest_ready_revision) or None,
        traffic=traffic_of(said.get("traffic", ())),
        tested=noted_test(service.annotations.get(names.TESTED, "")),
        invokers=tuple(sorted(set(invokers))),
        uri=service.uri or None,
        is_off=is_off(said),
        reconciling=service.reconciling,
    )


def json_of(service: Service) -> dict[str, Any]:
    """The service in the JSON of the Admin API."""
    from google.cloud.run_v2 import Service
    from google.protobuf.json_format import MessageToDict

    return dict(MessageToDict(Service.pb(service)))


def service_from(said: Mapping[str, Any]) -> Service:
    """The message of a JSON that we made. Raises `ParseError` for a field that does not exist."""
    from google.cloud.run_v2 import Service
    from google.protobuf.json_format import ParseDict

    return Service.wrap(ParseDict(said, Service.pb()()))  # type: ignore[no-any-return]


def template_of(said: Mapping[str, Any], *, project: str) -> Template:
    """The template of a revision, from its JSON; `project` is whose secrets need no longer name."""
    containers: Sequence[Mapping[str, Any]] = said.get("containers") or ({},)
    main = containers[main_container(containers)]
    resources, limits = main.get("resources", {}), main.get("resources", {}).get("limits", {})
    port: Mapping[str, Any] = next(iter(main.get("ports", ())), {})
    kind = said.get("nodeSelector", {}).get("accelerator")
    return Template(
        image=main.get("image", ""),
        service_account=said.get("serviceAccount", ""),
        cpu=_cpu(limits.get("cpu", "1")),
        memory=_memory(limits.get("memory", "512Mi")),
        startup_probe=_probe(main.get("startupProbe")),
        timeout_s=round(float(said.get("timeout", "300s").removesuffix("s"))),
        concurrency=said.get("maxInstanceRequestConcurrency", 80),
        min_instances=said.get("scaling", {}).get("minInstanceCount", 0),
        max_instances=said.get("scaling", {}).get("maxInstanceCount", _SERVER_MOST),
        # Without any resources the server takes "by request"; with some, what is not there is False.
        cpu_idle=resources.get("cpuIdle", "resources" not in main),
        startup_cpu_boost=resources.get("startupCpuBoost", False),
        accelerator=kind,
        gpu=limits.get("nvidia.com/gpu"),
        gpu_zonal_redundancy_disabled=said.get("gpuZonalRedundancyDisabled", kind is None),
        execution_environment=said.get("executionEnvironment", "EXECUTION_ENVIRONMENT_UNSPECIFIED"),
        port=port.get("containerPort", 8080),
        port_name=port.get("name", "http1"),
        session_affinity=said.get("sessionAffinity", False),
        health_check_disabled=said.get("healthCheckDisabled", False),
        env={var["name"]: var.get("value", "") for var in main.get("env", ()) if "valueSource" not in var},
        secrets=dict(_secrets(main, project)),
        volumes=dict(_volumes(said, main)),
        labels=dict(said.get("labels", {})),
    )


def settings_of(said: Mapping[str, Any]) -> Settings:
    """What belongs to the service as a whole, from its JSON."""
    scaling = said.get("scaling", {})
    least, most = scaling.get("minInstanceCount", 0), scaling.get("maxInstanceCount", 0)
    if is_off(said) and not most:
        least, most = limits_before(said)
    # While no revision is ready nothing can be observed; it is what the server takes when nothing was sent.
    ingress = said.get("ingress", _OPEN)
    return Settings(
        ingress=_OPEN if ingress == "INGRESS_TRAFFIC_UNSPECIFIED" else ingress,
        invoker_iam_disabled=said.get("invokerIamDisabled", False),
        min_instances=least,
        max_instances=most,
        labels=dict(said.get("labels", {})),
    )


def traffic_of(said: Iterable[Mapping[str, Any]]) -> tuple[Traffic, ...]:
    """How the traffic should be distributed; nothing said is all of it to the latest."""
    found = tuple(
        Traffic(
            revision=None if target.get("type") == _LATEST else target.get("revision"),
            percent=target.get("percent", 0),
            tag=target.get("tag"),
        )
        for target in said
    )
    return found or (Traffic(revision=None, percent=100),)


def traffic_body(traffic: Iterable[Traffic]) -> list[dict[str, Any]]:
    """The traffic in the JSON of the Admin API."""
    return [
        {
            **(
                {"type": _LATEST}
                if target.revision is None
                else {"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION", "revision": target.revision}
            ),
            "percent": target.percent,
            **({} if target.tag is None else {"tag": target.tag}),
        }
        for target in traffic
    ]


def note_of_test(revision: str, percent: int) -> str:
    """How the annotation says that a revision was tested."""
    return f"{revision} {percent}"


def noted_test(note: str) -> Tested | None:
    """What such an annotation says; None when it says something else."""
    revision, _, percent = note.partition(" ")
    return Tested(revision, int(percent)) if revision and percent.isdecimal() else None


def is_off(said: Mapping[str, Any]) -> bool:
    """Whether a service is held at no instance at all, whoever asks."""
    scaling = said.get("scaling", {})
    return scaling.get("scalingMode") == _MANUAL and not scaling.get("manualInstanceCount", 0)


def limits_before(said: Mapping[str, Any]) -> tuple[int, int]:
    """The least and the most instances before it was switched off; 0 and 0 when nobody noted them."""
    note = re.fullmatch(r"(\d+)-(\d+)", said.get("annotations", {}).get(OFF, ""))
    return (int(note[1]), int(note[2])) if note else (0, 0)


def short(name: str) -> str:
    """The last part of a name: of `projects/P/…/revisions/R`, `R`."""
    return name.rpartition("/")[2]


def project_of(name: str) -> str:
    """The project that a name begins with."""
    return name.split("/")[1] if name.startswith("projects/") else ""


def _probe(said: Mapping[str, Any] | None) -> Probe:
    """A probe; one that does not ask over HTTP has no path, and so is never ours."""
    if said is None:
        return Probe(path="", period_s=240, timeout_s=240, failures=1)
    return Probe(
        path=said["httpGet"].get("path", "/") if "httpGet" in said else "",
        period_s=said.get("periodSeconds", _PERIOD_S),
        timeout_s=said.get("timeoutSeconds", _TIMEOUT_S),
        failures=said.get("failureThreshold", _FAILURES),
    )


def _secrets(main: Mapping[str, Any], project: str) -> Iterable[tuple[str, SecretRef]]:
    for var in main.get("env", ()):
        if "valueSource" in var:
            ref = var["valueSource"].get("secretKeyRef", {})
            secret = ref.get("secret", "").removeprefix(f"projects/{project}/secrets/")
            yield var["name"], SecretRef(secret, ref.get("version", "latest"))


def _volumes(said: Mapping[str, Any], main: Mapping[str, Any]) -> Iterable[tuple[str, Volume]]:
    """The buckets that the main container sees as folders; other volumes are not ours to know."""
    paths = {mount["name"]: mount.get("mountPath", "") for mount in main.get("volumeMounts", ())}
    for volume in said.get("volumes", ()):
        if "gcs" in volume and volume["name"] in paths:
            gcs = volume["gcs"]
            yield (
                volume["name"],
                Volume(bucket=gcs.get("bucket", ""), path=paths[volume["name"]], read_only=gcs.get("readOnly", False)),
            )


def milli(cpu: str) -> int:
    """Thousandths of a CPU; `2`, `0.5` or `500m`."""
    return int(cpu[:-1]) if cpu.endswith("m") else round(float(cpu) * 1000)


def bytes_of(memory: str) -> int:
    """Bytes of `8Gi`, `512M` and the like."""
    found = re.fullmatch(r"([0-9.]+)([KMGT]i|[kMG]|)", memory)
    return round(float(found[1]) * _UNITS[found[2]]) if found else 0


def _cpu(said: str) -> str:
    thousandths = milli(said)
    return str(thousandths // 1000) if thousandths % 1000 == 0 else said


def _memory(said: str) -> str:
    size = bytes_of(said)
    if size % (1 << 20):
        return said
    return f"{size >> 30}Gi" if size % (1 << 30) == 0 else f"{size >> 20}Mi"
