from __future__ import annotations

from pathlib import Path

import pytest

from relight.cli.init import service_name
from relight.cli.main import run
from relight.config.keys import KEYS_VARIABLE
from relight.config.load import load

EXAMPLE = Path(__file__).parents[2] / "examples" / "portfolio" / "relight.toml"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "My Portfolio"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_init_writes_a_file_that_loads_and_serves_the_same_model_as_the_example(folder: Path) -> None:
    assert run(["init"]) == 0
    config = load(folder / "relight.toml", environ={}).config
    assert config.service.name == "my-portfolio"
    assert config.models == load(EXAMPLE, environ={}).config.models
    assert config.default_model() == "smol"


def test_init_shows_the_lines_that_turn_keys_on(folder: Path) -> None:
    assert run(["init"]) == 0
    text = (folder / "relight.toml").read_text(encoding="utf-8")
    (folder / "relight.toml").write_text(text.replace("#[auth]", "[auth]").replace("#keys", "keys"), encoding="utf-8")
    assert load(folder / "relight.toml", environ={}).config.auth.keys.secret == KEYS_VARIABLE


def test_init_says_what_to_do_next(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["init", "other file.toml"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("wrote other file.toml\n")
    assert "relight models pull --config 'other file.toml'" in out
    assert "relight serve --config 'other file.toml'" in out


def test_init_leaves_a_file_that_is_there_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = folder / "relight.toml"
    file.write_text("mine", encoding="utf-8")
    assert run(["init"]) == 2
    assert file.read_text(encoding="utf-8") == "mine"
    assert capsys.readouterr().err == (
        "error: relight.toml: is there already; choose another name, or overwrite it with --force\n"
    )


def test_init_with_force_replaces_the_file_and_leaves_nothing_else(folder: Path) -> None:
    file = folder / "relight.toml"
    file.write_text("mine", encoding="utf-8")
    assert run(["init", "--force"]) == 0
    assert "[models.smol]" in file.read_text(encoding="utf-8")
    assert list(folder.iterdir()) == [file]


@pytest.mark.parametrize(
    ("name", "service"),
    [
        ("My Site!", "my-site"),
        ("2024-shop", "shop"),
        ("---", "relight"),
        ("x" * 60, "x" * 49),
        ("été", "t"),
        ("a" * 48 + "-b", "a" * 48),
    ],
)
def test_service_name_is_made_of_the_folder(tmp_path: Path, name: str, service: str) -> None:
    assert service_name(tmp_path / name / "relight.toml") == service
