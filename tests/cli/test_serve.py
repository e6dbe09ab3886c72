"""`relight serve`, run as a user runs it: how it listens, how it ends, and what it leaves behind."""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path

import pytest

from tests.serve.process import free_port, serve, watched, write_config

pytestmark = pytest.mark.real


def accepts(address: tuple[str, int]) -> bool:
    """Whether anybody listens there."""
    try:
        socket.create_connection(address, timeout=5).close()
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
    port = free_port()
    with serve(write_config(tmp_path), "--port", str(port)) as served:
        deadline = time.monotonic() + 20
        while True:
            try:
                client = socket.create_connection(("127.0.0.1", port), timeout=20)
                break
            except ConnectionRefusedError:
                assert time.monotonic() < deadline
        with client:
            was_announced = bool(served.errors)
            client.sendall(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            assert client.recv(1 << 16).startswith(b"HTTP/1.1 200")
        assert not was_announced


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_idle_server_ends_at_once_with_code_0(tmp_path: Path, sig: int) -> None:
    with serve(write_config(tmp_path)) as served:
        assert served.get("/livez") == b"ok\n"
        began = time.monotonic()
        assert served.stop(sig) == 0
        assert time.monotonic() - began < 2
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


def test_answer_that_outlasts_the_grace_ends_with_an_error_event_within_10_s(tmp_path: Path) -> None:
    began = time.monotonic()
    with serve(write_config(tmp_path, server='grace = "1s"')) as served, served.stream("text=one stall=after:1") as answer:
        while b'"one"' not in answer.readline():
            pass
        (engine,) = served.engines()
        with watched(engine) as is_gone:
            served.process.send_signal(signal.SIGTERM)
            rest = answer.read()
            assert b'"code":"stopping"' in rest
            assert rest.endswith(b"data: [DONE]\n\n")
            assert served.wait() == 0
            assert is_gone()
        assert served.unbalanced() == set()
        assert not any("Traceback" in line for line in served.errors)
    assert time.monotonic() - began < 10


def test_second_signal_ends_running_answers_at_once(tmp_path: Path) -> None:
    with serve(write_config(tmp_path, server='grace = "30s"')) as served, served.stream("text=one stall=after:1") as answer:
        while b'"one"' not in answer.readline():
            pass
        served.process.send_signal(signal.SIGINT)
        while accepts(served.address):  # the listener is closed once the first signal has been seen
            pass
        began = time.monotonic()
        served.process.send_signal(signal.SIGINT)
        assert b'"code":"stopping"' in answer.read()
        assert served.wait() == 0
        assert time.monotonic() - began < 5
        assert served.unbalanced() == set()


def test_client_that_does_not_read_cannot_hold_up_the_end(tmp_path: Path) -> None:
    with serve(write_config(tmp_path, server='grace = "1s"')) as served, served.stream("tokens=300000") as answer:
        answer.readline()
        began = time.monotonic()
        assert served.stop() == 0
        assert time.monotonic() - began < 10
        assert served.unbalanced() == set()


def test_engine_that_ignores_sigterm_is_gone_within_10_s(tmp_path: Path) -> None:
    with serve(write_config(tmp_path, model='args = ["--ignore-sigterm"]', server='grace = "1s"')) as served:
        served.ask("text=x")
        (engine,) = served.engines()
        began = time.monotonic()
        with watched(engine) as is_gone:
            assert served.stop() == 0
            assert is_gone()
        assert time.monotonic() - began < 10


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
        assert served.address[0] == "127.0.0.1"  # announced in a form that works when pasted
        assert served.get("/livez") == b"ok\n"


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
        with socket.create_connection(served.address, timeout=20) as client:
            head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(body)
            client.sendall(head + body)
            client.shutdown(socket.SHUT_WR)
            served.until(lambda: len(served.records()) == 2)
        assert served.records()[1]["error"] == "client_gone"
        assert served.get("/status")["models"]["toy"]["running"] == 0


def test_pipelined_requests_are_answered_in_order(tmp_path: Path) -> None:
    with serve(write_config(tmp_path)) as served:
        bodies = [b'{"messages":[{"role":"user","content":"#script text=%b"}]}' % word for word in (b"first", b"second")]
        requests = [
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
            for body in bodies
        ]
        with socket.create_connection(served.address, timeout=20) as client:
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
