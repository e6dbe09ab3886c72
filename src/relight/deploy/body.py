"""A service as the body of a request to the Admin API v2, in its JSON. Pure; every field that we know is in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from relight.deploy.service import OURS, Settings, Template

SETTINGS_MASK: Final = ("ingress", "invoker_iam_disabled", "scaling", "labels")
"""The paths of an update that sends settings; a path of the mask that is not in the body is cleared."""
TEMPLATE_MASK: Final = (
    "template.revision",
    "template.labels",
    "template.service_account",
    "template.timeout",
    "template.execution_environment",
    "template.max_instance_request_concurrency",
    "template.scaling",
    "template.session_affinity",
    "template.health_check_disabled",
    "template.volumes",
    "template.containers",
    "template.node_selector",
    "template.gpu_zonal_redundancy_disabled",
)
"""The paths of an update that makes a revision: not `template`, or what a client does not know of it would be cleared."""


def service_body(template: Template, settings: Settings) -> dict[str, Any]:
    """The body that creates a service; an update puts its fields over those of the service that was read."""
    return {**settings_body(settings), "template": template_body(template)}


def settings_body(settings: Settings) -> dict[str, Any]:
    """What belongs to the service as a whole."""
    return {
        "ingress": settings.ingress,
        "invokerIamDisabled": settings.invoker_iam_disabled,
        "scaling": {"minInstanceCount": settings.min_instances, "maxInstanceCount": settings.max_instances},
        "labels": dict(settings.labels),
    }


def template_body(template: Template) -> dict[str, Any]:
    """What makes a revision."""
    body: dict[str, Any] = {
        "labels": dict(template.labels),
        "serviceAccount": template.service_account,
        "timeout": f"{template.timeout_s}s",
        "executionEnvironment": template.execution_environment,
        "maxInstanceRequestConcurrency": template.concurrency,
        "scaling": {"minInstanceCount": template.min_instances, "maxInstanceCount": template.max_instances},
        "sessionAffinity": template.session_affinity,
        "healthCheckDisabled": template.health_check_disabled,
        "volumes": [
            {"name": name, "gcs": {"bucket": volume.bucket, "readOnly": volume.read_only}}
            for name, volume in template.volumes.items()
        ],
        "containers": [_container(template)],
    }
    if template.accelerator is not None:
        body["nodeSelector"] = {"accelerator": template.accelerator}
        body["gpuZonalRedundancyDisabled"] = template.gpu_zonal_redundancy_disabled
    return body


def settings_over(there: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """The settings put over a service that was read (its JSON): how it scales, beside the numbers, stays."""
    ours = settings_body(settings)
    return {**ours, "scaling": {**there.get("scaling", {}), **ours["scaling"]}}


def template_over(there: Mapping[str, Any], template: Template) -> dict[str, Any]:
    """A template put over one that was read (its JSON). `template` is what `service.merged` made of both.

    What we do not know stays: networks, annotations, containers beside ours, commands, volumes of others and where they are seen.
    """
    ours = template_body(template)
    (mine,) = ours["containers"]
    containers = list(there.get("containers", ({},)))
    at = main_container(containers)
    main = containers[at]
    containers[at] = {
        **main,
        **mine,
        "resources": {**main.get("resources", {}), **mine["resources"]},
        "volumeMounts": [*_theirs(main.get("volumeMounts", ())), *_not_in(mine["volumeMounts"], main.get("volumeMounts", ()))],
    }
    # The name was of the revision that was read, and the kind of GPU goes where there is none any more.
    gone = {"revision", "nodeSelector", "gpuZonalRedundancyDisabled"}
    return {
        **{name: value for name, value in there.items() if name not in gone},
        **ours,
        "scaling": {**there.get("scaling", {}), **ours["scaling"]},
        "volumes": [*_theirs(there.get("volumes", ())), *_not_in(ours["volumes"], there.get("volumes", ()))],
        "containers": containers,
    }


def main_container(containers: Sequence[Mapping[str, Any]]) -> int:
    """Which of them gets the requests: the one with a port, else the first."""
    return next((at for at, container in enumerate(containers) if container.get("ports")), 0)


def _theirs(named: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [one for one in named if not one["name"].startswith(OURS)]


def _not_in(ours: Sequence[Mapping[str, Any]], there: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those of `ours` that are not theirs, taken over as they were read."""
    theirs = {one["name"] for one in _theirs(there)}
    return [one for one in ours if one["name"] not in theirs]


def _container(template: Template) -> dict[str, Any]:
    limits = {"cpu": template.cpu, "memory": template.memory}
    if template.gpu is not None:
        limits["nvidia.com/gpu"] = template.gpu
    probe = template.startup_probe
    return {
        "image": template.image,
        "ports": [{"name": template.port_name, "containerPort": template.port}],
        "env": [
            *({"name": name, "value": text} for name, text in template.env.items()),
            *(
                {"name": name, "valueSource": {"secretKeyRef": {"secret": ref.secret, "version": ref.version}}}
                for name, ref in template.secrets.items()
            ),
        ],
        "resources": {"limits": limits, "cpuIdle": template.cpu_idle, "startupCpuBoost": template.startup_cpu_boost},
        "volumeMounts": [{"name": name, "mountPath": volume.path} for name, volume in template.volumes.items()],
        "startupProbe": {
            "httpGet": {"path": probe.path, "port": template.port},
            "initialDelaySeconds": 0,
            "periodSeconds": probe.period_s,
            "timeoutSeconds": probe.timeout_s,
            "failureThreshold": probe.failures,
        },
    }
