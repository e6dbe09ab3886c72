"""Versions of agents, asked of real programs on a PATH of the test's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from relight.agents.version import Installed, all_installed, installed, is_tested, warning
from relight.agents.wiring import Endpoint, Scope, Wiring


@dataclass
class Probe:
    """An agent of which only the version matters."""

    version_command: tuple[str, ...] = ("probe", "--version")
    tested: tuple[str, ...] = ("1.18", "2.0.3")
    slug: str = "probe"
    name: str = "Probe"
    dialect: str = "chat"
    scopes: tuple[Scope, ...] = ()
    context_need: int = 1000
    slim_need: int | None = None

    def wire(self, endpoint: Endpoint, scope: Scope, *, is_slim: bool) -> Wiring:
        return Wiring()


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def program(folder: Path, script: str) -> None:
    file = folder / "probe"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


@pytest.mark.parametrize(
    ("script", "version"),
    [
        ("echo 1.18.33", "1.18.33"),
        ("echo 'probe v2.0.3'", "2.0.3"),
        ("echo 'aider 0.86.2.dev1 (python 3.12)'", "0.86.2.dev1"),
        ("echo 0.169.0 >&2", "0.169.0"),
        ("echo 2.1.330 '(Claude Code)'", "2.1.330"),
        ("echo unknown", None),
    ],
)
def test_version_is_what_the_program_says(programs: Path, script: str, version: str | None) -> None:
    program(programs, script)
    assert installed(Probe()) == Installed(is_here=True, version=version)


def test_program_that_is_not_there_or_fails_is_not_installed(programs: Path) -> None:
    assert installed(Probe()) == Installed(is_here=False)
    program(programs, "echo 1.0.0; exit 1")
    assert installed(Probe()) == Installed(is_here=False)


def test_program_that_never_answers_is_there_without_a_version(programs: Path) -> None:
    program(programs, "exec /bin/sleep 60")
    assert installed(Probe(), patience_s=0.1) == Installed(is_here=True)


def test_agent_without_a_command_leaves_it_open() -> None:
    assert all_installed([Probe(version_command=())]) == [Installed(None)]


@pytest.mark.parametrize(
    ("version", "known"),
    [("1.18.33", True), ("1.18", True), ("1.180.0", False), ("2.0.3", True), ("2.0.30", False), ("2.0.3-rc1", True)],
)
def test_version_is_known_with_all_of_its_kind(version: str, known: bool) -> None:
    assert is_tested(version, ("1.18", "2.0.3")) is known


def test_warning_names_both_versions() -> None:
    probe = Probe()
    assert warning(probe, Installed(is_here=True, version="1.18.2")) is None
    assert warning(probe, Installed(None)) is None
    assert warning(probe, Installed(is_here=True, version="9.0")) == "Probe: written for 1.18, 2.0.3, found 9.0: unknown version"
    assert warning(probe, Installed(is_here=False)) == "Probe is not installed here (probe is not on the PATH)"
