"""llama.cpp: a `llama-server` from the PATH when there is one, else the server in the `xllamacpp` wheel."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Final

from relight.engines.base import Broken, Capabilities, Command, Loading, Probe, Ready, Spec
from relight.engines.connection import exchange
from relight.errors import EngineFailed, RelightError

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


class LlamaCpp:
    """The engine that holds GGUF weights."""

    name = "llama.cpp"
    capabilities = Capabilities(
        paths=frozenset(
            {
                "/v1/chat/completions",
                "/v1/completions",
                "/v1/responses",
                "/v1/messages",
                "/v1/messages/count_tokens",
            }
        ),
    )

    def command(self, spec: Spec) -> Command:
        """See `Engine.command`; raises `EngineFailed` when neither the binary nor the wheel is there."""
        if spec.weights is None:
            raise EngineFailed(f'model "{spec.model}": llama.cpp needs weights', hint="set models.NAME.source")
        if binary := shutil.which("llama-server"):
            return Command(_server_argv(binary, spec), env=_ENV)
        if wheel := _wheel():
            return Command(_child_argv(wheel, spec), env=_ENV, ready_fd_flag="--ready-fd", binds_itself=True)
        raise EngineFailed(
            f'model "{spec.model}": llama.cpp is not installed',
            hint="run: pip install 'relight[llama-cpp]', or put llama-server on the PATH",
        )

    async def probe(self, spec: Spec) -> Probe:
        """See `Engine.probe`."""
        try:
            async with asyncio.timeout(1.0):
                asked = await exchange(spec.socket, "GET", "/health")
                try:
                    status = (await asked.head()).status
                finally:
                    asked.close()
        except (RelightError, TimeoutError):
            return Loading()
        if status in (200, 503):
            return Ready() if status == 200 else Loading()
        return Broken(f"engine answers its health check with {status}")


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
        "n_batch": _CPU_BATCH,
        "n_ubatch": _CPU_BATCH,
        "cache_ram_mib": _PROMPT_CACHE_MIB,
    }
    extra = (_setting(arg) for arg in spec.args)
    path = os.pathsep.join((str(_PACKAGE_ROOT), str(wheel)))
    pairs = (f"{name}={value}" for name, value in settings.items())
    return (sys.executable, "-I", "-S", str(_CHILD), str(os.getpid()), path, *pairs, *extra)


def _setting(arg: str) -> str:
    """`--cache-type-k=q8_0`, as llama-server spells it, is `cache_type_k=q8_0` in the wheel."""
    name, separator, value = arg.removeprefix("--").partition("=")
    return f"{name.replace('-', '_')}={value if separator else 'true'}"


def _server_argv(binary: str, spec: Spec) -> tuple[str, ...]:
    argv = [binary, "--model", str(spec.weights), "--alias", spec.model, "--host", str(spec.socket)]
    argv += ["--ctx-size", str(spec.context * spec.parallel), "--parallel", str(spec.parallel)]
    argv += ["--threads", str(spec.threads), "--threads-batch", str(spec.threads), "--no-warmup"]
    known = _known_flags(binary)
    argv += [
        word
        for flag in (("--fit", "off"), ("--slots",), ("--no-webui",), ("--cache-ram", str(_PROMPT_CACHE_MIB)))
        if flag[0] in known
        for word in flag
    ]
    extra = (part for arg in spec.args for part in arg.split("=", 1))
    return (*argv, *extra)


@cache
def _known_flags(binary: str) -> frozenset[str]:
    """The flags that this build lists: they come and go between releases, and an unknown one ends the start."""
    try:
        shown = subprocess.run([binary, "--help"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return frozenset()
    return frozenset(word.rstrip(",") for word in (shown.stdout + shown.stderr).split() if word.startswith("--"))


def _wheel() -> Path | None:
    found = importlib.util.find_spec("xllamacpp")
    return Path(found.origin).parents[1] if found and found.origin else None
