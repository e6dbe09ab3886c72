"""Encryption of a whole snapshot with a key from a secret. Knows no folder, and nothing of what a payload means.

    header      magic, salt, length of the head
    head        size of the snapshot and its manifest, so that a store is listed without reading all of it
    segments    the snapshot, eight MiB at a time

AES-256-GCM throughout. Each file has a key of its own, from the secret and the file's random salt, so a nonce may simply count.
It says which segment it belongs to and whether that is the last (the STREAM construction of Hoang, Reyhanitabar, Rogaway and
Vizár, 2015): segments that were exchanged, left out or added do not open. The header is authenticated with each of them.

HKDF is no slow password hash: the secret should be random, such as 32 random bytes, not a word.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import secrets
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from msgspec import Struct

from relight.errors import ConfigError, SnapshotError
from relight.prefixes import snapshot
from relight.prefixes.snapshot import MAX_MANIFEST_BYTES, USABLE, Manifest, new_file, reason
from relight.values import Secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SEGMENT_BYTES: Final = 8 << 20
_MAGIC: Final = b"RLCRYP\x00\x01"
_HEADER: Final = struct.Struct("<8s32sI")
_SIZE: Final = struct.Struct("<Q")
_TAG_BYTES: Final = 16
_MAX_HEAD_BYTES: Final = _SIZE.size + MAX_MANIFEST_BYTES + _TAG_BYTES
_PURPOSE: Final = b"relight prefix snapshot 1"
_REMOVE: Final = "delete it, it is made anew; or set the secret that it was made with"

# The last byte of a nonce. No two of them are ever used with the same key and count.
_MORE, _LAST, _HEAD = b"\x00", b"\x01", b"\x02"


class _Opening(Struct, frozen=True):
    """What is known of an encrypted file once its head has been opened."""

    key: AESGCM
    header: bytes
    plain_bytes: int
    manifest: Manifest


def need(secret: Secret) -> None:
    """Raise `ConfigError` unless `secret` can be a key and the library is installed; imports nothing."""
    if not secret.reveal():
        raise ConfigError(f"{secret.name}: is empty", hint="set it to 32 random bytes, written as text")
    if importlib.util.find_spec("cryptography") is None:
        raise ConfigError(
            "prefixes: the package cryptography is not installed",
            hint="run: pip install '.[encryption]' in the folder of Relight's source",
        )


def encrypt(source: Path, target: Path, secret: Secret) -> None:
    """Write the snapshot `source`, encrypted, to the new file `target`, durably.

    Blocks. Raises `SnapshotError`, and then there is no `target`.
    """
    need(secret)
    manifest = snapshot.read(source)
    with _translated(source, target), source.open("rb") as plain, new_file(target) as file:
        size = os.fstat(plain.fileno()).st_size
        head = _SIZE.pack(size) + snapshot.encode(manifest)
        salt = secrets.token_bytes(32)
        header = _HEADER.pack(_MAGIC, salt, len(head) + _TAG_BYTES)
        key = _key(secret, salt)
        file.write(header)
        file.write(key.encrypt(_nonce(0, _HEAD), head, header))
        for nonce, length in _segments(size):
            file.write(key.encrypt(nonce, _exactly(plain, length, source), header))
        file.flush()
        os.fsync(file.fileno())


def decrypt(source: Path, target: Path, secret: Secret) -> None:
    """Write what `encrypt` was given to the new file `target`; nothing of it was changed since.

    Blocks. Raises `SnapshotError` for a wrong secret or any damage, and then there is no `target`.
    """
    need(secret)
    from cryptography.exceptions import InvalidTag

    with _translated(source, target), source.open("rb") as file, new_file(target) as plain:
        opening = _open(file, source, secret)
        for nonce, length in _segments(opening.plain_bytes):
            segment = _exactly(file, length + _TAG_BYTES, source)
            try:
                plain.write(opening.key.decrypt(nonce, segment, opening.header))
            except InvalidTag:
                raise SnapshotError(f"{source}: damaged: a part of it does not open", hint=_REMOVE) from None


def encrypted_size(manifest: Manifest, size: int) -> int:
    """The size that `encrypt` gives a snapshot of `size` bytes."""
    head = _SIZE.size + len(snapshot.encode(manifest)) + _TAG_BYTES
    return _HEADER.size + head + _segments_size(size)


def manifest(path: Path, secret: Secret) -> Manifest:
    """What an encrypted file says of itself, from its start and its size. Raises `SnapshotError` for a wrong secret or damage."""
    need(secret)
    with _translated(path), path.open("rb") as file:
        return _open(file, path, secret).manifest


def is_encrypted(path: Path) -> bool:
    """Whether a file begins as an encrypted snapshot does; one that cannot be read does not."""
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def _open(file: BinaryIO, path: Path, secret: Secret) -> _Opening:
    """Open the head of a file, and leave it at the first segment."""
    from cryptography.exceptions import InvalidTag

    header = file.read(_HEADER.size)
    if len(header) != _HEADER.size or not header.startswith(_MAGIC):
        raise SnapshotError(f"{path}: not encrypted, or damaged", hint=_REMOVE)
    _, salt, head_bytes = _HEADER.unpack(header)
    if not _SIZE.size + _TAG_BYTES <= head_bytes <= _MAX_HEAD_BYTES:
        raise SnapshotError(f"{path}: damaged: a head of {head_bytes} bytes", hint=_REMOVE)
    key = _key(secret, salt)
    try:
        head = key.decrypt(_nonce(0, _HEAD), _exactly(file, head_bytes, path), header)
    except InvalidTag:
        raise SnapshotError(f"{path}: damaged, or encrypted with another secret", hint=_REMOVE) from None
    (plain_bytes,) = _SIZE.unpack_from(head)
    size = os.fstat(file.fileno()).st_size
    if size != file.tell() + _segments_size(plain_bytes):
        raise SnapshotError(f"{path}: damaged: {size} bytes are not what its head says", hint=_REMOVE)
    return _Opening(key, header, plain_bytes, snapshot.decode(head[_SIZE.size :], path))


def _key(secret: Secret, salt: bytes) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    text = secret.reveal().encode("utf-8", "surrogatepass")
    return AESGCM(HKDF(SHA256(), length=32, salt=salt, info=_PURPOSE).derive(text))


def _segments(size: int) -> Iterator[tuple[bytes, int]]:
    """Nonce and length of each segment that `size` bytes are cut into."""
    for index, start in enumerate(range(0, size, SEGMENT_BYTES)):
        length = min(SEGMENT_BYTES, size - start)
        yield _nonce(index, _LAST if start + length == size else _MORE), length


def _segments_size(size: int) -> int:
    return sum(length + _TAG_BYTES for _, length in _segments(size))


def _nonce(index: int, place: bytes) -> bytes:
    return index.to_bytes(11, "big") + place


def _exactly(file: BinaryIO, size: int, path: Path) -> bytes:
    """The next `size` bytes: another process may have cut the file off since it was measured."""
    data = file.read(size)
    if len(data) != size:
        raise SnapshotError(f"{path}: cut off", hint=_REMOVE)
    return data


@contextlib.contextmanager
def _translated(*paths: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename or paths[-1]
        raise SnapshotError(f"{where}: cannot be read or written: {reason(error)}", hint=USABLE) from error
