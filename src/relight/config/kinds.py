"""The kinds of model that a configuration can describe, and which keys belong to which. Knows no value and no layer."""

from __future__ import annotations

from enum import Enum
from typing import Final

from relight.config.schema import EngineKind, Model


class Kind(Enum):
    """What answers for a model; the value is how messages call it."""

    OURS = "a model that is served from here"
    PROVIDER = "a provider's model (url)"
    LIST = "a list of models (fallback)"


_OURS: Final = frozenset({Kind.OURS})
_PROVIDER: Final = frozenset({Kind.PROVIDER})
_ASKED: Final = frozenset({Kind.OURS, Kind.PROVIDER})

# Every key and section of [models.NAME].
BELONGS: Final = {
    "source": _OURS,
    "sha256": _OURS,
    "engine": _OURS,
    "task": frozenset(Kind),
    "context": _ASKED,
    "parallel": _OURS,
    "threads": _OURS,
    "idle_after": _OURS,
    "wake_timeout": _OURS,
    "queue_depth": _OURS,
    "queue_timeout": _OURS,
    "max_tokens": _ASKED,
    "bridge": _OURS,
    "args": _OURS,
    "mend": _ASKED,
    "url": _PROVIDER,
    "name": _PROVIDER,
    "api_key": _PROVIDER,
    "timeout": _PROVIDER,
    "connect_timeout": _PROVIDER,
    "first_byte_timeout": _PROVIDER,
    "retries": _PROVIDER,
    "price": _PROVIDER,
    "fallback": frozenset({Kind.LIST}),
}


def marks(model: Model) -> dict[str, Kind]:
    """The keys of `model` that say what kind it is; more than one kind is a mistake, none is a model of ours without weights."""
    found: dict[str, Kind] = {}
    if model.source:
        found["source"] = Kind.OURS
    if model.engine is EngineKind.SCRIPTED:
        found["engine"] = Kind.OURS
    if model.url is not None:
        found["url"] = Kind.PROVIDER
    if model.fallback:
        found["fallback"] = Kind.LIST
    return found


def kind(model: Model) -> Kind:
    """What kind of model `model`, a checked one, is."""
    return next(iter(marks(model).values()), Kind.OURS)
