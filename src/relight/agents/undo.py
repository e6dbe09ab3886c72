"""What taking an agent's settings back changes, worked out before anything is written.

A file that is as we left it becomes what it was, byte for byte. One that was changed since keeps these changes: our settings
are taken out one by one, and those that somebody else set anew stay. Reads files, writes none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from relight.agents.disk import PRIVATE, Change, Found, default_mode, find
from relight.agents.editing import Document
from relight.agents.place import MISSING, named, value_at
from relight.agents.receipt import Kept, KeptFile, Places, Receipt, digest
from relight.agents.wiring import Setting
from relight.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Taken:
    """One file as it will be again; `left` are places that somebody has set since, `is_exact` says if it is as before."""

    change: Change
    left: tuple[str, ...] = ()
    is_exact: bool = True


@dataclass(frozen=True, slots=True)
class Undo:
    """All that taking back changes: the agent's files, then our own notes."""

    files: tuple[Taken, ...]
    notes: tuple[Change, ...]

    @property
    def changes(self) -> tuple[Change, ...]:
        """In the order in which they are made."""
        return (*(taken.change for taken in self.files), *self.notes)


@dataclass(frozen=True, slots=True)
class Loss:
    """What no longer says what we put there, in words; `is_broken`: nobody can read the file that it stands in."""

    what: str
    is_broken: bool = False


def undo(receipt: Receipt, places: Places) -> Undo:
    """What taking `receipt` back changes. Raises `ConfigError` for a file that cannot be read, with where the old one is."""
    folder = places.folder(receipt.agent, receipt.scope)
    files = tuple(take_back(file, folder) for file in receipt.files)
    notes = [
        _gone(folder / file.backup) for file, taken in zip(receipt.files, files, strict=True) if file.backup and taken.is_exact
    ]
    own = places.receipt(receipt.agent, receipt.scope)
    last = _gone(own)
    return Undo(files, (*notes, Change(last.where, own, last.before, None, PRIVATE, (folder, *folder.parents[:2]))))


def lost(receipt: Receipt) -> tuple[Loss, ...]:
    """The places, with their files, that no longer say what we put there; a file that cannot be read says nothing."""
    gone: list[Loss] = []
    for file in receipt.files:
        try:
            gone += map(Loss, _lost(file))
        except ConfigError as error:
            gone.append(Loss(error.message, is_broken=True))
    return tuple(gone)


def _lost(file: KeptFile) -> Iterator[str]:
    found = find(Path(file.path), file.where)
    if found.raw is None:
        yield f"{file.where}: is gone"
        return
    document = Document(file.where, file.format, found.raw)
    for kept in file.settings:
        if not document.holds(Setting(kept.at, kept.value, is_default=kept.is_default)):
            what = "is not there any more" if value_at(document.data, kept.at) is MISSING else "says something else"
            yield f"{file.where}: {named(kept.at)} {what}"


def take_back(file: KeptFile, folder: Path) -> Taken:
    """One file without what we put there; `folder` holds the old one. Raises `ConfigError`."""
    found, old = find(Path(file.path), file.where), old_text(file, folder)
    if found.raw is None:  # who took it away took our settings away as well
        return Taken(Change(file.where, found.real, None, None, file.mode), is_exact=file.backup is None)
    if digest(found.raw) == file.written and (old is not None or file.backup is None):
        return Taken(_change(file, found, old))
    if found.raw == old:
        return Taken(_change(file, found, found.raw))
    document = _document(file, found, folder)
    left = taken_out(document, file.settings)
    after = None if file.backup is None and is_blank(document) else document.raw
    return Taken(_change(file, found, after), left, is_exact=False)


def taken_out(document: Document, settings: Iterable[Kept]) -> tuple[str, ...]:
    """Take `settings` out of the document; the places that hold something else by now, which stay."""
    left = []
    # The deepest first: whoever brought a container takes it away when all that came later is out of it.
    for kept in sorted(settings, key=lambda kept: kept.before.depth, reverse=True):
        if document.is_at(kept.at, kept.value):
            document.take_out(kept.at, kept.before)
        elif (now := value_at(document.data, kept.at)) is not MISSING and not (kept.before.is_there and now == kept.before.value):
            left.append(named(kept.at))
    return tuple(left)


def old_text(file: KeptFile, folder: Path) -> bytes | None:
    """The file as it was before us; None when there was none, or its copy is gone."""
    return None if file.backup is None else find(folder / file.backup, file.backup).raw


def is_blank(document: Document) -> bool:
    """Whether nothing is left in it, no comment either."""
    return document.text.strip() in {"", "{}"}


def _document(file: KeptFile, found: Found, folder: Path) -> Document:
    try:
        return Document(file.where, file.format, found.raw or b"")
    except ConfigError as error:
        if file.backup is not None:
            error.hint = f"correct the file, or put the old one back by hand: {folder / file.backup}"
        raise


def _change(file: KeptFile, found: Found, after: bytes | None) -> Change:
    mode = found.mode if found.mode is not None else default_mode()
    if after is not None and file.old_mode is not None and found.mode == file.mode:
        mode = file.old_mode
    folders = tuple(map(Path, file.folders)) if after is None else ()
    return Change(file.where, found.real, found.raw, after, mode, folders, found.mode)


def _gone(path: Path) -> Change:
    return Change(str(path), path, find(path, str(path)).raw, None, PRIVATE)
