"""What is read of a configuration before it is really read."""

from __future__ import annotations

from pathlib import Path

import pytest

from relight.cli.early import bind, skim, wants_early


def test_only_the_server_section_is_skimmed(tmp_path: Path) -> None:
    file = tmp_path / "relight.toml"
    file.write_text(
        '[models.a]\nport = 1\n[server] # here\nport = 9000  # a comment\nhost = "::1"\npublic=true\n[log]\nport = 2\n'
    )
    assert skim(str(file)) == {"port": "9000", "host": "::1", "public": "true"}


@pytest.mark.parametrize("text", ["", "[server]\nport = 0\n"])
def test_loopback_port_is_bound_before_anything_is_checked(tmp_path: Path, text: str) -> None:
    file = tmp_path / "relight.toml"
    file.write_text(text)
    bound = bind(["--config", str(file), "--port", "0"])
    assert bound is not None
    with bound:
        assert bound.getsockname()[0] == "127.0.0.1"


@pytest.mark.parametrize("argv", [["--host", "192.0.2.1"], ["--port", "many"], ["--config=/nonexistent/relight.toml"]])
def test_what_may_be_wrong_is_left_to_the_real_reading(tmp_path: Path, argv: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "relight.toml").write_text("[server]\nport = 0\n")
    assert bind(argv) is None


def test_public_address_is_bound_early_only_when_the_file_allows_it(tmp_path: Path) -> None:
    file = tmp_path / "relight.toml"
    file.write_text('[server]\nhost = "0.0.0.0"\nport = 0\n')
    assert bind(["-c", str(file)]) is None
    file.write_text('[server]\nhost = "0.0.0.0"\nport = 0\npublic = true\n')
    bound = bind(["-c", str(file)])
    assert bound is not None
    bound.close()


def test_help_is_not_a_reason_to_bind() -> None:
    assert wants_early(["relight", "serve", "--port", "0"])
    assert not wants_early(["relight", "serve", "--help"])
    assert not wants_early(["relight", "chat"])
