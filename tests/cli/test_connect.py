"""`relight connect` on real files in a home of its own, against the stand-in front door, a real one, and none."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from relight.agents.catalog import AGENTS
from relight.agents.receipt import places
from relight.agents.wiring import Scope
from relight.cli import main
from relight.cli.connect import agent_names, connect
from relight.cli.main import run
from relight.errors import ExitCode
from tests.serve.process import serve, write_config
from tests.serve.stand_in import StandIn, running

CONFIG = """
[server]
port = 9
[models.vectors]
engine = "scripted"
task = "embed"
[models.smol]
engine = "scripted"
context = 65536
[models.tiny]
engine = "scripted"
context = 4096
"""
OPENCODE = ".config/opencode/opencode.json"
KEY = "rl_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"
RUN = """
import sys
from relight.cli import main
main._COMMANDS["connect"] = "relight.cli.connect:connect"
sys.exit(main.run(sys.argv[1:]))
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home and a project, with a configuration whose service does not run, and no agent installed."""
    found, project, programs = tmp_path / "home", tmp_path / "project", tmp_path / "bin"
    for folder in (found, project, programs):
        folder.mkdir()
    (project / "relight.toml").write_text(CONFIG)
    monkeypatch.chdir(project)
    monkeypatch.setenv("HOME", str(found))
    monkeypatch.setenv("PATH", str(programs))
    for name in ("XDG_STATE_HOME", "RELIGHT_KEY", "RELIGHT_KEYS", "PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(main._COMMANDS, "connect", "relight.cli.connect:connect")
    return found


@pytest.fixture
def site() -> Iterator[StandIn]:
    with running(StandIn(vectors=("vectors",), models=("smol", "other"))) as stand_in:
        yield stand_in


def connected(
    *options: str, capsys: pytest.CaptureFixture[str], agent: str = "opencode", code: int = ExitCode.OK
) -> dict[str, Any]:
    """What `--json` says of a connection that is made."""
    assert run(["connect", agent, "--yes", "--json", *options]) == code
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def of_agents(folder: Path) -> dict[str, bytes]:
    """The same without our own notes."""
    return {path: raw for path, raw in files(folder).items() if not path.startswith(".local/state/relight/")}


def install(home: Path, program: str, said: str) -> None:
    """Put a program on the PATH that says `said`, whatever it is asked."""
    file = home.parent / "bin" / program
    file.write_text(f"#!/bin/sh\necho '{said}'\n")
    file.chmod(0o755)


# --- the list ---------------------------------------------------------------------------------------------------------


def test_agents_are_listed_with_what_is_installed_and_connected(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install(home, "opencode", "1.20.0")
    connected(capsys=capsys)
    assert run(["connect", "--json"]) == ExitCode.OK
    rows = {row["agent"]: row for row in json.loads(capsys.readouterr().out)}
    assert list(rows) == list(AGENTS)
    assert (rows["opencode"]["installed"], rows["opencode"]["version"]) == (True, "1.20.0")
    (link,) = rows["opencode"]["connections"]
    assert (rows["opencode"]["state"], link["url"], link["model"], link["scope"]) == (
        "connected", "http://127.0.0.1:9", "smol", "user",
    )  # fmt: skip
    assert (rows["qwen-code"]["installed"], rows["qwen-code"]["state"]) == (False, "not connected")
    assert rows["langchain"]["state"] is None  # nothing of it is in a file
    assert run(["connect"]) == ExitCode.OK
    table = capsys.readouterr().out
    assert all(slug in table for slug in AGENTS)
    assert "connected: smol at http://127.0.0.1:9 (user)" in table


def states(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """How OpenCode stands: in the list for programs, and in that for people."""
    assert run(["connect", "--json"]) == ExitCode.OK
    rows = {row["agent"]: row for row in json.loads(capsys.readouterr().out)}
    assert run(["connect"]) == ExitCode.OK
    return rows["opencode"]["state"], capsys.readouterr().out


def test_list_says_when_somebody_has_set_something_else(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    connected(capsys=capsys)
    file = home / OPENCODE
    file.write_text(file.read_text().replace('"relight/smol"', '"mine"', 1))
    state, table = states(capsys)
    assert state == "changed"
    assert "changed: smol at http://127.0.0.1:9 (user)" in table
    assert "opencode: ~/.config/opencode/opencode.json: model says something else" in table
    file.unlink()
    assert states(capsys)[0] == "changed"


def test_list_says_when_a_file_cannot_be_read_any_more(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    connected(capsys=capsys)
    (home / OPENCODE).write_text("{ broken")
    state, table = states(capsys)
    assert state == "broken"
    assert "broken: smol at http://127.0.0.1:9 (user)" in table
    assert "opencode: ~/.config/opencode/opencode.json:1:3: is not JSON" in table


def test_list_says_when_our_own_note_cannot_be_read(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    connected(capsys=capsys)
    places().receipt("opencode", Scope.USER).write_text("{}")
    state, table = states(capsys)
    assert state == "broken"
    assert "is no receipt of this version" in table


def test_list_says_when_it_is_connected_with_another_service(capsys: pytest.CaptureFixture[str]) -> None:
    connected("--url", "http://127.0.0.1:8787", "--model", "smol", capsys=capsys)
    state, table = states(capsys)
    assert state == "elsewhere"
    assert "elsewhere: smol at http://127.0.0.1:8787 (user)" in table
    Path("relight.toml").unlink()  # without a service of this folder there is no other one
    assert states(capsys)[0] == "connected"


def test_unknown_agent_is_told_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["connect", "opncode"]) == ExitCode.USAGE
    assert 'did you mean "opencode"?' in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--undo"], ["--check"], ["--print"], ["opencode", "--undo", "--check"]])
def test_options_that_make_no_sense_are_refused(options: list[str]) -> None:
    assert run(["connect", *options]) == ExitCode.USAGE


def test_names_are_completed() -> None:
    context = click.Context(connect)
    assert "opencode" in agent_names(context, connect.params[0], "open")
    assert "qwen-code" not in agent_names(context, connect.params[0], "open")


# --- connecting -------------------------------------------------------------------------------------------------------


def test_connecting_shows_what_changes_and_why_and_what_to_do_then(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["connect", "opencode", "--yes", "--key-variable", "MY_KEY"]) == ExitCode.OK
    told = capsys.readouterr()
    assert "+++ ~/.config/opencode/opencode.json" in told.out
    assert "provider.relight.options.apiKey: " in told.out
    assert "start it: opencode" in told.out
    assert "relight connect opencode --undo" in told.out
    assert "http://127.0.0.1:9 does not answer" in told.err
    assert "what relight.toml says" in told.err
    assert "MY_KEY is not set here" in told.err
    settings = json.loads((home / OPENCODE).read_text())
    assert settings["provider"]["relight"]["options"]["baseURL"] == "http://127.0.0.1:9/v1"
    assert settings["provider"]["relight"]["models"]["smol"]["limit"]["context"] == 65536


def test_without_somebody_to_ask_nothing_is_written(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["connect", "opencode"]) == ExitCode.USAGE
    assert "nobody can be asked" in capsys.readouterr().err
    assert files(home) == {}


@pytest.mark.parametrize("agent", AGENTS)
def test_every_agent_is_connected_twice_checked_and_as_it_was_in_the_end(
    home: Path, agent: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told = connected("--key-variable", "RELIGHT_KEY", agent=agent, capsys=capsys)
    before = files(home)
    assert connected("--key-variable", "RELIGHT_KEY", agent=agent, capsys=capsys)["written"] is False
    assert files(home) == before
    if told["files"]:
        points = checked(agent, capsys)
        assert points["settings"] == "PASS"
        assert run(["connect", agent, "--undo", "--yes"]) == ExitCode.OK
        assert of_agents(home) == {}
        assert run(["connect", agent, "--check"]) == ExitCode.FOUND


def test_print_writes_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / OPENCODE).parent.mkdir(parents=True)
    (home / OPENCODE).write_text('{\n  // mine\n  "theme": "dark"\n}\n')
    before = files(home)
    assert run(["connect", "opencode", "--print"]) == ExitCode.OK
    text = capsys.readouterr().out
    assert "// mine" in text
    assert "baseURL" in text
    assert run(["connect", "opencode", "--print", "--json"]) == ExitCode.OK
    told = json.loads(capsys.readouterr().out)
    assert told["written"] is False
    assert "// mine" in told["files"][0]["text"]
    assert files(home) == before


def test_project_is_set_up_apart_from_the_user(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    connected("--scope", "project", capsys=capsys)
    assert of_agents(home) == {}
    assert Path("opencode.json").is_file()
    connected(capsys=capsys)
    assert run(["connect", "opencode", "--undo", "--yes"]) == ExitCode.USAGE
    assert "--scope" in capsys.readouterr().err
    assert run(["connect", "opencode", "--undo", "--yes", "--scope", "project"]) == ExitCode.OK
    assert not Path("opencode.json").exists()
    assert (home / OPENCODE).is_file()


def test_key_is_neither_printed_nor_written(home: Path, site: StandIn, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    site.key = KEY
    monkeypatch.setenv("RELIGHT_KEY", KEY)
    for options in (["--print"], ["--yes"], ["--yes", "--json"], ["--check"], ["--undo", "--yes"]):
        run(["connect", "opencode", "--url", site.url, *options])
        told = capfd.readouterr()
        assert KEY not in told.out + told.err
        assert not [path for path, raw in files(home).items() if KEY.encode() in raw]
    assert site.requests[-1][3]["authorization"] == f"Bearer {KEY}"


def test_keys_that_were_in_a_file_are_starred_where_it_is_shown(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secret = "sk-very-secret-0123456789"
    (home / OPENCODE).parent.mkdir(parents=True)
    text = '{\n  "provider": { "x": { "options": { "apiKey": "SECRET" } } },\n  "model": "y"\n}\n'
    (home / OPENCODE).write_text(text.replace("SECRET", secret))
    for options in (["--print"], ["--print", "--json"], ["--yes"], ["--undo", "--yes", "--json"]):
        assert run(["connect", "opencode", *options]) == ExitCode.OK
        told = capsys.readouterr()
        assert "***" in told.out
        assert secret not in told.out + told.err
    assert secret in (home / OPENCODE).read_text()


def test_broken_file_is_told_with_its_place_and_stays(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / OPENCODE).parent.mkdir(parents=True)
    (home / OPENCODE).write_text('{\n  "a" 1\n}')
    assert run(["connect", "opencode", "--yes"]) == ExitCode.CONFIG
    assert "~/.config/opencode/opencode.json:2:7: is not JSON: should be a colon" in capsys.readouterr().err
    assert files(home) == {OPENCODE: b'{\n  "a" 1\n}'}


# --- the service ------------------------------------------------------------------------------------------------------


def test_model_is_the_first_that_chats_unless_one_is_named(site: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    assert connected("--url", site.url, capsys=capsys)["model"] == "smol"
    assert connected("--url", f"{site.url}/v1/", "--model", "other", capsys=capsys)["model"] == "other"


@pytest.mark.parametrize(("model", "said"), [("vectors", "does not chat"), ("smoll", 'did you mean "smol"?')])
def test_model_that_cannot_be_used_is_refused(site: StandIn, model: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["connect", "opencode", "--yes", "--url", site.url, "--model", model]) == ExitCode.USAGE
    assert said in capsys.readouterr().err


def test_key_is_asked_of_its_variable_only_where_the_service_wants_one(
    site: StandIn, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert connected("--url", site.url, capsys=capsys)["key_variable"] is None
    site.key = KEY
    assert connected("--url", site.url, "--model", "smol", capsys=capsys)["key_variable"] == "RELIGHT_KEY"
    monkeypatch.setenv("MINE", KEY)
    assert connected("--url", site.url, "--key-variable", "MINE", capsys=capsys)["key_variable"] == "MINE"
    monkeypatch.setenv("MINE", "rl_wrong")
    assert run(["connect", "opencode", "--yes", "--url", site.url, "--key-variable", "MINE"]) == ExitCode.USAGE
    assert "does not know the key in MINE" in capsys.readouterr().err


def test_without_service_and_configuration_a_model_has_to_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    Path("relight.toml").unlink()
    assert run(["connect", "opencode", "--yes", "--url", "http://127.0.0.1:9"]) == ExitCode.USAGE
    assert "name the model with --model" in capsys.readouterr().err
    told = connected("--url", "http://127.0.0.1:9", "--model", "big", capsys=capsys)
    assert (told["model"], told["context"]) == ("big", None)


def test_configuration_is_not_asked_about_another_service(site: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    Path("relight.toml").write_text("broken")
    assert connected("--url", site.url, capsys=capsys)["model"] == "smol"
    assert run(["connect", "opencode", "--yes"]) == ExitCode.CONFIG


def test_configuration_that_names_no_address_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    Path("relight.toml").write_text(CONFIG.replace("port = 9", "port = 0"))
    assert run(["connect", "opencode", "--yes"]) == ExitCode.USAGE
    assert "--url" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("host", "url"),
    [("0.0.0.0", "http://127.0.0.1:9"), ("::1", "http://[::1]:9")],  # noqa: S104 - listened on, in a configuration
)
def test_address_is_how_this_machine_reaches_the_service(host: str, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("relight.toml").write_text(CONFIG.replace("port = 9", f'port = 9\npublic = true\nhost = "{host}"'))
    assert connected(capsys=capsys)["url"] == url


@pytest.mark.real
def test_running_service_says_what_it_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_config(tmp_path, model="context = 65536\nmax_tokens = 2048")
    with serve(config) as served:
        told = connected("--url", served.base, capsys=capsys)
        assert (told["model"], told["context"], told["output"]) == ("toy", 65536, 2048)
        assert told["warnings"] == ["OpenCode is not installed here (opencode is not on the PATH)"]


# --- the slim profile -------------------------------------------------------------------------------------------------


def test_slim_profile_is_used_where_the_context_calls_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    told = connected("--model", "tiny", capsys=capsys)
    assert told["slim"] is True
    assert (told["profile"]["name"], told["profile"]["by"]) == ("slim", "context")
    assert "7,600 of the 4,096 tokens" in told["profile"]["why"]
    told = connected("--model", "tiny", "--stock", capsys=capsys)
    assert (told["slim"], told["profile"]) == (False, {"name": "stock", "by": "option", "why": None})
    assert any(text.startswith("too small: ") for text in told["warnings"])
    assert connected("--model", "smol", capsys=capsys)["slim"] is False
    assert connected("--model", "smol", "--slim", capsys=capsys)["slim"] is True


def test_profile_that_nobody_was_asked_about_is_said_on_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["connect", "opencode", "--yes", "--model", "tiny"]) == ExitCode.OK
    page = capsys.readouterr().out
    assert "with its slim profile" in page.splitlines()[0]
    assert page.splitlines()[1].startswith(
        "profile: slim, which nobody was asked about: OpenCode's first request takes about 7,600"
    )
    assert "(--stock for its own)" in page.splitlines()[1]
    assert run(["connect", "opencode", "--yes", "--model", "smol"]) == ExitCode.OK
    assert "profile: " not in capsys.readouterr().out


def test_context_that_is_too_small_for_all_is_told_with_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    told = connected("--model", "tiny", agent="qwen-code", capsys=capsys)
    need = AGENTS["qwen-code"].slim_need
    assert need is not None
    said = next(text for text in told["warnings"] if text.startswith("too small: even the slim profile"))
    assert f"{need:,} of 4,096 tokens" in said


# --- checking and taking back -----------------------------------------------------------------------------------------


def test_check_finds_what_somebody_else_has_set(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    connected(capsys=capsys)
    file = home / OPENCODE
    file.write_text(file.read_text().replace('"relight/smol"', '"mine"', 1))
    assert run(["connect", "opencode", "--check"]) == ExitCode.FOUND
    told = capsys.readouterr().out
    assert "FAIL    settings  ~/.config/opencode/opencode.json: model says something else" in told
    assert told.endswith("next: relight connect opencode --model smol\n")
    file.write_text("{ broken")
    assert run(["connect", "opencode", "--check", "--json"]) == ExitCode.FOUND
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["holds"], row["next"]) == (False, "correct the file, then: relight connect opencode --model smol")


def checked(agent: str, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, str]:
    """What is known of each thing that a connection rests on."""
    capsys.readouterr()
    run(["connect", agent, "--check", "--json", *options])
    (row,) = json.loads(capsys.readouterr().out)
    return {point["about"]: point["holds"] for point in row["points"]}


def said_of(about: str, capsys: pytest.CaptureFixture[str]) -> tuple[str, str | None]:
    """What was seen of one thing, and the command that comes next."""
    capsys.readouterr()
    run(["connect", "opencode", "--check", "--json"])
    (row,) = json.loads(capsys.readouterr().out)
    return next(point["seen"] for point in row["points"] if point["about"] == about), row["next"]


def test_check_asks_the_service_as_well(site: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    connected("--url", site.url, capsys=capsys)
    assert run(["connect", "opencode", "--check"]) == ExitCode.OK
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"OpenCode → smol at {site.url}, for this user"
    assert [line.split()[:2] for line in lines[1:6]] == [
        ["PASS", "settings"], ["PASS", "service"], ["PASS", "key"], ["PASS", "model"], ["PASS", "context"],
    ]  # fmt: skip
    assert lines[5].endswith("8,192 tokens, as the agent was told")
    assert lines[-1] == "it holds"


def test_check_of_a_service_that_does_not_run_says_how_it_is_started(capsys: pytest.CaptureFixture[str]) -> None:
    connected(capsys=capsys)
    assert checked("opencode", capsys) == {
        "settings": "PASS", "service": "FAIL", "key": "UNSURE", "model": "UNSURE", "context": "UNSURE", "version": "UNSURE",
    }  # fmt: skip
    seen, following = said_of("service", capsys)
    assert "nothing answers at http://127.0.0.1:9" in seen
    assert following == "relight serve"


def test_check_says_which_key_is_missing_wrong_or_right(
    site: StandIn, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    connected("--url", site.url, capsys=capsys)
    site.key = KEY
    seen, following = said_of("key", capsys)
    assert seen == "one is asked for by now, and the agent was told of none"
    assert following == f"relight connect opencode --slim --url {site.url} --model smol"
    connected("--url", site.url, "--model", "smol", capsys=capsys)
    seen, following = said_of("key", capsys)
    assert "RELIGHT_KEY is not set" in seen
    assert (following or "").startswith("export RELIGHT_KEY=")
    monkeypatch.setenv("RELIGHT_KEY", "rl_wrong")
    assert said_of("key", capsys) == (
        "that in RELIGHT_KEY is not accepted", "where the service runs: relight keys create NAME",
    )  # fmt: skip
    monkeypatch.setenv("RELIGHT_KEY", KEY)
    assert said_of("key", capsys)[0] == "that in RELIGHT_KEY is accepted"
    assert checked("opencode", capsys)["service"] == "PASS"


def test_check_finds_a_model_that_is_gone(site: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    connected("--url", site.url, "--model", "other", capsys=capsys)
    site.models = ("smol",)
    seen, following = said_of("model", capsys)
    assert seen == "other is not listed; there is smol"
    assert following == f"relight connect opencode --url {site.url} --model NAME"


def test_command_that_comes_next_is_one_command_whatever_a_model_is_called(
    site: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    site.models = ("smol; id",)
    connected("--url", site.url, capsys=capsys)
    site.key = KEY
    assert said_of("key", capsys)[1] == f"relight connect opencode --slim --url {site.url} --model 'smol; id'"


def test_what_a_service_lists_gives_a_terminal_no_commands(site: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    connected("--url", site.url, capsys=capsys)
    site.models = ("sm\x1b]0;mine\x07ol",)
    assert run(["connect", "opencode", "--check"]) == ExitCode.FOUND
    assert "there is sm]0;mineol" in capsys.readouterr().out


def test_check_finds_a_context_that_is_smaller_by_now(site: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    connected("--url", site.url, capsys=capsys)
    file = places().receipt("opencode", Scope.USER)
    for told, holds in ((16_384, "FAIL"), (4_096, "PASS")):
        file.write_text(re.sub(r'"context": \d+', f'"context": {told}', file.read_text()))
        assert checked("opencode", capsys)["context"] == holds
        assert said_of("context", capsys)[0] == f"the agent was told {told:,} tokens, and there are 8,192"


def test_check_of_what_is_in_no_file_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["connect", "langchain", "--check"]) == ExitCode.FOUND
    assert "nothing of it is in a file" in capsys.readouterr().out


def test_unknown_version_is_a_warning(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install(home, "opencode", "opencode v99.1.2")
    told = connected(capsys=capsys)
    assert told["version"] == "99.1.2"
    (said,) = [text for text in told["warnings"] if "unknown version" in text]
    assert said.startswith("OpenCode: written for 1.")
    assert said.endswith("found 99.1.2: unknown version")
    run(["connect", "opencode", "--check"])
    assert f"UNSURE  version   {said}" in capsys.readouterr().out


def test_undo_brings_the_file_back_to_the_byte(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / OPENCODE).parent.mkdir(parents=True)
    (home / OPENCODE).write_bytes(b'\xef\xbb\xbf{\r\n\t"theme": "dark", // mine\r\n}')
    before = files(home)
    connected(capsys=capsys)
    assert files(home) != before
    assert run(["connect", "opencode", "--undo"]) == ExitCode.USAGE  # nobody can be asked
    assert run(["connect", "opencode", "--undo", "--yes"]) == ExitCode.OK
    assert of_agents(home) == before


def test_undo_without_a_connection_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["connect", "opencode", "--undo", "--yes"]) == ExitCode.USAGE
    assert "is not connected" in capsys.readouterr().err


# --- somebody at the terminal -----------------------------------------------------------------------------------------


def at_terminal(home: Path, typed: str, *arguments: str) -> tuple[int, str]:
    """Exit code and standard output of a run in a terminal, in which these lines are typed."""
    master, slave = pty.openpty()
    try:
        os.write(master, typed.encode())
        done = subprocess.run(
            [sys.executable, "-c", RUN, "connect", *arguments],
            stdin=slave, stderr=slave, stdout=subprocess.PIPE, timeout=60, check=False, env={**os.environ, "HOME": str(home)},
        )  # fmt: skip
    finally:
        os.close(slave)
        os.close(master)
    return done.returncode, done.stdout.decode()


def test_whoever_sits_there_is_asked_before_anything_is_written(home: Path) -> None:
    code, _ = at_terminal(home, "n\n", "opencode")
    assert code == 130
    assert files(home) == {}
    code, told = at_terminal(home, "y\n", "opencode")
    assert code == ExitCode.OK
    assert "baseURL" in told
    assert (home / OPENCODE).is_file()


def test_whoever_sits_there_chooses_the_profile(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = at_terminal(home, "n\ny\n", "opencode", "--model", "tiny")
    assert code == ExitCode.OK
    assert "slim" not in told.split("\n", 1)[0]
    code, told = at_terminal(home, "\ny\n", "opencode", "--model", "tiny")
    assert "with its slim profile" in told.split("\n", 1)[0]
