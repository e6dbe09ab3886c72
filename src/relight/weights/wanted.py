"""The weights a model wants, and whether they are here.

Pure look-ups in the file system: no hashing, no network, nothing heavy.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from relight.config.schema import EngineKind, Model
from relight.errors import WeightsError
from relight.values import format_bytes
from relight.weights import store
from relight.weights.part import held
from relight.weights.source import Kind, Source, parse

FETCH_THEMSELVES: Final = frozenset({EngineKind.OLLAMA, EngineKind.VLLM})
"""Engines that download and keep models by themselves."""


class State(StrEnum):
    """How much of the weights is here."""

    DOWNLOADED = "downloaded"
    PARTIAL = "partial"
    MISSING = "missing"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Wanted:
    """One model's weights: what it asks for, and where that lies on this machine (`record` is what was verified of it)."""

    name: str
    source: Source
    sha256: str | None
    path: Path
    record: Path

    @property
    def part(self) -> Path:
        """Where an unfinished download lies."""
        return store.beside(self.path, ".part")

    @property
    def is_ours(self) -> bool:
        """Whether the file lies in our store, where we may replace it."""
        return self.source.kind is not Kind.FILE


def keeps_weights(model: Model) -> bool:
    """Whether the weights of a model are a file that we fetch and keep. Ollama and vLLM fetch and keep models themselves,
    but for a file that Ollama is told to import; a provider has them, and the scripted engine has none."""
    if model.url is not None or not model.source or model.engine is EngineKind.VLLM:
        return False
    return model.engine is not EngineKind.OLLAMA or not model.source.startswith(f"{Kind.OLLAMA}:")


def wanted(name: str, model: Model, config_dir: Path, weights_dir: str | Path) -> Wanted:
    """Work out where the weights of `model` lie; `weights_dir` is `weights.dir` as written.

    Raises `ConfigError` for a bad reference.
    """
    source = parse(model.source, key=f"models.{name}.source")
    folder = config_dir / Path(weights_dir).expanduser()
    path = store.place(source, folder, config_dir)
    return Wanted(name, source, model.sha256, path, store.record_path(path, source, folder))


def locate(name: str, model: Model, config_dir: Path, weights_dir: str | Path) -> Path | None:
    """The verified weights of `model`, or `None`.

    Fast, because every wake asks: the size is compared with what was verified, the content is not read. (Nor is the
    time of change compared: it does not survive a container image or a bucket; `relight models verify` reads the
    content.)
    """
    want = wanted(name, model, config_dir, weights_dir)
    return want.path if state(want) is State.DOWNLOADED else None


def require(name: str, model: Model, config_dir: Path, weights_dir: str | Path) -> Path:
    """Like `locate`, but raises `WeightsError` that says what is missing and what to run."""
    want = wanted(name, model, config_dir, weights_dir)
    found = state(want)
    if found is State.DOWNLOADED:
        return want.path
    if not want.is_ours and found is State.MISSING:
        raise WeightsError(f'model "{name}": there is no file {want.path}', hint=f"check models.{name}.source")
    raise WeightsError(f'model "{name}": {_reasons(want)[found]}', hint=f"run: relight models pull {name}")


def state(want: Wanted) -> State:
    """How much of the weights is here, judged by size."""
    size = size_of(want.path)
    if size is None:
        return State.PARTIAL if size_of(want.part) is not None else State.MISSING
    record = store.read_record(want.record)
    if record is None:
        # A file of the user's own is used as it is, unless a digest has to be checked first.
        return State.CHANGED if want.is_ours or want.sha256 else State.DOWNLOADED
    fits = record.size == size and want.sha256 in {None, record.sha256}
    return State.DOWNLOADED if fits or (not want.is_ours and want.sha256 is None) else State.CHANGED


def size_of(path: Path) -> int | None:
    """Bytes of a regular file; `None` when there is none."""
    try:
        return path.stat().st_size if path.is_file() else None
    except OSError:
        return None


def _reasons(want: Wanted) -> dict[State, str]:
    have = format_bytes(held(want.part) or 0)
    changed = (
        "the weights are not those that were checked, or models.{}.sha256 was changed since"
        if want.is_ours
        else "not checked against models.{}.sha256 yet"
    )
    return {
        State.MISSING: "not downloaded",
        State.PARTIAL: f"only partly downloaded ({have} so far)",
        State.CHANGED: changed.format(want.name),
    }
