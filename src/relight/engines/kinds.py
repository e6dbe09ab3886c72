"""The engines that a configuration can name, by name."""

from __future__ import annotations

import sys

from relight.config.schema import EngineKind
from relight.engines.base import Capabilities, Command, Engine, Probe, Ready, Spec
from relight.engines.llamacpp import LlamaCpp


class Scripted:
    """The engine for tests and demos: answers what it is told to, needs no weights."""

    name = "scripted"
    capabilities = Capabilities(paths=LlamaCpp.capabilities.paths | {"/v1/embeddings"})

    def command(self, spec: Spec) -> Command:
        """See `Engine.command`."""
        flags = ("--socket", spec.socket, "--model", spec.model, "--context", spec.context, "--parallel", spec.parallel)
        argv = (sys.executable, "-I", "-m", "relight.engines.scripted", *map(str, flags), *spec.args)
        return Command(argv, ready_fd_flag="--ready-fd")

    async def probe(self, spec: Spec) -> Probe:
        """It reports its readiness; nobody has to ask."""
        return Ready()


def engine_for(kind: EngineKind) -> Engine:
    """The engine of that kind."""
    return Scripted() if kind is EngineKind.SCRIPTED else LlamaCpp()
