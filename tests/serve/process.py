"""`relight serve` as a user runs it: a child process on a free port, its log read line by line."""

from __future__ import annotations

import http.client
import json
import os
import re
import secrets
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from relight.config.load import load
from relight.errors import WeightsError
from relight.weights.wanted import require

PATIENCE_S = 60.0  # of tests with programs: what ends a wait that would have no end, and no measure of how fast they are
_LOOK_S = 0.05
_PAGE = re.compile(r"page  (http://\S+)/$")

CONFIG = """
[service]
name = "probe"
[server]
port = 0
{server}
[models.toy]
engine = "scripted"
{model}
[weights]
dir = "weights"
"""


def write_config(folder: Path, *, server: str = "", model: str = "") -> Path:
    """A configuration with one scripted model, `toy`."""
    file = folder / "relight.toml"
    file.write_text(CONFIG.format(server=server, model=model), encoding="utf-8")
    return file


def weights_of(config: Path, model: str = "smol") -> Path:
    """The weights of a configured model; skips the test where they are not on this machine."""
    loaded = load(config)
    try:
        return require(model, loaded.config.models[model], loaded.folder, Path(loaded.config.weights.dir).expanduser())
    except WeightsError as error:
        pytest.skip(str(error))


class Served:
    """A running front door."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self.errors: list[str] = []
        self._news = threading.Condition()
        self._written = 0
        self._readers = [
            threading.Thread(target=self._read, args=(process.stdout, self.lines)),
            threading.Thread(target=self._read, args=(process.stderr, self.errors)),
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: Any, into: list[str]) -> None:
        for line in stream:
            into.append(line.rstrip("\n"))
            self._tell()
        self._tell()

    def _tell(self) -> None:
        with self._news:
            self._written += 1
            self._news.notify_all()

    @property
    def pid(self) -> int:
        return self.process.pid

    def until(self, condition: Any) -> None:
        """Wait until `condition()` is true: looked at with every line, and many times a second for what no line tells of."""
        end = time.monotonic() + PATIENCE_S
        written = self._written
        while not condition():
            assert time.monotonic() < end, self.errors[-20:] + self.lines[-20:]
            written = self._next(written)

    def _next(self, written: int) -> int:
        """Wait for a line beyond that many, not for long; returns how many there are."""
        with self._news:
            self._news.wait_for(lambda: self._written != written, _LOOK_S)
            return self._written

    @property
    def base(self) -> str:
        """Where it says that it listens."""
        self.until(lambda: self._page() or self.process.poll() is not None)
        page = self._page()
        assert page, self.errors
        return page

    def _page(self) -> str | None:
        return next((match[1] for line in self.errors if (match := _PAGE.search(line))), None)

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.base.removeprefix("http://").rpartition(":")
        return host.strip("[]"), int(port)

    @contextmanager
    def connection(self) -> Iterator[http.client.HTTPConnection]:
        connection = http.client.HTTPConnection(*self.address, timeout=PATIENCE_S)
        try:
            yield connection
        finally:
            connection.close()

    def get(self, path: str, method: str = "GET") -> Any:
        with self.connection() as connection:
            connection.request(method, path)
            answer = connection.getresponse()
            body = answer.read()
            return json.loads(body) if answer.headers.get_content_type() == "application/json" else body

    def ask(self, script: str, **more: Any) -> tuple[int, Any]:
        with self.stream(script, stream=False, **more) as answer:
            return answer.status, json.loads(answer.read())

    @contextmanager
    def stream(self, script: str, *, stream: bool = True, **more: Any) -> Iterator[http.client.HTTPResponse]:
        """An answer as it comes; leaving closes the connection."""
        message = {"role": "user", "content": f"#script {script}"}
        with self.connection() as connection:
            connection.request("POST", "/v1/chat/completions", json.dumps({"messages": [message], "stream": stream, **more}))
            answer = connection.getresponse()
            try:
                yield answer
            finally:
                answer.close()

    def records(self) -> list[dict[str, Any]]:
        return [line["interaction"] for line in self._json() if "interaction" in line]

    def record_of(self, interaction: str) -> dict[str, Any]:
        """The record of the answer whose header named this interaction: it is written after the answer, so counting is wrong."""
        self.until(lambda: any(record["id"] == interaction for record in self.records()))
        return next(record for record in self.records() if record["id"] == interaction)

    def settle(self) -> None:
        """Wait until the log holds what has been answered: records come in that order, so one more request, and its record."""
        with self.connection() as connection:
            connection.request("POST", "/v1/chat/completions", b"{}")
            answer = connection.getresponse()
            answer.read()
        self.record_of(answer.headers["x-relight-interaction"])

    def unbalanced(self) -> set[str]:
        """Ids that were not opened once and closed once."""
        opened = [line["opened"]["id"] for line in self._json() if "opened" in line]
        closed = [record["id"] for record in self.records()]
        assert opened
        return {id_ for id_ in {*opened, *closed} if opened.count(id_) != 1 or closed.count(id_) != 1}

    def _json(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in list(self.lines)]

    def engines(self) -> list[int]:
        """Process ids of its children."""
        return [int(pid) for task in self._tasks() for pid in (task / "children").read_text().split()]

    def _tasks(self) -> list[Path]:
        return list(Path(f"/proc/{self.pid}/task").iterdir())

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def stop(self, sig: int = signal.SIGTERM) -> int:
        """Signal it and wait; returns the exit code."""
        self.process.send_signal(sig)
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(PATIENCE_S)
        for reader in self._readers:
            reader.join(PATIENCE_S)
        return code


@contextmanager
def serve(
    config: Path, *args: str, env: Mapping[str, str] | None = None, cwd: Path | None = None, command: Sequence[str] = ("serve",)
) -> Iterator[Served]:
    """Run it until the block is left. Its log is JSON, for it is no terminal's."""
    with _popen([*command, "--config", str(config), *args], env, cwd) as process:
        served = Served(process)
        try:
            yield served
        finally:
            if process.poll() is None:
                process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(PATIENCE_S)
                process.kill()
            served.wait()


def _popen(args: Sequence[str], env: Mapping[str, str] | None, cwd: Path | None) -> subprocess.Popen[str]:
    clean = {name: value for name, value in os.environ.items() if name not in ("PORT", "K_SERVICE", "K_REVISION")}
    return subprocess.Popen(
        [sys.executable, "-m", "relight", *args],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**clean, **(env or {})},
        cwd=cwd,
    )


@contextmanager
def watched(pid: int) -> Iterator[Any]:
    """A question that can be asked once its process may have ended: gone within the patience?"""
    fd = os.pidfd_open(pid)
    try:
        yield lambda: bool(select.select([fd], [], [], PATIENCE_S)[0])
    finally:
        os.close(fd)


def free_port() -> int:
    """One that is bound later: below those that the system gives to whoever asks for any (Linux: 32768 and above)."""
    while True:
        port = 20_000 + secrets.randbelow(10_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
