"""A provider on the wire: what is sent, every time-out, every retry; against a peer that may do anything, on both event loops."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from email.utils import formatdate

import pytest

from relight.errors import (
    ContentFiltered,
    ContextOverflow,
    ProviderRejected,
    ProviderUnavailable,
    Stopping,
)
from tests.providers.asker import CHAT, asking
from tests.providers.stand_in import CHUNKED, KEY, Act, End, StandIn, Turned, answer, error, raw, refuse_after

pytestmark = pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"])

# --- what is sent


async def test_request_carries_our_key_and_the_body_as_it_is() -> None:
    async with asking(answer()) as asker:
        got = await asker.ask(body=b'{"a":  1}')
        assert (got.status, got.retries, await got.read()) == (200, 0, b'{"ok": true}')
        seen = asker.peer.seen[0]
        assert (seen.path, seen.body) == (CHAT, b'{"a":  1}')
        assert seen.headers["authorization"] == f"Bearer {KEY}"
        assert seen.headers["content-type"] == "application/json"
        assert seen.headers["accept"] == "application/json"
        assert seen.headers["user-agent"].startswith("relight/")


async def test_stream_is_asked_for_as_events_and_uncompressed() -> None:
    async with asking(raw(CHUNKED + b"3\r\nabc\r\n0\r\n\r\n")) as asker:
        got = await asker.ask(stream=True)
        assert await got.read() == b"abc"
        assert got.get(b"content-type") == b"text/event-stream"
        assert asker.peer.seen[0].headers["accept"] == "text/event-stream"
        assert asker.peer.seen[0].headers["accept-encoding"] == "identity"


async def test_large_body_arrives_whole() -> None:
    body = b"x" * (3 << 20)
    async with asking(error(503, "busy"), answer()) as asker:
        asked = asyncio.create_task(asker.ask(body=body))
        await asker.clock.pass_wait()
        await (await asked).read()
        assert [seen.body == body for seen in asker.peer.seen] == [True, True]


async def test_cookie_of_one_answer_is_not_sent_with_the_next_request() -> None:
    async with asking(answer(set_cookie="session=1; Path=/"), answer()) as asker:
        for _ in range(2):
            await (await asker.ask()).read()
        assert "cookie" not in asker.peer.seen[1].headers


async def test_redirect_is_not_followed() -> None:
    async with StandIn(answer()) as other, asking(answer(307, location=f"{other.url}/x?y=secret")) as asker:
        refused = await asker.refused()
        assert isinstance(refused, ProviderRejected)
        assert refused.http_status == 502
        assert "secret" not in str(refused)
        assert other.seen == []


# --- errors that are answers


async def test_overflow_is_told_with_both_numbers() -> None:
    said = "This model's maximum context length is 10 tokens. However, your messages resulted in 12 tokens."
    async with asking(error(400, said, "context_length_exceeded")) as asker:
        refused = await asker.refused(stream=True)
        assert isinstance(refused, ContextOverflow)
        assert (refused.prompt_tokens, refused.context_tokens) == (12, 10)


async def test_content_filter_is_told_apart() -> None:
    async with asking(error(400, "filtered", "content_filter")) as asker:
        assert isinstance(await asker.refused(), ContentFiltered)


async def test_echoed_key_is_not_passed_on() -> None:
    async with asking(error(401, f"Incorrect API key provided: {KEY}"), error(400, f"odd header Bearer {KEY}")) as asker:
        first, second = await asker.refused(), await asker.refused()
        assert first.hint == "check the secret TEST_KEY"
        assert second.message.endswith("odd header Bearer [key]")


async def test_error_body_that_never_comes_is_done_without() -> None:
    head = b"HTTP/1.1 400 Bad\r\ncontent-length: 100\r\n\r\n"
    async with asking(raw(head), timeout_s=0.2) as asker:
        refused = await asker.refused()
        assert isinstance(refused, ProviderRejected)
        assert refused.message == 'model "cloud": the provider refused the request (400)'


async def test_endless_error_body_is_read_no_further_than_is_sane() -> None:
    sent = 0

    async def flood(end: End) -> None:
        nonlocal sent
        end.send(b"HTTP/1.1 400 Bad\r\nconnection: close\r\n\r\n")
        while True:
            end.send(b"w" * 65536)
            await end.writer.drain()
            sent += 65536

    async with asking(flood) as asker:
        refused = await asker.refused()
        assert isinstance(refused, ProviderRejected)
        assert len(refused.message) < 500
        await (await asker.peer.arrived.get()).left.wait()
        assert sent < 32 << 20  # what the sockets hold


# --- asked again


async def test_two_failures_and_then_an_answer_are_an_answer() -> None:
    async with asking(error(503, "busy"), error(500, "oops"), answer()) as asker:
        asked = asyncio.create_task(asker.ask())
        assert [await asker.clock.pass_wait(), await asker.clock.pass_wait()] == [0.25, 0.5]
        got = await asked
        assert (got.status, got.retries) == (200, 2)
        assert len(asker.peer.seen) == 3


async def test_retries_used_up_give_the_last_error() -> None:
    async with asking(error(503, "one"), error(503, "two"), retries=1) as asker:
        asked = asyncio.create_task(asker.refused())
        await asker.clock.pass_wait()
        refused = await asked
        assert isinstance(refused, ProviderUnavailable)
        assert "two" in refused.message
        assert len(asker.peer.seen) == 2


async def test_retry_after_in_seconds_is_waited_for() -> None:
    async with asking(error(429, "slow down", retry_after="7"), answer()) as asker:
        asked = asyncio.create_task(asker.ask())
        assert await asker.clock.pass_wait() == 7.125
        assert (await asked).retries == 1


async def test_retry_after_as_a_date_is_waited_for() -> None:
    clock = Turned()
    date = formatdate(clock.wall() + 9, usegmt=True)
    async with asking(error(503, "busy", retry_after=date), answer()) as asker:
        asked = asyncio.create_task(asker.ask())
        assert await asker.clock.pass_wait() == 9.125
        assert (await asked).retries == 1


async def test_retry_after_that_is_too_long_is_passed_on() -> None:
    async with asking(error(429, "come back tomorrow", retry_after="3600")) as asker:
        refused = await asker.refused()
        assert isinstance(refused, ProviderRejected)
        assert (refused.http_status, refused.retry_after_s) == (429, 3600.0)


async def test_wait_beyond_the_whole_time_is_not_begun() -> None:
    async with asking(error(503, "busy", retry_after="12"), error(503, "busy", retry_after="12"), timeout_s=20) as asker:
        asked = asyncio.create_task(asker.refused())
        assert await asker.clock.pass_wait() == 12.125
        assert isinstance(await asked, ProviderUnavailable)
        assert len(asker.peer.seen) == 2


@pytest.mark.parametrize(
    "act",
    [
        error(429, "no quota", "insufficient_quota"),
        error(503, "no", x_should_retry="false"),
        error(504, "gateway"),
        error(400, "bad"),
    ],
)
async def test_final_answer_is_not_asked_again(act: Act) -> None:
    async with asking(act, answer()) as asker:
        await asker.refused()
        assert len(asker.peer.seen) == 1


@pytest.mark.parametrize("then", ["end", "reset"])
async def test_connection_that_breaks_after_the_request_is_not_asked_again(then: str) -> None:
    async with asking(raw(b"", then=then), answer()) as asker:
        refused = await asker.refused()
        assert isinstance(refused, ProviderUnavailable)
        assert "closed the connection" in refused.message
        assert len(asker.peer.seen) == 1


async def test_cancelling_while_waiting_to_ask_again_ends_it() -> None:
    async with asking(error(503, "busy"), answer()) as asker:
        asked = asyncio.create_task(asker.ask())
        await asker.clock.asked.get()
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        await asker.clock.advance(60)
        assert len(asker.peer.seen) == 1


# --- kept connections


async def test_connection_is_kept_for_the_next_request() -> None:
    async with asking(answer(), answer()) as asker:
        for _ in range(2):
            await (await asker.ask()).read()
        assert [seen.connection for seen in asker.peer.seen] == [0, 0]


async def test_connection_is_kept_after_a_refusal() -> None:
    async with asking(error(400, "bad"), answer()) as asker:
        await asker.refused()
        await (await asker.ask()).read()
        assert [seen.connection for seen in asker.peer.seen] == [0, 0]


async def test_kept_connection_that_was_closed_meanwhile_is_not_used() -> None:
    async def answer_and_leave(end: object) -> None:
        await answer()(end)  # type: ignore[arg-type]
        end.writer.close()  # type: ignore[attr-defined]

    async with asking(answer_and_leave, answer(), retries=0) as asker:
        await (await asker.ask()).read()
        await asker.peer.ends[0].writer.wait_closed()
        assert (await asker.ask()).retries == 0
        assert [seen.connection for seen in asker.peer.seen] == [0, 1]


async def test_kept_connection_that_closes_at_the_next_request_is_replaced_unseen() -> None:
    async with asking(refuse_after(answer()), answer(), retries=0) as asker:
        await (await asker.ask()).read()
        got = await asker.ask()
        assert (got.status, got.retries) == (200, 0)
        assert [seen.connection for seen in asker.peer.seen] == [0, 1]


# --- life


async def test_closed_provider_asks_no_more() -> None:
    async with asking(answer()) as asker:
        await asker.provider.close()
        await asker.provider.close()
        with pytest.raises(Stopping):
            await asker.ask()
        assert asker.peer.seen == []


async def test_closing_while_waiting_to_ask_again_ends_it() -> None:
    async with asking(error(503, "busy"), answer()) as asker:
        asked = asyncio.create_task(asker.ask())
        wait_s = await asker.clock.asked.get()
        await asker.provider.close()
        await asker.clock.advance(wait_s)
        with pytest.raises(Stopping):
            await asked


async def test_first_requests_at_once_share_one_pool() -> None:
    async with asking(*(answer() for _ in range(8))) as asker:
        answers = await asyncio.gather(*(asker.ask() for _ in range(8)))
        assert [await got.read() for got in answers] == [b'{"ok": true}'] * 8


async def test_http_library_is_loaded_by_prepare_and_not_before() -> None:
    code = (
        "import asyncio, sys\n"
        "from relight.clock import SystemClock\n"
        "from relight.providers.provider import Provider\n"
        "from relight.providers.target import Target\n"
        "async def main():\n"
        "    provider = Provider(Target('m', 'http://127.0.0.1:9/v1', 'n'), SystemClock())\n"
        "    before = 'aiohttp' in sys.modules\n"
        "    await provider.prepare()\n"
        "    print(before, 'aiohttp' in sys.modules)\n"
        "    await provider.close()\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-W", "error", "-c", code, stdout=subprocess.PIPE)
    output, _ = await process.communicate()
    assert output.split() == [b"False", b"True"]
