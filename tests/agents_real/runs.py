"""One run of a client: its own folder and home, no network but this machine, and nothing of it left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench.leftovers import end_at_home

from tests.agents_real.pins import Pin, read_pins

_NOBODY = "http://127.0.0.1:9"  # a proxy that is not there: who wants to go further than this machine is refused at once
_LOOPBACK = "127.0.0.1,localhost,::1"


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of it; `code` is `None` when it had to be ended."""

    code: int | None
    output: str
    seconds: float


def run(
    pin: Pin,
    arguments: Sequence[str],
    place: Path,
    home: Path,
    environment: Mapping[str, str],
    *,
    said: str,
    most_s: float,
    is_enough: Callable[[], bool] = lambda: False,
) -> Ran:
    """Run it in `place` until it ends, `is_enough()` or the time is up; `said` is its standard input."""
    log = home / "output.txt"
    began = time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(pin.folder / "bin" / pin.program), *arguments],
            cwd=place, env=_environment(home, environment), stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        try:
            _tell(process, said)
            code = _wait(process, began + most_s, is_enough)
        finally:
            _end(process, home)
    return Ran(code, log.read_text(encoding="utf-8", errors="replace"), time.monotonic() - began)


def _environment(home: Path, more: Mapping[str, str]) -> dict[str, str]:
    """All that it knows of this machine: where programs are."""
    programs = [str(pin.folder / "bin") for pin in read_pins().values() if pin.registry == "npm"]
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), _NOBODY)
    return {
        "PATH": os.pathsep.join([*programs, os.environ["PATH"]]),
        "HOME": str(home),
        "TMPDIR": str(home),
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "NO_COLOR": "1",
        "GIT_TERMINAL_PROMPT": "0",
        **proxies,
        "NO_PROXY": _LOOPBACK,
        "no_proxy": _LOOPBACK,
        **more,
    }


def _tell(process: subprocess.Popen[bytes], said: str) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError), process.stdin:
        process.stdin.write(said.encode())


def _wait(process: subprocess.Popen[bytes], until: float, is_enough: Callable[[], bool]) -> int | None:
    while time.monotonic() < until and not is_enough():
        with suppress(subprocess.TimeoutExpired):
            return process.wait(0.5)
    return None


def _end(process: subprocess.Popen[bytes], home: Path) -> None:
    """End all of it: its group, and the daemons that it left, which are known by their home."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    end_at_home(home)
