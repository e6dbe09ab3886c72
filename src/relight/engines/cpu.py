"""How much processor this process may really use: affinity and cgroup quota, not what the machine has."""

from __future__ import annotations

import math
import os
from pathlib import Path

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
    quotas: list[float] = []
    for controllers, path in _memberships(root / "proc/self/cgroup"):
        if controllers == "":
            base = root / "sys/fs/cgroup"
            base = base / "unified" if (base / "unified").is_dir() else base
            quotas += [quota for folder in _upwards(base, path) if (quota := _quota_v2(folder)) is not None]
        elif "cpu" in controllers.split(","):
            for base in (root / "sys/fs/cgroup/cpu", root / "sys/fs/cgroup/cpu,cpuacct"):
                quotas += [quota for folder in _upwards(base, path) if (quota := _quota_v1(folder)) is not None]
    return quotas


def _memberships(file: Path) -> list[tuple[str, str]]:
    """`(controllers, path)` of each hierarchy; the v2 hierarchy has no controllers."""
    lines = (_read(file) or "").splitlines()
    return [(parts[1], parts[2]) for line in lines if len(parts := line.split(":", 2)) == 3]


def _upwards(base: Path, path: str) -> list[Path]:
    # Inside a container the path may be the host's: folders that are not there simply give no quota.
    inner = base / path.lstrip("/")
    return [folder for folder in (inner, *inner.parents) if folder == base or base in folder.parents]


def _quota_v2(folder: Path) -> float | None:
    words = (_read(folder / "cpu.max") or "").split()
    if len(words) != 2 or words[0] == "max":
        return None
    return _ratio(words[0], words[1])


def _quota_v1(folder: Path) -> float | None:
    quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
    if quota is None or period is None or quota.strip().startswith("-"):
        return None
    return _ratio(quota, period)


def _ratio(quota: str, period: str) -> float | None:
    try:
        value = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return None
    return value if value > 0 else None


def _read(file: Path) -> str | None:
    try:
        return file.read_text()
    except OSError:
        return None
