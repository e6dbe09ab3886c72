"""What an instance needs for the models that it serves: memory, the GPU's memory, and time to start. Pure arithmetic.

Figures that were not measured on the machine at hand stand here as constants, each with what it rests on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from relight.config.deploy import Placement
from relight.config.kinds import Kind, kind
from relight.config.schema import Config, EngineKind, Model, Task
from relight.deploy.facts import Facts, ModelFacts
from relight.deploy.service import Probe

MIB: Final = 1 << 20
MOST_START_S: Final = 1800
"""Longest start that Google itself configures for a service (one second, 1800 times)."""
LARGEST_IN_IMAGE: Final = 8_000_000_000
"""Bytes of weights that still go into the image: Google advises against images of 10 GB and more, and CUDA takes two."""

"""How that part of the memory is called."""

# The front door was measured at 30 to 60 MB resident; the assistant's detector and its library take the rest.
_FRONT_DOOR: Final = 96 * MIB
_ASSISTANT: Final = 256 * MIB
# What an engine computes in, beside weights and cache: 240 MB resident for 98 MB of weights with a small cache were measured.
_COMPUTE: Final = 256 * MIB
# CUDA's own context and buffers, on the GPU and in memory; not measured.
_CUDA: Final = 1024 * MIB
# Bytes a second to the engine, assumed until measured: an image is streamed as it is read, a bucket is read by many at once.
_RATE: Final = {Placement.IMAGE: 100e6, Placement.BUCKET: 200e6}
# The instance, its driver (5 s by Google) and the front door (0.4 s measured).
_START_S: Final = 2.0
_GPU_START_S: Final = 7.0
_LEAST_BUDGET_S: Final = 60
_MARGIN: Final = 2
_PERIOD_S: Final = 1


@dataclass(frozen=True, slots=True)
class Part:
    """What takes memory, in bytes."""

    what: str
    size: int


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes with all models awake, and with only the largest; None of it is known while weights are not here."""

    parts: tuple[Part, ...]
    engines: tuple[tuple[str, int], ...]

    @property
    def all_awake(self) -> int:
        """Bytes when every model is awake."""
        return sum(part.size for part in self.parts) + sum(size for _, size in self.engines)

    @property
    def least(self) -> int:
        """Bytes when they take turns."""
        return sum(part.size for part in self.parts) + max((size for _, size in self.engines), default=0)


def ours(config: Config) -> dict[str, Model]:
    """The models that are served from the instance, by name."""
    return {name: model for name, model in config.models.items() if kind(model) is Kind.OURS}


def takes_snapshots(config: Config) -> bool:
    """Whether prefix snapshots are made for a model: one of ours that chats, by an engine that saves what it has read."""
    return any(model.engine is EngineKind.LLAMA_CPP and model.task is Task.CHAT for model in ours(config).values())


def learns(config: Config) -> bool:
    """Whether snapshots are made while it runs."""
    return config.prefixes.learn and takes_snapshots(config)


def weights_bytes(facts: Facts) -> int:
    """Bytes of all weights that are known."""
    return sum(model.weights_bytes or 0 for model in facts.models)


def memory(config: Config, facts: Facts, placement: Placement) -> Need:
    """Memory of the instance. Snapshots take none: they lie in a bucket, or were baked; without either none is made."""
    has_gpu = config.deploy.cloudrun.gpu is not None
    parts = [Part("front door", _FRONT_DOOR)]
    if config.assistant.is_there:
        parts.append(Part("assistant", _ASSISTANT))
    if has_gpu and placement is Placement.BUCKET:
        parts.append(Part("weights, as files", weights_bytes(facts)))
    return Need(tuple(parts), tuple((name, _CUDA if has_gpu else size) for name, size in _engines(config, facts, _COMPUTE)))


def gpu_memory(config: Config, facts: Facts) -> Need:
    """Memory of the GPU."""
    return Need((), tuple(_engines(config, facts, _CUDA)))


def largest_context(model: Model, known: ModelFacts, room: int) -> int:
    """Tokens of context with which a model takes `room` bytes at most; whole kibitokens, 0 when not one fits."""
    each = (known.cache_bytes_per_token or 0) * model.parallel
    return max(0, (room - (known.weights_bytes or 0))) // each // 1024 * 1024 if each else 0


def compute(*, has_gpu: bool) -> int:
    """What an engine takes beside weights and cache, in bytes."""
    return _CUDA if has_gpu else _COMPUTE


def load_s(facts: Facts, placement: Placement) -> float:
    """Seconds to load all weights where they lie."""
    return weights_bytes(facts) / (facts.load_bytes_per_s or _RATE[placement])


def cold_s(facts: Facts, placement: Placement, *, has_gpu: bool) -> float:
    """Seconds from nothing to an engine that answers."""
    return (_GPU_START_S if has_gpu else _START_S) + load_s(facts, placement)


def startup_probe(facts: Facts, placement: Placement, *, has_gpu: bool) -> Probe:
    """The probe whose budget is twice what a start should take, a minute at least and half an hour at most."""
    budget = min(MOST_START_S, max(_LEAST_BUDGET_S, _MARGIN * cold_s(facts, placement, has_gpu=has_gpu)))
    return Probe(path="/readyz", period_s=_PERIOD_S, timeout_s=_PERIOD_S, failures=-(-round(budget) // _PERIOD_S))


def start_is_too_long(facts: Facts, placement: Placement, *, has_gpu: bool) -> bool:
    """Whether even the longest budget has no margin left."""
    return _MARGIN * cold_s(facts, placement, has_gpu=has_gpu) > MOST_START_S


def placement_of(config: Config, facts: Facts) -> tuple[Placement, str]:
    """Where the weights go, and why."""
    asked, size = config.deploy.cloudrun.weights, weights_bytes(facts)
    if asked is not Placement.AUTO:
        return asked, "the configuration says so"
    if size > LARGEST_IN_IMAGE:
        return Placement.BUCKET, f"{size / 1e9:.1f} GB of weights make an image that is slow to build, to push and to start"
    return Placement.IMAGE, f"{size / 1e9:.1f} GB of weights start fastest with the image, and need no bucket"


def _engines(config: Config, facts: Facts, extra: int) -> Iterator[tuple[str, int]]:
    for name, model in ours(config).items():
        known = facts.model(name)
        if known is not None and known.weights_bytes is not None:
            cache = (known.cache_bytes_per_token or 0) * model.context * model.parallel
            yield name, known.weights_bytes + cache + extra
