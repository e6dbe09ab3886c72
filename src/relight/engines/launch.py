"""Starts a program that dies with its parent: `python -I -S launch.py PARENT_PID [--watch] PROGRAM ARG…`.

With `--watch` it stays, and takes the program's own children along when the parent ends; without, it becomes the program.
Standard library only, because it runs before everything else and on every wake. Linux has a call for it; elsewhere the
program is started all the same, and the front door stops it when it can.
"""

from __future__ import annotations

import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent_pid: int, ending: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel send `ending` to this process when its parent ends; exits at once if that has happened."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ending, 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(1)


def main(argv: list[str]) -> None:
    """Replace this process by the program; exits with code 127 and the reason when that cannot be."""
    parent_pid, watches = int(argv[0]), argv[1] == "--watch"
    program = argv[2:] if watches else argv[1:]
    if watches:
        _watch(parent_pid, program)
    die_with_parent(parent_pid)
    _become(program)


def _watch(parent_pid: int, program: list[str]) -> None:
    """Run the program in this process's group, which ends as a whole when the parent does; pass on SIGTERM and its end."""
    signals = {signal.SIGTERM, signal.SIGHUP}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    die_with_parent(parent_pid, signal.SIGHUP)
    here = os.getpid()
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        die_with_parent(here)
        _become(program)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
    signal.signal(signal.SIGHUP, lambda *_: os.killpg(0, signal.SIGKILL))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(here, -code)  # ends as the program did
    os._exit(code)


def _become(program: list[str]) -> None:
    try:
        os.execvp(program[0], program)  # noqa: S606 - an argument list from our own engine seam
    except OSError as error:
        print(f"{program[0]}: {error.strerror}", file=sys.stderr, flush=True)
        os._exit(127)


if __name__ == "__main__":
    main(sys.argv[1:])
