"""What a builder gets to see: a list of files, laid out in a folder or packed. Nothing enters that is not on the list."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Final

from msgspec import Struct

from relight.errors import ConfigError, UsageError

# The same files make the same context, whenever it is laid out.
_TIME: Final = 315_532_800  # 1980-01-01
_READABLE: Final = 0o644


class Entry(Struct, frozen=True):
    """A file of the context: its place there, with `/`, and its bytes or the file that has them."""

    place: str
    source: Path | bytes

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size


def inside(key: str, named: str, folder: Path) -> str:
    """The place, relative to `folder`, of a file that the configuration names at `key`.

    Raises `ConfigError` for one that lies elsewhere, and for hidden ones: secrets and a repository's own files are such.
    """
    path = Path(os.path.normpath(folder / Path(named).expanduser()))
    if not path.is_relative_to(folder):
        raise ConfigError(
            f"{key}: {named} lies outside of {folder}, so the image cannot have it", hint="move or copy it beside relight.toml"
        )
    place = path.relative_to(folder)
    if any(part.startswith(".") for part in place.parts):
        raise ConfigError(
            f"{key}: {named} is hidden, and nothing hidden enters an image", hint="name it without the dot in front"
        )
    return place.as_posix()


def lay_out(entries: Iterable[Entry], folder: Path) -> None:
    """Put the files below `folder`, which is empty: linked where the disk allows, so that weights are not copied.

    Raises `UsageError` when they cannot be.
    """
    try:
        for entry in entries:
            _put(entry, folder / _checked(entry.place))
    except OSError as error:
        where = error.filename or folder
        raise UsageError(
            f"{where}: cannot be put into the context: {error.strerror}", hint="see who may read it, and the disk"
        ) from None


def pack(entries: Sequence[Entry], out: IO[bytes]) -> None:
    """Write the files as a gzipped tar, as builders elsewhere take a context; the same for the same files."""
    import gzip

    with (
        gzip.GzipFile(fileobj=out, mode="wb", filename="", mtime=0, compresslevel=1) as zipped,
        tarfile.open(fileobj=zipped, mode="w|") as archive,
    ):
        for entry in sorted(entries, key=lambda one: one.place):
            info = tarfile.TarInfo(str(_checked(entry.place)))
            info.size, info.mode, info.mtime = entry.size, _READABLE, _TIME
            with io.BytesIO(entry.source) if isinstance(entry.source, bytes) else entry.source.open("rb") as file:
                archive.addfile(info, file)


def digest(entries: Sequence[Entry]) -> str:
    """SHA-256 over the whole context, in hexadecimal: images are the same where it is. Large weights are not read for it: their
    own digests are a file of the context."""
    whole = hashlib.sha256()
    for entry in sorted(entries, key=lambda one: one.place):
        if isinstance(entry.source, Path) and entry.place.startswith("weights/"):
            continue
        data = entry.source if isinstance(entry.source, bytes) else entry.source.read_bytes()
        whole.update(f"{entry.place}\0{hashlib.sha256(data).hexdigest()}\n".encode())
    return whole.hexdigest()


def _checked(place: str) -> PurePosixPath:
    path = PurePosixPath(place)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{place!r} leads out of the context")
    return path


def _put(entry: Entry, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(entry.source, bytes):
        target.write_bytes(entry.source)
    elif _linked(entry.source, target):
        return
    else:
        shutil.copyfile(entry.source, target)
    target.chmod(_READABLE)
    os.utime(target, (_TIME, _TIME))


def _linked(source: Path, target: Path) -> bool:
    """Whether `target` is the same file now; only one that anybody may read, as whoever runs the image has to."""
    source = source.resolve()
    if source.stat().st_mode & 0o444 != 0o444:
        return False
    with contextlib.suppress(OSError):  # another disk, or one without links
        os.link(source, target)
        return True
    return False
