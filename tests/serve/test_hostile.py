"""Requests, pages and backends that mean harm: what they get, and what they learn."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from relight.engines.kept import Connections
from relight.errors import InvalidRequest
from relight.wire.forced import force
from relight.wire.mending import Needs, fields, mend
from relight.wire.messages_request import to_chat as messages_to_chat
from relight.wire.ollama_request import chat_request
from relight.wire.translation import About
from tests.providers.stand_in import KEY, StandIn, answer, raw
from tests.serve.client import CHAT, PATHS, Call, Door, front_door
from tests.serve.cloud import clouds, event, piece, says, secret, streams
from tests.serve.process import PATIENCE_S, Served, serve, write_config
from tests.serve.test_access import keyed

pytestmark = pytest.mark.usefixtures("secret")

__all__ = ["keyed", "secret"]

Doors = Callable[..., AbstractAsyncContextManager[Door]]
DIARY = "what stands in my diary"
ABOUT = About("toy", "1", 0, 8192)
CHAT_BODY = b'{"messages":[{"role":"user","content":"hi"}]}'


# --- framing: where two readers could disagree, nobody is answered ---------------------------------------------------


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A front door as a user runs it."""
    with serve(write_config(tmp_path_factory.mktemp("hostile"))) as served:
        yield served


def sent_raw(served: Served, request: bytes) -> bytes:
    """All that comes back until the other side closes."""
    with socket.create_connection(served.address, timeout=PATIENCE_S) as connection:
        connection.sendall(request)
        told = b""
        while piece := connection.recv(65536):
            told += piece
        return told


@pytest.mark.parametrize(
    "framing",
    [
        b"content-length: 5\r\ntransfer-encoding: chunked\r\n",
        b"transfer-encoding: chunked\r\ncontent-length: 5\r\n",
        b"content-length: 45\r\ncontent-length: 3\r\n",
        b"content-length: 45, 45\r\n",
        b"content-length: +45\r\n",
        b"content-length : 45\r\n",
        b"transfer-encoding: xchunked\r\n",
        b"transfer-encoding: chunked, identity\r\n",
        b"x: a\r\n content-length: 45\r\n",
    ],
)
def test_framing_that_readers_could_disagree_about_is_refused_and_ends_the_connection(served: Served, framing: bytes) -> None:
    smuggled = b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n"
    told = sent_raw(served, b"POST %b HTTP/1.1\r\nhost: localhost\r\n%b\r\n%b%b" % (CHAT.encode(), framing, CHAT_BODY, smuggled))
    assert told.startswith(b"HTTP/1.1 400 ")
    assert told.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("head", [b"GET /livez HTTP/1.1\nhost: localhost\n\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"])
def test_what_is_not_the_protocol_is_refused_and_ends_the_connection(served: Served, head: bytes) -> None:
    assert sent_raw(served, head).startswith(b"HTTP/1.1 400 ")


def test_head_without_an_end_is_cut_off(served: Served) -> None:
    line = b"x-more: %b\r\n" % (b"y" * 200)
    with socket.create_connection(served.address, timeout=PATIENCE_S) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\n")
        with pytest.raises(OSError):
            connection.sendall(line * 200_000)  # 40 MB, more than all buffers on the way hold
    assert served.get("/livez") == b"ok\n"


# --- keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "TRACE", "PUT"])
@pytest.mark.parametrize(
    "path",
    [
        *("//v1/models", "/V1/MODELS", "/v1/models/", "/v1/models/cloud", "/./status", "/status/", "/status\x00"),
        *("/livez/../status", "/assets/../status", "/assets/", "/api/hello", "*", "", "/models/cloud/wake/", "/models//wake"),
    ],
)
async def test_path_in_disguise_opens_nothing_without_a_key(keyed: Doors, path: str, method: str) -> None:
    async with keyed() as door:
        call = await door.call(method, path).done()
    assert call.status in (401, 404, 405)
    assert b"big-1" not in call.body


async def test_path_under_a_mounted_app_needs_the_key_as_well(keyed: Doors) -> None:
    async with keyed() as door:
        for root in ("/livez", "/assets", "/ai"):
            assert (await door.call("GET", "/status", root_path=root).done()).status == 401
            assert (await door.call("GET", "/livez", root_path=root).done()).status == 200


@pytest.mark.parametrize("keys", [(b"Bearer wrong",), (b"Basic wrong",), (b"Bearer",), (b"Bearer wrong", b"Bearer wrong too")])
async def test_wrong_keys_open_nothing_however_many_there_are(keyed: Doors, keys: tuple[bytes, ...]) -> None:
    async with keyed() as door:
        call = await door.call("GET", "/status", b"", [(b"authorization", key) for key in keys]).done()
    assert call.status == 401
    assert b"wrong" not in call.body + b"".join(door.log.raw)


async def test_socket_that_is_to_be_a_websocket_is_closed_without_a_word(tmp_path: Path) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nothing is read")

    async with front_door(tmp_path) as door:
        await door.app({"type": "websocket", "path": CHAT, "headers": []}, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]


# --- pages -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "origin", [b"null", b"file://", b"http://localhost.example.org", b"http://user@127.0.0.1", b"http://127.1", b"https://"]
)
async def test_origin_that_only_looks_like_this_machine_is_refused(tmp_path: Path, origin: bytes) -> None:
    async with front_door(tmp_path) as door:
        call = await door.call("POST", "/models/toy/wake", b"", [(b"origin", origin)]).done()
        assert await door.state() == "asleep"
    assert call.status == 403


@pytest.mark.parametrize("host", [b"localhost.", b"127.0.0.1@example.org", b"0.0.0.0", b"2130706433", b"127.1", b"[::2]"])
async def test_host_that_only_looks_like_this_machine_is_refused(tmp_path: Path, host: bytes) -> None:
    async with front_door(tmp_path) as door:
        assert (await door.call("GET", "/v1/models", host=host).done()).status == 403


# --- bodies ----------------------------------------------------------------------------------------------------------

HOSTILE = {
    "bad-escape": rb'{"model":"toy","messages":[{"role":"user","content":"\x"}],"input":"\x","prompt":"\x"}',
    "lone-surrogate": rb'{"model":"\ud800","messages":[]}',
    "not-utf8": b'{"model":"\xff"}',
    "huge-number": b'{"model":"toy","max_tokens":%b,"messages":[{"role":"user","content":"a"}]}' % (b"1" * 5000),
    "nested": b'{"model":"toy","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "nested-beside": b'{"model":"toy","messages":[],"zz":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "model-is-a-list": b'{"model":["toy"],"messages":[]}',
    "header-in-a-name": rb'{"model":"toy\r\nx-evil: 1","messages":[]}',
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
async def test_body_made_to_break_the_reader_is_the_clients_fault(tmp_path: Path, body: bytes) -> None:
    async with front_door(tmp_path) as door:
        call = await door.call("POST", CHAT, body).done()
    assert 400 <= call.status < 500
    assert "x-evil" not in call.headers
    assert door.log.record()["error"] == "invalid_request"


def test_references_that_double_at_every_level_do_not_grow_when_a_call_is_forced() -> None:
    def level(number: int) -> dict[str, Any]:
        both = {"$ref": f"#/$defs/l{number + 1}"}
        return {"type": "object", "properties": {"a": both, "b": both}}

    schema = {"$ref": "#/$defs/l0", "$defs": {f"l{number}": level(number) for number in range(50)} | {"l50": {"type": "null"}}}
    tools = [{"type": "function", "function": {"name": name, "parameters": schema}} for name in ("one", "two")]
    chat: dict[str, Any] = {"messages": [], "tools": tools, "tool_choice": "required"}
    before = len(json.dumps(chat))
    assert force(chat) is not None
    assert len(json.dumps(chat)) < 3 * before


# --- backends --------------------------------------------------------------------------------------------------------


async def test_answer_behind_an_answer_reaches_no_other_request() -> None:
    forged = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged"
    connections = Connections()
    async with StandIn(raw(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nreal" + forged), answer(200, b"mine")) as peer:
        first = await connections.post(("127.0.0.1", peer.port), "/one", [], b"")
        assert (await first.read()).startswith(b"real")
        first.close()
        second = await connections.post(("127.0.0.1", peer.port), "/two", [], b"")
        assert await second.read() == b"mine"
        second.close()
        assert len({seen.connection for seen in peer.seen}) == 2
    connections.close()


@pytest.mark.parametrize("path", PATHS)
async def test_headers_of_a_provider_stay_with_us(tmp_path: Path, path: str) -> None:
    act = answer(200, json.dumps({"choices": []}).encode(), content_type="application/json", set_cookie="a=b", x_evil="1")
    async with clouds(tmp_path, cloud=(act,)) as (door, _):
        call = await door.ask(path=path, model="cloud").done()
    assert call.status == 200
    assert not {"set-cookie", "x-evil"} & set(call.headers)


@pytest.mark.parametrize("path", PATHS)
async def test_provider_that_repeats_key_and_prompt_tells_the_client_no_key_and_the_log_neither(
    tmp_path: Path, path: str
) -> None:
    said = json.dumps({"error": {"message": f"cannot answer {DIARY} with Bearer {KEY}"}}).encode()
    async with clouds(tmp_path, cloud=(answer(500, said),)) as (door, _):
        call = await door.ask(path=path, model="cloud").done()
    log = b"".join(door.log.raw)
    assert call.status == 502
    assert DIARY.encode() in call.body
    assert KEY.encode() not in call.body + log
    assert DIARY.encode() not in log


async def test_provider_that_sends_requests_on_is_not_followed(tmp_path: Path) -> None:
    async with StandIn(says("from there")) as elsewhere:
        onward = answer(307, b"", location=f"http://127.0.0.1:{elsewhere.port}/?key={KEY}")
        async with clouds(tmp_path, cloud=(onward,)) as (door, _):
            call = await door.ask(model="cloud").done()
        assert not elsewhere.seen
    assert call.status == 502
    assert KEY.encode() not in call.body + b"".join(door.log.raw)


async def test_word_of_failure_in_a_stream_reaches_no_log(tmp_path: Path) -> None:
    said = event({"error": {"message": f"cannot answer {DIARY}"}})
    async with clouds(tmp_path, cloud=(streams(piece(content="x"), said),) * len(PATHS)) as (door, _):
        for path in PATHS:
            await door.ask(path=path, model="cloud", stream=True).done()
    assert len(door.log.records) == len(PATHS)
    assert DIARY.encode() not in b"".join(door.log.raw)


# --- what takes long on purpose


def test_long_wish_to_stay_awake_is_refused_at_once() -> None:
    with pytest.raises(InvalidRequest, match="keep_alive"):
        chat_request({"messages": [], "keep_alive": "1" * 200_000 + "x"}, ABOUT, 8192)


def test_calls_and_answers_are_matched_in_one_pass() -> None:
    calls = [{"function": {"name": "a", "arguments": {}}}] * 20_000
    answers = [{"role": "tool", "tool_name": "b", "content": ""}] * 20_000
    told = chat_request({"messages": [{"role": "assistant", "tool_calls": calls}, *answers]}, ABOUT, 8192)
    assert told.chat["messages"][-1]["tool_call_id"] == "call_b"


def test_thousands_of_messages_of_one_role_are_joined_in_one_pass() -> None:
    said = [{"role": "user", "content": "a"}] * 100_000
    told = messages_to_chat({"messages": said, "max_tokens": 1}, ABOUT)
    assert len(told.chat["messages"]) == 1


@pytest.mark.parametrize("field", ["response_format", "tools"])
async def test_pattern_that_an_engine_would_never_finish_is_refused(tmp_path: Path, field: str) -> None:
    schema = {"type": "object", "properties": {"x": {"type": "string", "pattern": "^((a{0,60}){0,60}){0,60}$"}}}
    asked: dict[str, Any] = {
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
        "tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}],
    }
    async with front_door(tmp_path) as door:
        call = await door.ask(**{field: asked[field]}).done()
        fine = await door.ask(
            response_format={"type": "json_schema", "json_schema": {"schema": {"pattern": "^[a-z]{1,20}$"}}}
        ).done()
    assert (call.status, fine.status) == (400, 200)
    assert "pattern" in call.json()["error"]["message"]


async def test_alternatives_of_a_token_are_as_many_as_openai_gives(tmp_path: Path) -> None:
    asked = fields(b'{"messages":[],"logprobs":true,"top_logprobs":49152,"n_probs":100}')
    assert mend(asked, Needs(context=8192, max_tokens=9)).changed
    assert (bytes(asked["top_logprobs"]), bytes(asked["n_probs"]), bytes(asked["logprobs"])) == (b"20", b"20", b"true")


# --- who only seems to be here


async def test_request_from_another_machine_is_refused_whatever_it_calls_the_host(tmp_path: Path) -> None:
    async with front_door(tmp_path) as door:
        call = Call()
        call.feed(CHAT_BODY)
        scope = {
            "type": "http",
            "method": "POST",
            "path": CHAT,
            "headers": [(b"host", b"localhost")],
            "client": ("10.0.0.7", 1),
        }
        await door.app(scope, call.receive, call.send)
        through = await door.ask(headers=[(b"x-forwarded-for", b"8.8.8.8")]).done()
    assert (call.status, through.status) == (403, 403)


async def test_image_that_the_engine_would_have_to_fetch_is_refused() -> None:
    image = {"type": "image_url", "image_url": {"url": "http://169.254.169.254/latest"}}
    asked = fields(json.dumps({"messages": [{"role": "user", "content": [image]}]}).encode())
    with pytest.raises(InvalidRequest, match="data: URL"):
        mend(asked, Needs(context=8192, max_tokens=9, images=True))


async def test_engine_does_not_see_the_secrets_of_the_configuration(tmp_path: Path) -> None:
    async with clouds(tmp_path, models=("toy",), cloud=()) as (door, _):
        await door.ask(model="toy").done()
        environment = await asyncio.to_thread(Path(f"/proc/{door.engine.pid}/environ").read_bytes)
    assert KEY.encode() not in environment
    assert b"PATH=" in environment


@pytest.mark.parametrize("hiding", [{"tools": [{"data": "x" * 9000}]}, {"chat_template_kwargs": {"url": "x " * 5000}}], ids=str)
async def test_prompt_is_measured_wherever_it_hides(tmp_path: Path, hiding: dict[str, Any]) -> None:
    async with front_door(tmp_path, sections={"limits": {"max_prompt": "4KiB"}}) as door:
        assert (await door.ask(**hiding).done()).status == 413


@pytest.mark.parametrize("section", [{"log": {"content": "full"}}, {"limits": {"max_prompt": "16B"}}], ids=["log", "limits"])
async def test_value_that_is_no_number_is_the_clients_mistake_wherever_it_is_read(
    tmp_path: Path, section: dict[str, Any]
) -> None:
    body = CHAT_BODY.replace(b"}]}", b'}],"temperature":1e999}')
    async with front_door(tmp_path, sections=section) as door:
        call = await door.call("POST", CHAT, body, [(b"content-type", b"application/json")]).done()
    assert call.status == 400, call.body
    assert "is not JSON" in call.json()["error"]["message"]


# --- connections


def test_trailers_without_an_end_are_cut_off(served: Served) -> None:
    with socket.create_connection(served.address, PATIENCE_S) as client:
        client.sendall(b"POST /livez HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n")
        with pytest.raises(OSError):  # noqa: PT012 - which of the two notices is the kernel's choice
            for number in range(10_000):
                client.sendall(b"x-%d: %s\r\n" % (number, b"y" * 1000))
            client.recv(1)


def test_first_of_two_requests_that_came_at_once_ends_when_its_client_leaves(served: Served) -> None:
    body = json.dumps({"messages": [{"role": "user", "content": "#script prefill=1h"}], "stream": True}).encode()
    one = b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
    with socket.create_connection(served.address, PATIENCE_S) as client:
        client.sendall(one + one)
        served.until(lambda: served.get("/status")["models"]["toy"]["running"] == 1)
    served.until(lambda: served.get("/status")["models"]["toy"]["running"] == 0)
