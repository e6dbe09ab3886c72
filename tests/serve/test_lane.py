"""The way out that needs no waiting: over real sockets, under uvicorn's own protocol, byte for byte as uvicorn itself sends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import ServerState

from relight.clock import SystemClock
from relight.engines.connection import exchange
from relight.serve.door import Door as Protocol
from relight.serve.http import Request
from relight.serve.lane import lane_of
from tests.serve.client import CHAT, Door, front_door, request_body
from tests.serve.test_stream import same

pytestmark = pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"])

App = Callable[[Any, Any, Any], Awaitable[None]]
HEADERS = [(b"content-type", b"text/plain"), (b"x-odd", b"a: b")]


@asynccontextmanager
async def listening(app: App) -> AsyncIterator[int]:
    """The port at which `app` is served."""
    config = uvicorn.Config(
        app, http=Protocol, ws="none", lifespan="off", access_log=False, log_config=None, server_header=False, date_header=False
    )
    config.load()
    state, loop = ServerState(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: Protocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        if state.tasks:
            await asyncio.wait(state.tasks)
        await server.wait_closed()


async def answering(scope: Any, receive: Any, send: Any) -> None:
    """In one piece or in pieces, as the path says."""
    request = Request(scope, receive, send)
    assert (await request.body(100)) == b"{}"
    request.extra.append((b"x-extra", b"1"))
    if request.path == "/whole":
        await request.answer(200, b"the whole of it", HEADERS)
    elif request.path == "/error":
        await request.json(404, {"error": "none"})
    else:
        await request.start(200, HEADERS)
        for piece in (b"one", b"", b"x" * 5000, b"\r\n"):
            await request.piece(piece)
        await request.end()


async def waiting(scope: Any, receive: Any, send: Any) -> None:
    """The same by messages: what wraps `send` hides who it is of."""

    async def wrapped(message: Any) -> None:
        await send(message)

    await answering(scope, receive, wrapped)


async def exchanged(app: App, requests: bytes, answers: int) -> bytes:
    async with listening(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(requests)
        said = b""
        while said.count(b"HTTP/1.1 ") < answers or not said.endswith((b"the whole of it", b"\r\n0\r\n\r\n", b'"}\n')):
            data = await reader.read(1 << 16)
            assert data, said
            said += data
        if b"connection: close" in said:
            assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        return said


def post(path: str, *lines: str, version: str = "1.1") -> bytes:
    head = [f"POST {path} HTTP/{version}", "host: x", "content-length: 2", *lines, "", ""]
    return "\r\n".join(head).encode() + b"{}"


@pytest.mark.parametrize("path", ["/whole", "/error", "/pieces"])
@pytest.mark.parametrize("last", [post("/whole"), post("/pieces", "connection: close"), post("/whole", version="1.0")])
async def test_bytes_are_those_that_uvicorn_sends_for_the_messages(path: str, last: bytes) -> None:
    requests = post(path) + post(path, "expect: 100-continue") + last
    said = await exchanged(answering, requests, 4)  # one of them says to go on
    assert said == await exchanged(waiting, requests, 4)
    assert said.count(b"x-extra: 1\r\n") == 3


async def test_header_that_holds_a_line_break_is_not_sent() -> None:
    raised: list[Exception] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive, send)
        assert request.lane is not None
        try:
            await request.answer(200, b"", [(b"x-a", b"1\r\nx-b: 2")])
        except RuntimeError as error:
            raised.append(error)
        await request.answer(200, b"the whole of it", [])

    assert b"x-b" not in await exchanged(app, post("/"), 1)
    assert len(raised) == 1


async def test_answer_after_a_mistake_is_framed_in_its_own_way() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        with pytest.raises(RuntimeError, match="line break"):
            await Request(scope, receive, send).start(200, [(b"x-a", b"1\r\nx-b: 2")])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"15")]})
        await send({"type": "http.response.body", "body": b"the whole of it"})

    assert (await exchanged(app, post("/"), 1)).endswith(b"\r\n\r\nthe whole of it")


async def test_uvicorn_that_is_not_as_known_goes_its_usual_way() -> None:
    class Another(RequestResponseCycle):
        def __init__(self) -> None:
            self.default_headers, self.access_log = [], False

    class Sending(RequestResponseCycle):
        async def send(self, message: Any) -> None:
            await super().send(message)

    lanes: list[object] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        cycle = send.__self__
        lanes.append(lane_of("POST", send))
        lanes.append(lane_of("POST", Another().send))
        cycle.__class__ = Sending
        lanes.append(lane_of("POST", cycle.send))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"15")]})
        await send({"type": "http.response.body", "body": b"the whole of it"})

    await exchanged(app, post("/"), 1)
    assert lanes[0] is not None
    assert lanes[1:] == [None, None]


async def test_others_than_posts_go_their_usual_way() -> None:
    lanes: list[object] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive, send)
        lanes.append(request.lane)
        await request.answer(200, b"the whole of it", [])

    head = b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n"
    said = await exchanged(app, head + b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", 2)
    assert said.count(b"the whole of it") == 1
    assert lanes == [None, None]


async def streamed(port: int, script: str, reader_waits: Callable[[], Awaitable[None]] | None = None) -> bytes:
    """The chunks of a stream joined; `reader_waits` is awaited after the head was read."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 16)
    body = request_body(script, stream=True)
    writer.write(b"POST %b HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: %d\r\n\r\n%b" % (CHAT.encode(), len(body), body))
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    if reader_waits is not None:
        await reader_waits()
    parts = []
    while size := int(await reader.readuntil(b"\r\n"), 16):
        parts.append(await reader.readexactly(size))
        assert await reader.readexactly(2) == b"\r\n"
    writer.close()
    await writer.wait_closed()
    return b"".join(parts)


@asynccontextmanager
async def served(folder: Path, **server: Any) -> AsyncIterator[tuple[Door, int]]:
    async with front_door(folder, clock=SystemClock(), context=10**7, max_tokens=10**7, server=server) as door:
        await door.awake()
        async with listening(door.app) as port:
            yield door, port
    assert not door.log.unbalanced()


@pytest.mark.parametrize("script", ["tokens=40 chunk=7 delay=1ms", "unicode=1 chunk=1", "tokens=300 chunk=997"])
async def test_stream_is_the_engines_byte_for_byte(tmp_path: Path, script: str) -> None:
    async with served(tmp_path) as (door, port):
        assert same(await streamed(port, script)) == same(await door.direct(script))
        (record,) = door.log.records
        assert record["interaction"]["tokens"]["completion"] > 0


async def test_slow_client_pauses_the_engine_and_gets_every_byte_in_order(tmp_path: Path) -> None:
    script = "tokens=60000"
    async with served(tmp_path) as (door, port):

        async def until_the_engine_waits() -> None:
            before, same_for = -1, 0
            while same_for < 30:
                now = max(await door.decoded(), default=0)
                before, same_for = now, same_for + 1 if now == before else 0
            assert 0 < before < 60000

        said = await streamed(port, script, until_the_engine_waits)
        asked = await exchange(door.engine.socket, "POST", CHAT, [], request_body(script, stream=True))
        assert len(said) > 4 << 20
        assert same(said) == same(await asked.read(limit=1 << 30))
        asked.close()


async def test_signs_of_life_and_pieces_that_pass_at_once_do_not_mix(tmp_path: Path) -> None:
    script = 'text="some words that come slowly" chunk=7 delay=15ms prefill=60ms'
    async with served(tmp_path, heartbeat="10ms") as (door, port):
        said, direct = await streamed(port, script), await door.direct(script)
    events = [event for event in said.split(b"\n\n") if b'"chatcmpl-int_' not in event and not event.startswith(b":")]
    assert len(events) < len(said.split(b"\n\n"))
    assert same(b"\n\n".join(events)) == same(direct)


async def test_client_that_leaves_in_mid_stream_frees_the_slot(tmp_path: Path) -> None:
    async with served(tmp_path) as (door, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        body = request_body("tokens=100000 delay=1ms", stream=True)
        writer.write(b"POST %b HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: %d\r\n\r\n%b" % (CHAT.encode(), len(body), body))
        await reader.readuntil(b'"content":')
        await door.until_busy(1)
        writer.close()
        await door.until_busy(0)
        while not door.log.records:  # noqa: ASYNC110 - the log has no event for onlookers
            await asyncio.sleep(0)
        assert door.log.record()["error"] == "client_gone"
