"""The folder of prefix snapshots: what lies there, what is worth its space, what an engine may read. Knows no engine.

DIR/GROUND/PREFIX.snapshot             16 and 32 hexadecimal digits; plain, or encrypted when there is a secret
DIR/GROUND/PREFIX.PID-RANDOM.part      somebody is writing

Several processes on several machines may share the folder, and it may be a mounted bucket. So there are no locks, a file appears
whole by one rename and never changes afterwards, and whatever was seen a moment ago may be gone.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

from relight.clock import Clock, SystemClock
from relight.errors import SnapshotError
from relight.prefixes import cipher, snapshot
from relight.prefixes.snapshot import USABLE, About, Manifest, new_file, reason
from relight.values import Secret, format_bytes

_HALF_LIFE_S: Final = 86_400.0
_STALE_S: Final = 30 * 86_400.0
_STALE_WEIGHT: Final = 0.1
_ABANDONED_S: Final = 3600.0
_GROUND: Final = re.compile(r"[0-9a-f]{16}")
_FILE: Final = re.compile(r"[0-9a-f]{32}\.snapshot")
_PART: Final = ".part"


class Entry(Struct, frozen=True):
    """A snapshot of the store: where it lies, and what it says of itself."""

    path: Path
    manifest: Manifest


class _Held(Struct, frozen=True):
    """A file that takes space: its worth, and when it was last used, in seconds since 1970."""

    path: Path
    size: int
    worth: float
    used_at: float


class _Uses(Struct, frozen=True):
    count: float
    at: float


_Stamp = tuple[int, int]


def value(manifest: Manifest, size: int, uses: float) -> float:
    """What a snapshot of `size` bytes is worth: seconds that it saves a byte, more for one that is used."""
    return manifest.prefill_s * (1 + uses) / max(size, 1)


class Store:
    """The snapshots below `folder`, at most `max_bytes` of them. Every method blocks, and may be called from any thread.

    `baked` is a folder of more, which came with an image: they are read, never removed, and take no space of the others.
    With a `secret` all of them are encrypted, and plain ones do not count: whoever may write there could have made them.
    `note` is told what is wrong with a file, once. Raises `ConfigError` when the secret cannot be used.
    """

    def __init__(  # noqa: PLR0913 - what a folder is kept with
        self,
        folder: Path,
        *,
        baked: Path | None = None,
        max_bytes: int | None = None,
        secret: Secret | None = None,
        note: Callable[[str], None] | None = None,
        clock: Clock | None = None,
    ) -> None:
        if secret is not None:
            cipher.need(secret)
        self.folder, self._baked = folder, baked
        self._max_bytes, self._secret = max_bytes, secret
        self._note = _tell_nobody if note is None else note
        self._clock = SystemClock() if clock is None else clock
        self._uses: dict[Path, _Uses] = {}
        self._bad: dict[Path, _Stamp] = {}
        self._told: set[tuple[Path, _Stamp]] = set()

    def entries(self, ground: str) -> dict[str, Entry]:
        """The snapshots that can be read by `ground`, by their keys. What is damaged or foreign is left out."""
        # Of two of the same the later counts: that which is kept here.
        found = self._load_all(file for root in self._roots() for file in self._files(root / ground[:16]))
        return {entry.manifest.prefix: entry for entry in found if entry.manifest.ground == ground}

    def all(self) -> list[Entry]:
        """Every snapshot, for people: ground by ground, by their labels."""
        found = self._load_all(file for root in self._roots() for file in self._all_files(root))
        return sorted(found, key=lambda entry: (entry.manifest.ground, entry.manifest.label, entry.manifest.prefix))

    def add(self, payload: Path, about: About) -> Entry:
        """Keep the engine's file `payload`, which is gone afterwards whatever happens, and make room for it.

        Raises `SnapshotError` when it cannot be kept, or is worth less than all that is there and there is no space for both.
        """
        try:
            self._refuse_larger(payload, payload.stat().st_size)
            manifest = snapshot.seal(payload, about)
            path = self._path(manifest)
            self._place(payload, path, manifest)
        except OSError as error:
            where = error.filename or self.folder
            raise SnapshotError(f"{where}: a snapshot cannot be kept: {reason(error)}", hint=USABLE) from error
        finally:
            _discard(payload)
        self._bad.pop(path, None)
        self._make_room(path)
        return Entry(path, manifest)

    def used(self, entry: Entry) -> None:
        """A request was served with it: it is worth more, for a while."""
        now = self._clock.wall()
        self._uses[entry.path] = _Uses(self._uses_of(entry.path, now) + 1, now)
        # Others see by the time of change that it is used; not every folder can keep it.
        with contextlib.suppress(OSError):
            os.utime(entry.path, (now, now))

    def open_for_engine(self, entry: Entry, folder: Path) -> Path:
        """A new file in `folder` that an engine may read: every byte was checked. The caller removes it.

        Raises `SnapshotError`; a damaged file is not listed again as long as it stays as it is.
        """
        target = folder / f"{entry.manifest.prefix[:16]}{secrets.token_hex(4)}.bin"
        stamp = _stamp(entry.path)
        try:
            self._check_into(entry, target)
        except OSError as error:
            raise SnapshotError(f"{target}: cannot be made: {reason(error)}", hint=USABLE) from error
        except SnapshotError as error:
            if stamp is not None and not isinstance(error.__cause__, OSError):
                self._bad[entry.path] = stamp
            raise
        return target

    def remove(self, entry: Entry) -> None:
        """Remove a snapshot; one that is gone already is no error. Raises `SnapshotError` when it cannot be."""
        if self._baked is not None and entry.path.is_relative_to(self._baked):
            raise SnapshotError(f"{entry.path}: came with the image", hint="bake and build without it")
        try:
            entry.path.unlink(missing_ok=True)
        except OSError as error:
            raise SnapshotError(f"{entry.path}: cannot be removed: {reason(error)}", hint="see who owns its folder") from error
        self._forget(entry.path)

    # --- what lies there

    def _files(self, folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
        """The files of one ground that have a snapshot's name."""
        for path in self._listed(folder):
            if path.name.endswith(_PART):
                continue
            facts = _facts(path)
            if facts is None:
                continue
            if _FILE.fullmatch(path.name):
                yield path, facts
            else:
                self._tell(path, (0, 0), f"{path}: is no snapshot; it is left alone")

    def _roots(self) -> Iterator[Path]:
        if self._baked is not None:
            yield self._baked
        yield self.folder

    def _all_files(self, root: Path) -> Iterator[tuple[Path, os.stat_result]]:
        for folder in self._grounds(root):
            yield from self._files(folder)

    def _grounds(self, root: Path) -> list[Path]:
        """The folders that can be ours: beside them a mounted disk may have others."""
        return [folder for folder in self._listed(root) if _GROUND.fullmatch(folder.name)]

    def _listed(self, folder: Path) -> list[Path]:
        try:
            return sorted(folder.iterdir())
        except FileNotFoundError:
            return []
        except OSError as error:
            self._tell(folder, (0, 0), f"{folder}: cannot be listed: {reason(error)}")
            return []

    def _load_all(self, files: Iterable[tuple[Path, os.stat_result]]) -> list[Entry]:
        loaded = (self._load(path, facts) for path, facts in files)
        return [entry for entry in loaded if entry is not None]

    def _load(self, path: Path, facts: os.stat_result) -> Entry | None:
        stamp = (facts.st_size, facts.st_mtime_ns)
        if self._bad.get(path) == stamp:
            return None
        try:
            manifest = self._read(path)
            self._need_place(path, manifest)
        except SnapshotError as error:
            # One that another process removed meanwhile is no problem.
            if not isinstance(error.__cause__, FileNotFoundError):
                self._tell(path, stamp, str(error))
            return None
        return Entry(path, manifest)

    def _read(self, path: Path) -> Manifest:
        if self._secret is not None:
            return cipher.manifest(path, self._secret)
        if cipher.is_encrypted(path):
            raise SnapshotError(f"{path}: encrypted, and there is no secret", hint="set prefixes.key, or delete it")
        return snapshot.read(path)

    def _path(self, manifest: Manifest) -> Path:
        return self.folder / manifest.ground[:16] / f"{manifest.prefix[:32]}.snapshot"

    def _need_place(self, path: Path, manifest: Manifest) -> None:
        """A sound file under the name of another would be read for a prompt that it does not hold."""
        if path.parts[-2:] != self._path(manifest).parts[-2:]:
            raise SnapshotError(f"{path}: lies under the name of another snapshot", hint="delete it; it is made anew")

    def _tell(self, path: Path, stamp: _Stamp, problem: str) -> None:
        if (path, stamp) not in self._told:
            self._told.add((path, stamp))
            self._note(problem)

    # --- what an engine may read

    def _check_into(self, entry: Entry, target: Path) -> None:
        """Make `target` from the file of `entry`, or raise and leave nothing."""
        try:
            if self._secret is None:
                manifest = snapshot.verify(entry.path)
                target.symlink_to(entry.path.absolute())
            else:
                # What opens is what was sealed, every byte of it: it needs no second digest.
                cipher.decrypt(entry.path, target, self._secret)
                manifest = snapshot.read(target)
            self._need_place(entry.path, manifest)
        except BaseException:
            _discard(target)
            raise

    # --- what comes and goes

    def _place(self, sealed: Path, path: Path, manifest: Manifest) -> None:
        """Have the sealed file lie at `path`, whole or not at all."""
        size = sealed.stat().st_size
        self._refuse_larger(sealed, size if self._secret is None else cipher.encrypted_size(manifest, size))
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        self._sweep()
        draft = path.with_name(f"{path.stem}.{os.getpid()}-{secrets.token_hex(4)}{_PART}")
        try:
            if self._secret is None:
                _move(sealed, draft)
            else:
                cipher.encrypt(sealed, draft, self._secret)
            draft.replace(path)
        finally:
            _discard(draft)
        _sync_folder(path.parent)

    def _refuse_larger(self, payload: Path, size: int) -> None:
        if self._max_bytes is not None and size > self._max_bytes:
            raise SnapshotError(
                f"{payload}: {format_bytes(size)} are more than all snapshots may take ({format_bytes(self._max_bytes)})",
                hint="raise prefixes.max_size",
            )

    def _sweep(self) -> None:
        """Remove what was begun by processes that ended over it."""
        oldest = self._clock.wall() - _ABANDONED_S
        for folder in self._grounds(self.folder):
            for path in self._listed(folder):
                facts = _facts(path) if path.name.endswith(_PART) else None
                if facts is not None and facts.st_mtime < oldest:
                    _discard(path)

    def _make_room(self, newest: Path) -> None:
        """Remove what is worth least until the rest fits. Raises `SnapshotError` when that is the newest."""
        if self._max_bytes is None:
            return
        held = [self._held(path, facts) for path, facts in self._all_files(self.folder)]
        going = _surplus(held, self._max_bytes)
        is_least = newest in {one.path for one in going}
        if is_least:
            # Nothing else has to go for one that does not stay.
            going = [one for one in held if one.path == newest]
            going += _surplus([one for one in held if one.path != newest], self._max_bytes)
        for one in going:
            _discard(one.path)
            self._forget(one.path)
        if is_least:
            raise SnapshotError(f"{newest}: not kept: worth less than what is there", hint="raise prefixes.max_size")

    def _held(self, path: Path, facts: os.stat_result) -> _Held:
        now = self._clock.wall()
        uses = self._uses.get(path)
        used_at = max(facts.st_mtime, uses.at if uses else 0.0)
        entry = self._load(path, facts)
        worth = value(entry.manifest, facts.st_size, self._uses_of(path, now)) if entry else 0.0
        return _Held(path, facts.st_size, worth * (_STALE_WEIGHT if now - used_at > _STALE_S else 1.0), used_at)

    def _uses_of(self, path: Path, now: float) -> float:
        uses = self._uses.get(path)
        return uses.count * 0.5 ** (max(now - uses.at, 0.0) / _HALF_LIFE_S) if uses else 0.0

    def _forget(self, path: Path) -> None:
        self._uses.pop(path, None)
        self._bad.pop(path, None)


def _surplus(held: list[_Held], max_bytes: int) -> list[_Held]:
    """What has to go so that the rest fits: the least worth first, and of those the longest unused."""
    excess = sum(one.size for one in held) - max_bytes
    going = []
    for one in sorted(held, key=lambda one: (one.worth, one.used_at)):
        if excess <= 0:
            break
        excess -= one.size
        going.append(one)
    return going


def _move(source: Path, target: Path) -> None:
    """Move a file that is on its disk already to a new name, private; across disks it is copied, and is on the disk then."""
    try:
        source.chmod(0o600)
        source.rename(target)
    except OSError:
        # Not only EXDEV: each kind of mounted bucket has its own word for it. What is really wrong shows in the copy.
        with source.open("rb") as whole, new_file(target) as copy:
            shutil.copyfileobj(whole, copy, 4 << 20)
            copy.flush()
            os.fsync(copy.fileno())


def _sync_folder(folder: Path) -> None:
    """Have a rename survive a power cut, where the folder can promise that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _discard(path: Path) -> None:
    """Remove what is there, if it is and if that is possible."""
    with contextlib.suppress(OSError):
        path.unlink()


def _facts(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except OSError:
        return None


def _stamp(path: Path) -> _Stamp | None:
    facts = _facts(path)
    return (facts.st_size, facts.st_mtime_ns) if facts else None


def _tell_nobody(_problem: str) -> None:
    """Problems that nobody asked for."""
