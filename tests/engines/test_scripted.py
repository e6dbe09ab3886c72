"""The scripted engine as its parent starts it: a child process with a socket and a descriptor to hear from."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from relight.engines.scripted import main

pytestmark = pytest.mark.real


class Child:
    """A started engine."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.path = folder / "e"
        self.news, write_fd = os.pipe()
        argv = [sys.executable, "-I", "-m", "relight.engines.scripted", "--socket", str(self.path), "--ready-fd", str(write_fd)]
        self.process = subprocess.Popen([*argv, *flags], pass_fds=[write_fd], stderr=subprocess.PIPE, text=True)
        os.close(write_fd)

    def lines(self) -> Iterator[dict[str, Any]]:
        """News until the descriptor is closed."""
        with open(self.news, closefd=False) as news:
            yield from map(json.loads, news)

    def errors(self) -> str:
        """Standard error, up to the end of the process."""
        assert self.process.stderr is not None
        return self.process.stderr.read()

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(30)
        connection.connect(str(self.path))
        return connection

    def until_listening(self) -> None:
        assert self.process.stderr is not None
        assert "listening on" in self.process.stderr.readline()

    def ask(self, content: str) -> bytes:
        """What a client gets until the connection ends."""
        body = json.dumps({"messages": [{"role": "user", "content": content}], "stream": True}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        with self.connect() as connection:
            connection.sendall(head.encode() + body)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def health(self) -> bytes:
        with self.connect() as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return b"".join(iter(lambda: connection.recv(65536), b""))


@contextlib.contextmanager
def started(folder: Path, *flags: str) -> Iterator[Child]:
    child = Child(folder, *flags)
    try:
        yield child
    finally:
        child.process.kill()
        child.process.wait()
        assert child.process.stderr is not None
        child.process.stderr.close()
        os.close(child.news)


def test_child_says_ready_once_answers_and_ends_on_sigterm(tmp_path: Path) -> None:
    with started(tmp_path) as child:
        assert list(child.lines()) == [{"event": "ready"}]
        assert child.ask("hi").endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
        child.process.terminate()
        assert child.process.wait(10) == 0
        assert not child.path.exists()


def test_loading_child_says_how_far_it_is_before_it_is_ready(tmp_path: Path) -> None:
    with started(tmp_path, "--load", "30ms") as child:
        *loading, ready = child.lines()
    assert [line["progress"] for line in loading] == [step / 10 for step in range(10)]
    assert ready == {"event": "ready"}


def test_child_that_loads_forever_answers_503_and_never_says_ready(tmp_path: Path) -> None:
    with started(tmp_path, "--load-forever") as child:
        assert next(child.lines()) == {"event": "loading", "progress": 0.0}
        answer = child.health()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b'"Loading model"' in answer
        child.process.terminate()
        assert child.process.wait(10) == 0
        assert list(child.lines()) == []


def test_child_that_crashes_at_load_exits_with_its_code_and_a_last_word(tmp_path: Path) -> None:
    with started(tmp_path, "--crash-at-load", "7") as child:
        assert list(child.lines()) == []
        assert child.process.wait(10) == 7
        assert child.errors().endswith("exits with code 7, --crash-at-load: failed to load model\n")


def test_first_loads_fail_and_later_ones_do_not(tmp_path: Path) -> None:
    codes = []
    for _ in range(2):
        with started(tmp_path, "--fail-loads", "2", "--state", str(tmp_path / "failures")) as child:
            codes.append(child.process.wait(10))
    with started(tmp_path, "--fail-loads", "2", "--state", str(tmp_path / "failures")) as child:
        assert list(child.lines()) == [{"event": "ready"}]
    assert codes == [1, 1]


def test_crash_script_ends_the_process_with_its_code_after_the_tokens(tmp_path: Path) -> None:
    with started(tmp_path) as child:
        list(child.lines())
        answer = child.ask('#script text="a b c" crash=after:2 exit=139')
        assert child.process.wait(10) == 139
        assert answer.count(b"data: ") == 3  # the role and two tokens
        assert "exits with code 139, as its script says" in child.errors()


def test_deaf_child_takes_connections_and_says_nothing(tmp_path: Path) -> None:
    with started(tmp_path, "--deaf") as child:
        child.until_listening()
        with child.connect() as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\n\r\n")
            connection.settimeout(0.05)
            with pytest.raises(TimeoutError):
                connection.recv(1)


def test_child_that_ignores_sigterm_goes_on_answering(tmp_path: Path) -> None:
    with started(tmp_path, "--ignore-sigterm") as child:
        list(child.lines())
        child.process.send_signal(signal.SIGTERM)
        assert child.health().startswith(b"HTTP/1.1 200 ")
        assert child.process.poll() is None


def test_fault_that_happens_once_is_over_for_the_next_start(tmp_path: Path) -> None:
    once, script = tmp_path / "once", '#script text="a b c" crash=after:2'
    with started(tmp_path, "--once", str(once)) as child:
        list(child.lines())
        assert b"[DONE]" not in child.ask(script)
        assert child.process.wait(10) == 139
    with started(tmp_path, "--once", str(once)) as child:
        list(child.lines())
        assert b"[DONE]" in child.ask(script)


def test_sigterm_ends_a_child_in_the_middle_of_an_answer(tmp_path: Path) -> None:
    with started(tmp_path) as child:
        list(child.lines())
        body = b'{"prompt":"#script stall=after:1","stream":true}'
        with child.connect() as connection:
            connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            assert connection.recv(10) == b"HTTP/1.1 2"
            child.process.terminate()
            assert child.process.wait(10) == 0
        assert "Traceback" not in child.errors()


def test_child_prints_the_port_that_it_picked() -> None:
    argv = [sys.executable, "-I", "-m", "relight.engines.scripted", "--port", "0"]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        port = int(process.stderr.readline().rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(15) == b"HTTP/1.1 200 OK"
        process.terminate()


def test_stale_socket_of_a_killed_child_is_replaced(tmp_path: Path) -> None:
    with started(tmp_path) as child:
        list(child.lines())
    assert child.path.exists()
    with started(tmp_path) as child:
        assert list(child.lines()) == [{"event": "ready"}]


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--socket", "/" + "x" * 120], 1, "--socket: should be at most 107 bytes long, got /xxx"),
        (["--port", "0", "--fail-loads", "1"], 1, "--fail-loads: needs --state FILE to count in"),
        (["--port", "0", "--script", "bogus=1"], 2, '--script: #script: unknown key "bogus"'),
    ],
)
def test_wrong_flags_are_refused_by_name(flags: list[str], code: int, words: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(flags) == code
    assert words in capfd.readouterr().err


def test_listening_needs_neither_the_loop_nor_what_serves() -> None:
    heavy = "{'asyncio', 'httptools', 'uvicorn', 'click', 'rich', 'msgspec', 'relight.engines.scripted_server'}"
    program = f"import sys, relight.engines.scripted; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
