"""vLLM: `vllm serve` from the PATH, for models in Hugging Face's format on a machine with a GPU."""

from __future__ import annotations

import re
import shutil
from typing import Final

from relight.config.schema import Task
from relight.engines.base import Capabilities, Command, Probe, Spec
from relight.engines.health import ask_health
from relight.errors import EngineFailed

_CHAT: Final = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"})
_CAPABILITIES: Final = {
    # Whether the model at hand sees images is vLLM's to say: it refuses them by itself where it does not.
    Task.CHAT: Capabilities(paths=_CHAT, images=True),
    Task.EMBED: Capabilities(paths=frozenset({"/v1/embeddings"})),
    Task.RERANK: Capabilities(paths=frozenset({"/v1/rerank"})),
}
_HUB: Final = re.compile(r"hf:(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
_QUIET: Final = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


class Vllm:
    """The engine for many requests at once on a GPU.

    It takes `source = "hf:OWNER/REPO[@REVISION]"`, which it downloads itself, or weights of the user's own. Tool calls need
    `--enable-auto-tool-choice` and `--tool-call-parser=NAME` in `args`, how much GPU memory it takes
    `--gpu-memory-utilization=SHARE` (of itself nine tenths).
    """

    name = "vllm"

    def __init__(self, task: Task = Task.CHAT) -> None:
        self.capabilities = _CAPABILITIES[task]

    def build(self) -> str:
        """See `Engine.build`: it saves nothing."""
        return ""

    def command(self, spec: Spec) -> Command:
        """See `Engine.command`; raises `EngineFailed` without a `vllm` on the PATH, or for weights that it does not take."""
        binary = shutil.which("vllm")
        if binary is None:
            raise EngineFailed(
                f'model "{spec.model}": vllm is not installed', hint="run: pip install vllm, or put vllm on the PATH"
            )
        argv = [binary, "serve", *_model(spec), "--uds", str(spec.socket), "--served-model-name", spec.model]
        argv += ["--max-model-len", str(spec.context), "--max-num-seqs", str(spec.parallel)]
        argv += [] if spec.task is Task.CHAT else ["--runner", "pooling"]
        offline = {"HF_HUB_OFFLINE": "1"} if spec.weights is not None else {}
        return Command((*argv, *spec.args), env={**_QUIET, **offline}, has_children=True)

    async def probe(self, spec: Spec) -> Probe:
        """See `Engine.probe`."""
        return await ask_health(spec.socket)


def _model(spec: Spec) -> list[str]:
    if spec.weights is not None:
        return [str(spec.weights)]
    found = _HUB.fullmatch(spec.source)
    if found is None:
        raise EngineFailed(
            f'models.{spec.model}.source: should be hf:OWNER/REPO or file:FOLDER for vllm, got "{spec.source}"',
            hint='write source = "hf:OWNER/REPO", without a file',
        )
    return [found["repo"], *(["--revision", found["revision"]] if found["revision"] else [])]
