"""Texts as vectors: the seam, where prepared files lie, and vectors that are remembered. Knows no model and no mode.

Nothing here imports numpy before it is needed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from relight.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

EXTRA: Final = 'pip install "relight[assistant]"'
_MOST_REMEMBERED: Final = 24
_T = TypeVar("_T", bound="np.generic")

Progress = Callable[[str, int, int], None]
"""What is being done, how many steps are, of how many."""


class Embedder(Protocol):
    """What makes vectors of texts. May be called from any thread.

    `kind` is what a configuration calls it; `name` changes whenever the vectors do; `ranks` has words that it knows, by how
    common they are.
    """

    kind: str
    name: str
    ranks: Mapping[str, int]

    def embed(self, texts: Sequence[str]) -> Vectors:
        """A vector of length 1 for each text: [texts, dimensions]."""
        ...


def home(weights_dir: str | Path) -> Path:
    """Where prepared files lie, in the folder of weights (`weights.dir`), so that one folder carries everything."""
    return Path(weights_dir).expanduser() / "assistant"


def need(*modules: str) -> None:
    """Raise `WeightsError` with what to install, unless all these libraries are there. Does not import them."""
    for module in modules:
        if find_spec(module) is None:
            raise WeightsError(f"assistant: {module} is not installed", hint=f"run: {EXTRA}")


def single_threaded() -> None:
    """Call before numpy is first imported: vectors this small are multiplied by one thread, and a pool would spin beside the
    engine's."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def unit(vectors: Vectors) -> Vectors:
    """`vectors` with rows of length 1; rows of zeros stay."""
    import numpy as np

    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    result: Vectors = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
    return result


def embed_once(embedder: Embedder, texts: Sequence[str], folder: Path | None) -> Vectors:
    """As `embedder.embed`, but read from `folder` when it was done before; a folder that cannot be written costs only time."""
    if not texts:
        return embedder.embed(texts)

    def fits(found: Vectors) -> bool:
        return found.dtype == "float32" and found.ndim == 2 and len(found) == len(texts)

    return remembered((embedder.name, *texts), folder, lambda: embedder.embed(texts), fits)


def remembered(
    made_of: Iterable[str], folder: Path | None, make: Callable[[], NDArray[_T]], fits: Callable[[NDArray[_T]], bool]
) -> NDArray[_T]:
    """What `make` returns, or what it returned when it was last asked for the same: read from `folder`, where there is one.

    What is read counts as far as it `fits`.
    """
    import numpy as np

    if folder is None:
        return make()
    told = "\0".join(made_of).encode()
    file = folder / "vectors" / f"{hashlib.sha256(told).hexdigest()[:32]}.npy"
    with suppress(OSError, ValueError, EOFError):
        found: NDArray[_T] = np.load(file, allow_pickle=False)
        if fits(found):
            return found
    made = make()
    with suppress(OSError):
        _keep(file, made)
    return made


@contextmanager
def made_whole(folder: Path) -> Iterator[Path]:
    """A folder to fill; it becomes `folder` in one step when nothing was raised, else nothing is left of it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        yield draft
        draft.chmod(0o755)
        # Another process may have been faster; what it made is the same.
        with suppress(OSError):
            draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _keep(file: Path, made: NDArray[Any]) -> None:
    import numpy as np

    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    with draft.open("wb") as out:
        np.save(out, made, allow_pickle=False)
    draft.replace(file)
    # Every change of an example makes a new file.
    kept = sorted(file.parent.glob("*.npy"), key=lambda one: one.stat().st_mtime, reverse=True)
    for old in kept[_MOST_REMEMBERED:]:
        old.unlink(missing_ok=True)
