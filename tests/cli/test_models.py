"""`relight models` as a user calls it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from relight.cli.bars import Bars
from relight.cli.main import run
from relight.weights.progress import Phase, Update
from tests.weights.files import gguf, sha256
from tests.weights.server import FileServer

CONTENT = gguf()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with FileServer() as running:
        running.files["/m.gguf"] = CONTENT
        yield running


@pytest.fixture
def config(tmp_path: Path, server: FileServer) -> str:
    path = tmp_path / "relight.toml"
    path.write_text(
        f"""
        [models.smol]
        source = "{server.url}/m.gguf"
        sha256 = "{sha256(CONTENT)}"
        [models.other]
        source = "{server.url}/gone.gguf"
        [models.demo]
        engine = "scripted"
        [weights]
        dir = "store"
        """
    )
    return str(path)


def test_pull_downloads_once_and_then_says_it_is_here(
    config: str, server: FileServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["models", "pull", "smol", "-c", config]) == 0
    assert "smol: downloaded, 864B, llama, 0M parameters, Q4_1, made for 2048 tokens" in capsys.readouterr().err
    assert run(["models", "pull", "smol", "-c", config]) == 0
    assert "smol: already here" in capsys.readouterr().err
    assert len(server.seen) == 1


def test_pull_of_all_goes_on_after_a_failure_and_reports_it(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "pull", "--json", "-c", config]) == 5
    captured = capsys.readouterr()
    outcomes = {outcome["name"]: outcome for outcome in json.loads(captured.out)}
    assert outcomes["smol"] | {"path": ""} == {
        "name": "smol",
        "ok": True,
        "fetched": True,
        "sha256": sha256(CONTENT),
        "size": len(CONTENT),
        "path": "",
        "error": None,
    }
    assert "there is no such file" in outcomes["other"]["error"]
    assert "error: " in captured.err
    assert "demo" not in outcomes


def test_pull_without_a_pin_prints_the_line_to_add(
    tmp_path: Path, server: FileServer, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "relight.toml"
    path.write_text(f'[models.smol]\nsource = "{server.url}/m.gguf"\n[weights]\ndir = "{tmp_path}/w"')
    assert run(["models", "pull", "-c", str(path)]) == 0
    said = capsys.readouterr().err
    assert f'sha256 = "{sha256(CONTENT)}"' in said


def test_pull_of_an_unknown_model_lists_the_known(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "pull", "smoll", "-c", config]) == 2
    assert 'no model is called "smoll"; configured: smol, other, demo' in capsys.readouterr().err


def test_pull_of_a_scripted_model_says_it_needs_none(config: str, server: FileServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "pull", "demo", "-c", config]) == 0
    assert "demo: the scripted engine needs no weights" in capsys.readouterr().err
    assert server.seen == []


def test_list_shows_every_state(config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["models", "pull", "smol", "-c", config])
    capsys.readouterr()
    assert run(["models", "list", "--json", "-c", config]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert {name: row["state"] for name, row in rows.items()} == {"smol": "downloaded", "other": "missing", "demo": None}
    assert (rows["smol"]["size"], rows["smol"]["sha256"]) == (len(CONTENT), sha256(CONTENT))

    Path(rows["smol"]["path"]).rename(Path(rows["smol"]["path"] + ".part"))
    assert run(["models", "list", "-c", config]) == 0
    table = capsys.readouterr().out
    assert "partial" in table
    assert sha256(CONTENT)[:12] in table


MIXED = """
[models.lib]
engine = "ollama"
source = "ollama:tiny:1b"
[models.hub]
engine = "vllm"
source = "hf:acme/tiny"
[models.cloud]
url = "https://api.example.org/v1/?secret=x"
name = "big"
[models.best]
fallback = ["lib", "cloud"]
"""


def test_list_shows_what_answers_where_weights_are_not_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "relight.toml"
    path.write_text(MIXED)
    assert run(["models", "list", "--json", "-c", str(path)]) == 0
    rows = [(row["name"], row["kind"], row["place"], row["state"]) for row in json.loads(capsys.readouterr().out)]
    assert rows == [
        ("lib", "ollama", "ollama:tiny:1b", None),
        ("hub", "vllm", "hf:acme/tiny", None),
        ("cloud", "provider", "https://api.example.org/v1", None),
        ("best", "list", "lib, cloud", None),
    ]
    assert run(["models", "list", "-c", str(path)]) == 0
    table = capsys.readouterr().out
    assert next(line for line in table.splitlines() if "cloud " in line).split() == [
        *("cloud", "provider", "https://api.example.org/v1"),
        *("–", "–", "–", "–"),
    ]


@pytest.mark.parametrize("command", ["pull", "verify"])
def test_command_about_weights_skips_what_is_not_ours_and_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    path = tmp_path / "relight.toml"
    path.write_text(MIXED)
    assert run(["models", command, "--json", "-c", str(path)]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == []
    assert printed.err.splitlines() == [
        "lib: ollama fetches and keeps its models itself, at the first wake",
        "hub: vllm fetches and keeps its models itself, at the first wake",
        "cloud: served by api.example.org, so there is nothing to download",
        "best: a list of other models: lib, cloud",
    ]


def test_pull_for_ollama_of_a_file_downloads_it(tmp_path: Path, server: FileServer, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "relight.toml"
    path.write_text(f'[models.lib]\nengine = "ollama"\nsource = "{server.url}/m.gguf"\n[weights]\ndir = "{tmp_path}/w"')
    assert run(["models", "pull", "-c", str(path)]) == 0
    assert "lib: downloaded" in capsys.readouterr().err


def test_verify_fails_with_one_when_a_byte_changed(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(["models", "pull", "smol", "--json", "-c", config])
    path = Path(json.loads(capsys.readouterr().out)[0]["path"])
    assert run(["models", "verify", "smol", "-c", config]) == 0
    assert f"smol: as it should be, sha256 {sha256(CONTENT)}" in capsys.readouterr().err

    path.write_bytes(CONTENT[:-1] + b"!")
    assert run(["models", "verify", "smol", "-c", config]) == 1
    assert f"sha256 should be {sha256(CONTENT)}, got" in capsys.readouterr().err


def test_bad_reference_is_found_before_anything_is_downloaded(
    tmp_path: Path, server: FileServer, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "relight.toml"
    path.write_text(
        f'[models.a]\nsource = "{server.url}/m.gguf"\n[models.b]\nsource = "hf:nobody"\n[weights]\ndir = "{tmp_path}/w"'
    )
    assert run(["models", "pull", "-c", str(path)]) == 3
    assert "models.b.source: should be hf:OWNER/REPO/FILE" in capsys.readouterr().err
    assert server.seen == []


# --- progress ---------------------------------------------------------------------------------------------------


def test_progress_off_a_terminal_is_a_line_every_ten_seconds() -> None:
    text, hands = io.StringIO(), [0.0]
    with Bars(Console(file=text, width=100), now=lambda: hands[0]) as bars:
        report = bars.report("smol")
        for hands[0], done in ((0.0, 0), (4.0, 1024), (11.0, 2048)):
            report(Update(Phase.DOWNLOAD, done, 4096))
    assert text.getvalue().splitlines() == ["smol: downloading 0B of 4KiB", "smol: downloading 2KiB of 4KiB, 186B/s"]


def test_progress_on_a_terminal_is_a_bar_with_rate_and_rest() -> None:
    text = io.StringIO()
    with Bars(Console(file=text, width=120, force_terminal=True)) as bars:
        report = bars.report("smol")
        report(Update(Phase.DOWNLOAD, 0, 4096))
        report(Update(Phase.DOWNLOAD, 2048, 4096))
        bars.say("smol: [b]downloaded")
    assert "smol: downloading" in text.getvalue()
    assert "━" in text.getvalue()
    assert "smol: [b]downloaded" in text.getvalue()
