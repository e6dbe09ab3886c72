"""`relight bridge` as a user runs it: where it leads, what it says, how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from relight.bridge.identity import NoTokens
from relight.bridge.news import State
from relight.cli.bridge import TextWatch, checked, deployed, tokens_for
from relight.cli.identity import Googles
from relight.cli.receipts import is_known, remember
from relight.config.load import load
from relight.errors import ConfigError, ExitCode, UsageError
from tests.bridge.platform import AUDIENCE, Platform, streams, without_instance
from tests.cloud.fake.cloud import Cloud
from tests.cloud.fake.server import served
from tests.cloud.land import KEYED, land
from tests.cloud.people import ACCOUNT

PATIENCE_S = 30.0
MARK = "SIGNATURE_REMOVED_BY_GOOGLE"
URL = "https://portfolio-123456789012.europe-west4.run.app"
COMMAND = """
import sys
from relight.cli import main
main._COMMANDS["bridge"] = "relight.cli.bridge:bridge"
sys.exit(main.run(sys.argv[1:]))
"""


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What this user knows is of this test alone."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


class Running:
    """The command, as a process."""

    def __init__(self, *args: str, env: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, "bridge", *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(env or {})},
        )

    def event(self) -> dict[str, Any]:
        """The next line of JSON."""
        assert self.process.stdout is not None
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found

    def end(self, number: int | None = None) -> tuple[int, str]:
        """Signal it, wait, and return exit code and what it wrote on standard error."""
        if number is not None:
            self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, errors


@contextmanager
def running(*args: str, env: dict[str, str] | None = None) -> Iterator[Running]:
    found = Running(*args, env=env)
    try:
        yield found
    finally:
        if found.process.poll() is None:
            found.process.kill()
        found.process.communicate(timeout=PATIENCE_S)


@contextmanager
def service() -> Iterator[tuple[str, list[str], threading.Event]]:
    """A service whose streams never end, the paths that it was asked for, and an event when a client of it has left."""
    asked: list[str] = []
    left = threading.Event()

    class Answering(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked.append(f"GET {self.path}")
            self.send_response(200)
            self.send_header("content-length", "3")
            self.end_headers()
            self.wfile.write(b"yes")

        def do_POST(self) -> None:
            asked.append(f"POST {self.path}")
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            self.wfile.write(b"data: {}\n\n")
            self.rfile.read(1)  # until it leaves
            left.set()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked, left
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def address_of(found: Running) -> tuple[str, int]:
    event = found.event()
    assert event["event"] == "listening"
    host, _, port = event["address"].removeprefix("http://").partition(":")
    return host, int(port)


# --- as a process


@pytest.mark.real
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stop_ends_open_answers_and_exits_well(number: int) -> None:
    with service() as (url, _, left), running(url, "--port", "0", "--no-wake", "--json") as found:
        connection = HTTPConnection(*address_of(found), timeout=PATIENCE_S)
        connection.request("POST", "/v1/chat/completions", b'{"stream": true}')
        answer = connection.getresponse()
        assert answer.readline() == b"data: {}\n"
        code, errors = found.end(number)
        connection.close()

        assert (code, errors) == (0, "")
        assert left.wait(PATIENCE_S)


@pytest.mark.real
def test_start_wakes_the_service_and_says_where_it_listens() -> None:
    with service() as (url, asked, _), running(url, "--port", "0", "--json") as found:
        host, port = address_of(found)
        connection = HTTPConnection(host, port, timeout=PATIENCE_S)
        connection.request("GET", "/anything")
        assert connection.getresponse().read() == b"yes"
        connection.close()
        assert found.end(signal.SIGINT)[0] == 0

    assert host == "127.0.0.1"
    assert "GET /readyz" in asked


@pytest.mark.real
def test_port_that_is_taken_is_said_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with running("http://127.0.0.1:1", "--port", str(port)) as found:
            code, errors = found.end()

    assert (code, errors) == (2, f"error: bridge: port {port} is taken; choose another: --port 8788\n")


@pytest.mark.real
def test_other_addresses_of_this_machine_lead_nowhere() -> None:
    with service() as (url, _, _), running(url, "--port", "0", "--no-wake", "--json") as found:
        _, port = address_of(found)
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.2", port), timeout=PATIENCE_S)
        assert found.end(signal.SIGINT)[0] == 0


@pytest.mark.real
async def test_signed_in_account_reaches_a_private_service_that_has_to_start(tmp_path: Path) -> None:
    cloud = Cloud()
    with served(cloud) as address:
        cloud.address = address
        key = tmp_path / "key.json"
        key.write_text(json.dumps(cloud.identities.key_file(ACCOUNT, address)))
        answers = [streams(b"data: {}\n\n", b"data: [DONE]\n\n")]
        async with Platform(cloud.identities, {ACCOUNT}, answers=answers, away=[without_instance()]).running() as platform:
            args = (platform.address, "--port", "0", "--no-wake", "--json", "--audience", AUDIENCE)
            with running(*args, env={"GOOGLE_APPLICATION_CREDENTIALS": str(key)}) as found:
                host, port = await asyncio.to_thread(address_of, found)
                asked = {"stream": True, "messages": []}
                async with ClientSession() as session, session.post(f"http://{host}:{port}/v1/messages", json=asked) as answer:
                    heard = await answer.read()
                told = [await asyncio.to_thread(found.event) for _ in range(4)]
                code, errors = await asyncio.to_thread(found.end, signal.SIGINT)

    assert heard.endswith(b"data: {}\n\ndata: [DONE]\n\n")
    assert [one["event"] for one in told] == ["identity", "waiting", "answering", "answered"]
    assert (told[0]["shown"], told[0]["account"]) == (True, ACCOUNT)
    assert (code, errors) == (0, "")
    shown = [one.headers["x-serverless-authorization"] for one in platform.asked("/v1/messages")]
    assert [one.rpartition(".")[2] for one in shown] == [MARK, MARK]


# --- where it leads


def test_receipt_says_where_the_service_is(tmp_path: Path) -> None:
    put_receipt(tmp_path, url=URL)
    found = deployed(load(tmp_path / "relight.toml"))
    assert (found.service.url, found.says) == (URL, str(tmp_path / ".relight/receipt.json"))


def test_without_a_receipt_google_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with land(tmp_path / "here", monkeypatch) as site:
        assert site.deploy().exit_code == 0
        (tmp_path / "here/.relight/receipt.json").unlink()
        found = deployed(load(tmp_path / "here/relight.toml"))
        assert found.service.url == f"{site.cloud.address}/serving/portfolio"
        assert is_known(found.service)  # it was deployed by this user


def test_service_that_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with land(tmp_path / "here", monkeypatch) as site:
        site.cloud.usage.enable()
        with pytest.raises(UsageError, match="there is no service portfolio in my-project"):
            deployed(load(tmp_path / "here/relight.toml"))


def test_receipt_of_another_service_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with land(tmp_path / "here", monkeypatch) as site:
        site.cloud.usage.enable()
        put_receipt(tmp_path / "here", url=URL, service="other")
        with pytest.raises(UsageError, match="there is no service"):
            deployed(load(tmp_path / "here/relight.toml"))


def test_configuration_without_a_project_says_what_to_add(tmp_path: Path) -> None:
    (tmp_path / "relight.toml").write_text(KEYED.replace('project = "my-project"', ""))
    with pytest.raises(ConfigError, match="no project is named"):
        deployed(load(tmp_path / "relight.toml"))


def test_address_that_came_with_a_folder_is_shown_and_asked_about(tmp_path: Path) -> None:
    """Once: who has said that they know it is not asked again."""
    with service() as (url, _, _):
        put_receipt(tmp_path, url=url)
        args = ("-c", str(tmp_path / "relight.toml"), "--port", "0", "--no-wake", "--json")
        with running(*args) as found:
            code, errors = found.end()
        assert code == ExitCode.USAGE
        assert f"{url}: portfolio in my-project" in errors
        assert f"as {tmp_path / '.relight/receipt.json'} says" in errors
        assert "nobody can be asked" in errors
        for options in (("--yes",), ()):
            with running(*args, *options) as found:
                assert found.event()["url"] == url
                assert found.end(signal.SIGINT)[0] == 0


def test_service_that_this_user_deployed_is_not_asked_about(tmp_path: Path) -> None:
    with service() as (url, _, _):
        put_receipt(tmp_path, url=url)
        remember(deployed(load(tmp_path / "relight.toml")).service)
        with running("-c", str(tmp_path / "relight.toml"), "--port", "0", "--no-wake", "--json") as found:
            assert found.event()["url"] == url
            assert found.end(signal.SIGINT) == (0, "")


def put_receipt(folder: Path, **more: Any) -> None:
    (folder / "relight.toml").write_text(KEYED)
    (folder / ".relight").mkdir(exist_ok=True)
    said = {"project": "my-project", "region": "europe-west1", "service": "portfolio"} | more
    region = load(folder / "relight.toml").config.deploy.cloudrun.region
    (folder / ".relight/receipt.json").write_text(json.dumps(said | {"region": region}))


@pytest.mark.parametrize(
    ("said", "url"),
    [
        (URL, URL),
        (f"{URL}/v1/", URL),
        ("probe.run.app", "https://probe.run.app"),
        ("http://localhost:8080", "http://localhost:8080"),
    ],
)
def test_address_is_read_as_people_write_it(said: str, url: str) -> None:
    assert checked(said) == url


@pytest.mark.parametrize("said", ["http://example.com", "http://10.0.0.1", "ftp://x", "https://", "https://me:pw@x", "http://[x"])
def test_address_that_a_key_must_not_be_sent_to_is_refused(said: str) -> None:
    with pytest.raises(UsageError):
        checked(said)


@pytest.mark.parametrize(
    ("url", "audience", "kind"),
    [(URL, None, Googles), ("https://me.example", None, NoTokens), ("https://me.example", URL, Googles)],
)
def test_tokens_are_for_googles_services_and_for_who_is_named(url: str, audience: str | None, kind: type) -> None:
    assert isinstance(tokens_for(url, audience, None), kind)


# --- what it says


def test_line_says_how_it_stands_and_nothing_of_what_was_said() -> None:
    state = State(done=3, open=1, failed=1, account="me@example.com", ends_at=4000.0)
    state.waits(10.0)

    assert state.line(24.9, 1000.0) == (
        "3 requests (1 failed) · 1 open · the service is starting, 14s so far · as me@example.com · token good for 50m"
    )


def test_words_of_a_server_do_not_reach_the_terminal_as_commands(capsys: pytest.CaptureFixture[str]) -> None:
    TextWatch().said("failed", message="no \x1b[2J way", hint="try\nagain")
    assert capsys.readouterr().err == "no ?[2J way; try?again\n"


def test_what_is_shown_to_whom_and_who_may_come_is_said_at_the_start(capsys: pytest.CaptureFixture[str]) -> None:
    TextWatch().listening("http://127.0.0.1:8787", "https://me.example", has_identity=False, is_guarded=False)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "http://127.0.0.1:8787 leads to https://me.example; stop with Ctrl-C"
    assert lines[1].startswith("no identity is shown there: ")
    assert lines[2] == "any program of this machine may use it"
    TextWatch().listening("http://127.0.0.1:8787", URL, has_identity=True, is_guarded=True)
    assert len(capsys.readouterr().err.splitlines()) == 1
