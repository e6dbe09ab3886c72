"""MiniLM in its true shape with random weights and twenty words, written as it is published; and a plain reading of it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Tensors = dict[str, NDArray[np.float32]]

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", ".", "?", "the", "of", "and", "what", "is", "cake", "have", "you", "built", "open"]
PIECES += ["on", "sunday", "music", "tide", "##mark"]
_SHAPES = {"attention.self.query": (384, 384), "attention.self.key": (384, 384), "attention.self.value": (384, 384)}
_SHAPES |= {"attention.output.dense": (384, 384), "intermediate.dense": (1536, 384), "output.dense": (384, 1536)}
_NORMS = (
    "embeddings.LayerNorm",
    *(f"encoder.layer.{n}.{at}.LayerNorm" for n in range(6) for at in ("attention.output", "output")),
)


def tensors() -> Tensors:
    """Random weights of a size that keeps numbers in range."""
    import numpy as np

    random = np.random.default_rng(7)

    def some(*shape: int) -> NDArray[np.float32]:
        return (random.standard_normal(shape) * 0.05).astype(np.float32)

    found: Tensors = {
        "embeddings.word_embeddings.weight": some(len(PIECES), 384),
        "embeddings.position_embeddings.weight": some(512, 384),
        "embeddings.token_type_embeddings.weight": some(2, 384),
    }
    for name in _NORMS:
        found |= {f"{name}.weight": 1 + some(384), f"{name}.bias": some(384)}
    for layer in range(6):
        for name, (out, into) in _SHAPES.items():
            found |= {f"encoder.layer.{layer}.{name}.weight": some(out, into), f"encoder.layer.{layer}.{name}.bias": some(out)}
    return found


def publish(folder: Path) -> tuple[Path, Path]:
    """The files of the weights and of the vocabulary."""
    weights, vocabulary = folder / "model.safetensors", folder / "vocab.txt"
    header, at = {}, 0
    held = tensors()
    for name, value in held.items():
        header[name] = {"dtype": "F32", "shape": value.shape, "data_offsets": [at, at + value.nbytes]}
        at += value.nbytes
    head = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    head += b" " * (-len(head) % 8)
    weights.write_bytes(len(head).to_bytes(8, "little") + head + b"".join(value.tobytes() for value in held.values()))
    vocabulary.write_text("\n".join(PIECES) + "\n")
    return weights, vocabulary


def layers(held: Tensors, numbers: list[int]) -> list[NDArray[np.float32]]:
    """The mean over pieces after every layer, as BERT is defined (Devlin and others, 2018)."""
    import numpy as np

    def norm(at: str, x: NDArray[np.float32]) -> NDArray[np.float32]:
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12)
        return x * held[f"{at}.weight"] + held[f"{at}.bias"]

    def linear(at: str, x: NDArray[np.float32]) -> NDArray[np.float32]:
        return x @ held[f"{at}.weight"].T + held[f"{at}.bias"]

    def gelu(x: NDArray[np.float32]) -> NDArray[np.float32]:
        wide: NDArray[np.float32] = (x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))).astype(np.float32)
        return wide

    pieces, types = held["embeddings.word_embeddings.weight"], held["embeddings.token_type_embeddings.weight"]
    x = norm("embeddings.LayerNorm", pieces[numbers] + types[0] + held["embeddings.position_embeddings.weight"][: len(numbers)])
    found = []
    for layer in range(6):
        at = f"encoder.layer.{layer}"
        heads = [linear(f"{at}.attention.self.{one}", x).reshape(-1, 12, 32).swapaxes(0, 1) for one in ("query", "key", "value")]
        scores = np.exp(heads[0] @ heads[1].swapaxes(1, 2) / math.sqrt(32))
        mixed = (scores / scores.sum(-1, keepdims=True) @ heads[2]).swapaxes(0, 1).reshape(-1, 384)
        x = norm(f"{at}.attention.output.LayerNorm", linear(f"{at}.attention.output.dense", mixed) + x)
        wide = gelu(linear(f"{at}.intermediate.dense", x))
        x = norm(f"{at}.output.LayerNorm", linear(f"{at}.output.dense", wide) + x)
        found.append(x.mean(0))
    return found
