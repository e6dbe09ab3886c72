"""Limits whose counts are kept in a Redis: shared, and out of reach."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from relight.access.limits import Limiter
from relight.clock import ManualClock
from relight.config.schema import Limits
from relight.errors import OverBudget, RateLimited
from tests.serve.process import free_port

needs_redis = pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs redis-server")


@contextmanager
def redis(folder: Path, port: int) -> Iterator[str]:
    """A Redis of our own for as long as the block runs; its address."""
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with subprocess.Popen([*command, "--dir", str(folder)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert any("Ready to accept connections" in line for line in process.stdout)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.kill()


@asynccontextmanager
async def limiter(
    limits: Limits, *, clock: ManualClock | None = None, service: str = "test", notes: list[str] | None = None
) -> AsyncIterator[Limiter]:
    found = Limiter(limits, clock or ManualClock(), service=service, note=pytest.fail if notes is None else notes.append)
    try:
        yield found
    finally:
        await found.close()


# --- shared -------------------------------------------------------------------------------------------------------


@pytest.mark.real
@needs_redis
async def test_instances_share_the_requests_of_a_minute(tmp_path: Path) -> None:
    with redis(tmp_path, free_port()) as store:
        limits = Limits(requests_per_minute=3, store=store)
        async with limiter(limits) as one, limiter(limits) as other, limiter(limits, service="else") as foreign:
            for instance in (one, other, one):
                (await instance.enter("laptop")).leave()
            for instance in (one, other):
                with pytest.raises(RateLimited) as caught:
                    await instance.enter("laptop")
                assert caught.value.retry_after_s is not None
                assert 0 <= caught.value.retry_after_s <= 60
            await other.enter("phone")
            await foreign.enter("laptop")


@pytest.mark.real
@needs_redis
async def test_simultaneous_requests_of_two_instances_take_no_more_than_there_is(tmp_path: Path) -> None:
    with redis(tmp_path, free_port()) as store:
        limits = Limits(requests_per_minute=6, store=store)
        async with limiter(limits) as one, limiter(limits) as other:
            for instance in (one, other):
                (await instance.enter("somebody")).leave()  # connected, so that all of them ask at once
            entered = await asyncio.gather(
                *(instance.enter("laptop") for _ in range(12) for instance in (one, other)), return_exceptions=True
            )
            assert sum(not isinstance(found, BaseException) for found in entered) == 6
            assert {type(found) for found in entered if isinstance(found, BaseException)} == {RateLimited}


@pytest.mark.real
@needs_redis
async def test_instances_share_the_tokens_of_a_day(tmp_path: Path) -> None:
    clock = ManualClock()
    with redis(tmp_path, free_port()) as store:
        limits = Limits(tokens_per_day=100, store=store)
        async with limiter(limits, clock=clock) as one, limiter(limits, clock=clock) as other:
            for instance in (one, other):
                with await instance.enter("laptop") as lease:
                    await lease.spend(60)
            with pytest.raises(OverBudget):
                await one.enter("laptop")
            await clock.advance(86400)
            await other.enter("laptop")


@pytest.mark.real
@needs_redis
async def test_redis_that_comes_back_is_asked_again(tmp_path: Path) -> None:
    port, clock, notes = free_port(), ManualClock(), list[str]()
    async with limiter(Limits(requests_per_minute=1, store=f"redis://127.0.0.1:{port}"), clock=clock, notes=notes) as limits:
        with redis(tmp_path, port):
            (await limits.enter("laptop")).leave()
            with pytest.raises(RateLimited):
                await limits.enter("laptop")
        await limits.enter("laptop")
        assert len(notes) == 1
        with redis(tmp_path, port):
            await limits.enter("laptop")  # it is left alone for a while
            await clock.advance(5)
            await limits.enter("laptop")
            with pytest.raises(RateLimited):
                await limits.enter("laptop")
    assert len(notes) == 1


# --- out of reach -------------------------------------------------------------------------------------------------


async def test_store_that_refuses_lets_requests_pass_and_is_noted_once_a_minute_without_its_password() -> None:
    clock, notes = ManualClock(), list[str]()
    limits = Limits(requests_per_minute=1, tokens_per_day=1, concurrency=30, store=f"redis://:hush@127.0.0.1:{free_port()}/0")
    async with limiter(limits, clock=clock, notes=notes) as found:
        for _ in range(12):
            lease = await found.enter("laptop")
            await lease.spend(100)
            await clock.advance(6)
    said = "limits.store: cannot be reached (ConnectionError), so requests and tokens are not limited"
    assert notes == [said, said]


class Silent:
    """A server that takes connections and never answers, until the client closes them."""

    def __init__(self) -> None:
        self.connected = asyncio.Event()
        self.tasks: list[asyncio.Task[None] | None] = []
        self.store = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.append(asyncio.current_task())
        self.connected.set()
        while await reader.read(1 << 16):
            pass
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def silent() -> AsyncIterator[Silent]:
    """Such a server; on leaving, its clients must have closed their connections."""
    found = Silent()
    async with await asyncio.start_server(found.answer, "127.0.0.1", 0) as server:
        found.store = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
        yield found
        await asyncio.gather(*(task for task in found.tasks if task is not None))


async def test_store_that_never_answers_lets_requests_pass() -> None:
    notes: list[str] = []
    async with silent() as server, limiter(Limits(requests_per_minute=1, store=server.store), notes=notes) as found:
        for _ in range(5):
            await found.enter("laptop")
    assert len(notes) == 1
    # Its one more try, and then nothing for a while.
    assert 1 <= len(server.tasks) <= 2


async def test_concurrency_holds_while_the_store_is_out_of_reach() -> None:
    notes: list[str] = []
    limits = Limits(requests_per_minute=9, concurrency=1, store=f"redis://127.0.0.1:{free_port()}")
    async with limiter(limits, notes=notes) as found:
        await found.enter("laptop")
        with pytest.raises(RateLimited, match=r"^limits\.concurrency"):
            await found.enter("laptop")


async def test_request_given_up_while_the_store_is_asked_gives_its_place_back() -> None:
    notes: list[str] = []
    async with silent() as server:
        limits = Limits(requests_per_minute=9, concurrency=1, store=server.store)
        async with limiter(limits, notes=notes) as found:
            waiting = asyncio.create_task(found.enter("laptop"))
            await server.connected.wait()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await found.enter("laptop")
