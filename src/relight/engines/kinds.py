"""From what a configuration names to an engine and what it is asked to run."""

from __future__ import annotations

import sys
from pathlib import Path

from relight.config.schema import EngineKind, Model
from relight.engines.base import Capabilities, Command, Engine, Probe, Ready, Spec
from relight.engines.cpu import available_cpus, engine_threads
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


def spec_for(name: str, model: Model, weights: Path | None, socket: Path) -> Spec:
    """How the model called `name` is to be run; threads that are not configured come from the CPU quota."""
    return Spec(
        model=name,
        weights=weights,
        context=model.context,
        parallel=model.parallel,
        threads=model.threads or engine_threads(available_cpus()),
        args=model.args,
        socket=socket,
    )


def engine_for(kind: EngineKind) -> Engine:
    """The engine of that kind."""
    return Scripted() if kind is EngineKind.SCRIPTED else LlamaCpp()
