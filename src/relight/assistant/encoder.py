"""The transformer of all-MiniLM-L6-v2 as a graph that onnxruntime runs: from vectors of pieces to the vector of a text.

Knows neither texts nor files. The mean over pieces is in the graph, the table of pieces is not: a text looks up a dozen of its
30,522 rows, which need not be in memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from relight.assistant.onnx import FUSED, Graph

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

LAYERS: Final = 6
HEADS: Final = 12
WIDTH: Final = 384
INPUT: Final = "pieces"
OUTPUT_LAYERS: Final = (2, 3, 4, 5)
"""Layers, from 0, whose means are given. The last is what the model was trained for: what sentences mean. Those before it know
more of the words: together they choose modes better than it does alone, and tell far better what is none of them."""
_EPSILON: Final = 1e-12
# Seven bits: products of eight-bit weights overflow in pairs on processors without VNNI, silently. Costs 0.003 of the cosine.
_LARGEST: Final = 64


def table(tensors: Mapping[str, NDArray[np.float32]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What the graph is given the sum of: the vectors of pieces, [30522, 384], and of places, [512, 384]."""
    pieces = tensors["embeddings.word_embeddings.weight"] + tensors["embeddings.token_type_embeddings.weight"][0]
    return pieces, tensors["embeddings.position_embeddings.weight"]


def graph(tensors: Mapping[str, NDArray[np.float32]], *, exact: bool = False) -> bytes:
    """The graph as an ONNX file: `pieces` [texts, length, 384] in; out, side by side, the means over pieces after each
    of `OUTPUT_LAYERS` [texts, 4 × 384], not normalised.

    Weights are integers of seven bits per column, a quarter of the size and several times as fast (cosine to the exact vector
    about 0.99); `exact` keeps single precision.
    """
    import numpy as np

    build = _Build(Graph("all-MiniLM-L6-v2"), tensors, exact=exact)
    ends = [build.constant(f"embeddings.LayerNorm.{name}") for name in ("weight", "bias")]
    x = build.graph.add("LayerNormalization", [INPUT, *ends], ["x"], epsilon=_EPSILON)
    axes = build.graph.constant("axes", np.array([1], dtype=np.int64))
    means = []
    for layer in range(LAYERS):
        x = build.layer(f"encoder.layer.{layer}", x)
        if layer in OUTPUT_LAYERS:
            means.append(build.graph.add("ReduceMean", [x, axes], [f"mean.{layer}"], keepdims=0))
    build.graph.add("Concat", means, ["text"], axis=1)
    return build.graph.write({INPUT: ("texts", "length", WIDTH)}, {"text": ("texts", WIDTH * len(means))})


class _Build:
    def __init__(self, drawn: Graph, tensors: Mapping[str, NDArray[np.float32]], *, exact: bool) -> None:
        self.graph = drawn
        self._tensors = tensors
        self._exact = exact

    def constant(self, name: str) -> str:
        return self.graph.constant(name, self._tensors[name])

    def layer(self, at: str, x: str) -> str:
        heads = [self._linear(f"{at}.attention.self.{name}", x) for name in ("query", "key", "value")]
        mixed = self.graph.add("MultiHeadAttention", heads, [f"{at}.mixed"], FUSED, num_heads=HEADS)
        x = self._norm(f"{at}.attention.output.LayerNorm", self._linear(f"{at}.attention.output.dense", mixed), x)
        wide = self.graph.add("Gelu", [self._linear(f"{at}.intermediate.dense", x)], [f"{at}.wide"], FUSED)
        return self._norm(f"{at}.output.LayerNorm", self._linear(f"{at}.output.dense", wide), x)

    def _norm(self, at: str, x: str, skipped: str) -> str:
        ends = [self.constant(f"{at}.{name}") for name in ("weight", "bias")]
        return self.graph.add("SkipLayerNormalization", [x, skipped, *ends], [at], FUSED, epsilon=_EPSILON)

    def _linear(self, at: str, x: str) -> str:
        weight, bias = self._tensors[f"{at}.weight"].T, self.constant(f"{at}.bias")
        if self._exact:
            product = self.graph.add("MatMul", [x, self.graph.constant(f"{at}.weight", weight)], [f"{at}.product"])
            return self.graph.add("Add", [product, bias], [at])
        values: dict[str, Any] = dict(zip(("integers", "scales", "zeros"), _integers(weight), strict=True))
        names = [self.graph.constant(f"{at}.{name}", value) for name, value in values.items()]
        return self.graph.add("DynamicQuantizeMatMul", [x, *names, bias], [at], FUSED)


def _integers(weight: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32], NDArray[np.int8]]:
    """Weights as integers, with a scale and a zero for each column."""
    import numpy as np

    scales = np.maximum(np.abs(weight).max(axis=0), 1e-9) / _LARGEST
    integers = np.round(weight / scales).astype(np.int8)
    return integers, scales.astype(np.float32), np.zeros(len(scales), np.int8)
