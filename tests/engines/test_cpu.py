"""CPU limits, read from made-up `/proc` and `/sys` trees."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relight.engines.cpu import available_cpus, engine_threads

CGROUP = "sys/fs/cgroup"


def machine(root: Path, memberships: str, **files: str) -> Path:
    """A machine whose process is in these control groups; `files` are below `/sys/fs/cgroup`, `__` for `/`."""
    write(root / "proc/self/cgroup", memberships)
    for name, text in files.items():
        write(root / CGROUP / name.replace("__", "/"), text)
    return root


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def quota_v2(root: Path, folder: str, text: str) -> None:
    write(root / CGROUP / folder / "cpu.max", text)


def quota_v1(root: Path, folder: str, quota: str, period: str = "100000\n") -> None:
    write(root / CGROUP / folder / "cpu.cfs_quota_us", quota)
    write(root / CGROUP / folder / "cpu.cfs_period_us", period)


def test_machine_without_cgroups_has_its_affinity(tmp_path: Path) -> None:
    assert available_cpus(tmp_path, affinity=6) == 6.0


def test_affinity_of_this_process_is_the_default(tmp_path: Path) -> None:
    assert available_cpus(tmp_path) == len(os.sched_getaffinity(0))


# --- version 2


def test_quota_of_the_own_group_bounds(tmp_path: Path) -> None:
    machine(tmp_path, "0::/app\n")
    quota_v2(tmp_path, "app", "150000 100000\n")
    assert available_cpus(tmp_path, affinity=8) == 1.5


def test_tightest_quota_on_the_way_up_bounds(tmp_path: Path) -> None:
    machine(tmp_path, "0::/kubepods/pod1/app\n")
    quota_v2(tmp_path, "kubepods", "600000 100000\n")
    quota_v2(tmp_path, "kubepods/pod1", "200000 100000\n")
    quota_v2(tmp_path, "kubepods/pod1/app", "400000 100000\n")
    assert available_cpus(tmp_path, affinity=8) == 2.0


def test_quota_of_a_neighbour_does_not_bound(tmp_path: Path) -> None:
    machine(tmp_path, "0::/app\n")
    quota_v2(tmp_path, "neighbour", "50000 100000\n")
    quota_v2(tmp_path, "app/child", "50000 100000\n")
    assert available_cpus(tmp_path, affinity=8) == 8.0


def test_maximum_is_no_quota(tmp_path: Path) -> None:
    machine(tmp_path, "0::/\n")
    quota_v2(tmp_path, "", "max 100000\n")
    assert available_cpus(tmp_path, affinity=4) == 4.0


def test_affinity_below_the_quota_bounds(tmp_path: Path) -> None:
    machine(tmp_path, "0::/\n")
    quota_v2(tmp_path, "", "800000 100000\n")
    assert available_cpus(tmp_path, affinity=2) == 2.0


def test_container_with_the_hosts_path_is_bounded_by_the_root_it_sees(tmp_path: Path) -> None:
    machine(tmp_path, "0::/system.slice/docker-0123.scope\n")
    quota_v2(tmp_path, "", "250000 100000\n")
    assert available_cpus(tmp_path, affinity=8) == 2.5


def test_path_above_the_namespace_is_bounded_by_the_root_it_sees(tmp_path: Path) -> None:
    machine(tmp_path, "0::/../../other\n")
    quota_v2(tmp_path, "", "250000 100000\n")
    assert available_cpus(tmp_path, affinity=8) == 2.5


# --- version 1


@pytest.mark.parametrize("folder", ["cpu", "cpu,cpuacct"])
def test_version_1_quota_bounds_wherever_it_is_mounted(tmp_path: Path, folder: str) -> None:
    machine(tmp_path, "12:memory:/docker/0123\n4:cpu,cpuacct:/docker/0123\n1:name=systemd:/docker/0123\n")
    quota_v1(tmp_path, f"{folder}/docker", "300000\n")
    quota_v1(tmp_path, f"{folder}/docker/0123", "-1\n")
    assert available_cpus(tmp_path, affinity=8) == 3.0


def test_version_1_container_with_the_hosts_path_is_bounded_by_the_root_it_sees(tmp_path: Path) -> None:
    machine(tmp_path, "4:cpu,cpuacct:/docker/0123\n")
    quota_v1(tmp_path, "cpu,cpuacct", "50000\n")
    assert available_cpus(tmp_path, affinity=8) == 0.5


def test_version_1_without_a_limit_has_its_affinity(tmp_path: Path) -> None:
    machine(tmp_path, "4:cpu:/\n")
    quota_v1(tmp_path, "cpu", "-1\n")
    assert available_cpus(tmp_path, affinity=8) == 8.0


def test_version_1_quota_of_other_controllers_does_not_bound(tmp_path: Path) -> None:
    machine(tmp_path, "4:cpuset:/\n5:cpuacct:/\n")
    quota_v1(tmp_path, "cpuset", "50000\n")
    quota_v1(tmp_path, "cpu", "50000\n")
    assert available_cpus(tmp_path, affinity=8) == 8.0


def test_hybrid_machine_is_bounded_by_both_hierarchies(tmp_path: Path) -> None:
    machine(tmp_path, "4:cpu,cpuacct:/app\n0::/app\n")
    quota_v1(tmp_path, "cpu,cpuacct/app", "400000\n")
    quota_v2(tmp_path, "unified/app", "300000 100000\n")
    assert available_cpus(tmp_path, affinity=8) == 3.0
    quota_v1(tmp_path, "cpu,cpuacct/app", "200000\n")
    assert available_cpus(tmp_path, affinity=8) == 2.0


# --- nonsense


@pytest.mark.parametrize(
    "text", ["", "\n", "max", "100000", "a b", "0 100000", "-5 100000", "100000 0", "1 2 3", f"{'9' * 400} 1"]
)
def test_cpu_max_of_nonsense_is_no_quota(tmp_path: Path, text: str) -> None:
    machine(tmp_path, "0::/\n", cpu__max="")
    quota_v2(tmp_path, "", text)
    assert available_cpus(tmp_path, affinity=4) == 4.0


@pytest.mark.parametrize(("quota", "period"), [("", "100000"), ("x", "100000"), ("100000", "0"), ("100000", ""), ("0", "100000")])
def test_version_1_quota_of_nonsense_is_no_quota(tmp_path: Path, quota: str, period: str) -> None:
    machine(tmp_path, "4:cpu:/\n")
    quota_v1(tmp_path, "cpu", quota, period)
    assert available_cpus(tmp_path, affinity=4) == 4.0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(memberships=st.binary(max_size=60), setting=st.binary(max_size=30))
def test_bytes_of_any_kind_never_raise(tmp_path: Path, memberships: bytes, setting: bytes) -> None:
    (tmp_path / "proc/self").mkdir(parents=True, exist_ok=True)
    (tmp_path / "proc/self/cgroup").write_bytes(b"0::/\n4:cpu:/\n" + memberships)
    for name in ("cpu.max", "cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"):
        (tmp_path / CGROUP / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / CGROUP / name).write_bytes(setting)
    assert 0 < available_cpus(tmp_path, affinity=4) <= 4.0


# --- threads


@pytest.mark.parametrize(("cpus", "threads"), [(0.5, 1), (1.0, 1), (1.9, 1), (1.995, 2), (2.0, 2), (7.5, 7), (64.0, 64)])
def test_threads_are_whole_cpus_and_at_least_one(cpus: float, threads: int) -> None:
    assert engine_threads(cpus) == threads
