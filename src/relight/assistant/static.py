"""Static vectors of word pieces, distilled from MiniLM: a text is the weighted mean of its pieces, without a model at run time.

The method is model2vec's (Minish Lab, 2024): every piece of the vocabulary goes through the model by itself, principal components
take the dimensions down to 256, and frequent pieces weigh less (smooth inverse frequency, with Zipf's law for the frequency: the
vocabulary is sorted by it).
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from relight.assistant import minilm
from relight.assistant.embedding import made_whole, need, single_threaded, unit
from relight.assistant.wordpiece import read_vocabulary
from relight.errors import WeightsError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from relight.assistant.embedding import Progress, Vectors

NAME: Final = f"static-{minilm.WEIGHTS_SHA256[:12]}-2"
DIMENSIONS: Final = 256
_TABLE: Final = "table.npy"
_SMOOTH: Final = 1e-4
_FIRST_WORD: Final = 1996  # "the"; those after it stand in the order of how common they are
_BATCH: Final = 64


class Static:
    """An `Embedder` of 256 dimensions; far below a millisecond a message."""

    kind = "static"
    name = NAME

    def __init__(self, folder: Path) -> None:
        """Load from a prepared `folder`. Raises `WeightsError` when it, or numpy, is not there."""
        need("numpy")
        single_threaded()
        import numpy as np

        try:
            self._vocabulary = read_vocabulary(folder / minilm.VOCABULARY)
            self.ranks = self._vocabulary.ranks
            self._table: NDArray[np.float16] = np.load(folder / _TABLE, mmap_mode="r")
            if len(self._vocabulary) != len(self._table):
                raise ValueError("the vocabulary does not belong to the table")
        except (OSError, EOFError, ValueError) as error:
            raise WeightsError(
                f"assistant: detector static is not prepared at {folder} ({error})", hint="run: relight modes prepare"
            ) from error

    def embed(self, texts: Sequence[str]) -> Vectors:
        """See `Embedder`."""
        import numpy as np

        found = np.zeros((len(texts), self._table.shape[1]), np.float32)
        for row, text in enumerate(texts):
            numbers = self._vocabulary.numbers(minilm.shortened(text))
            if numbers:
                found[row] = self._table[numbers].astype(np.float32).mean(axis=0)
        return unit(found)


def prepare(weights: Path, vocabulary: Path, folder: Path, progress: Progress) -> None:
    """Distil the published weights into a prepared `folder`; takes half a minute of one core. Raises `WeightsError`."""
    need("numpy", "onnxruntime")
    single_threaded()
    import numpy as np

    vectors = _through_the_model(weights, vocabulary, progress)
    vectors -= vectors.mean(axis=0)
    _, directions = np.linalg.eigh(np.cov(vectors, rowvar=False))
    reduced = vectors @ directions[:, ::-1][:, :DIMENSIONS]
    with made_whole(folder) as draft:
        np.save(draft / _TABLE, (reduced * _weights(len(reduced))[:, None]).astype(np.float16))
        shutil.copyfile(vocabulary, draft / minilm.VOCABULARY)


def _through_the_model(weights: Path, vocabulary: Path, progress: Progress) -> NDArray[np.float64]:
    import numpy as np

    from relight.assistant.encoder import INPUT, WIDTH, graph, table
    from relight.assistant.safetensors import read_tensors

    tensors = read_tensors(weights)
    pieces, places = table(tensors)
    session = minilm.session(graph(tensors, exact=True))
    ends = read_vocabulary(vocabulary)
    found = []
    for start in range(0, len(pieces), _BATCH):
        progress("static: distilling", start, len(pieces))
        batch = np.arange(start, min(start + _BATCH, len(pieces)))
        numbers = np.stack([np.full_like(batch, ends.first), batch, np.full_like(batch, ends.last)], axis=1)
        found.append(session.run(None, {INPUT: pieces[numbers] + places[:3]})[0][:, -WIDTH:])
    progress("static: distilling", len(pieces), len(pieces))
    return np.concatenate(found).astype(np.float64)


def _weights(count: int) -> NDArray[np.float64]:
    """Less for what is frequent: a / (a + p), Arora and others (2017)."""
    import numpy as np

    # Before the first word stand signs and single letters, which are as common as the commonest words.
    shares = 1 / np.maximum(np.arange(count) - (_FIRST_WORD - 1), 1)
    shares /= (1 / np.arange(1, count + 1)).sum()
    found: NDArray[np.float64] = _SMOOTH / (_SMOOTH + shares)
    return found
