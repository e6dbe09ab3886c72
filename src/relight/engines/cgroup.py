"""Where the limits of this process stand: its control groups, version 1 and 2. Knows no limit by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def folders(root: Path, controller: str) -> Iterator[tuple[int, Path]]:
    """The cgroup folders that bound this process for `controller`, with their version (1 or 2), innermost first.

    `root` is where `/proc` and `/sys` lie. Inside a container the path may be the host's: folders may be missing.
    """
    for controllers, path in _memberships(root / "proc/self/cgroup"):
        if controllers == "":
            base = root / "sys/fs/cgroup"
            base = base / "unified" if (base / "unified").is_dir() else base
            yield from ((2, folder) for folder in _upwards(base, path))
        elif controller in controllers.split(","):
            for name in dict.fromkeys((controller, controllers)):
                yield from ((1, folder) for folder in _upwards(root / "sys/fs/cgroup" / name, path))


def read(file: Path) -> str | None:
    """The text of a setting; `None` where it is not."""
    try:
        return file.read_text(errors="replace")
    except OSError:
        return None


def _memberships(file: Path) -> list[tuple[str, str]]:
    """`(controllers, path)` of each hierarchy; the v2 hierarchy has no controllers."""
    lines = (read(file) or "").splitlines()
    return [(parts[1], parts[2]) for line in lines if len(parts := line.split(":", 2)) == 3]


def _upwards(base: Path, path: str) -> list[Path]:
    inner = base / path.lstrip("/")
    return [folder for folder in (inner, *inner.parents) if folder == base or base in folder.parents]
