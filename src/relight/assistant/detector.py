"""From a configuration to a detector: opens the embedder, builds the classifier. Reads prepared files; no network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from relight.assistant import minilm, ngram, static
from relight.assistant.embedding import home
from relight.assistant.modes import Detector
from relight.config.assistant import DetectorKind

if TYPE_CHECKING:
    from relight.assistant.embedding import Embedder
    from relight.config.assistant import Mode


def open_embedder(kind: DetectorKind, weights_dir: str | Path) -> Embedder:
    """The embedder of this kind from its prepared files below `weights_dir`.

    Blocks for about a tenth of a second: call it in the background. Raises `WeightsError`, which says what to run, when the files
    or a library are not there.
    """
    folder = home(weights_dir)
    if kind is DetectorKind.MINILM:
        return minilm.MiniLM(folder / minilm.NAME)
    if kind is DetectorKind.STATIC:
        return static.Static(folder / static.NAME)
    return ngram.Ngram()


def for_passages(embedder: Embedder) -> Embedder:
    """What to compare passages and questions with: the same model, in the way that suits them."""
    return minilm.Sentences(embedder) if isinstance(embedder, minilm.MiniLM) else embedder


def is_prepared(kind: DetectorKind, weights_dir: str | Path) -> bool:
    """Whether the files that this kind reads are there."""
    names = {DetectorKind.MINILM: minilm.NAME, DetectorKind.STATIC: static.NAME}
    return kind not in names or (home(weights_dir) / names[kind]).is_dir()


def build(  # noqa: PLR0913 - what a detector is made of
    modes: Mapping[str, Mode],
    embedder: Embedder | None,
    *,
    threshold: float | None = None,
    default: str | None = None,
    subject: str | None = None,
    weights_dir: str | Path | None = None,
) -> Detector:
    """The detector of these modes. `embedder` None, or modes without any example, leave rules alone; `subject` is the
    person that the assistant answers for (`assistant.subject`).

    Blocks for the vectors of the examples, unless they are remembered below `weights_dir`.
    """
    from relight.assistant.classifier import Classifier

    if embedder is None or not any(mode.examples for mode in modes.values()):
        return Detector(modes, None, default)
    folder = None if weights_dir is None else home(weights_dir)
    return Detector(modes, Classifier(embedder, modes, threshold=threshold, folder=folder, subject=subject), default)
