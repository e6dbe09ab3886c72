"""A user's home, a project and our notes in a scratch folder, in which an agent is connected as `relight connect` does it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from relight.agents.connect import Ask, Plan, plan
from relight.agents.disk import carry_out
from relight.agents.receipt import Places, Receipt, read_receipt
from relight.agents.undo import Undo, undo
from relight.agents.wiring import Edit, Endpoint, Scope, Wiring

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@dataclass
class Desk:
    """One user at one machine."""

    root: Path
    endpoint: Endpoint = field(default_factory=lambda: Endpoint("http://127.0.0.1:8080", "smol"))

    def __post_init__(self) -> None:
        self.places = Places(self.root / "home", self.root / "project", self.root / "home" / ".local" / "state" / "agents")
        for folder in (self.places.home, self.places.project):
            folder.mkdir()

    def file(self, path: str, text: str | bytes | None = None) -> Path:
        """The file of that path, with `text` if there is one."""
        found = self.places.resolve(path)
        if text is not None:
            found.parent.mkdir(parents=True, exist_ok=True)
            found.write_bytes(text if isinstance(text, bytes) else text.encode())
        return found

    def receipt(self, scope: Scope = Scope.USER) -> Receipt | None:
        return read_receipt(self.places, "probe", scope)

    def plan(self, *edits: Edit, scope: Scope = Scope.USER) -> Plan:
        ask = Ask("probe", self.endpoint, scope, is_slim=False, now=NOW)
        return plan(ask, Wiring(edits=edits), self.places, self.receipt(scope))

    def connect(self, *edits: Edit, scope: Scope = Scope.USER) -> Plan:
        made = self.plan(*edits, scope=scope)
        carry_out(made.changes)
        return made

    def undo(self, scope: Scope = Scope.USER) -> Undo:
        receipt = self.receipt(scope)
        assert receipt is not None
        found = undo(receipt, self.places)
        carry_out(found.changes)
        return found

    def tree(self) -> dict[str, bytes | None]:
        """Every file of the home and the project with its bytes, and every folder; our own notes are left out."""
        return {
            str(path.relative_to(self.root)): path.read_bytes() if path.is_file() else None
            for path in sorted(self.root.rglob("*"))
            if ".local" not in path.parts
        }
