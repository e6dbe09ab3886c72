"""From what a configuration names to an engine and what it is asked to run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from relight.config.schema import EngineKind, Model, Task
from relight.engines.base import Capabilities, Command, Engine, Probe, Ready, Spec
from relight.engines.cpu import available_cpus, engine_threads
from relight.engines.llamacpp import LlamaCpp
from relight.engines.ollama import Ollama
from relight.engines.vllm import Vllm


class Scripted:
    """The engine for tests and demos: answers what it is told to, needs no weights."""

    name = "scripted"

    def __init__(self, task: Task = Task.CHAT) -> None:
        as_llama = LlamaCpp(task).capabilities
        embeds = {"/v1/embeddings"} if task is Task.CHAT else set()
        self.capabilities: Capabilities = replace(as_llama, paths=as_llama.paths | embeds, snapshots=False)

    def build(self) -> str:
        """It has nothing that would be worth saving."""
        return ""

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
        task=model.task,
        source=model.source,
    )


def folder_of_weights(model: Model, config_dir: Path) -> Path | None:
    """What `source = "file:…"` names, a folder of weights included; `None` for every other source."""
    path = model.source.removeprefix("file:")
    return None if path == model.source else config_dir / Path(path.removeprefix("//") if path.startswith("///") else path)


def engine_for(kind: EngineKind, task: Task = Task.CHAT) -> Engine:
    """A new engine of that kind for one model; what it can do depends on the task."""
    return _KINDS[kind](task)


_KINDS: Final[dict[EngineKind, Callable[[Task], Engine]]] = {
    EngineKind.LLAMA_CPP: LlamaCpp,
    EngineKind.OLLAMA: Ollama,
    EngineKind.VLLM: Vllm,
    EngineKind.SCRIPTED: Scripted,
}
