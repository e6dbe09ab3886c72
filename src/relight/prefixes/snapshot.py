"""The file of a prefix snapshot: the engine's bytes, and behind them what they are. Knows no folder, no key and no engine.

    payload     as the engine wrote it
    manifest    JSON
    footer      SHA-256 of the manifest, length of the payload, length of the manifest, magic

llama.cpp aborts the whole process over a file that was cut off, and speaks nonsense from one with a flipped bit, so a file is
verified whole before an engine sees it. It reads from the start what it needs and ignores the rest: a sealed file needs no copy.

A large payload is hashed in parts, several at a time: reading and hashing overlap, and neither waits for one core. Its digest is
that of the digests of its parts, in their order.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BufferedReader, FileIO
from pathlib import Path
from typing import Annotated, BinaryIO, Final

import msgspec
from msgspec import Meta, Struct

from relight.decoding import NOT_JSON
from relight.errors import SnapshotError

MAX_MANIFEST_BYTES: Final = 64 << 10
USABLE: Final = "see that it is there and may be used, and that its disk has space"
_MAGIC: Final = b"RLSNAP\x00\x01"
_FOOTER: Final = struct.Struct("<32sQQ8s")
_BLOCK: Final = 1 << 20  # read at a time: it stays in a core's cache until it is hashed
_PART: Final = 8 << 20
_MOST_THREADS: Final = 4  # the engine loads beside it
_REMOVE: Final = "delete it; it is made anew"

# \Z and not $, which also matches before a line break.
_Digest = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
_Count = Annotated[int, Meta(ge=0)]
_Seconds = Annotated[float, Meta(ge=0)]


class About(Struct, frozen=True, kw_only=True):
    """What the maker of a snapshot knows of it."""

    ground: _Digest
    """What the payload can be read by: digest of weights, engine build and settings."""
    prefix: _Digest
    """The key: digest of what was said."""
    label: str
    """Name for people."""
    tokens: _Count
    prefill_s: _Seconds
    """Seconds that reading the prefix took the engine."""
    made_at: _Seconds
    """Seconds since 1970."""


class Manifest(About, frozen=True, kw_only=True):
    """What a snapshot says of itself."""

    # An empty payload is none: the engine would end over it.
    payload_bytes: Annotated[int, Meta(ge=1)]
    payload_sha256: _Digest
    part_bytes: Annotated[int, Meta(ge=0, multiple_of=1 << 20)] = 0
    """The payload was hashed in parts of this size; nought: in one piece, as all were once."""


def seal(payload: Path, about: About) -> Manifest:
    """Make the engine's file a snapshot, in place and durably; blocks while it is read and hashed.

    Raises `SnapshotError`, and then the file is as it was, if the disk allows.
    """
    try:
        # Unbuffered: a buffer that could not be written would be tried again when the file is closed, behind the cut.
        with payload.open("r+b", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            parts = _PART if size > _PART else 0
            manifest = _manifest(about, size, _digest(file, size, parts), parts, payload)
            text = encode(manifest)
            try:
                file.seek(size)
                _write_all(file, text + _FOOTER.pack(hashlib.sha256(text).digest(), size, len(text), _MAGIC))
                os.fsync(file.fileno())
            except BaseException:
                os.ftruncate(file.fileno(), size)
                raise
    except OSError as error:
        raise SnapshotError(f"{payload}: cannot be sealed: {reason(error)}", hint=USABLE) from error
    return manifest


def read(path: Path) -> Manifest:
    """What a file says of itself, from its end alone. Raises `SnapshotError` when it is missing, or its end is not sound."""
    with _opened(path) as file:
        return _read(file, path)


def verify(path: Path) -> Manifest:
    """As `read`, and every byte of the payload; blocks while the whole file is read. Raises `SnapshotError`."""
    with _opened(path) as file:
        manifest = _read(file, path)
        if _digest(file, manifest.payload_bytes, manifest.part_bytes) != manifest.payload_sha256:
            raise SnapshotError(f"{path}: damaged: the payload is not what its manifest says", hint=_REMOVE)
        return manifest


def encode(manifest: Manifest) -> bytes:
    """A manifest as it is written; `decode` reads it back."""
    return msgspec.json.encode(manifest)


def decode(text: bytes, path: Path) -> Manifest:
    """The manifest that stands in `path`. Raises `SnapshotError` when a field is missing or makes no sense."""
    try:
        return msgspec.json.decode(text, type=Manifest)
    except NOT_JSON as error:
        raise SnapshotError(f"{path}: damaged: no manifest: {error}", hint=_REMOVE) from None


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A new file that its owner alone may read; it is gone again when the block does not end well. Raises `OSError`."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def reason(error: OSError) -> str:
    """What the system says, without the path that our own messages begin with."""
    return error.strerror or str(error)


def _manifest(about: About, size: int, digest: str, parts: int, path: Path) -> Manifest:
    """The manifest of a payload; one that could not be read back is noticed before it is written."""
    manifest = Manifest(**msgspec.structs.asdict(about), payload_bytes=size, payload_sha256=digest, part_bytes=parts)
    try:
        text = encode(manifest)
        msgspec.json.decode(text, type=Manifest)
    except (UnicodeEncodeError, *NOT_JSON) as error:
        raise SnapshotError(f"{path}: cannot be sealed: {error}") from None
    if len(text) > MAX_MANIFEST_BYTES:
        raise SnapshotError(f"{path}: cannot be sealed: a manifest of {len(text)} bytes", hint="give it a shorter label")
    return manifest


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BufferedReader]:
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise SnapshotError(f"{path}: cannot be read: {reason(error)}", hint=USABLE) from error


def _read(file: BufferedReader, path: Path) -> Manifest:
    size = os.fstat(file.fileno()).st_size
    if size < _FOOTER.size:
        raise SnapshotError(f"{path}: no snapshot, or cut off: {size} bytes", hint=_REMOVE)
    file.seek(size - _FOOTER.size)
    digest, payload_bytes, manifest_bytes, magic = _FOOTER.unpack(_exactly(file, _FOOTER.size, path))
    if magic != _MAGIC:
        raise SnapshotError(f"{path}: no snapshot, or cut off: its end is unknown", hint=_REMOVE)
    if manifest_bytes > MAX_MANIFEST_BYTES or payload_bytes + manifest_bytes + _FOOTER.size != size:
        raise SnapshotError(f"{path}: damaged: {size} bytes are not what its footer says", hint=_REMOVE)
    file.seek(payload_bytes)
    text = _exactly(file, manifest_bytes, path)
    if hashlib.sha256(text).digest() != digest:
        raise SnapshotError(f"{path}: damaged: the manifest is not what its footer says", hint=_REMOVE)
    manifest = decode(text, path)
    if manifest.payload_bytes != payload_bytes:
        raise SnapshotError(f"{path}: damaged: manifest and footer disagree", hint=_REMOVE)
    return manifest


def _exactly(file: BufferedReader, size: int, path: Path) -> bytes:
    """The next `size` bytes: another process may have cut the file off since it was measured."""
    data = file.read(size)
    if len(data) != size:
        raise SnapshotError(f"{path}: cut off while it was read", hint=_REMOVE)
    return data


def _write_all(file: FileIO, data: bytes) -> None:
    while data:
        data = data[file.write(data) :]


def _digest(file: BufferedReader | FileIO, size: int, part_bytes: int) -> str:
    """SHA-256 of the first `size` bytes, or of as many as there are; of several parts, that of their digests."""
    descriptor = file.fileno()
    if not part_bytes:
        return _hashed(descriptor, 0, size).hex()
    starts = range(0, size, part_bytes)
    with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1, len(starts))) as threads:
        parts = threads.map(lambda start: _hashed(descriptor, start, min(part_bytes, size - start)), starts)
        return hashlib.sha256(b"".join(parts)).hexdigest()


def _hashed(descriptor: int, start: int, size: int) -> bytes:
    """SHA-256 of `size` bytes from `start` on. Reading and hashing are done without the interpreter's lock."""
    hashed, buffer = hashlib.sha256(), memoryview(bytearray(min(_BLOCK, size)))
    while size and (count := os.preadv(descriptor, [buffer[:size]], start)):
        hashed.update(buffer[:count])
        start, size = start + count, size - count
    return hashed.digest()
