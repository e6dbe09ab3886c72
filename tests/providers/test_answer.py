"""The body of an answer: as it comes, held back, broken off, too long, too late, given up."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from relight.errors import ProviderTimeout, ProviderUnavailable
from relight.providers.answer import Answer
from relight.providers.provider import Provider
from tests.providers.stand_in import CHUNKED, Act, End, StandIn, Turned, answer, raw, target

pytestmark = pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"])
Open = Callable[..., Awaitable[tuple[Provider, StandIn]]]


@pytest.fixture
async def opened() -> AsyncIterator[Open]:
    """Starts a stand-in with a script, and a provider that asks it."""
    made: list[tuple[Provider, StandIn]] = []

    async def start(*script: Act, timeout_s: float = 30.0) -> tuple[Provider, StandIn]:
        peer = await StandIn(*script).__aenter__()
        made.append((Provider(target(peer.url, timeout_s=timeout_s), Turned()), peer))
        return made[-1]

    yield start
    for provider, peer in made:
        await provider.close()
        await peer.__aexit__()


async def held(end: End) -> None:
    """Begin a stream and leave it to the test."""
    end.send(CHUNKED)
    end.chunk(b"data: 1\n\n")
    await end.silence()


async def ask(provider: Provider, *, stream: bool = True) -> Answer:
    return await provider.ask("/v1/chat/completions", b"{}", stream=stream)


async def test_stream_arrives_piece_by_piece(opened: Open) -> None:
    provider, peer = await opened(held)
    got = await ask(provider)
    end = await peer.arrived.get()
    chunks = got.chunks()
    assert await anext(chunks) == b"data: 1\n\n"
    for number in range(2, 6):
        end.chunk(b"data: %d\n\n" % number)
        assert await anext(chunks) == b"data: %d\n\n" % number
    end.send(b"0\r\n\r\n")
    assert [chunk async for chunk in chunks] == []


async def test_stream_that_says_nothing_at_all_is_empty(opened: Open) -> None:
    provider, _ = await opened(raw(CHUNKED + b"0\r\n\r\n"))
    assert await (await ask(provider)).read() == b""


@pytest.mark.parametrize("then", ["end", "reset"])
@pytest.mark.parametrize("head", [CHUNKED + b"5\r\nhello\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhello"])
async def test_body_that_breaks_off_is_an_error_after_what_came(opened: Open, head: bytes, then: str) -> None:
    async def act(end: End) -> None:
        end.send(head)
        await go_on.wait()
        end.writer.close() if then == "end" else end.reset()

    go_on = asyncio.Event()
    provider, _ = await opened(act, answer())
    chunks = (await ask(provider)).chunks()
    assert await anext(chunks) == b"hello"
    go_on.set()
    with pytest.raises(ProviderUnavailable, match="before its answer was complete") as caught:
        await anext(chunks)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


async def test_stream_that_breaks_before_its_first_byte_is_no_answer(opened: Open) -> None:
    provider, peer = await opened(raw(CHUNKED, then="reset"), answer())
    with pytest.raises(ProviderUnavailable):
        await ask(provider)
    assert len(peer.seen) == 1


async def test_answer_that_takes_too_long_is_ended(opened: Open) -> None:
    provider, peer = await opened(held, timeout_s=0.2)
    got = await ask(provider)
    chunks = got.chunks()
    assert await anext(chunks) == b"data: 1\n\n"
    with pytest.raises(ProviderTimeout, match="did not complete its answer within 200ms") as caught:
        await anext(chunks)
    assert "models.cloud.timeout" in (caught.value.hint or "")
    await (await peer.arrived.get()).left.wait()


async def test_answer_that_nobody_reads_is_ended_in_time_too(opened: Open) -> None:
    provider, peer = await opened(held, timeout_s=0.2)
    got = await ask(provider)
    await (await peer.arrived.get()).left.wait()
    with pytest.raises(ProviderTimeout):
        await got.read()


async def test_closing_an_answer_drops_its_connection(opened: Open) -> None:
    provider, peer = await opened(held, answer())
    got = await ask(provider)
    got.close()
    got.close()
    await (await peer.arrived.get()).left.wait()
    await (await ask(provider, stream=False)).read()
    assert [seen.connection for seen in peer.seen] == [0, 1]


async def test_cancelling_a_reader_drops_the_connection(opened: Open) -> None:
    provider, peer = await opened(held)
    got = await ask(provider)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await got.read()
    await (await peer.arrived.get()).left.wait()


@pytest.mark.parametrize("head", [b"", CHUNKED])
async def test_cancelling_before_the_first_byte_drops_the_connection(opened: Open, head: bytes) -> None:
    provider, peer = await opened(raw(head))
    asking = asyncio.create_task(ask(provider))
    end = await peer.arrived.get()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await end.left.wait()


async def test_answer_larger_than_may_be_read_is_refused(opened: Open) -> None:
    provider, _ = await opened(answer(body=b"x" * 100_000), answer(body=b"y" * 1000))
    got = await ask(provider, stream=False)
    with pytest.raises(ProviderUnavailable, match="larger than 1000B"):
        await got.read(1000)
    assert await (await ask(provider, stream=False)).read(1000) == b"y" * 1000


async def test_slow_reader_holds_the_provider_back(opened: Open) -> None:
    sent = 0

    async def flood(end: End) -> None:
        nonlocal sent
        end.writer.transport.set_write_buffer_limits(high=0)
        end.send(CHUNKED)
        for _ in range(400):
            end.chunk(b"x" * 65536)
            stuck = asyncio.get_running_loop().call_later(0.2, blocked.set)
            await end.writer.drain()
            stuck.cancel()
            sent += 1
        end.send(b"0\r\n\r\n")

    blocked = asyncio.Event()
    provider, _ = await opened(flood)
    got = await ask(provider)
    await blocked.wait()
    # What the sockets of both ends hold, and no more: 25 MB were to come.
    assert sent < 300
    assert len(await got.read(100 << 20)) == 400 * 65536


async def test_compressed_answer_is_taken_out_of_its_wrapping(opened: Open) -> None:
    provider, _ = await opened(answer(body=gzip.compress(b"hello" * 100), content_encoding="gzip", x_other="1"))
    got = await ask(provider, stream=False)
    assert await got.read() == b"hello" * 100
    assert got.get(b"content-encoding") is None
    assert got.get(b"content-length") is None
    assert got.get(b"x-other") == b"1"


async def test_closing_the_provider_breaks_off_its_answers(opened: Open) -> None:
    provider, peer = await opened(held)
    chunks = (await ask(provider)).chunks()
    await anext(chunks)
    with pytest.raises(ProviderUnavailable):
        await asyncio.gather(anext(chunks), provider.close())
    await (await peer.arrived.get()).left.wait()
