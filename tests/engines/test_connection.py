"""One exchange with a peer that may do anything: a raw Unix socket, on both event loops."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from relight.engines.connection import Exchange, exchange, send_file
from relight.errors import EngineCrashed, EngineFailed

pytestmark = pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"])


class Peer:
    """The engine's end: each connection is handed to the test."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.arrived: asyncio.Queue[End] = asyncio.Queue()
        self.ends: list[End] = []

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        end = End(reader, writer)
        self.ends.append(end)
        await self.arrived.put(end)

    async def ask(self, *args: bytes, method: str = "POST", body: bytes = b"{}") -> tuple[Exchange, End]:
        """An exchange, and the peer's end of it with the request read; `args` is what it answers."""
        asked = await exchange(self.path, method, "/v1/x", [(b"x-test", b"1")], body)
        end = await self.arrived.get()
        await end.request()
        for part in args:
            end.send(part)
        return asked, end


class End:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def request(self) -> tuple[bytes, bytes]:
        head = await self.reader.readuntil(b"\r\n\r\n")
        return head, await self.reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def leave(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


@pytest.fixture
async def peer(tmp_path: Path) -> AsyncIterator[Peer]:
    peer = Peer(tmp_path / "e.sock")
    server = await asyncio.start_unix_server(peer.accept, peer.path)
    yield peer
    server.close()
    for end in peer.ends:
        end.writer.transport.abort()  # what a failed test left unread must not be waited for
        await end.leave()


async def body_of(asked: Exchange) -> bytes:
    return b"".join([chunk async for chunk in asked.chunks()])


async def closed(asked: Exchange) -> None:
    asked.close()
    await asked.closed()


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


# --- what is sent


async def test_request_is_whole_and_asks_for_one_answer_only(peer: Peer) -> None:
    asked = await exchange(peer.path, "POST", "/v1/x?a=1", [(b"content-type", b"application/json")], b'{"a":1}')
    head, body = await (await peer.arrived.get()).request()
    assert head.split(b"\r\n")[:-2] == [
        b"POST /v1/x?a=1 HTTP/1.1",
        b"host: engine",
        b"connection: close",
        b"content-type: application/json",
        b"content-length: 7",
    ]
    assert body == b'{"a":1}'
    await closed(asked)


async def test_large_body_arrives_whole(peer: Peer) -> None:
    body = b"x" * (5 << 20)
    asked = await exchange(peer.path, "POST", "/", (), body)
    assert (await (await peer.arrived.get()).request())[1] == body
    await closed(asked)


@pytest.fixture
async def port_peer() -> AsyncIterator[tuple[Peer, tuple[str, int]]]:
    peer = Peer(Path("/nowhere"))
    server = await asyncio.start_server(peer.accept, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    yield peer, (host, port)
    server.close()
    for end in peer.ends:
        end.writer.transport.abort()
        await end.leave()


async def test_engine_on_a_port_is_asked_by_its_own_address(port_peer: tuple[Peer, tuple[str, int]]) -> None:
    peer, address = port_peer
    asked = await exchange(address, "POST", "/v1/x", (), b"{}")
    end = await peer.arrived.get()
    head, body = await end.request()
    assert head.split(b"\r\n")[:2] == [b"POST /v1/x HTTP/1.1", f"host: 127.0.0.1:{address[1]}".encode()]
    assert body == b"{}"
    end.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
    assert (await asked.head()).status == 200
    assert await body_of(asked) == b"hi"
    await closed(asked)


async def test_closing_tells_an_engine_on_a_port_as_well(port_peer: tuple[Peer, tuple[str, int]]) -> None:
    peer, address = port_peer
    asked = await exchange(address, "POST", "/v1/x", (), b"{}")
    end = await peer.arrived.get()
    await end.request()
    await closed(asked)
    with contextlib.suppress(ConnectionResetError):
        assert await end.reader.read() == b""


async def test_file_is_sent_whole(port_peer: tuple[Peer, tuple[str, int]], tmp_path: Path) -> None:
    peer, address = port_peer
    file = tmp_path / "file"
    file.write_bytes(bytes(range(256)) * 20_000)
    sending = asyncio.create_task(send_file(address, "/blob", file))
    end = await peer.arrived.get()
    head, body = await end.request()
    assert head.startswith(b"POST /blob HTTP/1.1\r\n")
    assert body == file.read_bytes()
    asked = await sending
    end.send(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
    assert (await asked.head()).status == 201
    await closed(asked)


async def test_file_that_is_refused_in_the_middle_is_not_sent_to_its_end(
    port_peer: tuple[Peer, tuple[str, int]], tmp_path: Path
) -> None:
    peer, address = port_peer
    file = tmp_path / "file"
    with file.open("wb") as sparse:
        sparse.truncate(1 << 34)
    sending = asyncio.create_task(send_file(address, "/blob", file))
    end = await peer.arrived.get()
    await end.reader.readuntil(b"\r\n\r\n")
    end.writer.transport.abort()
    asked = await sending
    with pytest.raises(EngineCrashed):
        await asked.head()


async def test_sending_that_is_given_up_closes_the_connection(port_peer: tuple[Peer, tuple[str, int]], tmp_path: Path) -> None:
    peer, address = port_peer
    file = tmp_path / "file"
    with file.open("wb") as sparse:
        sparse.truncate(1 << 30)
    sending = asyncio.create_task(send_file(address, "/blob", file))
    end = await peer.arrived.get()
    await end.reader.readuntil(b"\r\n\r\n")
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    with contextlib.suppress(ConnectionResetError):
        assert len(await end.reader.read()) < 1 << 30


async def test_port_that_nobody_listens_on_is_a_crash() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = taken.getsockname()
    with pytest.raises(EngineCrashed, match="nothing answers on its socket"):
        await exchange(address, "GET", "/")


# --- framing


async def test_answer_with_a_length_is_read(peer: Peer) -> None:
    asked, _ = await peer.ask(b"HTTP/1.1 418 Teapot\r\nContent-Length: 5\r\nX-Two: a\r\nX-TWO: b\r\n\r\nhello")
    head = await asked.head()
    assert head.status == 418
    assert head.headers == {b"content-length": b"5", b"x-two": b"a"}
    assert (head.get(b"x-two"), head.get(b"x-none")) == (b"a", None)
    assert await body_of(asked) == b"hello"
    await closed(asked)


async def test_answer_in_chunks_is_read_as_they_come(peer: Peer) -> None:
    asked, end = await peer.ask(CHUNKED)
    await asked.head()
    chunks = asked.chunks()
    for text in (b"data: 1\n\n", b"data: 2\n\n"):
        end.send(b"%x\r\n%b\r\n" % (len(text), text))
        assert await anext(chunks) == text
    end.send(b"0\r\n\r\n")
    assert [chunk async for chunk in chunks] == []
    await closed(asked)


async def begun(asked: Exchange) -> asyncio.Future[bytes]:
    """Somebody who waits for the next piece."""
    reading = asyncio.ensure_future(asked.piece())
    await asyncio.sleep(0)
    return reading


async def test_what_is_taken_at_once_is_not_returned_and_what_is_not_comes_in_its_order(peer: Peer) -> None:
    asked, end = await peer.ask(CHUNKED + b"5\r\nfirst\r\n")
    await asked.head()
    offered: list[bytes] = []

    def at_once(data: bytes) -> bool:
        offered.append(data)
        news.set()
        return data != b"third"

    news = asyncio.Event()
    asked.at_once = at_once
    assert await asked.piece() == b"first"  # it was there before anybody waited for it
    reading = await begun(asked)
    end.send(b"6\r\nsecond\r\n")
    await news.wait()
    assert not reading.done()
    end.send(b"5\r\nthird\r\n")
    assert await reading == b"third"
    assert offered == [b"second", b"third"]
    end.send(b"6\r\nfourth\r\n0\r\n\r\n")
    assert await asked.piece() == b""
    assert offered[-1] == b"fourth"
    await closed(asked)


async def test_pieces_that_come_in_one_reading_are_offered_as_one(peer: Peer) -> None:
    asked, end = await peer.ask(CHUNKED)
    await asked.head()
    offered: list[bytes] = []

    def at_once(data: bytes) -> bool:
        offered.append(data)
        return True

    asked.at_once = at_once
    reading = await begun(asked)
    end.send(b"".join(b"1\r\n%d\r\n" % number for number in range(10)) + b"0\r\n\r\n")
    assert await reading == b""
    assert offered == [b"0123456789"]
    await closed(asked)


@pytest.mark.parametrize("ending", [b"", b"0\r\n\r\n"], ids=["goes on", "ends"])
@pytest.mark.parametrize("kind", [EngineFailed, ValueError])
async def test_error_of_what_takes_at_once_is_raised_to_whoever_waits(peer: Peer, kind: type[Exception], ending: bytes) -> None:
    asked, end = await peer.ask(CHUNKED)
    await asked.head()

    def at_once(data: bytes) -> bool:
        raise kind("engine: said in its stream that it failed")

    asked.at_once = at_once
    reading = await begun(asked)
    end.send(b"5\r\nhello\r\n" + ending)
    with pytest.raises(kind, match="said in its stream"):
        await reading
    await closed(asked)


async def test_error_of_what_takes_at_once_is_not_undone_by_the_end_that_comes_behind_it(peer: Peer) -> None:
    asked, _ = await peer.ask(CHUNKED)
    await asked.head()

    def at_once(data: bytes) -> bool:
        raise EngineFailed("engine: said in its stream that it failed")

    asked.at_once = at_once
    reading = await begun(asked)
    asked.data_received(b"5\r\nhello\r\n")  # a loop may read twice before it lets anybody run
    asked.data_received(b"0\r\n\r\n")
    with pytest.raises(EngineFailed, match="said in its stream"):
        await reading
    await closed(asked)


async def test_trailers_are_bounded_as_headers_are(peer: Peer) -> None:
    trailers = b"".join(b"x-%d: %b\r\n" % (number, b"y" * 1000) for number in range(200))
    asked, _ = await peer.ask(CHUNKED, b"5\r\nhello\r\n0\r\n" + trailers + b"\r\n")
    head = await asked.head()
    assert await body_of(asked) == b"hello"
    assert sum(len(name) + len(value) for name, value in head.headers.items()) <= 64 * 1024
    await closed(asked)


async def test_answer_byte_by_byte_is_the_same(peer: Peer) -> None:
    asked, end = await peer.ask()
    for byte in CHUNKED + b"5\r\nhello\r\n0\r\n\r\n":
        end.send(bytes([byte]))
        await end.writer.drain()
        await asyncio.sleep(0)
    assert (await asked.head()).status == 200
    assert await body_of(asked) == b"hello"
    await closed(asked)


async def test_answer_without_a_length_ends_with_the_connection(peer: Peer) -> None:
    asked, end = await peer.ask(b"HTTP/1.1 200 OK\r\n\r\nhel", b"lo")
    await end.leave()
    assert (await asked.head()).status == 200
    assert await body_of(asked) == b"hello"


async def test_answer_without_a_body_is_complete_at_once(peer: Peer) -> None:
    asked, _ = await peer.ask(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert (await asked.head()).status == 204
    assert await body_of(asked) == b""
    await closed(asked)


async def test_bytes_after_the_answer_change_nothing(peer: Peer) -> None:
    asked, _ = await peer.ask(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiGARBAGE")
    assert (await asked.head()).status == 200
    assert await body_of(asked) == b"hi"
    await closed(asked)


async def test_read_is_cut_at_its_limit(peer: Peer) -> None:
    asked, _ = await peer.ask(b"HTTP/1.1 500 No\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000)
    assert 1000 <= len(await asked.read(1000)) <= 600_000
    await closed(asked)


# --- what goes wrong


@pytest.mark.parametrize(
    "sent",
    [b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", b"HTTP/1.1 200 OK\r\n"],
    ids=["none", "line", "header", "status"],
)
async def test_peer_that_leaves_before_its_headers_are_complete_has_crashed(peer: Peer, sent: bytes) -> None:
    asked, end = await peer.ask(sent)
    await end.leave()
    with pytest.raises(EngineCrashed, match="connection lost before its answer was complete"):
        await asked.head()


@pytest.mark.parametrize(
    "head", [CHUNKED + b"5\r\nhello\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"], ids=["chunked", "length"]
)
async def test_peer_that_leaves_inside_its_body_has_crashed_after_what_it_said(peer: Peer, head: bytes) -> None:
    asked, end = await peer.ask(head)
    assert (await asked.head()).status == 200
    chunks = asked.chunks()
    assert await anext(chunks) == b"hello"
    await end.leave()
    with pytest.raises(EngineCrashed):
        await anext(chunks)


async def test_peer_that_is_killed_inside_an_answer_without_a_length_has_crashed(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "e.sock"))
        listener.listen()
        asked = await exchange(tmp_path / "e.sock", "POST", "/", (), b"never read")
        end, _ = listener.accept()
        end.send(b"HTTP/1.1 200 OK\r\n\r\nhel")
        await asked.head()
        end.close()  # with the request unread: the kernel resets the connection, as it does for the dead
    with pytest.raises(EngineCrashed):
        await body_of(asked)


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\xff\xfe", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 abc\r\n\r\n"])
async def test_answer_that_is_not_http_fails(peer: Peer, garbage: bytes) -> None:
    asked, _ = await peer.ask(garbage)
    with pytest.raises(EngineFailed, match="answered what is not HTTP"):
        await asked.head()
    await asked.closed()


async def test_garbage_inside_a_chunked_body_fails_after_what_was_said(peer: Peer) -> None:
    asked, end = await peer.ask(CHUNKED + b"5\r\nhello\r\n")
    await asked.head()
    chunks = asked.chunks()
    assert await anext(chunks) == b"hello"
    end.send(b"this is no chunk\r\n")
    with pytest.raises(EngineFailed, match="not HTTP"):
        await anext(chunks)


async def test_headers_beyond_the_limit_in_one_piece_fail(peer: Peer) -> None:
    asked, _ = await peer.ask(b"HTTP/1.1 200 OK\r\n" + b"a: %b\r\n" % (b"x" * 1000) * 70 + b"\r\n")
    with pytest.raises(EngineFailed, match="64 KiB of headers"):
        await asked.head()
    await asked.closed()


async def test_header_without_an_end_fails_with_bounded_memory(peer: Peer) -> None:
    asked, end = await peer.ask(b"HTTP/1.1 200 OK\r\na: ")

    async def flood() -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                end.send(b"x" * 10_000)
                await end.writer.drain()

    flooding = asyncio.create_task(flood())
    with pytest.raises(EngineFailed, match="64 KiB of headers"):
        await asked.head()
    await asked.closed()
    await flooding
    assert asked._head_bytes < 64 * 1024 + 600_000  # the limit, and at most one read of the loop


async def test_headers_just_below_the_limit_are_taken(peer: Peer) -> None:
    asked, _ = await peer.ask(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + b"a: %b\r\n" % (b"x" * 1000) * 60 + b"\r\n")
    assert (await asked.head()).headers == {b"content-length": b"0", b"a": b"x" * 1000}
    await closed(asked)


@pytest.mark.parametrize("name", ["missing.sock", "f" * 200])
async def test_socket_that_is_not_there_is_a_crash(tmp_path: Path, name: str) -> None:
    with pytest.raises(EngineCrashed, match="nothing answers on its socket"):
        await exchange(tmp_path / name, "GET", "/")


async def test_socket_that_nobody_listens_on_is_a_crash(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(tmp_path / "e.sock"))
        with pytest.raises(EngineCrashed, match="refused"):
            await exchange(tmp_path / "e.sock", "GET", "/")


async def test_burst_beyond_the_backlog_is_served_as_the_peer_accepts(tmp_path: Path) -> None:
    """llama.cpp's backlog is five; a queue of held requests arrives in one turn of the loop."""
    served = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        served += 1
        writer.close()
        await writer.wait_closed()

    async def ask() -> bytes:
        asked = await exchange(listener_path, "GET", "/")
        try:
            return await asked.read()
        finally:
            asked.close()

    listener_path = tmp_path / "e.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(listener_path))
    listener.listen(1)
    asking = [asyncio.create_task(ask()) for _ in range(40)]
    # Only now does anybody accept: by then the backlog has long been full.
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    server = await asyncio.start_unix_server(answer, sock=listener, backlog=1)
    async with server:
        assert await asyncio.gather(*asking) == [b"ok"] * 40
    assert served == 40


# --- flow


async def flood(end: End, sent: list[int]) -> None:
    piece = b"x" * 65_536
    with contextlib.suppress(ConnectionError):
        while True:
            end.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            await end.writer.drain()
            sent[0] += len(piece)


async def settled(read: Callable[[], int]) -> int:
    """The value once it has stopped changing for many turns of the loop."""
    last, same = read(), 0
    while same < 200:
        await asyncio.sleep(0)
        now = read()
        same = same + 1 if now == last else 0
        last = now
    return last


async def test_reader_that_does_not_read_stops_the_sender(peer: Peer) -> None:
    asked, end = await peer.ask(CHUNKED)
    await asked.head()
    sent = [0]
    sending = asyncio.create_task(flood(end, sent))
    stopped_at = await settled(lambda: sent[0])
    assert stopped_at < 4 << 20  # buffers of kernel and loop, not what a generation could fill
    assert asked._buffered < 1 << 20
    chunks, got = asked.chunks(), 0
    while got < 8 << 20:
        got += len(await anext(chunks))
    assert sent[0] > stopped_at
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    await closed(asked)


async def test_body_larger_than_all_buffers_arrives_whole_and_in_order(peer: Peer) -> None:
    body = b"".join(b"%08d" % number for number in range(400_000))
    asked, end = await peer.ask(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
    end.send(body)
    assert await body_of(asked) == body
    await closed(asked)


async def test_closing_is_seen_by_the_peer_at_once(peer: Peer) -> None:
    asked, end = await peer.ask(CHUNKED)
    await asked.head()
    asked.close()
    await asked.closed()
    assert await eof(end)


async def test_cancelled_reader_that_closes_is_seen_by_the_peer(peer: Peer) -> None:
    asked, end = await peer.ask(CHUNKED)

    async def consume() -> None:
        try:
            await asked.head()
            async for _ in asked.chunks():
                pass
        finally:
            asked.close()

    consuming = asyncio.create_task(consume())
    await asyncio.sleep(0)
    consuming.cancel()
    await asyncio.gather(consuming, return_exceptions=True)
    assert await eof(end)


async def test_closing_while_the_sender_is_held_back_is_seen_by_the_peer(peer: Peer) -> None:
    asked, end = await peer.ask(CHUNKED)
    await asked.head()
    sent = [0]
    sending = asyncio.create_task(flood(end, sent))
    await settled(lambda: sent[0])
    asked.close()
    await asked.closed()
    await asyncio.wait_for(sending, 5)  # a write to a closed connection ends it
    chunks = asked.chunks()
    await anext(chunks)  # what had arrived may still be read, and does not wake a dead socket
    with pytest.raises(EngineCrashed):
        await anext(chunks)


async def test_closing_twice_is_closing_once(peer: Peer) -> None:
    asked, end = await peer.ask(CHUNKED)
    asked.close()
    asked.close()
    await asked.closed()
    asked.close()
    assert await eof(end)


async def eof(end: End) -> bool:
    read: Awaitable[bytes] = end.reader.read()
    with contextlib.suppress(ConnectionResetError):
        return await asyncio.wait_for(read, 5) == b""
    return True
