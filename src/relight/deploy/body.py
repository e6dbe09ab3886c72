"""A service as the body of a request to the Admin API v2, in its JSON. Pure; every field that we know is in it."""

from __future__ import annotations

from typing import Any, Final

from relight.deploy.service import Settings, Template

MASK: Final = ("ingress", "invoker_iam_disabled", "scaling", "labels", "template")
"""The paths of an update that sends both; a path of the mask that is not in the body is cleared."""


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
