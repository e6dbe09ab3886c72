"""What a model needs of a machine, and an agent of both, by arithmetic: memory, reading a prompt, writing an answer.

Pure, and knows no agent by name. Every figure is a small formula of a few public ones, each with its source; whoever wants
to know exactly measures (`relight doctor --start`). Sizes are bytes, rates per second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

GIB: Final = 1 << 30

Q4_BITS: Final = 4.89
"""Bits of a weight in the mixture Q4_K_M: the table of llama.cpp's `quantize`, for a model of 8 billion."""

CACHE_BITS: Final = {"f16": 16.0, "q8_0": 8.5, "q4_0": 4.5}
"""Bits of a number in the KV cache, by the cache's type: llama.cpp's blocks of 32 numbers carry a scale of 16 bits."""

OVERHEAD: Final = GIB
"""What an engine takes besides weights and cache: what it computes in, the driver's part. Reckoned, not measured."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A model as its maker describes it. Parameters in units; `active` are those that one token passes through."""

    name: str
    parameters: float
    active: float
    embedding: float
    """Of the parameters, those of the token table: looked up when a prompt is read, not multiplied with."""
    layers: int
    heads: int
    kv_heads: int
    head_dim: int

    @property
    def is_mixture(self) -> bool:
        """Whether a token passes through a part of the weights alone."""
        return self.active < self.parameters


@dataclass(frozen=True, slots=True)
class Machine:
    """What computes: peak figures, and the shares of them that inference is taken to reach."""

    name: str
    memory: int
    flops: float
    flops_share: float
    bandwidth: float
    bandwidth_share: float


# Layers, heads and parameters: the model cards and config.json of Qwen3.
SHAPES: Final = (
    Shape("0.6B", 0.596e9, 0.596e9, 0.156e9, 28, 16, 8, 128),
    Shape("4B", 4.02e9, 4.02e9, 0.389e9, 36, 32, 8, 128),
    Shape("8B", 8.19e9, 8.19e9, 1.245e9, 36, 32, 8, 128),
    Shape("14B", 14.77e9, 14.77e9, 1.556e9, 40, 40, 8, 128),
    Shape("30B-A3B", 30.5e9, 3.3e9, 0.622e9, 48, 32, 4, 128),
)

SMOL: Final = Shape("SmolLM2-135M", 134.5e6, 134.5e6, 28.3e6, 30, 9, 3, 64)
"""What was measured here. Its sizes are those of its file's header."""

MEASURED_PREFILL: Final = 245.0
"""Tokens a second: SmolLM2-135M Q4_1, two threads on two shared cores, a quiet machine (230 to 260)."""

MEASURED_DECODE: Final = 80.0
"""Tokens a second, of the same."""

MEASURED_WEIGHTS: Final = 98e6
"""Bytes of that file."""

_CPUS: Final = 8
_CPU_FLOPS: Final = MEASURED_PREFILL * 2 * (SMOL.parameters - SMOL.embedding) / 2 * _CPUS
_CPU_BANDWIDTH: Final = MEASURED_DECODE * MEASURED_WEIGHTS / 2 * _CPUS

MACHINES: Final = (
    # What two threads reached here, times four: there is no peak that a share could be taken of.
    Machine("CPU, 8 vCPU", 32 * GIB, _CPU_FLOPS, 1.0, _CPU_BANDWIDTH, 1.0),
    # Nvidia's data sheet: 242 TFLOPS of FP16 with sparsity, half of it without; 300 GB/s. Memory as its driver says.
    Machine("L4", 23034 << 20, 121e12, 0.3, 300e9, 0.7),
    # Nvidia's data sheet, server edition: 4 PFLOPS of FP4 with sparsity, an eighth of it for FP16 without; 1597 GB/s.
    Machine("RTX PRO 6000", 97887 << 20, 500e12, 0.3, 1597e9, 0.7),
)

MIXTURE_SHARE: Final = 0.5
"""Of what a dense model reaches in reading, a mixture reaches about half: its experts get small pieces of a batch. Reckoned."""


def weights_bytes(shape: Shape, bits: float = Q4_BITS) -> float:
    """Of all weights: a mixture keeps all its experts in memory."""
    return shape.parameters * bits / 8


def cache_bytes_per_token(shape: Shape, cache: str = "f16") -> float:
    """Of the KV cache: a key and a value of each layer and KV head. Raises KeyError for an unknown type of cache."""
    return 2 * shape.layers * shape.kv_heads * shape.head_dim * CACHE_BITS[cache] / 8


def memory_bytes(shape: Shape, context: int, requests: int = 1) -> float:
    """Of an engine that answers `requests` at once, each with a context of that many tokens."""
    return weights_bytes(shape) + cache_bytes_per_token(shape) * context * requests + OVERHEAD


def is_room(shape: Shape, machine: Machine, context: int) -> bool:
    """Whether the engine fits the machine, for one request at a time."""
    return memory_bytes(shape, context) <= machine.memory


def prefill_s(shape: Shape, machine: Machine, tokens: int, start: int = 0) -> float:
    """Seconds to read tokens number `start` to `tokens` of a prompt.

    A token costs two operations for each weight that it passes through, and four for each number of a head and each token
    before it (scores, then values), which are half the prompt on average.
    """
    fresh = tokens - start
    weights = 2 * (shape.active - shape.embedding) * fresh
    attention = 4 * shape.layers * shape.heads * shape.head_dim * fresh * (start + tokens) / 2
    share = machine.flops_share * (MIXTURE_SHARE if shape.is_mixture else 1)
    return (weights + attention) / (machine.flops * share)


def decode_rate(shape: Shape, machine: Machine, context: int) -> float:
    """Tokens a second of one answer behind that many tokens: each token reads the active weights and the cache once."""
    active = shape.active * Q4_BITS / 8
    return machine.bandwidth * machine.bandwidth_share / (active + cache_bytes_per_token(shape) * context)


def snapshot_bytes(shape: Shape, tokens: int) -> float:
    """Of a prefix snapshot of so many tokens: the cache as it is."""
    return cache_bytes_per_token(shape) * tokens


CHECKED: Final = 0.85e9
"""Bytes of a snapshot that are checked (SHA-256) in a second, as measured here."""

RESTORED: Final = 2.6e9
"""Bytes of a snapshot that the engine reads in a second, as measured here."""


def restore_s(shape: Shape, tokens: int) -> float:
    """Seconds to check and restore a snapshot of so many tokens, one after the other; the engine loads during the check."""
    size = snapshot_bytes(shape, tokens)
    return size / CHECKED + size / RESTORED
