"""Files out of the page cache, as after a machine's start: each by itself, which needs no privilege. Linux alone."""

from __future__ import annotations

import ctypes
import importlib.util
import mmap
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_FAILED: Final = ctypes.c_void_p(-1).value


def drop(files: Iterable[Path]) -> None:
    """Have the system forget what it has read of these files. What a process has mapped at this moment stays, and so do the
    program and its libraries that run already; a file system that keeps a cache of its own is not asked."""
    for file in files:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fdatasync(descriptor)  # a page that is not on the disk yet is not forgotten
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def resident(files: Iterable[Path]) -> float:
    """Part of these files, from 0 to 1, that lies in the page cache."""
    held = total = 0
    for file in files:
        pages = _pages(file)
        held, total = held + sum(page & 1 for page in pages), total + len(pages)
    return held / total if total else 0.0


def engine_libraries() -> list[Path]:
    """The shared libraries of the wheel's engine, which each of its starts maps."""
    found = importlib.util.find_spec("xllamacpp")
    if found is None or found.origin is None:
        return []
    package = Path(found.origin).parent
    return sorted({file.resolve() for folder in (package, package.with_name("xllamacpp.libs")) for file in folder.rglob("*.so*")})


def _pages(file: Path) -> bytes:
    """A byte a page of the file; its lowest bit says whether it is there."""
    size = file.stat().st_size
    if not size:
        return b""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
    libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    libc.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)
    seen = ctypes.create_string_buffer(-(-size // mmap.PAGESIZE))
    with file.open("rb") as opened:
        at = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, opened.fileno(), 0)
        if at in (None, _FAILED):
            raise OSError(ctypes.get_errno(), "cannot be mapped", str(file))
        try:
            if libc.mincore(at, size, seen):
                raise OSError(ctypes.get_errno(), "cannot be looked at", str(file))
        finally:
            libc.munmap(at, size)
    return seen.raw
