"""`relight check` as a user calls it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from relight.access.keys import create
from relight.cli.check import check, key_for, where
from relight.errors import ConfigError, ExitCode, UsageError
from tests.serve.process import PATIENCE_S, Served, free_port, serve, write_config


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    config = write_config(tmp_path_factory.mktemp("checked"), model="context = 32768\nparallel = 2")
    with serve(config) as running:
        yield running


def run(*args: str) -> int:
    """The exit code of `relight check ARGS`."""
    code: Any = check.main(args=list(args), prog_name="relight check", standalone_mode=False)
    return int(code or 0)


def test_table_says_what_was_seen_and_which_agents_will_work(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(served.base, "--agent", "aider", "--quick")
    out = capsys.readouterr().out
    assert code == ExitCode.OK
    assert f"{served.base}, model toy, context 32,768 tokens" in out
    assert "chat.stream" in out
    assert "messages.stream" not in out  # an agent is asked about in its own dialect
    assert [line.split(maxsplit=2)[2].strip() for line in out.splitlines() if line.strip().startswith("Aider ")] == ["will work"]
    assert "Codex" not in out


def test_quick_asks_one_dialect_and_says_for_whom_another_is_to_be_asked(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    run(served.base, "--quick")
    out = capsys.readouterr().out
    assert "chat.stream" in out
    assert "messages.stream" not in out
    assert "OpenCode" in out
    (told,) = [line for line in out.splitlines() if line.startswith("one dialect was asked, chat, which ")]
    assert "--dialect responses (Codex)" in told
    assert "--dialect messages (Claude Code, " in told


def test_quick_asks_the_dialect_of_the_agents_that_are_wanted(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    run(served.base, "--quick", "--agent", "codex", "--agent", "claude-code", "--json")
    assert json.loads(capsys.readouterr().out)["dialects"] == ["responses"]
    run(served.base, "--quick", "--dialect", "messages", "--dialect", "ollama", "--json")
    assert json.loads(capsys.readouterr().out)["dialects"] == ["messages", "ollama"]


def test_one_check_prints_no_verdict_of_agents_that_were_not_asked_about(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(served.base, "--only", "errors.model") == ExitCode.OK
    out = capsys.readouterr().out
    assert "chat.errors.model" in out
    assert "OpenCode" not in out
    assert "no agent is judged" in out
    assert run(served.base, "--only", "chat.extras", "--agent", "opencode") == ExitCode.OK
    assert "not judged, for not all that they need was asked: OpenCode" in capsys.readouterr().out


def test_json_holds_evidence_for_every_check(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(served.base, "--dialect", "chat", "--only", "errors.model", "--only", "chat.extras", "--json") == ExitCode.OK
    report = json.loads(capsys.readouterr().out)
    found = {finding["check"]: finding for finding in report["findings"]}
    assert [name for name in found if name.startswith("chat.")] == [
        "chat.plain",
        "chat.stream",
        "chat.extras",
        "chat.errors.model",
    ]
    assert found["chat.errors.model"]["status"] == "PASS"
    assert found["chat.errors.model"]["sent"].startswith("POST /v1/chat/completions")
    assert found["chat.errors.model"]["came"].startswith("404 {")
    assert report["is_complete"] is True
    assert report["context"] == 32768


def test_what_failed_is_told_with_what_was_sent_what_came_who_breaks_and_what_to_do(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    # The scripted engine has no grammar, so a demanded call does not come.
    assert run(served.base, "--dialect", "chat", "--only", "tools.required") == ExitCode.FOUND
    told = capsys.readouterr().out.split("chat.tools.required: ")[-1].splitlines()
    assert [line.split()[0] for line in told[1:5]] == ["sent", "came", "breaks", "do"]
    assert "tool_choice required" in told[1]


def test_unreachable_server_is_an_error_of_the_network(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(f"http://127.0.0.1:{free_port()}") == ExitCode.NETWORK
    out = capsys.readouterr().out
    assert "relight serve" in out
    assert "Agents" not in out


def test_service_of_the_configuration_is_checked_when_no_address_is_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    file = tmp_path / "relight.toml"
    file.write_text(f'[service]\nname = "x"\n[server]\nport = {port}\n[models.toy]\nengine = "scripted"\n', encoding="utf-8")
    assert run("-c", str(file), "--json") == ExitCode.NETWORK
    assert json.loads(capsys.readouterr().out)["url"] == f"http://127.0.0.1:{port}"


def test_usual_address_is_asked_where_there_is_no_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = where(None, "relight.toml")
    assert found.url == "http://127.0.0.1:8080"
    assert "there is no relight.toml" in found.said
    assert where("127.0.0.1:9", "relight.toml").said == ""


def test_configuration_that_is_named_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        where(None, str(tmp_path / "other.toml"))


def test_port_that_nobody_knows_is_refused_with_what_to_do(tmp_path: Path) -> None:
    file = write_config(tmp_path)
    with pytest.raises(UsageError) as caught:
        where(None, str(file))
    assert caught.value.hint == "name the address that relight serve prints: relight check URL"


def test_key_does_not_go_in_the_clear_to_an_address_that_only_a_file_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "relight.toml"
    file.write_text('[server]\nhost = "192.0.2.1"\npublic = true\n[models.toy]\nengine = "scripted"\n', encoding="utf-8")
    found = where(None, str(file))
    assert found.url == "http://192.0.2.1:8080"
    assert not found.may_have_key
    assert where("http://192.0.2.1:8080", str(file)).may_have_key
    monkeypatch.setenv("RELIGHT_KEY", "rl_0123456789")
    assert key_for(found, None) is None
    assert "RELIGHT_KEY stays here" in capsys.readouterr().err


def test_key_comes_from_the_variable_that_is_named_and_is_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    key, entry = create("laptop", "2026-11-22")
    config = write_config(tmp_path, model='[auth]\nkeys = { secret = "TEST_KEYS" }\n')
    monkeypatch.setenv("MY_KEY", key)
    with serve(config, env={"TEST_KEYS": str(entry)}) as locked:
        assert run(locked.base, "--dialect", "chat", "--only", "errors.key", "--key-variable", "MY_KEY", "--json") == ExitCode.OK
        shown = capsys.readouterr()
        assert '"chat.errors.key"' in shown.out
        assert key not in shown.out + shown.err
        monkeypatch.setenv("MY_KEY", "sk-another-0123456789")
        assert run(locked.base, "--key-variable", "MY_KEY") == ExitCode.FOUND
        assert "MY_KEY" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("http://a.example", "--agent", "nobody"), 'no agent is called "nobody"'),
        (("http://a.example", "--only", "nothing"), 'no check is called "nothing"'),
        (("http://me:secret@a.example",), "the address holds more"),
        (("http://a.example", "--only", "chat.wake"), 'no check is called "chat.wake"'),
        (("http://a.example", "--key-variable", "NOT_THERE_AT_ALL"), "NOT_THERE_AT_ALL is not set"),
        (("http://a.example", "--key-variable", "sk-0123456789"), "what was named is not set"),
    ],
)
def test_wrong_call_is_refused_before_anything_is_asked(args: tuple[str, ...], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        run(*args)
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "sk-0123" not in str(caught.value)


def test_time_that_is_none_is_refused() -> None:
    with pytest.raises(click.BadParameter):
        run("http://a.example", "--timeout", "soon")


@pytest.mark.real
def test_interrupt_prints_what_is_known_so_far() -> None:
    arrived = threading.Event()
    models = b'{"object": "list", "data": [{"id": "toy"}]}'
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stalling = threading.Thread(target=_stall, args=(listener, models, arrived), daemon=True)
        stalling.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        process = subprocess.Popen(
            [sys.executable, "-c", "from relight.cli.check import check; check()", url, "--dialect", "chat", "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert arrived.wait(PATIENCE_S)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=PATIENCE_S)
    report = json.loads(out)
    assert process.returncode != 0
    assert report["is_complete"] is False
    assert [finding["check"] for finding in report["findings"]][:3] == ["name", "tcp", "tls"]
    assert "chat.plain" not in out


def _stall(listener: socket.socket, models: bytes, arrived: threading.Event) -> None:
    """List a model, and leave every question without an answer."""
    kept = []
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        kept.append(client)
        head = client.recv(65536)
        if head.startswith(b"POST"):
            arrived.set()
        elif head:
            client.sendall(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(models), models)
            )
