"""The seam between Relight and what runs a model. Knows processes and HTTP only by their descriptions, never by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from relight.config.schema import Task

Address = Path | tuple[str, int]
"""Where an engine answers: a Unix socket, or host and port on this machine's loopback."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine does by itself."""

    paths: frozenset[str]
    """The POST paths that it answers natively."""
    snapshots: bool = False
    """What a slot holds can be saved, and taken back by another process of the same build."""
    images: bool = False
    """A message may hold images."""
    progress: bool = False
    """`return_progress` of a chat request is understood: the stream tells how far the reading of the prompt is."""
    slots: bool = False
    """`id_slot` is understood: a request may name the place, and with it the cached prompt, that it wants."""
    grammar: bool = False
    """`grammar` (GBNF) is understood."""


@dataclass(frozen=True, slots=True)
class Spec:
    """One model as an engine is asked to run it."""

    model: str
    weights: Path | None
    context: int
    """Tokens per request; the engine reserves `context * parallel`."""
    parallel: int
    threads: int
    args: tuple[str, ...]
    socket: Path
    """Unix socket on which the engine must listen, unless it can listen on ports only (see `Command.address`)."""
    task: Task = Task.CHAT
    source: str = ""
    """`models.NAME.source` as it is written, for engines that fetch and keep models themselves."""
    snapshots: Path | None = None
    """Folder in which the engine saves what its slots hold, and finds what they shall hold; `None`: it does neither."""
    hidden: frozenset[str] = frozenset()
    """Names of environment variables that the engine must not see: the secrets of the configuration."""


@dataclass(frozen=True, slots=True)
class Command:
    """How to start an engine."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    ready_fd_flag: str | None = None
    """Flag before the number of a descriptor on which it writes `{"event":"ready"}`; `None`: it must be probed."""
    binds_itself: bool = False
    """True when `argv` itself sees to it that the process dies with its parent."""
    has_children: bool = False
    """True when it starts processes of its own, which must not outlive this one either."""
    address: Address | None = None
    """Where it answers, if that is not the socket of the spec."""


@dataclass(frozen=True, slots=True)
class Loading:
    """Not there yet; `progress` from 0 to 1 where it is known."""

    progress: float | None = None


@dataclass(frozen=True, slots=True)
class Ready:
    """It answers."""


@dataclass(frozen=True, slots=True)
class Broken:
    """It will never answer, and why."""

    reason: str


Probe = Loading | Ready | Broken


class Engine(Protocol):
    """One kind of engine."""

    @property
    def name(self) -> str:
        """What the configuration calls it."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it does by itself."""
        ...

    def build(self) -> str:
        """Which program it is: what one saves, another of the same build can read. Blocks; empty when it saves nothing."""
        ...

    def command(self, spec: Spec) -> Command:
        """The process that serves `spec`; raises `EngineFailed` when it cannot run on this machine."""
        ...

    async def probe(self, spec: Spec) -> Probe:
        """Ask a started engine how far it is. Must return within a second, whatever the engine does.

        Asked again and again until `Ready` or `Broken`.
        """
        ...
