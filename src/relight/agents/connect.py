"""What connecting an agent changes, worked out before anything is written: every file as it will be, and the receipt of it.

Reads files, writes none (`disk.carry_out` does). A second connection goes on from the first: what it alone had set goes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from msgspec import structs

from relight.agents.disk import PRIVATE, Change, Found, default_mode, find, new_folders
from relight.agents.editing import Before, Document
from relight.agents.receipt import Kept, KeptFile, Places, Receipt, digest, packed
from relight.agents.undo import old_text, take_back, taken_out
from relight.agents.wiring import Edit, Endpoint, Scope, Setting, Wiring
from relight.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Ask:
    """Which agent is connected with what, whose set-up is changed, and when."""

    agent: str
    endpoint: Endpoint
    scope: Scope
    is_slim: bool
    now: datetime


@dataclass(frozen=True, slots=True)
class Result:
    """One file as it will be, with the settings that change in it, to be explained below it."""

    change: Change
    settings: tuple[Setting, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """All that will be written: the agent's files, and our own notes of it, which come first."""

    results: tuple[Result, ...]
    notes: tuple[Change, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether no file of the agent changes."""
        return not any(result.change.is_one for result in self.results)

    @property
    def changes(self) -> tuple[Change, ...]:
        """In the order in which they are made: whatever stops it, what is written can be taken back."""
        return (*self.notes, *(result.change for result in self.results))


@dataclass(frozen=True, slots=True)
class _Work:
    """A file on its way: as it is found, as the last receipt knows it, and as it was before us."""

    path: Path
    edit: Edit
    found: Found
    old: KeptFile | None
    base: bytes | None


def plan(ask: Ask, wiring: Wiring, places: Places, last: Receipt | None) -> Plan:
    """What connecting changes; `last` is the receipt of the connection before it. Raises `ConfigError`."""
    folder = places.folder(ask.agent, ask.scope)
    known = {file.path: file for file in last.files} if last else {}
    backups = {file.backup for file in known.values() if file.backup}
    results, kept, notes = [], [], []
    for number, edit in enumerate(wiring.edits):
        path = places.resolve(edit.path)
        found, old = find(path, edit.path), known.pop(str(path), None)
        if ask.scope is Scope.PROJECT and not found.real.is_relative_to(places.project.resolve()):
            # Whoever wrote the project put the link there: it may lead to any file of this user.
            raise ConfigError(
                f"{edit.path}: leads out of the project, to {found.real}", hint="replace the link by a file, or use --scope user"
            )
        work = _Work(path, edit, found, old, found.raw if old is None else _base(old, found, folder))
        result, file = _result(work, None if work.base is None else f"{number}-{path.name}")
        if file.backup is not None:
            notes.append(_note(folder / file.backup, work.base))
        results.append(result)
        kept.append(file)
    results += [Result(take_back(file, folder).change) for file in known.values()]
    notes += [_note(folder / name, None) for name in sorted(backups - {file.backup for file in kept})]
    receipt = places.receipt(ask.agent, ask.scope)
    notes.append(_note(receipt, packed(_receipt(ask, places, tuple(kept), last)) if kept else None))
    return Plan(tuple(results), tuple(notes))


def _base(old: KeptFile, found: Found, folder: Path) -> bytes | None:
    """The file as it would be without us: what undoing brings back, with what somebody else has changed since."""
    if found.raw is None:
        return None
    if digest(found.raw) == old.written and (text := old_text(old, folder)) is not None:
        return text
    return take_back(old, folder).change.after


def _result(work: _Work, backup: str | None) -> tuple[Result, KeptFile]:
    edit, found, old = work.edit, work.found, work.old
    document = Document(edit.path, edit.format, found.raw or b"")
    earlier = {kept.at: kept for kept in old.settings} if old else {}
    settings = {each.at: each for each in edit.settings if each.at in earlier or not (each.is_default and document.holds(each))}
    taken_out(document, [kept for at, kept in earlier.items() if at not in settings])
    before = {at: _before(document, setting, earlier.get(at)) for at, setting in settings.items()}
    changed = tuple(setting for setting in settings.values() if not document.holds(setting))
    for setting in changed:
        document.put(setting)
    mode = _mode(edit, found)
    file = KeptFile(
        where=edit.path,
        path=str(work.path),
        format=edit.format,
        written=digest(document.raw),
        mode=mode,
        backup=backup,
        old_mode=found.mode if old is None else old.old_mode,
        folders=old.folders if old else tuple(map(str, new_folders(found.real))),
        settings=tuple(Kept(at, each.value, before[at], each.is_default) for at, each in settings.items()),
    )
    after = found.raw if document.raw == (found.raw or b"") else document.raw
    return Result(Change(edit.path, found.real, found.raw, after, mode, old_mode=found.mode), changed), file


def _before(document: Document, setting: Setting, kept: Kept | None) -> Before:
    """What undoing puts back: what was there before us, or what somebody else has put there since."""
    now = document.before(setting.at)
    if kept is None:
        return now
    is_ours = not now.is_there or document.is_at(kept.at, kept.value)
    return kept.before if is_ours else now


def _mode(edit: Edit, found: Found) -> int:
    mode = default_mode() if found.mode is None else found.mode
    return mode & PRIVATE if edit.is_private else mode


def _receipt(ask: Ask, places: Places, files: tuple[KeptFile, ...], last: Receipt | None) -> Receipt:
    made = Receipt(
        agent=ask.agent,
        scope=ask.scope,
        url=ask.endpoint.url,
        model=ask.endpoint.model,
        is_slim=ask.is_slim,
        at=ask.now.isoformat(timespec="seconds"),
        files=files,
        project=str(places.project) if ask.scope is Scope.PROJECT else None,
        context=ask.endpoint.context,
        output=ask.endpoint.output,
        key_variable=ask.endpoint.key_variable,
    )
    if last is not None and packed(structs.replace(made, at=last.at)) == packed(last):
        return last
    return made


def _note(path: Path, after: bytes | None) -> Change:
    return Change(str(path), path, find(path, str(path)).raw, after, PRIVATE)
