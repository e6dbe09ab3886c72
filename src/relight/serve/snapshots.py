"""The snapshots of a configuration: their folder, and what those of a model can be read by."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from relight.config.kinds import Kind, kind
from relight.config.load import Loaded
from relight.config.schema import Model
from relight.config.secrets import resolve
from relight.engines.kinds import engine_for
from relight.prefixes.key import ground
from relight.prefixes.store import Store
from relight.weights.fingerprint import fingerprint
from relight.weights.wanted import require

MEASURED: Final = "measured.json"
"""What was measured of engines, beside the weights."""


def takes_snapshots(model: Model) -> bool:
    """Whether an engine of ours serves this model that can save what it has read."""
    return kind(model) is Kind.OURS and engine_for(model.engine, model.task).capabilities.snapshots


def open_store(loaded: Loaded, note: Callable[[str], None]) -> Store:
    """The folder that `prefixes.dir` names, with the secret that `prefixes.key` names. Raises `ConfigError`."""
    prefixes = loaded.config.prefixes
    secret = resolve(prefixes.key, loaded.folder, os.environ, key="prefixes.key")
    folder = loaded.folder / Path(prefixes.dir).expanduser()
    baked = None if prefixes.baked is None else loaded.folder / Path(prefixes.baked).expanduser()
    return Store(folder, baked=baked, max_bytes=prefixes.max_size, secret=secret, note=note)


def ground_of(name: str, loaded: Loaded) -> str:
    """What snapshots of a model can be read by; blocks. Raises `WeightsError` when its weights are missing."""
    model = loaded.config.models[name]
    weights = require(name, model, loaded.folder, loaded.weights_dir)
    build = engine_for(model.engine, model.task).build()
    return ground(weights=fingerprint(weights), build=build, context=model.context, parallel=model.parallel, args=model.args)
