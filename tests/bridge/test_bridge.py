"""The bridge between a client and the emulated platform: what passes, what is held, what is told, and who is let in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientError

from relight.bridge.asking import _seconds
from relight.clock import ManualClock
from tests.bridge.bridging import CHAT, MESSAGES, OLLAMA, PATHS, RESPONSES, Span, request_body, spanned, turns, until
from tests.bridge.platform import (
    BROKE,
    NO_INSTANCE,
    NOT_YET,
    Platform,
    breaks_after,
    says,
    streams,
    without_instance,
)

EVENTS = (b'data: {"id":"1"}\n\n', b"event: odd\r\ndata: {\r\n\r\n", b": \xff\xfe\x00\n\n", b"data: [DONE]\n\n")
STREAMED: Any = request_body(CHAT, "hello")


@pytest.fixture
async def platform() -> AsyncIterator[Platform]:
    async with Platform(answers=[streams(*EVENTS)]).running() as found:
        yield found


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def settled(clock: ManualClock, span: Span, seconds: float, condition: Any) -> None:
    """Turn the clock in small steps, none of them while a request is on its way, until `condition()` is true."""
    for _ in range(2000):
        if condition():
            return
        await turns(50)
        if not any(not one.status and not one.is_cut for one in span.platform.seen):
            await clock.advance(seconds)
    raise AssertionError(f"it never came true; {span.told.events}")


# --- what passes


@pytest.mark.parametrize("path", PATHS)
async def test_stream_passes_byte_for_byte_with_its_own_head(platform: Platform, path: str) -> None:
    async with spanned(platform) as span:
        heard = await span.client.ask(path, request_body(path, "hello"))

    assert (heard.status, heard.body) == (200, b"".join(EVENTS))
    assert heard.headers["content-type"] == "text/event-stream"


async def test_request_goes_as_it_came_but_for_what_is_about_the_connection(platform: Platform) -> None:
    body = b'{"stream":  false, "messages": [] , "odd": "\\u00e9\xc3\xa9"}'
    async with spanned(platform) as span:
        await span.client.ask(
            f"{CHAT}?beta=true&x=%2F%20+",
            body,
            authorization="Bearer rl_key",
            x_api_key="rl_other",
            anthropic_beta="a,b",
            user_agent="agent/1",
            accept_encoding="gzip",
            content_type="application/json; odd",
            te="trailers",
        )

    (seen,) = platform.seen
    assert (seen.method, seen.target, seen.body) == ("POST", f"{CHAT}?beta=true&x=%2F%20+", body)
    told = {name: text for name, text in seen.headers.items() if name not in ("content-length", "host", "accept")}
    assert told == {
        "authorization": "Bearer rl_key",
        "x-api-key": "rl_other",
        "anthropic-beta": "a,b",
        "user-agent": "agent/1",
        "accept-encoding": "gzip",
        "content-type": "application/json; odd",
    }


@pytest.mark.parametrize("status", [200, 204, 400, 404, 422, 500, 502, 503])
async def test_answer_in_one_piece_keeps_status_headers_and_body(platform: Platform, status: int) -> None:
    body = b"" if status == 204 else b'{"error": {"message": "odd"}}'
    platform.answers = [says(status, body, retry_after="7", x_odd="yes", alt_svc='h3=":443"')]
    async with spanned(platform) as span:
        heard = await span.client.ask(CHAT, {"messages": []})

    assert (heard.status, heard.body) == (status, body)
    assert (heard.headers["retry-after"], heard.headers["x-odd"]) == ("7", "yes")
    assert "alt-svc" not in heard.headers


async def test_large_bodies_pass_both_ways(platform: Platform) -> None:
    body, answer = b'{"a":"' + b"x" * (20 << 20) + b'"}', bytes(range(256)) * (32 << 10)
    platform.answers = [says(200, answer, "application/octet-stream")]
    async with spanned(platform) as span:
        heard = await span.client.ask("/v1/embeddings", body)

    assert platform.seen[0].body == body
    assert heard.body == answer


async def test_body_that_nobody_could_want_is_refused(platform: Platform) -> None:
    async with spanned(platform) as span:
        heard = await span.client.ask(MESSAGES, b"x" * ((64 << 20) + 1))

    assert heard.status == 413
    assert heard.json()["error"]["type"] == "request_too_large"
    assert platform.seen == []


async def test_each_event_passes_before_the_next_is_there(platform: Platform) -> None:
    go = asyncio.Event()
    platform.answers = [streams(*EVENTS, then=go)]
    async with spanned(platform) as span, span.client.open(CHAT, STREAMED) as response:
        for event in EVENTS:
            assert await response.content.readexactly(len(event)) == event
            go.set()
        assert await response.content.read() == b""


async def test_client_that_does_not_read_holds_the_service(platform: Platform) -> None:
    written, part = [0], b"data: " + b"x" * (64 << 10) + b"\n\n"

    async def endless(request: Any, _body: bytes) -> Any:
        from aiohttp import web

        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        while True:
            await response.write(part)
            written[0] += len(part)

    platform.answers = [endless]
    async with spanned(platform) as span, span.client.open(CHAT, STREAMED):
        before = -1
        while before != written[0]:  # until nothing goes any more
            before = written[0]
            await turns(2000)
        assert 0 < written[0] < 64 << 20


async def test_client_that_leaves_ends_what_the_service_does_for_it(platform: Platform) -> None:
    platform.answers = [streams(*EVENTS, then=asyncio.Event())]
    async with spanned(platform) as span:
        async with span.client.open(CHAT, STREAMED) as response:
            assert await response.content.readexactly(len(EVENTS[0])) == EVENTS[0]
            response.close()
        await platform.until(lambda: platform.seen[0].is_cut)
        await until(lambda: span.bridge.state.open == 0)


async def test_client_that_leaves_before_there_is_an_answer_ends_the_request(platform: Platform) -> None:
    platform.starting = asyncio.Event()
    async with spanned(platform) as span:
        asking = asyncio.create_task(span.client.ask(CHAT, {"messages": []}))
        await platform.until(lambda: bool(platform.seen))
        asking.cancel()
        await platform.until(lambda: platform.seen[0].is_cut)
        await until(lambda: span.bridge.state.open == 0)


async def test_head_and_get_pass(platform: Platform) -> None:
    platform.answers = [says(200, b'{"data": []}')]
    async with spanned(platform) as span:
        assert (await span.client.get("/v1/models?limit=1000")).body == b'{"data": []}'
        head = await span.client.ask("/api/hello", None, "HEAD")

    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "12")
    assert [(one.method, one.target) for one in platform.seen] == [("GET", "/v1/models?limit=1000"), ("HEAD", "/api/hello")]


# --- no instance


@pytest.mark.parametrize("kind", [NO_INSTANCE, NOT_YET, (429, "", "Rate exceeded."), (500, "", NO_INSTANCE[2])])
async def test_stream_begins_at_once_where_there_is_no_instance_and_then_passes(
    platform: Platform, clock: ManualClock, kind: Any
) -> None:
    platform.away = [without_instance(kind) for _ in range(3)]
    async with spanned(platform, clock=clock) as span, span.client.open(CHAT, STREAMED) as response:
        assert (response.status, response.headers["content-type"]) == (200, "text/event-stream")
        assert await response.content.readline() == b": waiting for the service\n"
        assert len(platform.seen) == 1
        await settled(clock, span, 0.5, lambda: len(platform.seen) == 4)
        heard = await response.content.read()

    beats, answer = heard[: -len(b"".join(EVENTS))], heard[-len(b"".join(EVENTS)) :]
    assert answer == b"".join(EVENTS)
    assert all(b'"choices":[]' in beat for beat in beats.split(b"\n\n")[1:-1])

    assert [event for event, _ in span.told.events] == ["waiting", "answering", "answered"]
    assert len({one.body for one in platform.seen}) == 1


@pytest.mark.parametrize(("said", "seconds"), [("3", 3.0), ("²", None), ("9" * 400, None), ("soon", None), (None, None)])
def test_retry_after_that_is_no_number_of_seconds_is_passed_over(said: str | None, seconds: float | None) -> None:
    assert _seconds(said, 0.0) == seconds


async def test_retry_after_is_waited_for(platform: Platform, clock: ManualClock) -> None:
    platform.away = [without_instance(NOT_YET, 30)]
    async with spanned(platform, clock=clock) as span:
        asking = asyncio.create_task(span.client.ask(CHAT, {"messages": []}))
        await platform.until(lambda: bool(platform.seen))
        await until(lambda: bool(clock._sleepers))
        await turns()
        await clock.advance(29.5)
        await turns()
        assert len(platform.seen) == 1
        await clock.advance(1)
        assert (await asking).status == 200
    assert len(platform.seen) == 2


async def test_client_that_does_not_stream_is_held_and_gets_the_status_as_it_is(platform: Platform, clock: ManualClock) -> None:
    platform.away = [without_instance() for _ in range(4)]
    platform.answers = [says(400, b'{"error":{"message":"no"}}')]
    async with spanned(platform, clock=clock) as span:
        asking = asyncio.create_task(span.client.ask(CHAT, {"messages": []}))
        await settled(clock, span, 1, asking.done)
        assert ((await asking).status, (await asking).json()) == (400, {"error": {"message": "no"}})


async def test_patience_ends_with_what_to_do_and_when_to_come_back(platform: Platform, clock: ManualClock) -> None:
    platform.away = [without_instance() for _ in range(100)]
    async with spanned(platform, clock=clock, patience_s=60) as span:
        asking = asyncio.create_task(span.client.ask(MESSAGES, {"messages": []}))
        await settled(clock, span, 5, asking.done)
        heard = await asking

    assert (heard.status, heard.headers["retry-after"]) == (503, "10")
    assert heard.json()["error"]["type"] == "overloaded_error"
    assert "had no instance for 1m" in heard.json()["error"]["message"]
    assert len(platform.seen) < 20


@pytest.mark.parametrize("path", PATHS)
async def test_patience_that_ends_in_a_stream_is_told_as_an_event_of_the_dialect(
    platform: Platform, clock: ManualClock, path: str
) -> None:
    platform.away = [without_instance() for _ in range(100)]
    async with spanned(platform, clock=clock, patience_s=20) as span:
        asking = asyncio.create_task(span.client.ask(path, request_body(path, "hello")))
        await settled(clock, span, 5, asking.done)
        heard = await asking

    assert heard.status == 200
    last = heard.body.removesuffix(b"data: [DONE]\n\n").strip().splitlines()[-1]
    assert "had no instance" in json.dumps(json.loads(last.removeprefix(b"data: ")))


async def test_what_an_instance_has_begun_is_not_asked_again(platform: Platform) -> None:
    platform.away = [without_instance(BROKE)]
    async with spanned(platform) as span:
        heard = await span.client.ask(CHAT, {"messages": []})

    assert heard.status == 503
    assert b"upstream connect error" in heard.body
    assert len(platform.seen) == 1


@pytest.mark.parametrize("path", ["/readyz", "/status"])
async def test_question_how_things_stand_is_answered_at_once(platform: Platform, path: str) -> None:
    platform.away = [without_instance()]
    async with spanned(platform) as span:
        assert (await span.client.get(path)).status == 429


async def test_services_own_refusal_passes_although_it_says_when_to_come_back(platform: Platform) -> None:
    full = b'{"error":{"message":"64 requests wait already","code":"queue_full"}}'
    platform.answers = [says(503, full, retry_after="3", x_relight_interaction="int_1")]
    async with spanned(platform) as span:
        heard = await span.client.ask(CHAT, {"messages": []})

    assert (heard.status, heard.body, heard.headers["retry-after"]) == (503, full, "3")


async def test_service_that_cannot_be_reached_is_waited_for(clock: ManualClock) -> None:
    async with Platform(answers=[says(200, b"{}")]).running() as gone:
        pass
    async with spanned(gone, clock=clock, patience_s=30) as span:
        asking = asyncio.create_task(span.client.ask(CHAT, {"messages": []}))
        await settled(clock, span, 2, asking.done)
        heard = await asking

    assert heard.status == 502
    assert "cannot be reached" in heard.json()["error"]["message"]
    assert ("waiting", {}) in span.told.events


# --- a client that waits


async def beating(platform: Platform, clock: ManualClock, path: str, seconds: float) -> bytes:
    """What a client hears in so long a silence of the service's, which then answers nothing but its end."""
    platform.starting, platform.answers = asyncio.Event(), [streams(b"", content_type=kind(path))]
    async with spanned(platform, clock=clock) as span:
        asking = asyncio.create_task(span.client.ask(path, request_body(path, "hello")))
        await platform.until(lambda: bool(platform.seen))
        for _ in range(round(seconds)):
            await clock.advance(1)
            await asyncio.sleep(0)
        platform.starting.set()
        return (await asking).body


def kind(path: str) -> str:
    return "application/x-ndjson" if path.startswith("/api/") else "text/event-stream"


async def test_chat_that_waits_gets_chunks_without_choices(platform: Platform, clock: ManualClock) -> None:
    first, *beats = (await beating(platform, clock, CHAT, 35)).split(b"\n\n")[:-1]

    assert first == b": waiting for the service"
    chunks = [json.loads(beat.removeprefix(b"data: ")) for beat in beats]
    assert [(one["object"], one["model"], one["choices"]) for one in chunks] == [("chat.completion.chunk", "toy", [])] * 3


async def test_messages_that_wait_get_pings(platform: Platform, clock: ManualClock) -> None:
    heard = await beating(platform, clock, MESSAGES, 35)

    assert heard == b": waiting for the service\n\n" + b'event: ping\ndata: {"type":"ping"}\n\n' * 3


async def test_responses_that_wait_get_comments_until_a_client_would_give_up(platform: Platform, clock: ManualClock) -> None:
    heard = await beating(platform, clock, RESPONSES, 105)

    assert heard.count(b": waiting for the service\n\n") == 10
    assert heard.endswith(b'event: keepalive\ndata: {"type":"keepalive"}\n\n')


async def test_ollamas_client_that_waits_gets_lines_without_words(platform: Platform, clock: ManualClock) -> None:
    lines = [json.loads(line) for line in (await beating(platform, clock, OLLAMA, 25)).splitlines()]

    assert [(one["model"], one["message"]["content"], one["done"]) for one in lines] == [("toy", "", False)] * 3


async def test_ollamas_client_streams_unless_it_says_otherwise(platform: Platform, clock: ManualClock) -> None:
    platform.starting = asyncio.Event()
    async with spanned(platform, clock=clock) as span:
        async with asyncio.timeout(20):
            asking = asyncio.create_task(span.client.ask(OLLAMA, request_body(OLLAMA, "hello", stream=None)))
            await platform.until(lambda: bool(platform.seen))
            await clock.advance(4)
            platform.starting.set()
            assert b'"done":false' in (await asking).body


async def test_answer_within_three_seconds_keeps_its_status(platform: Platform, clock: ManualClock) -> None:
    platform.starting, platform.answers = asyncio.Event(), [says(400, b'{"error":{"message":"too long"}}')]
    async with spanned(platform, clock=clock) as span:
        asking = asyncio.create_task(span.client.ask(CHAT, STREAMED))
        await platform.until(lambda: bool(platform.seen))
        await clock.advance(2.9)
        platform.starting.set()
        heard = await asking

    assert (heard.status, heard.body) == (400, b'{"error":{"message":"too long"}}')


async def late(platform: Platform, clock: ManualClock, path: str) -> bytes:
    """What a stream ends with whose head was out before the service said no."""
    platform.starting = asyncio.Event()
    async with spanned(platform, clock=clock) as span:
        asking = asyncio.create_task(span.client.ask(path, request_body(path, "hello")))
        await platform.until(lambda: bool(platform.seen))
        await clock.advance(4)
        platform.starting.set()
        heard = await asking
        assert heard.status == 200
        return heard.body.split(b"\n\n", 1)[1] if kind(path) == "text/event-stream" else heard.body.splitlines()[-1]


OVERFLOW = b'{"error":{"message":"This model\'s maximum context length is 8 tokens.","code":"context_length_exceeded"}}'


async def test_refusal_that_comes_late_is_told_in_the_stream(platform: Platform, clock: ManualClock) -> None:
    platform.answers = [says(400, OVERFLOW)]
    event, done, rest = (await late(platform, clock, CHAT)).split(b"\n\n")
    error = json.loads(event.removeprefix(b"data: "))["error"]
    assert (error["code"], error["message"]) == (
        "context_length_exceeded",
        "This model's maximum context length is 8 tokens.",
    )
    assert (done, rest) == (b"data: [DONE]", b"")


@pytest.mark.parametrize(("path", "marks"), [(MESSAGES, b"event: error"), (RESPONSES, b"event: response.failed")])
async def test_late_refusal_of_a_key_is_told_in_each_dialect(
    platform: Platform, clock: ManualClock, path: str, marks: bytes
) -> None:
    platform.answers = [says(401, b'{"error":{"message":"request: has no key","code":"unauthorized"}}')]
    heard = await late(platform, clock, path)

    assert heard.startswith(marks)
    assert b"request: has no key" in heard
    assert b"authentication_error" in heard


async def test_whole_answer_to_a_stream_that_has_begun_is_an_error_and_no_garbage(platform: Platform, clock: ManualClock) -> None:
    platform.answers = [says(200, b'{"choices": []}')]
    heard = await late(platform, clock, CHAT)

    assert b"answered a stream with application/json" in heard
    assert b'{"choices": []}' not in heard


async def test_held_json_gets_white_space_and_is_read_as_ever(platform: Platform, clock: ManualClock) -> None:
    platform.starting, platform.answers = asyncio.Event(), [says(200, b'{"a": 1}')]
    async with spanned(platform, clock=clock, hold_json_s=60) as span:
        asking = asyncio.create_task(span.client.ask(CHAT, {"messages": []}))
        await platform.until(lambda: bool(platform.seen))
        await clock.advance(59)
        assert not asking.done()
        await clock.advance(22)
        platform.starting.set()
        heard = await asking

    assert heard.body == b'   {"a": 1}'
    assert heard.json() == {"a": 1}
    assert platform.seen[0].headers["accept-encoding"] == "identity"


def slowly(body: bytes, content_type: str, go: asyncio.Event) -> Any:
    """A container that sends its head, and its body a while later."""

    async def act(request: Any, _body: bytes) -> Any:
        from aiohttp import web

        headers = {"Content-Type": content_type} | ({} if "stream" in content_type else {"Content-Length": str(len(body))})
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        await go.wait()
        await response.write(body)
        await response.write_eof()
        return response

    return act


async def test_stream_that_has_a_head_and_no_byte_yet_is_kept_alive(platform: Platform, clock: ManualClock) -> None:
    go = asyncio.Event()
    platform.answers = [slowly(b"data: [DONE]\n\n", "text/event-stream", go)]
    async with spanned(platform, clock=clock) as span, span.client.open(CHAT, STREAMED) as response:
        await clock.advance(35)
        go.set()
        heard = await response.content.read()

    assert (heard.count(b'"choices":[]'), heard[-14:]) == (4, b"data: [DONE]\n\n")


@pytest.mark.parametrize("stream", [True, False])
async def test_nothing_stands_before_a_body_whose_length_is_said(platform: Platform, clock: ManualClock, stream: bool) -> None:
    go = asyncio.Event()
    platform.answers = [slowly(b'{"a": 1}', "application/json", go)]
    asked = request_body(CHAT, "hello", stream=stream)
    async with spanned(platform, clock=clock, hold_json_s=5) as span, span.client.open(CHAT, asked) as response:
        await clock.advance(100)
        go.set()
        assert await response.content.read() == b'{"a": 1}'


async def test_nothing_is_put_between_bytes_of_an_answer_however_long_it_is_silent(
    platform: Platform, clock: ManualClock
) -> None:
    go = asyncio.Event()
    platform.answers = [streams(EVENTS[0], EVENTS[3], then=go)]
    async with spanned(platform, clock=clock) as span, span.client.open(CHAT, STREAMED) as response:
        assert await response.content.readexactly(len(EVENTS[0])) == EVENTS[0]
        await clock.advance(500)
        go.set()
        assert await response.content.read() == EVENTS[3]


async def test_service_that_never_answers_is_given_up(platform: Platform, clock: ManualClock) -> None:
    platform.starting = asyncio.Event()
    async with spanned(platform, clock=clock, patience_s=100) as span:
        asking = asyncio.create_task(span.client.ask(CHAT, {"messages": []}))
        await platform.until(lambda: bool(platform.seen))
        await clock.advance(101)
        heard = await asking
        await platform.until(lambda: platform.seen[0].is_cut)

    assert heard.status == 504
    assert "did not begin to answer within 1m40s" in heard.json()["error"]["message"]


# --- a container that dies


async def test_stream_that_breaks_off_between_events_ends_with_an_error(platform: Platform) -> None:
    platform.answers = [breaks_after(EVENTS[0])]
    async with spanned(platform) as span:
        heard = await span.client.ask(CHAT, STREAMED)

    assert heard.body.startswith(EVENTS[0] + b'data: {"error":')
    assert b"broke off" in heard.body


@pytest.mark.parametrize("part", [b'data: {"id', b'{"choices": ['])
async def test_half_of_something_is_never_taken_for_the_whole(platform: Platform, part: bytes) -> None:
    platform.answers = [breaks_after(part)]
    async with spanned(platform) as span, span.client.open(CHAT, STREAMED) as response:
        assert await response.content.readexactly(len(part)) == part
        with pytest.raises(ClientError):
            await response.content.read()


async def test_kept_connection_that_was_closed_meanwhile_is_no_failure(platform: Platform) -> None:
    async def closes(request: Any, _body: bytes) -> Any:
        request.transport.abort()
        raise asyncio.CancelledError

    platform.answers = [streams(*EVENTS), closes, streams(*EVENTS)]
    async with spanned(platform) as span:
        assert (await span.client.ask(CHAT, STREAMED)).body == b"".join(EVENTS)
        assert (await span.client.ask(CHAT, STREAMED)).body == b"".join(EVENTS)


async def test_fresh_connection_that_breaks_is_not_asked_again(platform: Platform) -> None:
    async def closes(request: Any, _body: bytes) -> Any:
        request.transport.abort()
        raise asyncio.CancelledError

    platform.answers = [closes]
    async with spanned(platform) as span:
        heard = await span.client.ask(CHAT, {"messages": []})

    assert heard.status == 502
    assert "closed the connection before it answered" in heard.json()["error"]["message"]
    assert len(platform.seen) == 1


async def test_what_is_no_http_is_not_written_down(platform: Platform, capfd: pytest.CaptureFixture[str]) -> None:
    async with spanned(platform) as span:
        host, _, port = span.client.address.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"very private words\x00\r\n\r\n")
        assert b" 400 " in await reader.readline()
        writer.close()
        await writer.wait_closed()

    assert capfd.readouterr().err == ""


# --- who is let in


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8787", "127.0.0.1.evil.example", "localhost.evil.example", "user@127.0.0.1", "", "10.0.0.1"],
)
async def test_name_that_was_made_to_point_here_is_refused(platform: Platform, host: str) -> None:
    async with spanned(platform) as span:
        heard = await span.client.ask(CHAT, STREAMED, host=host)

    assert (heard.status, heard.json()["error"]["code"]) == (403, "forbidden")
    assert platform.seen == []


@pytest.mark.parametrize("host", ["127.0.0.1:1", "localhost", "LOCALHOST:8787", "[::1]:8787"])
async def test_names_of_this_machine_are_let_in(platform: Platform, host: str) -> None:
    async with spanned(platform) as span:
        assert (await span.client.ask(CHAT, STREAMED, host=host)).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:3000"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
async def test_pages_of_other_sites_are_refused_and_read_nothing(
    platform: Platform, headers: dict[str, str], method: str
) -> None:
    async with spanned(platform) as span:
        heard = await span.client.ask("/v1/models", b"" if method == "POST" else None, method, **headers)

    assert heard.status == 403
    assert not [name for name in heard.headers if name.startswith("access-control")]
    assert platform.seen == []


async def test_page_that_came_through_the_bridge_may_use_it(platform: Platform) -> None:
    async with spanned(platform) as span:
        heard = await span.client.ask("/chat", {"message": "hi"}, origin=span.client.address, sec_fetch_site="same-origin")

    assert heard.status == 200
    assert not {"origin", "sec-fetch-site", "referer"} & set(platform.seen[0].headers)


async def test_request_that_names_another_server_in_its_first_line_is_refused(platform: Platform) -> None:
    async with spanned(platform) as span:
        host, _, port = span.client.address.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET http://evil.example/ HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
        head = await reader.readline()
        writer.close()
        await writer.wait_closed()

    assert b" 403 " in head
    assert platform.seen == []
