"""Starts a program that dies with its parent: `python -I -S launch.py PARENT_PID PROGRAM ARG…`.

Standard library only, because it runs before everything else and on every wake. Linux has a call for it; elsewhere the
program is started all the same, and the front door stops it when it can.
"""

from __future__ import annotations

import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel send SIGKILL to this process when its parent ends; exits at once if that has happened."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(1)


def main(argv: list[str]) -> None:
    """Replace this process by the program; exits with code 127 and the reason when that cannot be."""
    die_with_parent(int(argv[0]))
    try:
        os.execvp(argv[1], argv[1:])  # noqa: S606 - an argument list from our own engine seam
    except OSError as error:
        print(f"{argv[1]}: {error.strerror}", file=sys.stderr, flush=True)
        sys.exit(127)


if __name__ == "__main__":
    main(sys.argv[1:])
