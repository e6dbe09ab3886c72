from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from relight.cli.config import starred
from relight.cli.main import run

DEMO = '[service]\nname = "demo-service"\n\n[models.demo]\nengine = "scripted"\nargs = ["--api-key=s3cret", "tokens=[bold]"]\n'


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PORT", raising=False)
    path = tmp_path / "relight.toml"
    path.write_text(DEMO, encoding="utf-8")
    return path


def test_show_prints_every_value_with_its_origin(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELIGHT_MODELS__DEMO__IDLE_AFTER", "30s")
    assert run(["config", "show"]) == 0
    rows = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert rows["service.name"] == ['"demo-service"', "relight.toml:2"]
    assert rows["models.demo.idle_after"] == ['"30s"', "RELIGHT_MODELS__DEMO__IDLE_AFTER"]
    assert rows["server.port"] == ["8080", "default"]
    assert rows["service.default_model"] == ["not", "set", "default"]
    assert rows["models.demo.args"] == ['["--api-key=***",', '"tokens=[bold]"]', "relight.toml:6"]


def test_show_as_json_holds_the_same_values_typed(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "show", "--json", "--config", "relight.toml"]) == 0
    rows = {row["key"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["server.port"] == {"key": "server.port", "value": 8080, "origin": "default"}
    assert rows["service.name"] == {"key": "service.name", "value": "demo-service", "origin": "relight.toml:2"}
    assert rows["models.demo.wake_timeout"]["value"] == "2m"
    assert rows["models.demo.args"]["value"] == ["--api-key=***", "tokens=[bold]"]
    assert rows["service.default_model"]["value"] is None


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("https://user:pw@example.org/m.gguf", "https://***@example.org/m.gguf"),
        ("https://example.org/m.gguf?X-Amz-Signature=abc&v=1", "https://example.org/m.gguf?X-Amz-Signature=***&v=1"),
        ("https://example.org/a@b.gguf", "https://example.org/a@b.gguf"),
        ("max_tokens=5", "max_tokens=5"),
        (("api_key=x", "n=1"), ["api_key=***", "n=1"]),
        (8080, 8080),
        (None, None),
    ],
)
def test_what_looks_like_a_secret_is_starred(value: object, shown: object) -> None:
    assert starred(value) == shown


def test_check_says_in_a_line_what_is_served(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "check"]) == 0
    assert capsys.readouterr().out == "relight.toml: fine; models: demo; demo answers when none is named\n"


def test_check_of_two_models_without_a_default_says_that_requests_must_name_one(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(DEMO + '[models.other]\nengine = "scripted"\n', encoding="utf-8")
    assert run(["config", "check"]) == 0
    assert "models: demo, other; requests have to name one" in capsys.readouterr().out


def test_check_takes_models_that_others_keep(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(
        """
        [models.lib]
        engine = "ollama"
        source = "ollama:hub.example/user/tiny:1b"
        [models.hub]
        engine = "vllm"
        source = "hf:acme/tiny"
        [models.cloud]
        url = "https://api.example.org/v1"
        api_key = { secret = "A_KEY_THAT_IS_NOT_SET" }
        [models.best]
        fallback = ["lib", "cloud"]
        """,
        encoding="utf-8",
    )
    assert run(["config", "check"]) == 0
    assert "fine; models: lib, hub, cloud, best; requests have to name one" in capsys.readouterr().out


def test_check_reads_the_reference_of_weights_that_are_kept_here(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text('[models.smol]\nsource = "hf:nobody"\n', encoding="utf-8")
    assert run(["config", "check"]) == 3
    assert "relight.toml: models.smol.source: should be hf:OWNER/REPO/FILE" in capsys.readouterr().err


def test_check_prints_every_problem_and_exits_with_3(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(DEMO + 'idle_after = "10 mins"\n[server]\nprot = 1\n', encoding="utf-8")
    assert run(["config", "check"]) == 3
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines() == [
        'error: relight.toml:7: models.demo.idle_after: should be a duration like "10m" or "90s", got "10 mins"',
        'relight.toml:9: server.prot: unknown key; did you mean "port"?',
    ]


def test_check_without_a_file_points_to_init(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["config", "check"]) == 3
    assert capsys.readouterr().err == "error: relight.toml: no such file; make one with: relight init\n"


def test_schema_prints_json_and_example_prints_toml(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "relight.toml"
    assert run(["config", "example"]) == 0
    assert "smol" in tomllib.loads(capsys.readouterr().out)["models"]
