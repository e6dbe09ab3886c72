"""Which shapes of an instance Cloud Run has, and where its GPUs stand. Pure; the limits of 2026-11, which move."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from relight.config.deploy import Gpu
from relight.values import counted, format_bytes

GIB: Final = 1 << 30
LARGEST_GPU_MEMORY: Final = {Gpu.L4: 23034 << 20, Gpu.RTX_PRO_6000: 97887 << 20}
"""Bytes of the GPU's own memory that programs see (as its driver says), a little below the 24 and 96 GB of its name."""

# CPUs -> GiB of memory, least and most. Without a GPU; gen2, which is always asked for, wants half a GiB at least.
_PLAIN: Final = {1: (0.5, 4.0), 2: (0.5, 8.0), 4: (2.0, 16.0), 6: (4.0, 24.0), 8: (4.0, 32.0)}
_L4: Final = {4: (16.0, 16.0), 6: (16.0, 24.0), 8: (16.0, 32.0)}
# Only the ends are documented: 20 CPUs and 80 GiB, about 44 and 176.
_RTX: Final = {cpu: (80.0, min(176.0, cpu * 4.0)) for cpu in range(20, 46, 2)}

_REGIONS: Final = {
    Gpu.L4: ("us-central1", "us-east4", "europe-west1", "europe-west4", "asia-southeast1", "asia-south1"),
    Gpu.RTX_PRO_6000: ("us-central1", "europe-west4", "asia-southeast1", "asia-south2"),
}
_BY_INVITATION: Final = {Gpu.L4: ("us-central1", "asia-south1"), Gpu.RTX_PRO_6000: ("asia-south2",)}


@dataclass(frozen=True, slots=True)
class Shape:
    """CPUs, memory in bytes, and the GPU of an instance."""

    cpu: int
    memory: int
    gpu: Gpu | None = None

    def __str__(self) -> str:
        return f"{counted(self.cpu, 'CPU')}, {format_bytes(self.memory)}" + (f", {self.gpu}" if self.gpu else "")


def shape_faults(shape: Shape) -> list[str]:
    """What Cloud Run would refuse about a shape, each as a sentence without a subject; empty when it takes it."""
    table, kind = _table(shape.gpu), f"with an {shape.gpu}" if shape.gpu else "without a GPU"
    if shape.cpu not in table:
        possible = f"{min(table)} to {max(table)}, even numbers" if shape.gpu is Gpu.RTX_PRO_6000 else ", ".join(map(str, table))
        return [f"{counted(shape.cpu, 'CPU')} {kind}; possible: {possible}"]
    low, high = (round(gib * GIB) for gib in table[shape.cpu])
    if low <= shape.memory <= high:
        return []
    possible = format_bytes(low) if low == high else f"{format_bytes(low)} to {format_bytes(high)}"
    return [f"{format_bytes(shape.memory)} with {counted(shape.cpu, 'CPU')} {kind}; possible: {possible}"]


def nearest(shape: Shape) -> Shape:
    """The smallest shape that exists and has at least these CPUs and this memory; the largest where none has."""
    table = _table(shape.gpu)
    for cpu, (low, high) in sorted(table.items()):
        if cpu >= shape.cpu and round(high * GIB) >= shape.memory:
            return Shape(cpu, max(_whole(shape.memory), round(low * GIB)), shape.gpu)
    cpu = max(table)
    return Shape(cpu, round(table[cpu][1] * GIB), shape.gpu)


def largest_memory(gpu: Gpu | None) -> int:
    """Most memory that an instance can have, in bytes."""
    return round(max(high for _, high in _table(gpu).values()) * GIB)


def regions_of(gpu: Gpu, near: str) -> tuple[str, ...]:
    """Where a GPU is offered: on the continent of `near` first, those for invited projects alone last."""
    continent = near.partition("-")[0]
    return tuple(sorted(_REGIONS[gpu], key=lambda at: (at in _BY_INVITATION[gpu], at.partition("-")[0] != continent)))


def is_by_invitation(gpu: Gpu, region: str) -> bool:
    """Whether a project has to be invited before it gets this GPU there."""
    return region in _BY_INVITATION[gpu]


def _table(gpu: Gpu | None) -> dict[int, tuple[float, float]]:
    return _PLAIN if gpu is None else {Gpu.L4: _L4, Gpu.RTX_PRO_6000: _RTX}[gpu]


def _whole(memory: int) -> int:
    """Rounded up to a GiB, below one to half a GiB."""
    return GIB // 2 if memory <= GIB // 2 else -(-memory // GIB) * GIB
