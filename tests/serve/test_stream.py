"""The byte path: what the engine says reaches the client unchanged, whoever breaks off."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from relight.clock import SystemClock
from relight.serve.passing import Passing
from relight.wire.dialect import Tap
from relight.wire.openai import Chat
from tests.serve.client import CHAT, MESSAGES, PATHS, RESPONSES, Call, Door, front_door, request_body
from tests.serve.raw import raw_door

SCRIPTS = (
    'text="plain words" tokens=20',
    "unicode=1 chunk=1",
    'reasoning="let me see" text=done',
    'tool=look args={"q": "zebra \\n"} tool=again args={}',
    "empty=1",
    "tokens=30 chunk=7 delay=1ms",
    "tokens=500 chunk=997",
)
_VARYING = re.compile(rb'"(?:created|created_at|completed_at)": ?\d+|[0-9a-f]{32}|[A-Za-z0-9]{24,32}')
_HEARTBEATS = (
    re.compile(rb': [^\n]*\n\n|data: {"id":"chatcmpl-int_[^\n]*\n\n'),
    re.compile(rb': [^\n]*\n\n|event: ping\ndata: {"type":"ping"}\n\n'),
)


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    big = 10_000_000
    async with front_door(tmp_path, native=(MESSAGES, RESPONSES), context=big, max_tokens=big) as door:
        await door.awake()
        yield door
    assert not door.log.unbalanced()


def same(data: bytes) -> bytes:
    """`data` without what differs from one answer to the next: ids and times."""
    return _VARYING.sub(b"~", data)


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("path", PATHS)
async def test_stream_is_the_engines_byte_for_byte(door: Door, path: str, script: str) -> None:
    direct = await door.direct(script, path=path)
    call = await door.ask(script, path=path, stream=True).done()
    assert len(direct) > 100
    assert same(call.body) == same(direct)
    assert call.is_complete
    assert int(door.log.records[-1]["httpRequest"]["responseSize"]) == len(call.body)


@pytest.mark.parametrize("script", SCRIPTS[:5])
@pytest.mark.parametrize("path", [*PATHS, "/v1/messages/count_tokens"])
async def test_whole_answer_is_the_engines_byte_for_byte(door: Door, path: str, script: str) -> None:
    direct = await door.direct(script, path=path, stream=False)
    call = await door.ask(script, path=path).done()
    assert same(call.body) == same(direct)
    assert call.headers["content-length"] == str(len(call.body))


@pytest.mark.parametrize(("path", "heartbeat"), [(CHAT, _HEARTBEATS[0]), (MESSAGES, _HEARTBEATS[1])])
async def test_heartbeats_stand_between_events_and_never_in_one(tmp_path: Path, path: str, heartbeat: re.Pattern[bytes]) -> None:
    script = 'text="some words that come slowly" chunk=7 delay=15ms prefill=60ms'
    async with front_door(tmp_path, clock=SystemClock(), server={"heartbeat": "10ms"}, native=(MESSAGES,)) as door:
        await door.awake()
        direct = await door.direct(script, path=path)
        call = await door.ask(script, path=path, stream=True).done()
    own = [part for part in call.parts if heartbeat.fullmatch(part)]
    assert len(own) >= 4
    assert same(b"".join(part for part in call.parts if part not in own)) == same(direct)
    before = b""
    for part in call.parts:
        if part in own:
            assert before == b"" or before.endswith(b"\n\n")
        before += part


async def test_heartbeat_waits_while_half_an_event_is_out(tmp_path: Path) -> None:
    async with front_door(tmp_path, server={"heartbeat": "5s"}) as door:
        await door.awake()
        whole = await door.direct("text=one")
        cut = whole.index(b'"one"') + 2
        call = Call()
        reply = _reply(door, call)
        async with reply.signs_of_life("toy"):
            await reply.chunk(whole[:cut])
            await door.advance(20)
            assert call.body == whole[:cut]
            await reply.chunk(whole[cut:])
            await door.advance(5)
        assert call.body.startswith(whole)
        assert b'"choices":[]' in call.body[len(whole) :]
        await reply.end()


async def test_nothing_follows_the_last_event_however_long_the_stream_stays_open(tmp_path: Path) -> None:
    async with front_door(tmp_path, server={"heartbeat": "5s"}) as door:
        await door.awake()
        whole = await door.direct("text=one")
        call = Call()
        reply = _reply(door, call)
        passing = Passing(door.app.front.open(reply._request), reply, Tap(Chat(), stream=True), None)
        async with reply.signs_of_life("toy"):
            for event in whole.split(b"\n\n")[:-1]:
                await reply.chunk(passing.through(event + b"\n\n"))
            await door.advance(60)
        assert whole.endswith(b"data: [DONE]\n\n")
        assert call.body == whole
        await reply.end()


def _reply(door: Door, call: Call) -> Any:
    from relight.serve.http import Request
    from relight.serve.reply import Reply
    from relight.wire.openai import Chat

    scope: dict[str, Any] = {"type": "http", "method": "POST", "path": CHAT, "headers": []}
    request = Request(scope, call.receive, call.send)
    it = door.app.front.open(request)
    it.stream = True
    return Reply(door.app.front, request, it, Chat())


# --- clients that leave


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("stream", [False, True])
async def test_client_that_leaves_in_prefill_frees_the_slot(door: Door, path: str, stream: bool) -> None:
    call = door.ask("prefill=1h", path=path, stream=stream)
    await door.until_busy(1)
    call.leave()
    await call.done()
    await door.until_busy(0)
    record = door.log.record()
    assert (record["status"], record["error"]) == (499, "client_gone")
    assert door.app.front.models["toy"].runner.status().running == 0


@pytest.mark.parametrize("path", PATHS)
async def test_client_that_leaves_in_mid_stream_frees_the_slot(door: Door, path: str) -> None:
    call = door.ask("tokens=100000 delay=1ms", path=path, stream=True)
    await call.until(lambda call: len(call.parts) > 5)
    call.leave()
    await call.done()
    await door.until_busy(0)
    record = door.log.record()
    assert (record["status"], record["error"]) == (499, "client_gone")
    assert record["timings"]["first_token_ms"] >= 0


async def test_client_that_leaves_after_its_answer_is_not_gone(door: Door) -> None:
    for stream in (False, True):
        call = await door.ask("text=bye", stream=stream).done()
        call.leave()
    assert [line["interaction"]["status"] for line in door.log.records] == [200, 200]
    assert all("error" not in line["interaction"] for line in door.log.records)


async def test_server_whose_send_raises_for_a_lost_client_frees_the_slot(door: Door) -> None:
    """Servers other than uvicorn raise an `OSError` from `send`."""
    call = Call()

    async def send(message: Any) -> None:
        await call.send(message)
        if len(call.parts) == 3:
            raise BrokenPipeError

    call.feed(request_body("tokens=100000", stream=True))
    scope = {"type": "http", "method": "POST", "path": CHAT, "headers": []}
    await door.app(scope, call.receive, send)
    await door.until_busy(0)
    assert door.log.record()["error"] == "client_gone"


# --- clients that are slow


async def test_stalled_client_pauses_the_engine_and_keeps_memory_bounded(door: Door) -> None:
    """Some 60 MB of answer meet a client that reads nothing; a second client is served all the same."""
    call = door.ask("tokens=300000", stream=True, path=CHAT)
    await call.until_bytes(b'"content":')
    call.stall()
    decoded, same_for = max(await door.decoded()), 0
    while same_for < 50:  # each look takes the engine longer than a token does
        assert (await door.ask("text=quick").done()).status == 200
        before, decoded = decoded, max(await door.decoded())
        same_for = same_for + 1 if decoded == before else 0
    assert decoded < 100_000
    taken = len(call.body)
    assert taken < 4 << 20
    call.go_on()
    await call.until(lambda call: len(call.body) > taken + (1 << 20))
    call.leave()
    await call.done()
    await door.until_busy(0)


async def test_client_that_reads_nothing_gives_its_slot_back(tmp_path: Path) -> None:
    async with front_door(tmp_path, server={"write_timeout": "100ms"}, context=10**7, max_tokens=10**7) as door:
        call = door.ask("tokens=300000", stream=True)
        await call.until_bytes(b'"content":')
        call.stall()
        await call.done()
        await door.until_busy(0)
        assert door.log.record()["error"] == "client_gone"
        assert "did not read" in door.log.record()["error_message"]


async def test_heartbeats_do_not_pile_up_before_a_stalled_client(tmp_path: Path) -> None:
    async with front_door(tmp_path, server={"heartbeat": "1s"}) as door:
        call = door.ask("text=one stall=after:1", stream=True)
        await call.until_bytes(b'"one"')
        call.stall()
        await door.advance(100)
        before = len(call.parts)
        call.go_on()
        await door.advance(0.5)
        assert len(call.parts) <= before + 2
        call.leave()
        await call.done()


# --- engines that break off


def ending(path: str, call: Call) -> dict[str, Any]:
    """The error of a stream's last event, after a look at its dialect."""
    if path == MESSAGES:
        name, data = call.events[-1]
        assert (name, data["type"]) == ("error", "error")
        return dict(data["error"])
    if path == RESPONSES:
        name, data = call.events[-1]
        assert (name, data["type"]) == ("response.failed", "response.failed")
        return dict(data["response"]["error"])
    assert call.events[-1] == ("", "[DONE]")
    error = dict(call.events[-2][1]["error"])
    return {**error, "code": error.get("reason", error["code"])}


@pytest.mark.parametrize("fault", ["crash=after:2", "drop=after:2", "garbage=after:2"])
@pytest.mark.parametrize("path", PATHS)
async def test_broken_stream_ends_with_the_dialects_error_event(door: Door, path: str, fault: str) -> None:
    call = await door.ask(f"tokens=9 {fault}", path=path, stream=True).done()
    assert call.is_complete
    code = "engine_failed" if fault.startswith("garbage") else "engine_crashed"
    assert ending(path, call)["code"] == code
    record = door.log.record()
    assert (record["error"], record["status"]) == (code, 200)
    assert door.log.records[0]["severity"] == "ERROR"


@pytest.mark.parametrize("path", PATHS)
async def test_crash_before_the_first_byte_is_a_typed_502(door: Door, path: str) -> None:
    call = await door.ask("crash=after:0", path=path).done()
    assert (call.status, call.json()["error"]["code"], call.json()["error"]["source"]) == (502, "engine_crashed", "engine")


async def test_whole_answer_that_breaks_off_is_502_and_not_half_an_answer(door: Door) -> None:
    call = await door.ask("tokens=50 drop=after:20").done()
    assert (call.status, call.json()["error"]["code"]) == (502, "engine_crashed")


async def test_stream_that_breaks_off_inside_an_event_is_closed_without_an_ending(tmp_path: Path) -> None:
    """What follows half an event would be read as its rest."""
    half = b'data: {"choices":[{"delta":{"content":"one"}}]}\n\ndata: {"choices":[{"delta":{"content":"hal'
    answer = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n"
    async with raw_door(tmp_path, answer % (len(half), half)) as door:
        call = await door.ask(stream=True).done()
        assert call.body.endswith(half)
        assert not call.is_complete
        assert door.log.record()["error"] == "engine_crashed"
        assert not door.log.unbalanced()


@pytest.mark.parametrize(
    ("answer", "status", "says"),
    [
        (b"", 502, "connection lost"),
        (b"HTTP/1.1 200 OK\r\ncontent-le", 502, "connection lost"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}", 502, "connection lost"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000 + b"\r\n\r\n", 503, "headers"),
        (b"HTTP/1.1 500 Oops\r\ncontent-length: 4\r\n\r\noops", 503, "status 500 and no reason"),
        (b'HTTP/1.1 400 No\r\ncontent-length: 13\r\n\r\n{"error":"no"', 503, "status 400 and no reason"),
        (b'HTTP/1.1 400 No\r\ncontent-length: 14\r\n\r\n{"error":"no"}', 503, "status 400 and no reason"),
        (b"HTTP/1.1 400 No\r\ncontent-length: 2\r\n\r\n[]", 503, "status 400 and no reason"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_what_no_engine_should_say_is_a_typed_error(
    tmp_path: Path, answer: bytes, status: int, says: str, stream: bool
) -> None:
    async with raw_door(tmp_path, answer) as door:
        await door.awake()
        call = await door.ask(stream=stream).done()
        assert (call.status, call.json()["error"]["source"]) == (status, "engine")
        assert says in call.json()["error"]["message"]
        assert not door.log.unbalanced()


async def test_answer_without_a_length_ends_with_the_connection(tmp_path: Path) -> None:
    async with raw_door(tmp_path, b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{"id":"x"}') as door:
        call = await door.ask().done()
        assert (call.status, call.body) == (200, b'{"id":"x"}')


async def test_whole_answer_to_an_open_stream_is_an_engine_failure(tmp_path: Path) -> None:
    async with raw_door(tmp_path, b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}") as door:
        call = await door.ask(stream=True).done()
        assert call.body.startswith(b": waking")
        assert ending(CHAT, call)["code"] == "engine_failed"


@pytest.mark.parametrize("stream", [False, True])
async def test_request_right_after_a_crash_wakes_a_new_engine(tmp_path: Path, stream: bool) -> None:
    """The dead engine still looks awake for a moment; whoever comes then has no part in it."""
    async with front_door(tmp_path, clock=SystemClock()) as door:
        await door.awake()
        for _ in range(5):
            pid = door.engine.pid
            await door.ask("tokens=9 crash=after:2", stream=True).done()
            again = await door.ask("text=again", stream=stream).done()
            assert again.status == 200
            assert b"again" in again.body
            assert door.engine.pid != pid
        assert {line["interaction"].get("error") for line in door.log.records[1::2]} == {None}


async def test_crash_takes_down_its_neighbours_and_each_is_told(tmp_path: Path) -> None:
    async with front_door(tmp_path, parallel=4) as door:
        calls = [door.ask("text=one stall=after:1", stream=True) for _ in range(3)]
        for call in calls:
            await call.until_bytes(b'"one"')
        await door.ask("crash=after:0").done()
        for call in calls:
            await call.done()
            assert ending(CHAT, call)["code"] == "engine_crashed"
        assert door.log.unbalanced() == set()
