"""Which versions of the clients are run, where they are, and why one is not there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_FILE = Path(__file__).with_name("pins.txt")


@dataclass(frozen=True, slots=True)
class Pin:
    """One client in one version; `registry` is npm or pypi."""

    name: str
    registry: str
    package: str
    version: str
    program: str

    @property
    def folder(self) -> Path:
        """Where `scripts/setup-agents` puts it."""
        return cache() / f"{self.name}-{self.version}"

    @property
    def lacking(self) -> str | None:
        """Why it cannot be run; `None` when it can."""
        if (self.folder / ".ready").exists():
            return None
        reason = self.folder.with_name(f"{self.folder.name}.missing")
        said = (
            reason.read_text(encoding="utf-8").strip().partition("\n")[0]
            if reason.exists()
            else "scripts/setup-agents installs it"
        )
        return f"{self.name} {self.version} is not installed: {said}"


def cache() -> Path:
    """The folder of all clients, as the script knows it."""
    kept = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("RELIGHT_AGENTS") or kept / "relight" / "agents")


def read_pins() -> Mapping[str, Pin]:
    """By name."""
    lines = _FILE.read_text(encoding="utf-8").splitlines()
    pins = [Pin(*line.split()) for line in lines if line and not line.startswith("#")]
    return {pin.name: pin for pin in pins}
