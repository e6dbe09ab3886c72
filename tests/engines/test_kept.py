"""Connections that are used again, on real sockets: kept only when their answer came whole, replaced when they are stale."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relight.engines.kept import Connections
from relight.errors import EngineCrashed
from tests.engines.test_connection import CHUNKED, End, Peer, body_of

pytestmark = pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"])

WHOLE = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@pytest.fixture
async def peer(tmp_path: Path) -> AsyncIterator[Peer]:
    peer = Peer(tmp_path / "e.sock")
    server = await asyncio.start_unix_server(peer.accept, peer.path)
    yield peer
    server.close()
    for end in peer.ends:
        end.writer.transport.abort()
        await end.leave()


@pytest.fixture
async def connections() -> AsyncIterator[Connections]:
    connections = Connections(most=2)
    yield connections
    connections.close()


async def answered(connections: Connections, peer: Peer, end: End | None, answer: bytes) -> tuple[bytes, End]:
    """One request, answered at `end` or, with `None`, at the new connection that it is expected to make."""
    asking = asyncio.ensure_future(connections.post(peer.path, "/v1/x", [], b"{}"))
    end = end or await peer.arrived.get()
    await end.request()
    end.send(answer)
    asked = await asking
    try:
        return await body_of(asked), end
    finally:
        asked.close()


async def gone(end: End) -> None:
    """Return once the front door has closed this connection."""
    assert await end.reader.read() == b""


async def test_second_request_uses_the_connection_of_the_first(peer: Peer, connections: Connections) -> None:
    body, end = await answered(connections, peer, None, WHOLE)
    assert body == b"ok"
    for _ in range(3):
        body, end = await answered(connections, peer, end, CHUNKED + b"3\r\nabc\r\n0\r\n\r\n")
        assert body == b"abc"
    assert len(peer.ends) == 1


async def test_request_does_not_ask_to_close(peer: Peer, connections: Connections) -> None:
    asking = asyncio.ensure_future(connections.post(peer.path, "/v1/x", [], b"{}"))
    end = await peer.arrived.get()
    head, _ = await end.request()
    assert b"connection" not in head.lower()
    end.send(WHOLE)
    (await asking).close()


async def test_concurrent_requests_have_connections_of_their_own(peer: Peer, connections: Connections) -> None:
    first = asyncio.ensure_future(connections.post(peer.path, "/v1/x", [], b"{}"))
    one = await peer.arrived.get()
    _, two = await answered(connections, peer, None, WHOLE)
    assert one is not two
    await one.request()
    one.send(WHOLE)
    (await first).close()


async def test_answer_that_is_left_closes_its_connection(peer: Peer, connections: Connections) -> None:
    asking = asyncio.ensure_future(connections.post(peer.path, "/v1/x", [], b"{}"))
    end = await peer.arrived.get()
    await end.request()
    end.send(CHUNKED + b"3\r\nabc\r\n")
    (await asking).close()
    await gone(end)


async def test_cancelled_request_closes_its_connection(peer: Peer, connections: Connections) -> None:
    asking = asyncio.ensure_future(connections.post(peer.path, "/v1/x", [], b"{}"))
    end = await peer.arrived.get()
    await end.request()
    asking.cancel()
    await gone(end)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        WHOLE + WHOLE,
    ],
    ids=["asked to close", "old version", "two answers"],
)
async def test_connection_that_may_not_be_used_again_is_closed(peer: Peer, connections: Connections, answer: bytes) -> None:
    _, end = await answered(connections, peer, None, answer)
    await gone(end)
    _, other = await answered(connections, peer, None, WHOLE)
    assert other is not end


async def test_stale_connection_is_replaced_without_an_error(peer: Peer, connections: Connections) -> None:
    """The engine closes a kept connection in the very moment in which it is used again."""
    _, end = await answered(connections, peer, None, WHOLE)
    asking = asyncio.ensure_future(connections.post(peer.path, "/v1/x", [], b"{}"))
    await end.request()
    await end.leave()
    fresh = await peer.arrived.get()
    await fresh.request()
    fresh.send(WHOLE)
    asked = await asking
    assert await body_of(asked) == b"ok"
    asked.close()


async def test_kept_connection_that_the_engine_closes_is_forgotten(peer: Peer, connections: Connections) -> None:
    _, end = await answered(connections, peer, None, WHOLE)
    await end.leave()
    body, other = await answered(connections, peer, None, WHOLE)
    assert body == b"ok"
    assert other is not end


async def test_engine_that_speaks_unasked_loses_its_connection(peer: Peer, connections: Connections) -> None:
    _, end = await answered(connections, peer, None, WHOLE)
    end.send(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n")
    await gone(end)
    body, _ = await answered(connections, peer, None, WHOLE)
    assert body == b"ok"


async def test_answer_that_breaks_off_on_a_kept_connection_is_an_error(peer: Peer, connections: Connections) -> None:
    _, end = await answered(connections, peer, None, WHOLE)
    asking = asyncio.ensure_future(connections.post(peer.path, "/v1/x", [], b"{}"))
    await end.request()
    end.send(b"HTTP/1.1 200 OK\r\ncontent-le")
    await end.leave()
    with pytest.raises(EngineCrashed):
        await asking
    assert len(peer.ends) == 1


async def test_no_more_are_kept_than_may_be(peer: Peer, connections: Connections) -> None:
    asking = [asyncio.ensure_future(connections.post(peer.path, "/v1/x", [], b"{}")) for _ in range(3)]
    ends = [await peer.arrived.get() for _ in asking]
    for end in ends:
        await end.request()
        end.send(WHOLE)
    for asked in await asyncio.gather(*asking):
        await body_of(asked)
        asked.close()
    closed = [asyncio.ensure_future(end.reader.read()) for end in ends]
    done, still_open = await asyncio.wait(closed, return_when=asyncio.FIRST_COMPLETED)
    assert (len(done), len(still_open)) == (1, 2)
    connections.close()
    await asyncio.gather(*closed)


async def test_large_request_goes_out_whole_on_a_kept_connection(peer: Peer, connections: Connections) -> None:
    _, end = await answered(connections, peer, None, WHOLE)
    body = b"x" * (5 << 20)
    asking = asyncio.ensure_future(connections.post(peer.path, "/v1/x", [], body))
    _, got = await end.request()
    assert got == body
    end.send(WHOLE)
    (await asking).close()
