"""From a configuration to an image's recipe and the files that belong to it: weights, detector, snapshots, prompts, knowledge."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import msgspec
from msgspec import Struct, structs

from relight import __version__
from relight.config.assistant import Assistant, DetectorKind
from relight.config.keys import dotted, schema, walk
from relight.config.kinds import Kind, kind
from relight.config.load import Loaded, load
from relight.config.schema import EngineKind, Model
from relight.deploy.context import Entry, inside
from relight.deploy.dockerfile import render
from relight.deploy.pins import ENGINE, Pins, pins
from relight.deploy.recipe import APP, WEIGHTS, File, Pulled, Recipe
from relight.deploy.wheel import repack
from relight.errors import ConfigError, WeightsError
from relight.weights import store
from relight.weights.source import Kind as SourceKind
from relight.weights.wanted import Wanted, keeps_weights, require, wanted

_PACKAGE: Final = Path(__file__).parents[1]

Note = Callable[[str], None]


class Made(Struct, frozen=True):
    """An image that can be built: its recipe, the Dockerfile, and the files beside that."""

    recipe: Recipe
    dockerfile: str
    entries: tuple[Entry, ...]


def read(config_file: str) -> Loaded:
    """The configuration as the image will read it: this shell's variables count only for where things lie on this machine."""
    here, loaded = load(config_file).config, load(config_file, environ={})
    weights = structs.replace(loaded.config.weights, dir=here.weights.dir)
    prefixes = structs.replace(loaded.config.prefixes, dir=here.prefixes.dir)
    return structs.replace(loaded, config=structs.replace(loaded.config, weights=weights, prefixes=prefixes))


@contextmanager
def made(loaded: Loaded, note: Note, *, with_weights: bool = True) -> Iterator[Made]:
    """The image of a configuration; some of its files are gone when the context ends. `with_weights` False leaves them out,
    for who fetches them at the start.

    Blocks: what the assistant computes at its first start is computed here. Raises `ConfigError` for what no image can have,
    `WeightsError` for what is not downloaded or prepared.
    """
    pinned = pins("relight", extras(loaded))
    weights = _weights(loaded) if with_weights else []
    snapshots = _snapshots(loaded, pinned, note)
    wheel = repack(distribution("relight"), _PACKAGE)
    with TemporaryDirectory(prefix="relight-") as folder:
        detector = _detector(loaded, Path(folder), note)
        recipe = Recipe(
            service=loaded.config.service.name,
            base=loaded.config.deploy.image.base,
            version=__version__,
            wheel=wheel.name,
            engine=f"{ENGINE}=={pinned.versions[ENGINE]}" if ENGINE in pinned.versions else None,
            gpu=loaded.config.deploy.cloudrun.gpu,
            weights=tuple(file for file, _ in weights),
            pulled=_pulled(loaded),
            fetches=not with_weights,
            has_detector=bool(detector),
            has_snapshots=bool(snapshots),
        )
        dockerfile = render(recipe)
        entries = [
            Entry("Dockerfile", dockerfile.encode()),
            Entry("requirements.txt", pinned.requirements().encode()),
            Entry("constraints.txt", pinned.constraints().encode()),
            Entry(wheel.name, wheel.data),
            *(entry for _, found in weights for entry in found),
            *_sums(recipe.weights),
            *detector,
            *snapshots,
            *app_files(loaded),
        ]
        yield Made(recipe, dockerfile, tuple(entries))


def extras(loaded: Loaded) -> list[str]:
    """The extras of Relight's that this configuration needs, and no other. Raises `ConfigError` for an engine no image has."""
    config = loaded.config
    engines = {model.engine for model in config.models.values() if kind(model) is Kind.OURS}
    if EngineKind.VLLM in engines:
        raise ConfigError(
            'image: engine = "vllm" cannot be put into an image yet', hint='use engine = "llama.cpp", or "ollama" with a GPU'
        )
    wanted_extras = {
        "assistant": config.assistant.is_there,
        "encryption": config.prefixes.key.secret is not None,
        "llama-cpp": EngineKind.LLAMA_CPP in engines,
        "redis": config.limits.store != "memory",
    }
    return [name for name, is_wanted in wanted_extras.items() if is_wanted]


# --- weights


def _weights(loaded: Loaded) -> list[tuple[File, list[Entry]]]:
    found: dict[str, tuple[File, list[Entry]]] = {}
    for name, model in loaded.config.models.items():
        if keeps_weights(model):
            file, entries = _file(name, model, loaded)
            found.setdefault(file.path, (file, entries))  # two models may share a file
    return list(found.values())


def _file(name: str, model: Model, loaded: Loaded) -> tuple[File, list[Entry]]:
    if model.engine is EngineKind.OLLAMA:
        raise ConfigError(
            f"models.{name}.source: Ollama copies a file at its first start, which an image that is not written to cannot",
            hint='set engine = "llama.cpp", or source = "ollama:NAME:TAG"',
        )
    path = require(name, model, loaded.folder, loaded.config.weights.dir)
    want = wanted(name, model, loaded.folder, loaded.config.weights.dir)
    there, record_there = _places(name, want, loaded)
    record = store.read_record(want.record)
    if record is None:
        facts = path.stat()
        digest = store.digest(path, lambda _: None)
        record = store.Record(sha256=digest, size=facts.st_size, mtime_ns=facts.st_mtime_ns, source=want.source.text)
    told = msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"
    entries = [Entry(f"weights{there}", path), Entry(f"weights{record_there}", told)]
    return File(name, there, record.sha256, record_there), entries


def _places(name: str, want: Wanted, loaded: Loaded) -> tuple[str, str]:
    """Where a file and its record are looked for in the image."""
    if want.source.kind is SourceKind.FILE:
        there = f"{APP}/{inside(f'models.{name}.source', want.source.item, loaded.folder)}"
        return there, str(store.record_path(Path(there), want.source, Path(WEIGHTS)))
    there = str(store.place(want.source, Path(WEIGHTS), Path(APP)))
    return there, str(store.record_path(Path(there), want.source, Path(WEIGHTS)))


def _sums(files: tuple[File, ...]) -> list[Entry]:
    text = "".join(f"{file.sha256}  {file.path.lstrip('/')}\n" for file in files)
    return [Entry("weights/SHA256SUMS", text.encode())] if files else []


def _pulled(loaded: Loaded) -> tuple[Pulled, ...]:
    ours = {name: model for name, model in loaded.config.models.items() if kind(model) is Kind.OURS}
    return tuple(
        Pulled(name, model.source.removeprefix("ollama:")) for name, model in ours.items() if model.engine is EngineKind.OLLAMA
    )


# --- the assistant's detector


def _detector(loaded: Loaded, work: Path, note: Note) -> list[Entry]:
    """The prepared files, and the vectors of this configuration's examples and passages, so that no start computes them."""
    section = loaded.config.assistant
    if not section.is_there or section.detector is DetectorKind.NGRAM or not _needs_vectors(section):
        return []
    from relight.assistant import minilm, static
    from relight.assistant.detector import is_prepared
    from relight.assistant.embedding import home
    from relight.assistant.prompts import load_prompts
    from relight.serve.equip import equipment

    here = loaded.weights_dir
    if not is_prepared(section.detector, here):
        raise WeightsError(f"assistant.detector: {section.detector} is not prepared", hint="run: relight modes prepare")
    name = minilm.NAME if section.detector is DetectorKind.MINILM else static.NAME
    home(work).mkdir(parents=True)
    (home(work) / name).symlink_to((home(here) / name).resolve())
    config = structs.replace(loaded.config, weights=structs.replace(loaded.config.weights, dir=str(work)))
    prompts = load_prompts(section, loaded.folder, config.service.name)
    equipment(structs.replace(loaded, config=config), prompts, note)
    files = [*(home(here) / name).iterdir(), *(path for path in home(work).rglob("*") if path.is_file())]
    roots = {True: home(work), False: home(here)}
    places = {path.relative_to(roots[path.is_relative_to(home(work))]).as_posix(): path for path in files}
    return [Entry(f"detector/{place}", path) for place, path in sorted(places.items()) if not path.name.startswith(".")]


def _needs_vectors(section: Assistant) -> bool:
    return bool(section.knowledge) or any(mode.examples for mode in section.modes.values())


# --- prefix snapshots


def _snapshots(loaded: Loaded, pinned: Pins, note: Note) -> list[Entry]:
    """The snapshots of what is to be baked, and no other: those that were learned may hold what somebody said."""
    from relight.cli.recorded import Recorded, as_asked, of_modes
    from relight.cli.recorded import read as read_request
    from relight.cli.recording import to_bake
    from relight.serve.snapshots import open_store, takes_snapshots

    requests: list[Recorded] = [*map(read_request, to_bake(loaded)), *of_modes(loaded)]
    models = loaded.config.models
    asked = [(one, one.model if one.model in models else loaded.config.answering_model()) for one in requests]
    wanted_keys: dict[str, set[str]] = {}
    for request, name in asked:
        if name in models and takes_snapshots(models[name]):
            wanted_keys.setdefault(name, set()).add(as_asked(request, name, loaded)[1].prefix or "")
    if not wanted_keys:
        return []
    snapshots = open_store(loaded, note)
    entries = []
    for name, keys in wanted_keys.items():
        found = snapshots.entries(_ground(name, loaded, pinned))
        missing = len(keys - set(found))
        if missing:
            note(
                f"{name}: {missing} of {len(keys)} prefixes have no snapshot that the image's engine can read; run: relight bake"
            )
        entries += [found[key].path for key in sorted(keys & set(found))]
    return [Entry(f"prefixes/{path.parent.name}/{path.name}", path) for path in entries]


def _ground(name: str, loaded: Loaded, pinned: Pins) -> str:
    """What snapshots are read by in the image: its engine is the wheel, whatever this machine has."""
    from relight.prefixes.key import ground
    from relight.weights.fingerprint import fingerprint

    model = loaded.config.models[name]
    weights = require(name, model, loaded.folder, loaded.config.weights.dir)
    build = f"{ENGINE} {ENGINE}-{pinned.versions[ENGINE]}.dist-info"
    return ground(weights=fingerprint(weights), build=build, context=model.context, parallel=model.parallel, args=model.args)


# --- the configuration, and the files that it names


def app_files(loaded: Loaded) -> list[Entry]:
    """relight.toml and the files that it names: nothing else of its folder enters an image."""
    if loaded.path is None:
        raise ConfigError("image: there is no file that describes the service", hint="make one with: relight init")
    found = {"relight.toml": loaded.path.resolve()}
    for key, named in (*_named(loaded), *_hooks(loaded), *_knowledge(loaded)):
        place = inside(key, named, loaded.folder)
        found[place] = loaded.folder / place
    return [Entry(f"app/{place}", path) for place, path in sorted(found.items())]


def _named(loaded: Loaded) -> Iterator[tuple[str, str]]:
    """Every value below [assistant] that is the path of a file, whatever its key: those of tomorrow are found as well."""
    for path, _, value in walk(schema(), loaded.config):
        texts = value if isinstance(value, tuple) else (value,)
        for text in texts if path[0] == "assistant" else ():
            if isinstance(text, str) and _is_file(loaded.folder, text):
                yield dotted(path), text


def _is_file(folder: Path, text: str) -> bool:
    try:
        return bool(text) and (folder / Path(text).expanduser()).is_file()
    except (OSError, RuntimeError, ValueError):  # a text too long for a name, or with characters that no name has
        return False


def _hooks(loaded: Loaded) -> Iterator[tuple[str, str]]:
    for key in ("detect", "before_prompt", "after_answer"):
        where: str | None = getattr(loaded.config.assistant.hooks, key)
        file = f"{(where or '').partition(':')[0].replace('.', '/')}.py"
        if _is_file(loaded.folder, file):
            yield f"assistant.hooks.{key}", file


def _knowledge(loaded: Loaded) -> Iterator[tuple[str, str]]:
    patterns = loaded.config.assistant.knowledge
    if not patterns:
        return
    from relight.assistant.knowledge import documents

    for pattern in patterns:
        inside("assistant.knowledge", pattern, loaded.folder)
        for document in documents((pattern,), loaded.folder):
            yield "assistant.knowledge", document.path
