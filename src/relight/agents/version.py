"""Which version of an agent is installed, asked of the agent itself; and whether its settings were written for that one."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from relight.agents.wiring import Agent

# The slowest of them, a Python program of 500 MB, takes 25 s when its bytecode is not kept.
PATIENCE_S: Final = 30.0
_VERSION: Final = re.compile(r"(?<![\w.])v?(\d+(?:\.\d+){1,3}(?:[-+.]?[0-9A-Za-z.-]+)?)")
_AT_ONCE: Final = 4


@dataclass(frozen=True, slots=True)
class Installed:
    """Whether an agent is here (None: nobody can tell), and its version where it says one."""

    is_here: bool | None
    version: str | None = None


def installed(agent: Agent, *, patience_s: float = PATIENCE_S) -> Installed:
    """Ask the agent. Blocks for as long as it takes to answer, at most `patience_s`."""
    if not agent.version_command:
        return Installed(None)
    program, *arguments = agent.version_command
    if (path := shutil.which(program)) is None:
        return Installed(is_here=False)
    try:
        done = subprocess.run([path, *arguments], stdin=subprocess.DEVNULL, capture_output=True, timeout=patience_s, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return Installed(is_here=True)
    said = _VERSION.search((done.stdout + b"\n" + done.stderr).decode(errors="replace"))
    # A program like python is always there; what it was asked about is not, when it fails.
    return Installed(is_here=True, version=said[1]) if done.returncode == 0 and said else Installed(is_here=done.returncode == 0)


def all_installed(agents: Sequence[Agent], *, patience_s: float = PATIENCE_S) -> list[Installed]:
    """Ask several agents, some at a time, each for at most `patience_s`."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(lambda agent: installed(agent, patience_s=patience_s), agents))


def is_tested(version: str, tested: Sequence[str]) -> bool:
    """Whether `version` is one of these; "1.18" stands for all of its kind."""
    return any(version == known or re.match(rf"{re.escape(known)}[.+-]", version) for known in tested)


def warning(agent: Agent, found: Installed) -> str | None:
    """What to say about an agent that is not here, or is another one than its settings were written for."""
    if found.is_here is False:
        return f"{agent.name} is not installed here ({agent.version_command[0]} is not on the PATH)"
    if found.version is None or not agent.tested or is_tested(found.version, agent.tested):
        return None
    return f"{agent.name}: written for {', '.join(agent.tested)}, found {found.version}: unknown version"
