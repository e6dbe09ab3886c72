from __future__ import annotations

from pathlib import Path

from relight.engines.memory import Memory, machine_memory

GIB = 2**30
MEMINFO = f"MemTotal:       {16 * GIB // 1024} kB\nMemFree:  1 kB\nMemAvailable:   {12 * GIB // 1024} kB\n"


def tree(root: Path, files: dict[str, object]) -> Path:
    for name, content in {"proc/meminfo": MEMINFO, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    return root


def test_machine_without_cgroups_has_what_meminfo_says(tmp_path: Path) -> None:
    assert machine_memory(tree(tmp_path, {})) == Memory(16 * GIB, 12 * GIB)


def test_limit_of_version_2_leaves_what_is_not_used_or_can_be_given_back(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/box",
        "sys/fs/cgroup/box/memory.max": 4 * GIB,
        "sys/fs/cgroup/box/memory.current": 3 * GIB,
        "sys/fs/cgroup/box/memory.stat": f"anon 1\ninactive_file {GIB}\nactive_file 7",
    }
    assert machine_memory(tree(tmp_path, files)) == Memory(4 * GIB, 2 * GIB)


def test_limit_of_a_parent_counts(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/pod/box",
        "sys/fs/cgroup/pod/memory.max": GIB,
        "sys/fs/cgroup/pod/box/memory.max": "max",
    }
    assert machine_memory(tree(tmp_path, files)) == Memory(GIB, GIB)


def test_limit_of_version_1_counts(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "4:memory:/box\n1:cpu:/",
        "sys/fs/cgroup/memory/box/memory.limit_in_bytes": 2 * GIB,
        "sys/fs/cgroup/memory/box/memory.usage_in_bytes": GIB,
        "sys/fs/cgroup/memory/memory.limit_in_bytes": 9223372036854771712,
    }
    assert machine_memory(tree(tmp_path, files)) == Memory(2 * GIB, GIB)


def test_cgroup_that_is_over_its_limit_has_nothing_left(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/",
        "sys/fs/cgroup/memory.max": GIB,
        "sys/fs/cgroup/memory.current": 2 * GIB,
    }
    assert machine_memory(tree(tmp_path, files)).available == 0


def test_this_machine_has_no_more_available_than_there_is() -> None:
    memory = machine_memory()
    assert 0 < memory.available <= memory.total
