"""How much processor this process may really use: affinity and cgroup quota, not what the machine has."""

from __future__ import annotations

import math
import os
from pathlib import Path

from relight.engines.cgroup import folders, read

_ROOT = Path("/")


def available_cpus(root: Path = _ROOT, affinity: int | None = None) -> float:
    """CPUs that this process can use, as a fraction where a quota says so.

    The smallest of the scheduler's affinity and every quota from this process's cgroup up to the root: `cpu.max`
    (cgroup v2) and `cpu.cfs_quota_us / cpu.cfs_period_us` (v1). `root` is where `/proc` and `/sys` lie.
    """
    count = affinity if affinity is not None else _affinity()
    return min([float(count), *_quotas(root)])


def engine_threads(cpus: float) -> int:
    """Threads that compute: whole CPUs only, because a thread that is throttled holds up all the others at each barrier."""
    return max(1, math.floor(cpus + 0.01))


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quotas(root: Path) -> list[float]:
    found = (_quota_v2(folder) if version == 2 else _quota_v1(folder) for version, folder in folders(root, "cpu"))
    return [quota for quota in found if quota is not None]


def _quota_v2(folder: Path) -> float | None:
    words = (read(folder / "cpu.max") or "").split()
    if len(words) != 2 or words[0] == "max":
        return None
    return _ratio(words[0], words[1])


def _quota_v1(folder: Path) -> float | None:
    quota, period = read(folder / "cpu.cfs_quota_us"), read(folder / "cpu.cfs_period_us")
    if quota is None or period is None or quota.strip().startswith("-"):
        return None
    return _ratio(quota, period)


def _ratio(quota: str, period: str) -> float | None:
    try:
        value = int(quota) / int(period)
    except (ValueError, ArithmeticError):
        return None
    return value if value > 0 else None
