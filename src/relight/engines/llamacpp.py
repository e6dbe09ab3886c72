"""llama.cpp: a `llama-server` from the PATH when there is one, else the server in the `xllamacpp` wheel."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Final

from relight.config.schema import Task
from relight.engines.base import Capabilities, Command, Probe, Spec
from relight.engines.health import ask_health
from relight.engines.kept import MOST_KEPT
from relight.errors import EngineFailed

_CHILD: Final = Path(__file__).with_name("llamacpp_child.py")
_PACKAGE_ROOT: Final = Path(__file__).parents[2]
# How long a thread spins at a barrier before it sleeps. Front door and engine share the cores: never spinning costs a
# third of the decode rate on a quiet machine, libgomp's default a tenth of the wake beside a busy process
# (`python -m bench contention`).
_SPIN: Final = {"GOMP_SPINCOUNT": "1000"}
# Huge pages for what is allocated in one piece. The KV cache is zeroed at every wake: 360 MiB in 4 KiB pages took 230 ms
# of it, in huge ones 80 to 140 ms.
_HUGE_PAGES: Final = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
_ENV: Final = {**_SPIN, **_HUGE_PAGES}
# Tokens read between two looks at what else is to be done. On a CPU 128 are read as fast as 2,048, and a client that
# leaves during a long prompt frees its slot a second later instead of when all of it is read.
_CPU_BATCH: Final = 128
# Prompts kept in memory beside the slots. llama.cpp's default is 8 GiB, more than a small container has.
_PROMPT_CACHE_MIB: Final = 512
_SPARE_THREADS: Final = 8
_CAPABILITIES: Final = {
    Task.CHAT: Capabilities(
        paths=frozenset(
            {
                "/v1/chat/completions",
                "/v1/completions",
                "/v1/messages/count_tokens",
            }
        ),
        snapshots=True,
        progress=True,
        slots=True,
        grammar=True,
    ),
    Task.EMBED: Capabilities(paths=frozenset({"/v1/embeddings"})),
    Task.RERANK: Capabilities(paths=frozenset({"/v1/rerank"})),
}
# Settings that the wheel calls otherwise than llama-server does.
_WHEEL_NAMES: Final = {
    "pooling": "pooling_type",
    "cache_ram": "cache_ram_mib",
    "flash_attn": "flash_attn_type",
    "batch_size": "n_batch",
    "ubatch_size": "n_ubatch",
}


class LlamaCpp:
    """The engine that holds GGUF weights.

    As an embedding model it answers as the weights say (their pooling; `--pooling=mean` or another in `args` where they say
    nothing), with floats or base64, for texts and token numbers alike; it does not cut vectors to `dimensions`.
    """

    name = "llama.cpp"

    def __init__(self, task: Task = Task.CHAT) -> None:
        self.capabilities = _CAPABILITIES[task]

    def build(self) -> str:
        """See `Engine.build`."""
        if binary := shutil.which("llama-server"):
            return f"llama-server {_version(binary)}"
        return f"xllamacpp {_wheel_version(wheel)}" if (wheel := _wheel()) else ""

    def command(self, spec: Spec) -> Command:
        """See `Engine.command`; raises `EngineFailed` when neither the binary nor the wheel is there."""
        if spec.weights is None:
            raise EngineFailed(f'model "{spec.model}": llama.cpp needs weights', hint=f"set models.{spec.model}.source")
        if binary := shutil.which("llama-server"):
            return Command(_server_argv(binary, spec), env=_ENV)
        if wheel := _wheel():
            return Command(_child_argv(wheel, spec), env=_ENV, ready_fd_flag="--ready-fd", binds_itself=True)
        raise EngineFailed(
            f'model "{spec.model}": llama.cpp is not installed',
            hint="run: pip install '.[llama-cpp]' in the folder of Relight's source, or put llama-server on the PATH",
        )

    async def probe(self, spec: Spec) -> Probe:
        """See `Engine.probe`."""
        return await ask_health(spec.socket)


def origin() -> str | None:
    """Where llama.cpp would come from on this machine, for people; `None` when it is not there."""
    if binary := shutil.which("llama-server"):
        return binary
    return "the xllamacpp wheel" if _wheel() else None


def _child_argv(wheel: Path, spec: Spec) -> tuple[str, ...]:
    settings = {
        "model": spec.weights,
        "alias": spec.model,
        "socket": spec.socket,
        "n_ctx": spec.context * spec.parallel,
        "n_parallel": spec.parallel,
        "threads": spec.threads,
        "cache_ram_mib": _PROMPT_CACHE_MIB,
        "n_threads_http": _http_threads(spec),
        **({"slot_save_path": f"{spec.snapshots}{os.sep}"} if spec.snapshots else {}),
        **_task_settings(spec),
    }
    extra = (_setting(arg) for arg in spec.args)
    path = os.pathsep.join((str(_PACKAGE_ROOT), str(wheel)))
    pairs = (f"{name}={value}" for name, value in settings.items())
    return (sys.executable, "-I", "-S", str(_CHILD), str(os.getpid()), path, *pairs, *extra)


def _task_settings(spec: Spec) -> dict[str, object]:
    if spec.task is Task.CHAT:
        return {"n_batch": _CPU_BATCH, "n_ubatch": _CPU_BATCH}
    # One KV cache for all sequences: apart, b11549 reads texts of unequal length in several steps, and takes the mean of the
    # last step's tokens alone for a text's vector.
    whole = {"n_batch": _whole_batch(spec), "n_ubatch": _whole_batch(spec), "kv_unified": "true", "embedding": "true"}
    return whole | ({"pooling_type": "rank"} if spec.task is Task.RERANK else {})


def _whole_batch(spec: Spec) -> int:
    """Tokens of a batch that holds any text: one that becomes one vector or one score is read in one piece or refused.

    A multiple of `parallel`: with mean pooling llama.cpp b11549 divides the batch among the sequences and aborts on a rest.
    """
    return -(-spec.context // spec.parallel) * spec.parallel


def _setting(arg: str) -> str:
    """`--cache-type-k=q8_0`, as llama-server spells it, is `cache_type_k=q8_0` in the wheel."""
    name, separator, value = arg.removeprefix("--").partition("=")
    name = name.replace("-", "_")
    return f"{_WHEEL_NAMES.get(name, name)}={value if separator else 'true'}"


def _server_argv(binary: str, spec: Spec) -> tuple[str, ...]:
    argv = [binary, "--model", str(spec.weights), "--alias", spec.model, "--host", str(spec.socket)]
    argv += ["--ctx-size", str(spec.context * spec.parallel), "--parallel", str(spec.parallel)]
    argv += ["--threads", str(spec.threads), "--threads-batch", str(spec.threads)]
    argv += ["--threads-http", str(_http_threads(spec)), "--no-warmup"]
    if spec.snapshots:
        argv += ["--slot-save-path", f"{spec.snapshots}{os.sep}"]
    if spec.task is not Task.CHAT:
        argv += ["--embeddings" if spec.task is Task.EMBED else "--reranking"]
        argv += ["--batch-size", str(_whole_batch(spec)), "--ubatch-size", str(_whole_batch(spec)), "--kv-unified"]
    known = _known_flags(binary)
    argv += [
        word
        for flag in (("--fit", "off"), ("--slots",), ("--no-webui",), ("--cache-ram", str(_PROMPT_CACHE_MIB)))
        if flag[0] in known
        for word in flag
    ]
    extra = (part for arg in spec.args for part in arg.split("=", 1))
    return (*argv, *extra)


def _http_threads(spec: Spec) -> int:
    """Its server gives each connection a thread, used or kept: with fewer, a request would wait until a kept one grows old."""
    return MOST_KEPT + spec.parallel + _SPARE_THREADS


@cache
def _known_flags(binary: str) -> frozenset[str]:
    """The flags that this build lists: they come and go between releases, and an unknown one ends the start."""
    try:
        shown = subprocess.run([binary, "--help"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return frozenset()
    return frozenset(word.rstrip(",") for word in (shown.stdout + shown.stderr).split() if word.startswith("--"))


@cache
def _version(binary: str) -> str:
    try:
        shown = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return " ".join((shown.stdout + shown.stderr).split())


def _wheel_version(wheel: Path) -> str:
    """By the folder's name: importlib.metadata takes longer to import than all else that a wake does."""
    return next((found.name for found in sorted(wheel.glob("xllamacpp-*.dist-info"))), "unknown")


def _wheel() -> Path | None:
    found = importlib.util.find_spec("xllamacpp")
    return Path(found.origin).parents[1] if found and found.origin else None
