"""Ollama: an `ollama serve` of our own on a loopback port, with one model in it, which it keeps as long as we say."""

from __future__ import annotations

import re
import shutil
import socket
from typing import Final

from relight.config.schema import Task
from relight.engines.base import Capabilities, Command, Loading, Probe, Spec
from relight.engines.health import ask_status
from relight.engines.ollama_model import Digests, Preparation
from relight.errors import EngineFailed

_HOST: Final = "127.0.0.1"
# It speaks /v1/responses and /v1/messages as well, from one version on and without state or token counts: translating to chat
# serves the same clients with every version.
_CAPABILITIES: Final = {
    Task.CHAT: Capabilities(paths=frozenset({"/v1/chat/completions", "/v1/completions"}), images=True),
    Task.EMBED: Capabilities(paths=frozenset({"/v1/embeddings"})),
    Task.RERANK: Capabilities(paths=frozenset()),
}
_SETTING: Final = re.compile(r"(?P<name>[A-Z][A-Z0-9_]*)=(?P<value>.*)")


class Ollama:
    """The engine for models of the Ollama library (`source = "ollama:NAME:TAG"`), and for GGUF files.

    Ollama keeps its models where the user's own Ollama does; a file is copied there once. `args` are settings of its
    environment, such as `OLLAMA_KV_CACHE_TYPE=q8_0`. Each model has its own engine: probing goes on where the last probe was.
    """

    name = "ollama"

    def __init__(self, task: Task = Task.CHAT) -> None:
        self.capabilities = _CAPABILITIES[task]
        self._digests = Digests()
        self._preparation: Preparation | None = None

    def build(self) -> str:
        """See `Engine.build`: it saves nothing."""
        return ""

    def command(self, spec: Spec) -> Command:
        """See `Engine.command`; raises `EngineFailed` without an `ollama` on the PATH, or for what it cannot do."""
        binary = shutil.which("ollama")
        if binary is None:
            raise EngineFailed(
                f'model "{spec.model}": ollama is not installed',
                hint="see https://ollama.com/download, or put ollama on the PATH",
            )
        if spec.task is Task.RERANK:
            raise EngineFailed(f'model "{spec.model}": ollama does not rank', hint='set engine = "llama.cpp" or "vllm"')
        if spec.weights is None and not spec.source.startswith("ollama:"):
            raise EngineFailed(f'model "{spec.model}": ollama needs a model', hint='set source = "ollama:NAME:TAG"')
        address = (_HOST, _free_port())
        self._preparation = Preparation(spec, address, self._digests)
        return Command((binary, "serve"), env=_environment(spec, address[1]), has_children=True, address=address)

    async def probe(self, spec: Spec) -> Probe:
        """See `Engine.probe`: waits for the server, then sees to it that the model is there and loaded."""
        if self._preparation is None:
            return Loading()
        if not self._preparation.is_begun and await ask_status(self._preparation.address, "/api/version") != 200:
            return Loading()
        return await self._preparation.look()


def _environment(spec: Spec, port: int) -> dict[str, str]:
    ours = {
        "OLLAMA_HOST": f"{_HOST}:{port}",
        "OLLAMA_KEEP_ALIVE": "-1",  # the front door decides when a model sleeps
        "OLLAMA_NUM_PARALLEL": str(spec.parallel),
        "OLLAMA_CONTEXT_LENGTH": str(spec.context),
        "OLLAMA_MAX_LOADED_MODELS": "1",
        "OLLAMA_NOPRUNE": "1",  # another Ollama may be at work on the same models
        "OLLAMA_NO_CLOUD": "1",
    }
    return dict(_setting(spec, arg, ours) for arg in spec.args) | ours


def _setting(spec: Spec, arg: str, ours: dict[str, str]) -> tuple[str, str]:
    found = _SETTING.fullmatch(arg)
    if found is None:
        raise EngineFailed(
            f'models.{spec.model}.args: should be settings like "OLLAMA_KV_CACHE_TYPE=q8_0" for ollama, got "{arg}"'
        )
    if found["name"] in ours:
        raise EngineFailed(f"models.{spec.model}.args: {found['name']} is set by Relight", hint="leave it out")
    return found["name"], found["value"]


def _free_port() -> int:
    """A port that nobody listens on now. Whoever takes it before Ollama does makes that fail with a reason."""
    with socket.create_server((_HOST, 0)) as taken:
        port: int = taken.getsockname()[1]
        return port
