"""How much memory this process may really use: the machine's, or less where a cgroup says so."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from relight.engines.cgroup import folders, read

_ROOT: Final = Path("/")
_FILES: Final = {
    # version: (limit, use, the use that can be given back at once, in `memory.stat`)
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: ("memory.max", "memory.current", "inactive_file"),
}


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes: `total` that there could ever be, `available` without pushing anybody out now."""

    total: int
    available: int


def machine_memory(root: Path = _ROOT) -> Memory:
    """The smallest of the machine's memory and every limit from this process's cgroup up to the root.

    `root` is where `/proc` and `/sys` lie. Where nothing says what is in use, all of it counts as available.
    """
    found = [_machine(root)]
    for version, folder in folders(root, "memory"):
        if (limit := _limit(folder, version)) is not None:
            found.append(limit)
    return Memory(min(memory.total for memory in found), min(memory.available for memory in found))


def _machine(root: Path) -> Memory:
    said = dict(re.findall(r"^(\w+):\s+(\d+) kB$", read(root / "proc/meminfo") or "", re.MULTILINE))
    total = int(said["MemTotal"]) * 1024 if "MemTotal" in said else os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Memory(total, int(said["MemAvailable"]) * 1024 if "MemAvailable" in said else total)


def _limit(folder: Path, version: int) -> Memory | None:
    limit_file, use_file, spare_key = _FILES[version]
    limit, used = _number(folder / limit_file), _number(folder / use_file)
    if limit is None:
        return None
    spare = re.search(rf"^{spare_key} (\d+)$", read(folder / "memory.stat") or "", re.MULTILINE)
    return Memory(limit, max(0, limit - (used or 0) + (int(spare[1]) if spare else 0)))


def _number(file: Path) -> int | None:
    """A count of bytes; `None` for "max" and for what is not there."""
    text = (read(file) or "").strip()
    return int(text) if text.isdecimal() else None
