"""Quotas of Cloud Run: which ones a shape needs, how much of them, and how to ask for more. Pure.

Ids and units as the Cloud Quotas API lists them for run.googleapis.com (2026-08): CPU in thousandths, memory in bytes, an L4
whole, an RTX PRO 6000 in thousandths.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from relight.config.deploy import Gpu
from relight.deploy.shapes import Shape
from relight.values import counted, format_bytes

CPU_QUOTA: Final = "CpuAllocPerProjectRegion"
MEMORY_QUOTA: Final = "MemAllocPerProjectRegion"
_GPU_QUOTA: Final = {
    (Gpu.L4, False): "NvidiaL4GpuAllocNoZonalRedundancyPerProjectRegion",
    (Gpu.L4, True): "NvidiaL4GpuAllocPerProjectRegion",
    (Gpu.RTX_PRO_6000, False): "NvidiaRtxPro6000GpuAllocNoZonalRedundancyPerProjectRegion",
    # Not listed by Google anywhere that we saw: two other programs ask for it by this name.
    (Gpu.RTX_PRO_6000, True): "NvidiaRtxPro6000GpuAllocPerProjectRegion",
}
_PER_GPU: Final = {Gpu.L4: 1, Gpu.RTX_PRO_6000: 1000}
_UNIT: Final = {CPU_QUOTA: "thousandths of a CPU", MEMORY_QUOTA: "bytes"}


class Need(Struct, frozen=True, kw_only=True):
    """A quota that instances take: its id, what one of them takes, what all at most, and the unit of both."""

    quota: str
    what: str
    unit: str
    each: int
    total: int

    def say(self, amount: int) -> str:
        """An amount as people say it: `20 CPUs`, `40GiB`, `3 GPUs`."""
        if self.quota == MEMORY_QUOTA:
            return format_bytes(amount)
        return counted(amount / (1000 if self.unit.startswith("thousandths") else 1), self.what)


class QuotaRequest(Struct, frozen=True, kw_only=True):
    """What to ask Google for; `command` does it, and so does a QuotaPreference of the Cloud Quotas API with these values."""

    project: str
    region: str
    quota: str
    value: int
    unit: str
    service: str = "run.googleapis.com"

    @property
    def command(self) -> str:
        """The command that asks."""
        return (
            f"gcloud beta quotas preferences create --project={self.project} --service={self.service} --quota-id={self.quota} "
            f"--preferred-value={self.value} --dimensions=region={self.region}"
        )


def needs(shape: Shape, instances: int, *, zonal_redundancy: bool) -> tuple[Need, ...]:
    """Every quota that `instances` of a shape take together; Cloud Run refuses a service whose most do not fit."""
    found = [_need(CPU_QUOTA, "CPU", shape.cpu * 1000, instances), _need(MEMORY_QUOTA, "memory", shape.memory, instances)]
    if shape.gpu is not None:
        each = _PER_GPU[shape.gpu]
        unit = "GPUs" if each == 1 else "thousandths of a GPU"
        quota = _GPU_QUOTA[shape.gpu, zonal_redundancy]
        found.insert(0, Need(quota=quota, what="GPU", unit=unit, each=each, total=each * instances))
    return tuple(found)


def request(need: Need, *, project: str, region: str, value: int | None = None) -> QuotaRequest:
    """The request that makes room for a need."""
    return QuotaRequest(project=project, region=region, quota=need.quota, value=value or need.total, unit=need.unit)


def _need(quota: str, what: str, each: int, instances: int) -> Need:
    return Need(quota=quota, what=what, unit=_UNIT[quota], each=each, total=each * instances)
