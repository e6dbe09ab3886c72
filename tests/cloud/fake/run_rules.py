"""What Cloud Run refuses about a service, and what it fills in: its words, as far as they are known, else its manner."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping
from typing import Final

from google.cloud.run_v2 import Container, ContainerPort, Probe, RevisionTemplate, Service, TrafficTargetAllocationType
from google.cloud.run_v2.types import IngressTraffic, ServiceScaling, TrafficTarget

from tests.cloud.fake.server import Refused

LATEST: Final = TrafficTargetAllocationType.TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST
REVISION: Final = TrafficTargetAllocationType.TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION
_FORBIDDEN = ("run.googleapis.com", "cloud.googleapis.com", "serving.knative.dev", "autoscaling.knative.dev")
_RESERVED = {"PORT", "K_SERVICE", "K_REVISION", "K_CONFIGURATION"}
# CPUs -> most memory in GiB, without a GPU.
_MOST = {1: 4, 2: 8, 4: 16, 6: 24, 8: 32}
# Least CPUs and GiB of memory, quota ids (without and with zonal redundancy), and what one is in its unit.
_GPUS = {
    "nvidia-l4": (4, 16, "NvidiaL4GpuAlloc", 1),
    "nvidia-rtx-pro-6000": (20, 80, "NvidiaRtxPro6000GpuAlloc", 1000),
}
_UNITS = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "k": 10**3, "M": 10**6, "G": 10**9, "": 1}


def invalid(message: str) -> Refused:
    return Refused(400, "INVALID_ARGUMENT", message)


def filled(service: Service, number: str) -> None:
    """Put in what the server puts in where nothing was sent."""
    template = service.template
    if service.ingress == IngressTraffic.INGRESS_TRAFFIC_UNSPECIFIED:
        service.ingress = IngressTraffic(1)  # all
    if service.scaling.scaling_mode == ServiceScaling.ScalingMode.SCALING_MODE_UNSPECIFIED:
        service.scaling.scaling_mode = ServiceScaling.ScalingMode(1)  # automatic
    service.launch_stage = service.launch_stage or 4  # GA
    template.timeout = template.timeout or datetime.timedelta(seconds=300)
    template.service_account = template.service_account or f"{number}-compute@developer.gserviceaccount.com"
    template.scaling.max_instance_count = template.scaling.max_instance_count or 100
    for volume in template.volumes:
        if "secret" in volume:
            volume.secret.default_mode = volume.secret.default_mode or 0o444
    for container in template.containers:
        _filled(container)
    main = ingress_container(template)
    if main is not None:
        _filled_main(main)
        cpu = milli(main.resources.limits["cpu"])
        template.max_instance_request_concurrency = template.max_instance_request_concurrency or (80 if cpu >= 1000 else 1)
    if not service.traffic:
        service.traffic.append(TrafficTarget(type_=LATEST, percent=100))


def _filled(container: Container) -> None:
    if "resources" not in container:
        container.resources.cpu_idle = True
    container.resources.limits.setdefault("cpu", "1000m")
    container.resources.limits.setdefault("memory", "512Mi")


def _filled_main(main: Container) -> None:
    if not main.ports:
        main.ports.append(ContainerPort(name="http1", container_port=8080))
    port = main.ports[0]
    port.name = port.name or "http1"
    if "startup_probe" not in main:
        main.startup_probe = Probe(timeout_seconds=240, period_seconds=240, failure_threshold=1, tcp_socket={})
    probe = main.startup_probe
    probe.period_seconds = probe.period_seconds or 10
    probe.timeout_seconds = probe.timeout_seconds or 1
    probe.failure_threshold = probe.failure_threshold or 3
    if "http_get" in probe:
        probe.http_get.path = probe.http_get.path or "/"
        probe.http_get.port = probe.http_get.port or port.container_port
    if "tcp_socket" in probe:
        probe.tcp_socket.port = probe.tcp_socket.port or port.container_port


def ingress_container(template: RevisionTemplate) -> Container | None:
    """The one that gets the requests."""
    with_ports = [container for container in template.containers if container.ports]
    if not with_ports and len(template.containers) == 1:
        return template.containers[0]
    return with_ports[0] if len(with_ports) == 1 else None


def check(service: Service, quotas: Mapping[str, int]) -> None:
    """Refuse what the server refuses about a service by itself; what must be there first is asked by whoever knows."""
    _keys(service.labels, "labels")
    _keys(service.annotations, "annotations")
    _keys(service.template.labels, "template.labels")
    _keys(service.template.annotations, "template.annotations")
    _traffic(service)
    _revision_name(service)
    template = service.template
    if not template.containers:
        raise invalid("template.containers: at least one container is required")
    main = ingress_container(template)
    if main is None:
        raise invalid("template.containers: exactly one container must declare ports")
    if not 1 <= template.timeout.total_seconds() <= 3600:
        raise invalid("template.timeout: must be between 1 and 3600 seconds")
    if not 1 <= template.max_instance_request_concurrency <= 1000:
        raise invalid("template.max_instance_request_concurrency: must be between 1 and 1000")
    for container in template.containers:
        _container(container, template)
    _probe(main.startup_probe)
    _shape(main, template)
    _quota(service, main, quotas)


def _keys(found: Mapping[str, str], where: str) -> None:
    for key in found:
        if key.partition("/")[0] in _FORBIDDEN:
            raise invalid(f"{where}: key {key!r} is not supported; use the corresponding field")


def _traffic(service: Service) -> None:
    if sum(target.percent for target in service.traffic) != 100:
        raise invalid("traffic: percents must add up to 100")
    tags = [target.tag for target in service.traffic if target.tag]
    if len(set(tags)) != len(tags):
        raise invalid("traffic: tags must be unique")
    for target in service.traffic:
        if target.tag and not re.fullmatch(r"[a-z][a-z0-9-]*[a-z0-9]", target.tag):
            raise invalid(f"traffic.tag: invalid tag {target.tag!r}")
        if target.type_ not in (LATEST, REVISION) or (target.type_ == LATEST) == bool(target.revision):
            raise invalid("traffic: a target is either the latest revision or names one")
    named = [(target.type_, target.revision) for target in service.traffic if target.percent]
    if len(set(named)) != len(named):
        raise invalid("traffic: the same revision has traffic twice")


def _revision_name(service: Service) -> None:
    name, prefix = service.template.revision, f"{service.name.rpartition('/')[2]}-"
    if name and not (name.startswith(prefix) and re.fullmatch(r"[a-z][a-z0-9-]{0,61}[a-z0-9]", name)):
        raise invalid(f"template.revision: {name!r} must begin with {prefix!r}, and have at most 63 characters")


def _container(container: Container, template: RevisionTemplate) -> None:
    if not container.image:
        raise invalid("template.containers.image: is required")
    if strange := set(container.resources.limits) - {"cpu", "memory", "nvidia.com/gpu"}:
        raise invalid(f"template.containers.resources.limits: unsupported {sorted(strange)}")
    env = [var.name for var in container.env]
    if len(set(env)) != len(env):
        raise invalid("template.containers.env: names must be unique")
    if reserved := _RESERVED & set(env):
        raise invalid(f"template.containers.env: The following reserved env names were provided: {', '.join(sorted(reserved))}")
    volumes = [volume.name for volume in template.volumes]
    if len(set(volumes)) != len(volumes):
        raise invalid("template.volumes: names must be unique")
    for mount in container.volume_mounts:
        if mount.name not in volumes:
            raise invalid(f"template.containers.volume_mounts: there is no volume {mount.name!r}")
        if not mount.mount_path.startswith("/"):
            raise invalid("template.containers.volume_mounts.mount_path: must be absolute")


def _probe(probe: Probe) -> None:
    for field in ("period_seconds", "initial_delay_seconds"):
        if not 0 <= getattr(probe, field) <= 240:
            raise invalid(f"startup_probe: {field} must be a number between 0 and 240")
    if probe.timeout_seconds > probe.period_seconds:
        raise invalid("startup_probe: timeout_seconds must not be greater than period_seconds")
    if probe.failure_threshold < 1:
        raise invalid("startup_probe: failure_threshold must be at least 1")


def _shape(main: Container, template: RevisionTemplate) -> None:
    limits, where = main.resources.limits, "template.containers.resources.limits"
    cpu, memory, gpu = milli(limits["cpu"]) / 1000, size(limits["memory"]), limits.get("nvidia.com/gpu")
    kind = template.node_selector.accelerator
    if bool(gpu) != bool(kind):
        raise invalid("template.node_selector.accelerator: a GPU takes both its kind and a limit of nvidia.com/gpu")
    if not gpu:
        if cpu not in _MOST or memory > _MOST[int(cpu)] << 30 or memory < 512 << 20:
            raise invalid(f"{where}: Invalid value specified for container memory or cpu ({limits['memory']}, {limits['cpu']})")
        return
    if gpu != "1" or kind not in _GPUS:
        raise invalid(f"{where}: unsupported GPU {kind} x {gpu}")
    least_cpu, least_gib = _GPUS[kind][:2]
    if cpu < least_cpu or memory < least_gib << 30:
        raise invalid(f"{where}: GPU {kind} requires at least {least_cpu} CPU and {least_gib}Gi memory")
    if main.resources.cpu_idle:
        raise invalid("template.containers.resources.cpu_idle: GPU requires CPU to be always allocated (no CPU throttling)")


def _quota(service: Service, main: Container, quotas: Mapping[str, int]) -> None:
    most = min(n for n in (service.scaling.max_instance_count, service.template.scaling.max_instance_count) if n)
    for quota, each in _takes(main, service.template):
        wanted, allowed = each * most, quotas.get(quota)
        if allowed is not None and wanted > allowed:
            raise invalid(
                "spec.template.metadata.annotations[autoscaling.knative.dev/maxScale]: "
                f"Quota violated: {quota} requested {wanted} allowed {allowed}"
            )


def _takes(main: Container, template: RevisionTemplate) -> Iterator[tuple[str, int]]:
    yield "CpuAllocPerProjectRegion", milli(main.resources.limits["cpu"])
    yield "MemAllocPerProjectRegion", size(main.resources.limits["memory"])
    if template.node_selector.accelerator:
        _, _, quota, each = _GPUS[template.node_selector.accelerator]
        zonal = "NoZonalRedundancy" if template.gpu_zonal_redundancy_disabled else ""
        yield f"{quota}{zonal}PerProjectRegion", each


def milli(cpu: str) -> int:
    """Thousandths of a CPU."""
    return int(cpu[:-1]) if cpu.endswith("m") else round(float(cpu) * 1000)


def size(memory: str) -> int:
    """Bytes."""
    found = re.fullmatch(r"([0-9.]+)([KMG]i|[kMG]|)", memory)
    if found is None:
        raise invalid(f"template.containers.resources.limits.memory: {memory!r}")
    return round(float(found[1]) * _UNITS[found[2]])
