"""`relight prefixes record --agent`: an agent's own beginning in a file that `relight bake` finds, without a user's words."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from relight.agents.catalog import AGENTS
from relight.agents.receipt import Receipt, packed, places
from relight.agents.wiring import Scope
from relight.bridge.recorder import Recording, Request
from relight.cli.headless import _ASKED_BY, QUESTION, start_of
from relight.cli.prefixes import prefixes
from relight.cli.recording import as_connected, folder_of, keep, model_for, started
from relight.config.load import Loaded, load
from relight.errors import UsageError
from tests.bridge.test_recorder import AGENT
from tests.clients.conftest import SOURCE
from tests.serve.process import free_port, weights_of

CONFIG = """
[service]
name = "probe"
[models.smol]
source = "file:m.gguf"
context = 8192
[models.far]
url = "https://api.example.com/v1"
[prefixes]
{prefixes}
"""
PRIVATE = "my very private words"


def configured(folder: Path, prefixes: str = 'bake = ["prefixes/*.json"]') -> Loaded:
    (folder / "relight.toml").write_text(CONFIG.format(prefixes=prefixes))
    return load(folder / "relight.toml")


def run(folder: Path, *args: str) -> Result:
    command = ["record", "--agent", "probe-agent", "--model", "smol", "-c", str(folder / "relight.toml"), *args]
    return CliRunner().invoke(prefixes, command, catch_exceptions=False)


def run_agent(folder: Path, *args: str) -> Result:
    (folder / "agent.py").write_text(AGENT)
    return run(folder, "--run", f"{sys.executable} {folder / 'agent.py'}", "--env", "AGENT_URL={v1}", *args)


@pytest.mark.real
def test_beginning_is_written_where_bake_looks_and_the_users_words_are_not(tmp_path: Path) -> None:
    configured(tmp_path)
    done = run_agent(tmp_path)

    text = (tmp_path / "prefixes/probe-agent-smol.json").read_text()
    body = json.loads(text)
    assert done.exit_code == 0, done.output
    assert PRIVATE not in text
    assert (body["model"], [one["role"] for one in body["messages"]]) == ("smol", ["system"])
    assert body["messages"][0]["content"].startswith("You are an agent.")
    assert [tool["function"]["name"] for tool in body["tools"]] == ["write"]
    assert "1 tool" in done.stderr
    assert done.stderr.endswith("now: relight bake\n")


@pytest.mark.real
def test_programs_are_told_what_was_kept(tmp_path: Path) -> None:
    configured(tmp_path, prefixes='bake = ["kept/*.json"]')
    found = json.loads(run_agent(tmp_path, str(tmp_path / "prefixes"), "--json").stdout)

    assert (found["agent"], found["model"], found["tools"], found["requests"]) == ("probe-agent", "smol", 1, 2)
    assert found["tokens"] == found["size"] // 4 > 200
    assert (found["path"], found["is_baked"]) == (str(tmp_path / "prefixes/probe-agent-smol.json"), False)


@pytest.mark.real
def test_file_that_bake_does_not_find_by_itself_is_named(tmp_path: Path) -> None:
    configured(tmp_path)
    done = run_agent(tmp_path, str(tmp_path / "elsewhere"))

    assert (tmp_path / "elsewhere/probe-agent-smol.json").is_file()
    assert f"now: relight bake {tmp_path}/elsewhere/probe-agent-smol.json" in done.stderr


def main_request(path: str, body: dict[str, Any]) -> Recording:
    return Recording((Request(path, body, 1000, "agent/1"),))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (
            "/v1/messages",
            {
                "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
                "messages": [{"role": "user", "content": PRIVATE}],
                "tools": [{"name": "write", "input_schema": {"type": "object"}}],
                "max_tokens": 10,
            },
        ),
        (
            "/v1/responses",
            {
                "input": [
                    {"role": "developer", "content": [{"type": "input_text", "text": "Be brief."}]},
                    {"role": "user", "content": [{"type": "input_text", "text": PRIVATE}]},
                ],
                "tools": [{"type": "function", "name": "write", "parameters": {"type": "object"}}],
            },
        ),
    ],
)
def test_every_dialect_is_kept_as_the_engine_is_asked(tmp_path: Path, path: str, body: dict[str, Any]) -> None:
    kept = keep(main_request(path, body), "probe", "smol", configured(tmp_path))

    text = Path(kept.path).read_text()
    said = json.loads(text)
    assert PRIVATE not in text
    assert "Be brief." in json.dumps(said["messages"])
    assert said["tools"][0]["function"]["name"] == "write"


def test_agent_without_anything_to_share_is_said(tmp_path: Path) -> None:
    body = {"messages": [{"role": "user", "content": PRIVATE}]}
    with pytest.raises(UsageError, match="neither a system message nor tools"):
        keep(main_request("/v1/chat/completions", body), "probe", "smol", configured(tmp_path))


@pytest.mark.parametrize(
    ("patterns", "folder"),
    [
        ("", "prefixes"),
        ('bake = ["kept/here/*.json"]', "kept/here"),
        ('bake = ["*/x.json", "b/*.json"]', "b"),
        ('bake = ["*.json"]', "."),
    ],
)
def test_folder_is_where_bake_looks(tmp_path: Path, patterns: str, folder: str) -> None:
    assert folder_of(configured(tmp_path, patterns)) == tmp_path / folder


@pytest.mark.parametrize("name", ["far", "none"])
def test_model_whose_prompts_cannot_be_kept_is_said(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="record: "):
        model_for(name, configured(tmp_path))


@pytest.mark.parametrize(("run", "env"), [("", ()), ("a 'b", ()), ("a", ("NAME",))])
def test_command_that_cannot_be_read_is_said(run: str, env: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match=r"^--"):
        started(run, env)


def test_no_folder_and_no_agent_is_said(tmp_path: Path) -> None:
    configured(tmp_path)
    with pytest.raises(UsageError, match="no folder is named"):
        CliRunner().invoke(prefixes, ["record", "-c", str(tmp_path / "relight.toml")], catch_exceptions=False)


# --- an agent that was connected


QWEN = """#!{python}
import json, os, pathlib, sys, openai
settings = json.loads((pathlib.Path.home() / ".qwen/settings.json").read_text())
(model,) = settings["modelProviders"]["openai"]
client = openai.OpenAI(base_url=model["baseUrl"], api_key=os.environ[model["envKey"]], max_retries=0)
said = [{{"role": "system", "content": "I am the agent of this machine."}}, {{"role": "user", "content": sys.argv[-1]}}]
tool = {{"type": "function", "function": {{"name": "write", "parameters": {{"type": "object", "properties": {{}}}}}}}}
client.chat.completions.create(model=model["id"], messages=said, tools=[tool])
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, with a qwen on its PATH, in which nobody is connected; returns the folder of the service."""
    home, program = tmp_path / "home", tmp_path / "bin" / "qwen"
    program.parent.mkdir()
    program.write_text(QWEN.format(python=sys.executable))
    program.chmod(0o755)
    (tmp_path / "service").mkdir()
    home.mkdir()
    for name, text in {
        "HOME": home,
        "XDG_STATE_HOME": home / "state",
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
    }.items():
        monkeypatch.setenv(name, str(text))
    monkeypatch.delenv("RELIGHT_KEY", raising=False)
    monkeypatch.chdir(tmp_path / "service")
    return tmp_path / "service"


def connect_qwen(url: str, *options: str) -> None:
    from relight.cli.connect import connect

    command = ["qwen-code", "--url", url, "--model", "smol", "--key-variable", "RELIGHT_KEY", "--yes", *options]
    done = CliRunner().invoke(connect, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output


def receipt_of(slug: str, url: str) -> Receipt:
    agent = AGENTS[slug]
    scope = agent.scopes[0] if agent.scopes else Scope.USER
    return Receipt(agent=slug, scope=scope, url=url, model="smol", is_slim=False, at="", files=())


@pytest.mark.real
def test_connected_agent_is_recorded_in_its_own_set_up(machine: Path) -> None:
    configured(machine)
    connect_qwen(f"http://127.0.0.1:{free_port()}")
    command = ["record", "--agent", "qwen-code", "-c", str(machine / "relight.toml"), "--json"]
    done = CliRunner().invoke(prefixes, command, catch_exceptions=False)

    found = json.loads(done.stdout)
    assert (found["agent"], found["model"], found["tools"], found["is_baked"]) == ("qwen-code", "smol", 1, True)
    text = Path(found["path"]).read_text()
    assert "I am the agent of this machine." in text
    assert "Say done." not in text


@pytest.mark.real
def test_connect_can_record_by_itself(machine: Path) -> None:
    configured(machine)
    connect_qwen(f"http://127.0.0.1:{free_port()}", "--record")

    assert "I am the agent of this machine." in (machine / "prefixes/qwen-code-smol.json").read_text()


def test_port_where_the_service_still_answers_is_said(machine: Path) -> None:
    configured(machine)
    port = free_port()
    with socket.create_server(("127.0.0.1", port)), pytest.raises(UsageError, match="something serves at") as told:
        connect_qwen(f"http://127.0.0.1:{port}", "--record")
    assert "stop it for that moment" in (told.value.hint or "")
    assert not (machine.parent / "home/.qwen").exists()  # said before anything is written


def test_agent_that_is_connected_elsewhere_is_said(machine: Path) -> None:
    receipt = receipt_of("qwen-code", "https://probe.run.app")
    file = places().receipt("qwen-code", receipt.scope)
    file.parent.mkdir(parents=True)
    file.write_bytes(packed(receipt))
    with pytest.raises(UsageError, match="not on this machine") as told:
        as_connected("qwen-code", os.environ)
    assert "bridge" in (told.value.hint or "")


def test_agent_that_is_not_connected_is_said(machine: Path) -> None:
    assert as_connected("qwen-code", os.environ) is None
    assert as_connected("no-such-agent", os.environ) is None


@pytest.mark.parametrize("slug", [slug for slug, agent in AGENTS.items() if agent.version_command and slug in _ASKED_BY])
def test_every_agent_is_asked_one_question_in_its_own_words(slug: str) -> None:
    start = start_of(AGENTS[slug], receipt_of(slug, "http://127.0.0.1:1"), {"RELIGHT_KEY": "rl_mine"})

    assert QUESTION in start.command
    assert start.env["RELIGHT_KEY"] == "rl_mine"
    assert not [text for text in start.env.values() if text.startswith("$")]


# --- and baked


@pytest.mark.real
def test_recorded_beginning_is_baked_at_once(tmp_path: Path) -> None:
    text = CONFIG.replace('source = "file:m.gguf"', f'source = "{SOURCE}"').replace("context = 8192", "context = 2048")
    (tmp_path / "relight.toml").write_text(text.format(prefixes='bake = ["prefixes/*.json"]'))
    weights_of(tmp_path / "relight.toml")
    (baked,) = json.loads(run_agent(tmp_path, "--bake", "--json").stdout)

    assert (baked["name"], baked["model"], baked["state"]) == ("probe-agent-smol", "smol", "made")
    assert baked["tokens"] > 200
