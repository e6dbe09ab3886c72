"""A folder that behaves like a mounted bucket, by FUSE: one process a mount, as each instance has its own.

    python bucket.py OBJECTS MOUNT

Such mounts are hard on programs: a file is an object that appears whole when it is closed, and the last who closes wins; to
rename is to copy and then to delete; there are no hard links and no locks, modes cannot be changed, and times have whole seconds.
A listing and what a file is are remembered as first seen, whatever other mounts do meanwhile, until `FORGET` is asked for.
"""

from __future__ import annotations

import errno
import importlib
import os
import secrets
import shutil
import stat
import sys
import tempfile
from pathlib import Path
from typing import Any

fuse: Any = importlib.import_module("mfusepy")
FORGET = ".forget"
"""A name that nobody has: whoever asks for it makes the mount forget what it remembers."""


class Bucket(fuse.Operations):  # type: ignore[misc]
    """`objects` is the bucket, which several mounts share; `drafts` are the files of this one that are not closed yet."""

    use_ns = True

    def __init__(self, objects: Path, drafts: Path) -> None:
        self._objects, self._drafts = objects, drafts
        self._open: dict[int, tuple[str, Path | None]] = {}
        self._facts: dict[str, dict[str, Any]] = {}
        self._listings: dict[str, list[str]] = {}

    # --- what there is

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        if path == f"/{FORGET}":
            self._facts.clear()
            self._listings.clear()
            raise fuse.FuseOSError(errno.ENOENT)
        if fh is not None and fh in self._open:
            return self._told(os.fstat(fh))
        if path not in self._facts:
            self._facts[path] = self._told(self._asked(self._at(path).lstat))
        return self._facts[path]

    def readdir(self, path: str, fh: int) -> list[str]:
        if path not in self._listings:
            self._listings[path] = [".", "..", *sorted(file.name for file in self._at(path).iterdir())]
        return self._listings[path]

    # --- what is read and written

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        draft = self._drafts / secrets.token_hex(8)
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        self._open[descriptor] = (path, draft)
        self.flush(path, descriptor)  # an empty object, so that the name is taken
        return descriptor

    def open(self, path: str, flags: int) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise fuse.FuseOSError(errno.EPERM)  # nothing of ours is written into what is there already
        descriptor: int = self._asked(lambda: os.open(self._at(path), os.O_RDONLY))
        self._open[descriptor] = (path, None)
        return descriptor

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return os.pread(fh, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        return os.pwrite(fh, data, offset)

    def truncate(self, path: str, length: int, fh: int | None = None) -> None:
        if fh is None:
            raise fuse.FuseOSError(errno.EPERM)
        os.ftruncate(fh, length)

    def fsync(self, path: str, datasync: int, fh: int) -> None:
        """Nothing is sent before the end."""

    def flush(self, path: str, fh: int) -> None:
        name, draft = self._open[fh]
        if draft is not None:  # the object appears, whole, over whatever is there
            self._put(draft, name)

    def release(self, path: str, fh: int) -> None:
        _, draft = self._open.pop(fh)
        os.close(fh)
        if draft is not None:
            draft.unlink()

    # --- what comes and goes

    def rename(self, old: str, new: str) -> None:
        self._put(self._at(old), new)
        self._asked(self._at(old).unlink)
        self._forget(old)

    def unlink(self, path: str) -> None:
        self._asked(self._at(path).unlink)
        self._forget(path)

    def mkdir(self, path: str, mode: int) -> None:
        self._asked(lambda: self._at(path).mkdir())
        self._forget(path)

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> None:
        self._asked(lambda: os.utime(self._at(path), None if times is None else (times[0] // 10**9, times[1] // 10**9)))
        self._forget(path)

    def chmod(self, path: str, mode: int) -> None:
        raise fuse.FuseOSError(errno.EPERM)

    def chown(self, path: str, uid: int, gid: int) -> None:
        raise fuse.FuseOSError(errno.EPERM)

    def link(self, target: str, source: str) -> None:
        raise fuse.FuseOSError(errno.ENOSYS)

    def flock(self, path: str, fh: int, op: int) -> None:
        raise fuse.FuseOSError(errno.ENOLCK)

    # --- inside

    def _at(self, path: str) -> Path:
        return self._objects / path.lstrip("/")

    def _asked(self, do: Any) -> Any:
        try:
            return do()
        except OSError as error:
            raise fuse.FuseOSError(error.errno or errno.EIO) from None

    def _put(self, source: Path, name: str) -> None:
        whole = self._drafts / secrets.token_hex(8)
        self._asked(lambda: shutil.copyfile(source, whole))
        whole.replace(self._at(name))
        self._forget(name)

    def _told(self, facts: os.stat_result) -> dict[str, Any]:
        kind = stat.S_IFDIR | 0o755 if stat.S_ISDIR(facts.st_mode) else stat.S_IFREG | 0o644
        seconds = int(facts.st_mtime) * 10**9
        return {
            "st_mode": kind,
            "st_nlink": 1,
            "st_size": facts.st_size,
            "st_uid": os.getuid(),
            "st_gid": os.getgid(),
            "st_mtime": seconds,
            "st_atime": seconds,
            "st_ctime": seconds,
        }

    def _forget(self, *paths: str) -> None:
        """What this mount changed itself it sees at once."""
        for path in paths:
            self._facts.pop(path, None)
            self._listings.pop(str(Path(path).parent), None)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=Path(sys.argv[1]).parent) as own:
        fuse.FUSE(
            Bucket(Path(sys.argv[1]), Path(own)),
            sys.argv[2],
            foreground=True,
            nothreads=True,
            direct_io=True,
            attr_timeout=0,
            entry_timeout=0,
        )
