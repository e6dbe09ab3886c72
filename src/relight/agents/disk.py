"""Files of others, read and replaced: all of a list or none of it, each whole or not at all. Knows no format and no agent."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from relight.errors import ConfigError, UsageError
from relight.values import Bytes

PRIVATE: Final = 0o600
_LARGEST: Final = Bytes(8 << 20)


@dataclass(frozen=True, slots=True)
class Found:
    """A file as it is: `real` is where links lead, `raw` and `mode` are None where there is none yet."""

    real: Path
    raw: bytes | None
    mode: int | None


@dataclass(frozen=True, slots=True)
class Change:
    """A file as it was seen, and as it is to be; None is no file. `mode` is what a file that is written gets.

    `old_mode` is the mode that it was seen with, where that matters.
    """

    where: str
    real: Path
    before: bytes | None
    after: bytes | None
    mode: int
    folders: tuple[Path, ...] = ()
    """Folders that go with the file, if nothing else is in them; the innermost first."""
    old_mode: int | None = None

    @property
    def is_one(self) -> bool:
        """Whether it changes anything."""
        return self.before != self.after or (self.old_mode is not None and self.old_mode != self.mode)


def find(path: Path, where: str) -> Found:
    """The file at `path`, links followed. Raises `ConfigError` for what is no file, or cannot be read."""
    try:
        real = path.resolve()
        is_file = stat.S_ISREG((seen := real.stat()).st_mode)
        if is_file and seen.st_size <= _LARGEST:
            return Found(real, real.read_bytes(), stat.S_IMODE(seen.st_mode))
    except FileNotFoundError:
        return Found(real, None, None)
    except (OSError, RuntimeError) as error:  # links in a circle are a RuntimeError up to Python 3.12
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "its links lead nowhere"
        raise ConfigError(f"{where}: cannot be read: {reason}", hint="check the path and its permissions") from None
    what = f"is larger than {_LARGEST}" if is_file else "is not a file"
    raise ConfigError(f"{where}: {what}", hint="move it away, or set the agent up by hand: add --print")


def new_folders(real: Path) -> tuple[Path, ...]:
    """Folders that a file at `real` needs and that are not there, the innermost first."""
    return tuple(folder for folder in real.parents if not folder.exists())


def default_mode() -> int:
    """The mode of a new file of this user."""
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask


def carry_out(changes: Sequence[Change]) -> None:
    """Make all changes, in their order; when one fails, those before it are taken back. Raises `UsageError`.

    So is a file that is no longer as it was seen.
    """
    done: list[tuple[Change, tuple[Path, ...]]] = []
    try:
        for change in changes:
            _need_same(change)
        for change in changes:
            if change.is_one:
                _need_same(change)
                done.append((change, new_folders(change.real)))
                _make(change)
    except BaseException:
        for change, folders in reversed(done):
            with suppress(UsageError):
                mode = change.mode if change.old_mode is None else change.old_mode
                _make(Change(change.where, change.real, change.after, change.before, mode, folders))
        raise


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Only one of all processes of this user is in the block. Raises `UsageError` when another one is."""
    try:
        import fcntl
    except ImportError:  # Windows: what was seen is compared once more before anything is written
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, PRIVATE)
    except OSError as error:
        raise _unwritable(str(folder), error) from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise UsageError("connect: another one is writing at this moment", hint="run it again when that one is done") from None
    finally:
        os.close(handle)


def _need_same(change: Change) -> None:
    try:
        now: bytes | None = change.real.read_bytes()
    except FileNotFoundError:
        now = None
    except OSError as error:
        raise _unwritable(change.where, error) from None
    if change.is_one and change.old_mode is not None and not change.old_mode & stat.S_IWUSR:
        # Replacing it would not ask for this: whoever set it meant the file to stay, or has a tool that writes it.
        raise UsageError(f"{change.where}: is read-only", hint="make it writable, or set the agent up by hand: add --print")
    if now != change.before:
        raise UsageError(
            f"{change.where}: was changed meanwhile; nothing is written", hint="run it again to see what it says now"
        )


def _make(change: Change) -> None:
    try:
        if change.after is None:
            change.real.unlink(missing_ok=True)
        else:
            _write(change.real, change.after, change.mode)
    except OSError as error:
        raise _unwritable(change.where, error) from None
    finally:
        if change.after is None:
            for folder in change.folders:
                with suppress(OSError):  # somebody else has something in it
                    folder.rmdir()


def _write(real: Path, raw: bytes, mode: int) -> None:
    draft: str | None = None
    try:
        # A folder that is missing on the way to a private file is private.
        real.parent.mkdir(parents=True, exist_ok=True, mode=0o700 if mode == PRIVATE else 0o777)
        handle, draft = tempfile.mkstemp(dir=real.parent, prefix=f".{real.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
            _like_before(file.fileno(), real, mode)
            file.flush()
            os.fsync(file.fileno())
        Path(draft).replace(real)
        draft = None
        _sync(real.parent)
    finally:
        if draft is not None:
            Path(draft).unlink(missing_ok=True)


def _like_before(handle: int, real: Path, mode: int) -> None:
    """The new file gets the mode, and the owner of the one that it replaces, where we may say so."""
    os.fchmod(handle, mode)
    with suppress(OSError):
        seen = real.stat()
        os.fchown(handle, seen.st_uid, seen.st_gid)


def _sync(folder: Path) -> None:
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _unwritable(where: str, error: OSError) -> UsageError:
    return UsageError(f"{where}: cannot be written: {error.strerror}", hint="fix the permissions of the file and its folder")
