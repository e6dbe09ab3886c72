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

from relight.cli.backend import place, why_no_weights
from relight.cli.checks import Check, Result, room_for
from relight.cli.provider import provider_check
from relight.config.kinds import Kind, kind
from relight.config.load import Loaded
from relight.config.mendings import chosen
from relight.config.schema import EngineKind, Model, Task
from relight.engines.kinds import engine_for, folder_of_weights, spec_for
from relight.engines.llamacpp import origin
from relight.engines.memory import machine_memory
from relight.errors import ConfigError, RelightError
from relight.lifecycle.budget import Limit
from relight.values import format_bytes
from relight.weights.fit import POOLING_ADVICE, context_problem, memory_needed, pooling_problem
from relight.weights.gguf import Header, read_header
from relight.weights.wanted import FETCH_THEMSELVES, State, Wanted, keeps_weights, require, size_of, state, wanted

# vLLM imports PyTorch before it knows its own version.
_RUN_S: Final = {EngineKind.VLLM: 120.0}
_ADVICE: Final = {
    EngineKind.LLAMA_CPP: "run: pip install '.[llama-cpp]' in the folder of Relight's source, or put llama-server on the PATH",
    EngineKind.OLLAMA: "see https://ollama.com/download, or put ollama on the PATH",
    EngineKind.VLLM: "run: pip install vllm, or put vllm on the PATH",
}
_VERSION: Final = re.compile(r"^(?:.*version(?: is)? )?v?(\d+\.\d+\.\d+\S*)$")
# The Debian package of a library that the engine's wheel expects from the system.
_PACKAGES: Final = {"libgomp.so.1": "libgomp1", "libstdc++.so.6": "libstdc++6", "libgcc_s.so.1": "libgcc-s1"}
# The wheel alone, as the engine's own process loads it.
_IMPORT: Final = "import sys; sys.path.insert(0, sys.argv[1]); import xllamacpp; print(xllamacpp.__version__)"


def engine_check(engine: EngineKind) -> Check:
    """Whether the engine is there and can be loaded; runs it for its version, at most half a minute (vLLM: two)."""
    if engine is EngineKind.SCRIPTED:
        return Check(Result.PASS, "engine", "scripted, part of Relight")
    if engine is EngineKind.LLAMA_CPP:
        return _llamacpp_check()
    binary = shutil.which(engine)
    if binary is None:
        return Check(Result.FAIL, "engine", f"{engine}: not on the PATH", _ADVICE[engine])
    return _ran(engine, [binary, "--version"], binary)


def _llamacpp_check() -> Check:
    what = origin()
    if what is None:
        seen = "llama.cpp: neither llama-server nor the xllamacpp wheel is here"
        return Check(Result.FAIL, "engine", seen, _ADVICE[EngineKind.LLAMA_CPP])
    wheel = importlib.util.find_spec("xllamacpp")
    if shutil.which("llama-server") or wheel is None or wheel.origin is None:
        return _ran(EngineKind.LLAMA_CPP, [what, "--version"], what)
    argv = [sys.executable, "-I", "-S", "-c", _IMPORT, str(Path(wheel.origin).parents[1])]
    return _ran(EngineKind.LLAMA_CPP, argv, what)


def model_checks(name: str, model: Model, loaded: Loaded) -> Iterator[Check]:
    """Everything about one model that can be seen without starting it."""
    if kind(model) is Kind.PROVIDER:
        yield provider_check(name, model, loaded)
    elif kind(model) is Kind.LIST:
        yield Check(Result.PASS, "list", f"{', else '.join(model.fallback)}", model=name)
    elif keeps_weights(model):
        yield from (replace(check, model=name) for check in _weights_checks(name, model, loaded))
    elif model.source:
        yield replace(_engines_own(model, loaded), model=name)
    if model.engine in FETCH_THEMSELVES and has_weights(name, model, loaded):
        yield from (replace(check, model=name) for check in _settings_checks(name, model, loaded))


def has_weights(name: str, model: Model, loaded: Loaded) -> bool:
    """Whether nothing has to be downloaded by us for this model."""
    if not keeps_weights(model):
        return True
    try:
        return state(wanted(name, model, loaded.folder, loaded.config.weights.dir)) is State.DOWNLOADED
    except RelightError:
        return False


def total_check(needed: Mapping[str, int], limit: int) -> Check:
    """Whether all models can be awake at the same time in `limit` bytes; `needed` is bytes by model."""
    total = sum(needed.values())
    seen = f"about {format_bytes(total)} when {len(needed)} models are awake, of {format_bytes(limit)}"
    if total <= limit:
        return Check(Result.PASS, "memory", seen)
    advice = "nothing, if they may take turns: an idle one goes to sleep to make room; else use smaller models or context"
    return Check(Result.WARN, "memory", seen, advice)


def snapshots_check(loaded: Loaded) -> Iterator[Check]:
    """What lies in the folder of prefix snapshots, and whether more can, where a model makes use of it."""
    from relight.serve.snapshots import open_store, takes_snapshots

    if not any(takes_snapshots(model) for model in loaded.config.models.values()):
        return

    problems: list[str] = []
    try:
        store = open_store(loaded, problems.append)
    except ConfigError as error:
        yield Check(Result.FAIL, "snapshots folder", error.message, error.hint)
        return
    entries = store.all()
    size = sum(entry.manifest.payload_bytes for entry in entries)
    _, is_writable = room_for(store.folder)
    limit = format_bytes(loaded.config.prefixes.max_size)
    seen = f"{store.folder}: {len(entries)} snapshot{'' if len(entries) == 1 else 's'}, {format_bytes(size)} of {limit}"
    if problems:
        yield Check(Result.WARN, "snapshots folder", "; ".join([seen, *problems]), "delete what is damaged; it is made anew")
    elif is_writable:
        yield Check(Result.PASS, "snapshots folder", seen)
    else:
        yield Check(
            Result.WARN, "snapshots folder", f"{seen}; not writable, so nothing is learned", "make it writable, or be content"
        )


def memory_of_all(loaded: Loaded) -> Iterator[Check]:
    """`total_check` for the models whose weights are here, if there are several."""
    needed = {}
    for name, model in loaded.config.models.items():
        if keeps_weights(model) and has_weights(name, model, loaded):
            try:
                path = wanted(name, model, loaded.folder, loaded.config.weights.dir).path
                needed[name] = memory_needed(read_header(path), model)
            except RelightError:
                continue  # its own check has said so
    if len(needed) > 1:
        yield total_check(needed, Limit.of(loaded.config.server.memory, machine_memory().total).size_bytes)


def _engines_own(model: Model, loaded: Loaded) -> Check:
    """Weights that the engine fetches and keeps, or reads in a folder of the user's own."""
    folder = folder_of_weights(model, loaded.folder)
    if folder is not None and not folder.is_dir():
        return Check(
            Result.FAIL, "weights", f"there is no folder {folder}", f"{model.engine} needs a folder in Hugging Face's form"
        )
    return Check(Result.PASS, "weights", f"{place(model)}: {why_no_weights(model)}")


def _settings_checks(name: str, model: Model, loaded: Loaded) -> Iterator[Check]:
    """What an engine refuses by itself in how a model is configured, before anything is started."""
    if shutil.which(model.engine) is None:
        return  # its own check has said so
    here = keeps_weights(model)
    weights = (
        wanted(name, model, loaded.folder, loaded.config.weights.dir).path if here else folder_of_weights(model, loaded.folder)
    )
    try:
        engine_for(model.engine, model.task).command(spec_for(name, model, weights, Path("unused.sock")))
    except RelightError as error:
        yield Check(Result.FAIL, "settings", error.message, error.hint)


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
    if model.engine is EngineKind.LLAMA_CPP and model.task is Task.CHAT:
        yield _tools(name, model, loaded)
    if model.engine is EngineKind.LLAMA_CPP and (problem := pooling_problem(header, model)):
        yield Check(Result.FAIL, "pooling", problem, POOLING_ADVICE.format(name))
    yield _memory(name, model, header, loaded.config.server.memory)


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


def _tools(name: str, model: Model, loaded: Loaded) -> Check:
    """Whether the model comes to see the tools that a coding agent sends, as its template's text lets expect."""
    from relight.serve.template import Way, shown_of, way

    match way(shown_of(name, model, loaded.folder, loaded.weights_dir), chosen(model.mend, by_default=True)):
        case Way.TEMPLATE:
            return Check(Result.PASS, "tools", "the model's template shows them")
        case Way.PROMPT:
            return Check(Result.PASS, "tools", "the model's template does not show them: they are told in the system message")
        case _:
            seen = "the model's template does not show them, and nothing else does: it never calls one by itself"
            return Check(Result.WARN, "tools", seen, f'let models.{name}.mend have "tools_in_prompt", if agents shall use it')


def _memory(name: str, model: Model, header: Header, limit: int | None) -> Check:
    """Whether one model fits by itself; `limit` is `server.memory`, if somebody set it."""
    memory = machine_memory()
    try:
        needed = memory_needed(header, model)
    except RelightError as error:
        return Check(Result.FAIL, "memory", f"models.{name}.args: {error.message}", "correct the setting of --cache-type-k or -v")
    cache = format_bytes(needed - header.size_bytes)
    parts = f"{format_bytes(header.size_bytes)} weights + {cache} for {model.parallel} × {model.context} tokens"
    seen = f"about {format_bytes(needed)} awake ({parts})"
    smaller = f"lower models.{name}.context or parallel, or use a smaller model"
    if limit is not None and needed > limit:
        return Check(
            Result.FAIL, "memory", f"{seen}, server.memory is {format_bytes(limit)}", f"raise server.memory, or {smaller}"
        )
    seen += f", {format_bytes(memory.available)} available"
    if needed > memory.total:
        return Check(Result.FAIL, "memory", f"{seen} of {format_bytes(memory.total)}", smaller)
    if needed > memory.available:
        return Check(Result.WARN, "memory", seen, f"end what else uses memory, or {smaller}")
    return Check(Result.PASS, "memory", seen)


def _about(header: Header) -> str:
    return f"{header.architecture}, {header.parameters} parameters, {header.file_type}"


def _ran(engine: EngineKind, argv: list[str], what: str) -> Check:
    """Run what tells the version; what it cannot load says which library is missing."""
    limit_s = _RUN_S.get(engine, 30.0)
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=limit_s, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check(Result.FAIL, "engine", f"{engine}: {what} does not run: {error}", _ADVICE[engine])
    said = (done.stdout + done.stderr).strip().splitlines() or [""]
    if done.returncode == 0:
        return Check(Result.PASS, "engine", f"{engine} from {what}, {_version(said)}")
    return Check(Result.FAIL, "engine", f"{engine}: {what} does not load: {said[-1]}", _library_advice(engine, said[-1]))


def _version(lines: list[str]) -> str:
    """The version among what an engine says: ollama also complains that no server runs, vLLM logs while it loads."""
    found = [match[1] for line in lines if (match := _VERSION.search(line))]
    return found[-1] if found else lines[0].removeprefix("version: ")


def _library_advice(engine: EngineKind, line: str) -> str:
    """What to install when the loader's last words name a library."""
    missing = re.search(r"(lib[\w+.-]+\.so[\w.]*):", line)
    if missing is None:
        return _ADVICE[engine]
    package = _PACKAGES.get(missing[1])
    return f"run: apt-get install {package}" if package else f"install the system package that holds {missing[1]}"
