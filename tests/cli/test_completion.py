from __future__ import annotations

from pathlib import Path

import click
import pytest

from relight.cli.completion import completion, model_names
from relight.cli.main import run


@pytest.mark.parametrize(
    ("shell", "sign"),
    [("bash", "complete -o nosort -F"), ("zsh", "#compdef relight"), ("fish", "complete --no-files --command relight")],
)
def test_completion_prints_the_script_of_the_shell(shell: str, sign: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    told = capsys.readouterr()
    assert sign in told.out
    assert "_RELIGHT_COMPLETE" in told.out
    assert told.err == ""


def test_completion_answers_what_the_script_asks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("_RELIGHT_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "relight config s")
    monkeypatch.setenv("COMP_CWORD", "2")
    with pytest.raises(SystemExit) as left:
        run([])
    assert left.value.code == 0
    assert capsys.readouterr().out.split() == ["plain,schema", "plain,show"]


def test_completion_of_another_shell_is_a_usage_error() -> None:
    assert run(["completion", "tcsh"]) == 2


def names(file: Path, incomplete: str) -> list[str]:
    context = click.Context(completion)
    context.params = {"config_file": str(file)}
    return model_names(context, completion.params[0], incomplete)


def test_model_names_come_from_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "relight.toml"
    file.write_text("[models.smol]\n[models.small]\n[models.big]\n", encoding="utf-8")
    assert names(file, "sm") == ["smol", "small"]


@pytest.mark.parametrize("text", [None, "not toml", "models = 3", "[server]"])
def test_model_names_are_none_when_the_file_cannot_tell(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "relight.toml"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    assert names(file, "") == []
