"""What was done to an agent's files, kept so that it can be checked and taken back. Private: old files may hold keys."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from relight.agents.disk import find
from relight.agents.editing import Before
from relight.agents.wiring import Format, Member, Scope
from relight.decoding import NOT_JSON
from relight.errors import ConfigError

_FILE: Final = "receipt.json"


class Kept(Struct, frozen=True):
    """One setting: its place, what we put there, and what was there before."""

    at: tuple[str | Member, ...]
    value: Any
    before: Before
    is_default: bool = False


class KeptFile(Struct, frozen=True, kw_only=True):
    """One file: how it was called, where it is, and digests of what we found and left. `backup` None: there was none before."""

    where: str
    path: str
    format: Format
    written: str
    mode: int
    backup: str | None = None
    old_mode: int | None = None
    folders: tuple[str, ...] = ()
    settings: tuple[Kept, ...] = ()


class Receipt(Struct, frozen=True, kw_only=True):
    """One agent, connected in one scope. `context`, `output` (tokens) and `key_variable` are what it was told; None: nothing."""

    agent: str
    scope: Scope
    url: str
    model: str
    is_slim: bool
    at: str
    files: tuple[KeptFile, ...]
    project: str | None = None
    context: int | None = None
    output: int | None = None
    key_variable: str | None = None


@dataclass(frozen=True, slots=True)
class Places:
    """Whose files they are: `~/` of a path, the folder of a project, and where we keep our own notes."""

    home: Path
    project: Path
    state: Path

    def resolve(self, path: str) -> Path:
        """The path of an edit, on this machine."""
        return self.home / path[2:] if path.startswith("~/") else self.project / path

    def folder(self, agent: str, scope: Scope) -> Path:
        """Where receipt and backups of an agent lie."""
        digest = hashlib.sha256(str(self.project).encode()).hexdigest()[:12]
        return self.state / agent / (scope.value if scope is Scope.USER else f"{scope.value}-{digest}")

    def receipt(self, agent: str, scope: Scope) -> Path:
        """The receipt of an agent."""
        return self.folder(agent, scope) / _FILE


def places(environ: Mapping[str, str] | None = None) -> Places:
    """Those of who runs this: the state folder is `relight/agents` in XDG_STATE_HOME, else in ~/.local/state."""
    home, environ = Path.home(), os.environ if environ is None else environ
    state = Path(environ.get("XDG_STATE_HOME") or "")
    return Places(home, Path.cwd(), (state if state.is_absolute() else home / ".local" / "state") / "relight" / "agents")


def digest(raw: bytes | None) -> str:
    """What tells one text of a file from another."""
    return "" if raw is None else hashlib.sha256(raw).hexdigest()


def packed(receipt: Receipt) -> bytes:
    """The receipt as it is kept."""
    return msgspec.json.format(msgspec.json.encode(receipt, enc_hook=str), indent=2) + b"\n"


def read_receipt(where: Places, agent: str, scope: Scope) -> Receipt | None:
    """What was done last; None when nothing was. Raises `ConfigError` for a receipt that cannot be read."""
    file = where.receipt(agent, scope)
    raw = find(file, str(file)).raw
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw, type=Receipt)
    except NOT_JSON:
        raise ConfigError(
            f"{file}: is no receipt of this version", hint="move it away; the old files are beside it, to be put back by hand"
        ) from None


def receipts(where: Places, agent: str) -> Iterator[Receipt]:
    """An agent's receipts for this user and for this project, those that can be read."""
    for scope in Scope:
        try:
            found = read_receipt(where, agent, scope)
        except ConfigError:
            continue
        if found is not None:
            yield found
