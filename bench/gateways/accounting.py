"""What a gateway uses, as the kernel counts it: processor time to the nanosecond, and its own share of memory. Linux only."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MOCK: Final = "bench.gateways.mock"
_STOP_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Cores:
    """Who computes where: the gateway under test has a core of its own when there are two."""

    gateway: int
    rest: int

    @classmethod
    def here(cls) -> Cores:
        """The first and the last core that this process may use."""
        usable = sorted(os.sched_getaffinity(0))
        return cls(usable[0], usable[-1])


def family(pid: int) -> list[int]:
    """A process and everything that it has started, except an upstream that it runs as its engine."""
    found = [pid]
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                if MOCK.encode() not in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0"):
                    found += family(int(child))
    return found


def cpu_ns(pid: int) -> int:
    """Processor time of a process, its threads and its children so far, from the scheduler."""
    total = 0
    for member in family(pid):
        with suppress(OSError):
            total += sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{member}/task").iterdir())
    return total


def is_alive(pid: int) -> bool:
    """False for a child that has ended, also before anybody has asked how."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def pss_mib(pid: int) -> float:
    """Memory of a process and its children in MiB, what is shared counted by its share."""
    total = 0
    for member in family(pid):
        with suppress(OSError):
            for line in Path(f"/proc/{member}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total / 1024


@contextmanager
def running(
    argv: list[str], *, core: int, folder: Path, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process on one core, with its output in `folder/log`; it and all it has started are gone at the end."""
    pinned = [sys.executable, "-I", "-S", "-c", _PINNED, str(core), *argv]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            pinned,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, **(env or {})},
            start_new_session=True,  # Ctrl-C is for the benchmark, which then stops everything in order
        )
    try:
        yield process
    finally:
        stop(process)


# Not `preexec_fn`, which is unsafe beside threads: a fresh interpreter takes its core and becomes the program.
_PINNED: Final = "import os, sys; os.sched_setaffinity(0, {int(sys.argv[1])}); os.execvp(sys.argv[2], sys.argv[2:])"


def stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to a process, then SIGKILL to its whole group."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def last_words(folder: Path) -> str:
    """The end of a process's output, on one line."""
    with suppress(OSError):
        return " / ".join((folder / "log").read_text(errors="replace").split("\n")[-8:])[-600:]
    return ""


def settle() -> None:
    """Let what was begun by the last job end before the counters are read."""
    time.sleep(0.05)
