"""`relight chat` against the stand-in front door: one answer, a conversation, and what goes wrong."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from relight.cli.chat import Conversation, Screen, piped
from relight.cli.main import run
from relight.cli.talk import Client, left_s
from relight.errors import ExitCode, UsageError
from tests.serve.process import PATIENCE_S, serve, write_config
from tests.serve.stand_in import StandIn, running


@pytest.fixture
def site() -> Iterator[StandIn]:
    with running(StandIn()) as stand_in:
        yield stand_in


def _roles(body: dict[str, Any]) -> list[tuple[str, str]]:
    return [(message["role"], message["content"].strip()) for message in body["messages"]]


def _lines(*lines: str | type[BaseException]) -> Any:
    """A reader that gives these lines, raises these exceptions, and then ends."""
    waiting = iter([*lines, EOFError])

    def read(prompt: str) -> str:
        line = next(waiting)
        if isinstance(line, str):
            return line
        raise line

    return read


class Terminal(io.StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


# --- one answer -------------------------------------------------------------------------------------------------


def test_message_is_answered_on_standard_output(site: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["chat", "--url", site.url, "--system", "be brief", "Hello", "there"]) == ExitCode.OK

    assert capsys.readouterr().out == "You said: Hello there \n"
    assert _roles(site.sent("/v1/chat/completions")[0]) == [("system", "be brief"), ("user", "Hello there")]


def test_model_is_left_to_the_server_unless_named(site: StandIn) -> None:
    run(["chat", "--url", site.url, "Hello"])
    run(["chat", "--url", f"{site.url}/v1/", "--model", "smol", "Hello"])

    assert [body.get("model") for body in site.sent("/v1/chat/completions")] == [None, "smol"]


def test_server_is_the_one_that_the_configuration_names(site: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PORT", raising=False)
    monkeypatch.chdir(tmp_path)
    port = site.url.rpartition(":")[2]
    (tmp_path / "relight.toml").write_text(f'[server]\nport = {port}\n[models.smol]\nengine = "scripted"\n')
    assert run(["chat", "Hello"]) == ExitCode.OK
    (tmp_path / "relight.toml").rename(tmp_path / "other.toml")
    assert run(["chat", "-c", "other.toml", "Hello"]) == ExitCode.OK
    assert len(site.sent("/v1/chat/completions")) == 2


def test_key_does_not_go_in_the_clear_because_a_file_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder may come from somebody else."""
    monkeypatch.delenv("PORT", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RELIGHT_KEY", "rl_mine")
    text = '[server]\nhost = "203.0.113.5"\npublic = true\n[models.smol]\nengine = "scripted"\n'
    (tmp_path / "relight.toml").write_text(text)
    assert run(["chat", "Hello"]) == ExitCode.USAGE
    said = capsys.readouterr().err
    assert "would go in the clear to http://203.0.113.5:8080, which relight.toml names" in said
    assert "--url http://203.0.113.5:8080" in said
    assert "rl_mine" not in said


def test_piped_input_is_the_message(site: StandIn) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "relight", "chat", "--url", site.url],
        input="from a pipe\n", text=True, capture_output=True, timeout=PATIENCE_S, check=True,
    )  # fmt: skip

    assert done.stdout == "You said: from a pipe \n"


def test_empty_pipe_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="standard input is empty"):
        piped(io.StringIO(" \n"))


def test_terminal_is_no_message() -> None:
    assert piped(Terminal("typed later")) is None


def test_json_is_one_object_with_figures(site: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["chat", "--url", site.url, "--model", "smol", "--json", "Hello"]) == ExitCode.OK

    printed = capsys.readouterr()
    result = json.loads(printed.out)
    assert result["reply"] == "You said: Hello "
    assert (result["model"], result["finish"], result["interaction"]) == ("smol", "stop", "i-1")
    assert result["usage"]["completion_tokens"] == 42
    assert 0 <= result["timings"]["first_token_ms"] <= result["timings"]["total_ms"]
    assert printed.err == ""


@pytest.mark.parametrize("option", [[], ["--key", "rl-hidden"]])
def test_key_is_sent_and_never_printed(
    site: StandIn, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    monkeypatch.setenv("RELIGHT_KEY", "rl-other" if option else "rl-hidden")

    run(["chat", "--url", site.url, *option, "refuse"])

    assert site.requests[-1][3]["authorization"] == "Bearer rl-hidden"
    printed = capsys.readouterr()
    assert "rl-" not in printed.out + printed.err


def test_no_key_is_sent_where_none_is_set(site: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RELIGHT_KEY", raising=False)

    run(["chat", "--url", site.url, "Hello"])

    assert "authorization" not in site.requests[-1][3]


@pytest.mark.parametrize("key", ["rl-hidden\n", "rl-hidden more", "rl-hiddé"])
def test_key_that_can_be_none_is_refused_without_being_shown(site: StandIn, capsys: pytest.CaptureFixture[str], key: str) -> None:
    assert run(["chat", "--url", site.url, "--key", key, "Hello"]) == ExitCode.USAGE

    assert site.requests == []
    told = capsys.readouterr().err
    assert "has characters that no key has" in told
    assert "rl-" not in told


def test_waking_is_told_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with running(StandIn(asleep=True)) as site:
        waker = threading.Thread(target=_awaken_when_asked, args=(site,))
        waker.start()
        assert run(["chat", "--url", site.url, "Hello"]) == ExitCode.OK
        waker.join()

    printed = capsys.readouterr()
    assert printed.err == "waking, about 4 s\n"
    assert printed.out == "You said: Hello \n"


@pytest.mark.parametrize(
    ("note", "seconds"),
    [
        ("waking smol, about 4s left", 4.0),
        ("waking smol, about 4 s left", 4.0),
        ("waking smol, about 800ms left", 0.8),
        ("waking smol, about 1m5s left", 65.0),
        ("waking smol", None),
        ("waking smol, about a while left", None),
    ],
)
def test_time_left_is_read_in_every_form(note: str, seconds: float | None) -> None:
    assert left_s(note) == seconds


def _awaken_when_asked(site: StandIn) -> None:
    assert site.called.wait(PATIENCE_S)
    site.awaken()


# --- what goes wrong --------------------------------------------------------------------------------------------


def test_nobody_there_says_how_to_start(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        assert run(["chat", "--url", url, "Hello"]) == ExitCode.NETWORK

    assert capsys.readouterr().err == f"error: nothing answers at {url}; start it with: relight serve\n"


@pytest.mark.parametrize(
    ("message", "code", "words"),
    [
        ("refuse relight", ExitCode.ENGINE, "smol: 64 requests wait already; try again in a moment"),
        ("refuse engine", ExitCode.ENGINE, "engine: smol: 64 requests wait already; try again in a moment"),
        ("refuse provider", ExitCode.NETWORK, "provider: smol: 64 requests wait already; try again in a moment"),
        ("crash", ExitCode.ENGINE, "engine: engine ended with signal 9"),
        ("break", ExitCode.NETWORK, "the connection ended before the answer was complete; ask again"),
    ],
)
def test_failure_has_words_and_exit_code(
    site: StandIn, capsys: pytest.CaptureFixture[str], message: str, code: int, words: str
) -> None:
    assert run(["chat", "--url", site.url, message]) == code

    assert words in capsys.readouterr().err


def test_answer_that_breaks_off_still_shows_what_came(site: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    run(["chat", "--url", site.url, "crash"])

    assert capsys.readouterr().out == "You said: crash \n"


@pytest.mark.parametrize("url", ["ftp://host", "http://", "/just/a/path"])
def test_address_that_is_none_is_a_usage_error(url: str) -> None:
    with pytest.raises(UsageError, match="--url"):
        Client(url)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_json_without_message_asks_for_one() -> None:
    import pty

    parent, child = pty.openpty()
    try:
        command = [sys.executable, "-m", "relight", "chat", "--json"]
        done = subprocess.run(command, stdin=child, text=True, capture_output=True, timeout=PATIENCE_S, check=False)
    finally:
        os.close(parent)
        os.close(child)

    assert done.returncode == ExitCode.USAGE
    assert "needs a message" in done.stderr


# --- on a terminal ----------------------------------------------------------------------------------------------


def test_control_codes_of_an_answer_do_not_reach_a_terminal() -> None:
    out = Terminal()
    screen = Screen(out, io.StringIO())

    screen.text("a\x1b[31mred\x1b]0;title\x07\tb\n")

    assert out.getvalue() == "a[31mred]0;title\tb\n"


def test_count_on_a_terminal_is_wiped_before_the_answer() -> None:
    both = Terminal()
    screen = Screen(both, both)

    screen.waiting(3.5)
    screen.text("Hello")
    screen.close()

    assert both.getvalue().startswith("\rwaking, about 4 s\x1b[K")
    assert both.getvalue().endswith("\r\x1b[KHello\n")


# --- a conversation ---------------------------------------------------------------------------------------------


def test_conversation_remembers_until_new(site: StandIn) -> None:
    Conversation(Client(site.url), system="be brief").loop(_lines("one", "two", "/new", "three"))

    bodies = site.sent("/v1/chat/completions")
    assert _roles(bodies[1]) == [("system", "be brief"), ("user", "one"), ("assistant", "You said: one"), ("user", "two")]
    assert _roles(bodies[2]) == [("system", "be brief"), ("user", "three")]


def test_conversation_wakes_its_model_before_the_first_question(site: StandIn) -> None:
    Conversation(Client(site.url)).loop(_lines())

    assert [path for _, path, _, _ in site.requests] == ["/v1/models", "/models/smol/wake"]


def test_model_command_lists_and_switches(capsys: pytest.CaptureFixture[str]) -> None:
    with running(StandIn(models=("smol", "large"))) as site:
        Conversation(Client(site.url)).loop(_lines("/model", "/model large", "Hello", "/model nope"))
        asked = site.sent("/v1/chat/completions")

    printed = capsys.readouterr()
    assert "> smol" in printed.out
    assert asked[0]["model"] == "large"
    assert "no model 'nope'; there is smol, large" in printed.err


def test_failed_answer_is_told_and_the_conversation_goes_on(site: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    Conversation(Client(site.url)).loop(_lines("refuse", "Hello"))

    assert "error: smol: 64 requests wait already" in capsys.readouterr().err
    assert _roles(site.sent("/v1/chat/completions")[1]) == [("user", "Hello")]


def test_second_interrupt_at_the_prompt_leaves(site: StandIn) -> None:
    read = _lines(KeyboardInterrupt, KeyboardInterrupt, "never sent")

    Conversation(Client(site.url)).loop(read)

    assert site.sent("/v1/chat/completions") == []


def test_message_between_two_interrupts_keeps_the_conversation(site: StandIn) -> None:
    Conversation(Client(site.url)).loop(_lines(KeyboardInterrupt, "one", KeyboardInterrupt, "two"))

    assert len(site.sent("/v1/chat/completions")) == 2


def test_commands_help_unknown_and_quit(site: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    Conversation(Client(site.url)).loop(_lines("/help", "/nonsense", "/quit", "never sent"))

    printed = capsys.readouterr().err
    assert "Ctrl-C stops an answer" in printed
    assert "/nonsense: no such command" in printed
    assert site.sent("/v1/chat/completions") == []


@pytest.mark.real
@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_interrupt_stops_the_answer_and_a_second_one_leaves(site: StandIn) -> None:
    import pty

    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "relight", "chat", "--url", site.url],
        stdin=child, stdout=child, stderr=child, start_new_session=True, env=os.environ | {"TERM": "dumb"},
    )  # fmt: skip
    os.close(child)
    try:
        _read_until(parent, "> ")
        os.write(parent, b"slow walk\n")
        _read_until(parent, "You said: slow walk")
        process.send_signal(signal.SIGINT)
        _read_until(parent, "stopped; Ctrl-C again leaves")
        _read_until(parent, "> ")
        assert site.client_gone.wait(PATIENCE_S)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == ExitCode.OK
    finally:
        process.kill()
        process.wait()
        os.close(parent)


def _read_until(descriptor: int, text: str) -> None:
    seen = b""
    while text.encode() not in seen:
        seen += os.read(descriptor, 1)  # what comes behind it is for the next reading


def test_server_without_a_default_model_is_met_with_the_option_that_names_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path, model='[models.other]\nengine = "scripted"')
    with serve(config) as served:
        assert run(["chat", "--url", served.base, "Hello"]) == ExitCode.FOUND
        assert "name one with --model; use one of: toy, other" in capsys.readouterr().err
        assert run(["chat", "--url", served.base, "--model", "toy", "#script text=hello"]) == ExitCode.OK


def test_conversation_begins_with_a_model_that_chats() -> None:
    with running(StandIn(vectors=("vec",))) as stand_in:
        talk = Conversation(Client(stand_in.url))
        talk.loop(_lines("/quit"))
    assert talk.model == "smol"
