"""What the official clients make of our errors and heartbeats: they are the ones who have to understand them."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import msgspec
import openai
import pytest

from relight import errors
from relight.errors import ContextOverflow, MethodNotAllowed, RelightError
from relight.wire import sse
from relight.wire.anthropic import Messages
from relight.wire.dialect import Dialect
from relight.wire.openai import Chat, Responses

OVERFLOW = ContextOverflow("too long", prompt_tokens=9000, context_tokens=8192)


class Door:
    """Answers every request on a loopback port with the same bytes."""

    def __init__(self) -> None:
        self.url = ""
        self._answer = b""

    def refuses(self, dialect: Dialect, error: RelightError) -> None:
        body = msgspec.json.encode(dialect.error_body(error))
        self._set(f"{error.http_status} No", "application/json", body)

    def streams(self, *parts: bytes) -> None:
        self._set("200 OK", "text/event-stream", b"".join(parts))

    def _set(self, status: str, kind: str, body: bytes) -> None:
        head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        self._answer = head.encode() + body

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if b"content-length: " in head:
            await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
        writer.write(self._answer)
        await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    door = Door()
    server = await asyncio.start_server(door.serve, "127.0.0.1", 0)
    door.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield door


@pytest.fixture
async def oai(door: Door) -> AsyncIterator[openai.AsyncOpenAI]:
    # Without TLS: reading the certificates takes longer than the test.
    http = openai.DefaultAsyncHttpxClient(verify=False)
    async with openai.AsyncOpenAI(base_url=f"{door.url}/v1", api_key="none", max_retries=0, http_client=http) as client:
        yield client


@pytest.fixture
async def claude(door: Door) -> AsyncIterator[anthropic.AsyncAnthropic]:
    http = anthropic.DefaultAsyncHttpxClient(verify=False)
    async with anthropic.AsyncAnthropic(base_url=door.url, api_key="none", max_retries=0, http_client=http) as client:
        yield client


USER: list[Any] = [{"role": "user", "content": "hi"}]


def every_error() -> list[RelightError]:
    """One of each class, with a hint, as a request could meet it."""
    classes = [one for _, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, RelightError)]
    special: dict[type, RelightError] = {
        MethodNotAllowed: MethodNotAllowed("no such method", allow=("GET",), hint="look"),
        ContextOverflow: OVERFLOW,
    }
    return [special[one] if one in special else one(f"{one.code}: broke", hint="look") for one in classes]


ERRORS = pytest.mark.parametrize("error", every_error(), ids=lambda error: type(error).__name__)

OPENAI_CLASSES = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    405: openai.APIStatusError,
    413: openai.APIStatusError,
    415: openai.APIStatusError,
    429: openai.RateLimitError,
    499: openai.APIStatusError,
    500: openai.InternalServerError,
    501: openai.InternalServerError,
    502: openai.InternalServerError,
    503: openai.InternalServerError,
    504: openai.InternalServerError,
}
OPENAI_TYPES = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error"}
ANTHROPIC_CLASSES = {
    400: (anthropic.BadRequestError, "invalid_request_error"),
    401: (anthropic.AuthenticationError, "authentication_error"),
    403: (anthropic.PermissionDeniedError, "permission_error"),
    404: (anthropic.NotFoundError, "not_found_error"),
    405: (anthropic.APIStatusError, "invalid_request_error"),
    413: (anthropic.RequestTooLargeError, "request_too_large"),
    415: (anthropic.APIStatusError, "invalid_request_error"),
    429: (anthropic.RateLimitError, "rate_limit_error"),
    499: (anthropic.ClientClosedRequestError, "invalid_request_error"),
    500: (anthropic.InternalServerError, "api_error"),
    501: (anthropic.HTTPNotImplementedError, "invalid_request_error"),
    502: (anthropic.InternalServerError, "api_error"),
    503: (anthropic.ServiceUnavailableError, "overloaded_error"),
    504: (anthropic.DeadlineExceededError, "timeout_error"),
}


@ERRORS
async def test_openai_client_reads_an_error_body(error: RelightError, door: Door, oai: openai.AsyncOpenAI) -> None:
    door.refuses(Chat(), error)
    with pytest.raises(openai.APIStatusError) as caught:
        await oai.chat.completions.create(model="m", messages=USER)
    assert type(caught.value) is OPENAI_CLASSES[error.http_status]
    assert (caught.value.code, caught.value.param) == (error.code, None)
    body: Any = caught.value.body
    assert (body["source"], body.get("hint")) == (error.source.value, error.hint)
    assert body["message"] in caught.value.message
    assert "param" in body
    if expected := OPENAI_TYPES.get(error.http_status):
        assert caught.value.type == expected


@ERRORS
async def test_anthropic_client_reads_an_error_body(error: RelightError, door: Door, claude: anthropic.AsyncAnthropic) -> None:
    door.refuses(Messages(), error)
    with pytest.raises(anthropic.APIStatusError) as caught:
        await claude.messages.create(model="m", max_tokens=9, messages=USER)
    expected, kind = ANTHROPIC_CLASSES[error.http_status]
    body: Any = caught.value.body
    assert isinstance(caught.value, expected)
    assert (body["type"], body["error"]["type"]) == ("error", kind)
    assert (body["error"]["code"], body["error"]["source"]) == (error.code, error.source.value)


@ERRORS
async def test_openai_chat_stream_raises_on_an_error_event(error: RelightError, door: Door, oai: openai.AsyncOpenAI) -> None:
    chat = Chat()
    door.streams(chat.heartbeat("m", "1"), chat.error_event(error))
    stream = await oai.chat.completions.create(model="m", messages=USER, stream=True)
    with pytest.raises(openai.APIError) as caught:
        _ = [chunk async for chunk in stream]
    # A failure of ours is told by its status, which the head can say no more, and its name goes with it.
    assert caught.value.code == (str(error.http_status) if error.http_status >= 500 else error.code)
    assert error.http_status < 500 or (isinstance(caught.value.body, dict) and caught.value.body["reason"] == error.code)
    assert chat.error_body(error)["error"]["message"] in caught.value.message


@ERRORS
async def test_openai_responses_stream_ends_with_a_failed_response(
    error: RelightError, door: Door, oai: openai.AsyncOpenAI
) -> None:
    created = sse.event({"type": "response.created", "response": {"id": "r"}}, name="response.created")
    door.streams(created, Responses().error_event(error))
    events = [event async for event in await oai.responses.create(model="m", input="hi", stream=True)]
    last = events[-1]
    assert last.type == "response.failed"
    assert last.response.status == "failed"
    assert last.response.error is not None
    assert (last.response.error.code, error.message in last.response.error.message) == (error.code, True)


@ERRORS
async def test_anthropic_stream_raises_on_an_error_event(
    error: RelightError, door: Door, claude: anthropic.AsyncAnthropic
) -> None:
    door.streams(Messages().heartbeat("m", "1"), Messages().error_event(error))
    with pytest.raises(anthropic.APIStatusError) as caught:
        async with claude.messages.stream(model="m", max_tokens=9, messages=USER) as stream:
            await stream.get_final_message()
    body: Any = caught.value.body
    assert (body["error"]["code"], body["error"]["type"]) == (error.code, Messages().error_body(error)["error"]["type"])


# --- an overflow is told in the sentence that agents look for


def test_openai_overflow_names_both_numbers_in_openais_words() -> None:
    message = Chat().error_body(OVERFLOW)["error"]["message"]
    assert message.startswith(
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens."
    )


def test_anthropic_overflow_names_both_numbers_in_anthropics_words() -> None:
    assert Messages().error_body(OVERFLOW)["error"]["message"] == "prompt is too long: 9000 tokens > 8192 maximum"


@pytest.mark.parametrize("dialect", [Chat(), Responses(), Messages()], ids=lambda dialect: dialect.name)
def test_overflow_without_numbers_keeps_its_own_words(dialect: Dialect) -> None:
    assert dialect.error_body(ContextOverflow("too long"))["error"]["message"] == "too long"


# --- heartbeats

BEATS = (sse.comment("waking smol, about 4 s left"), b":\n\n")


def chat_chunk(text: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": finish}
    return sse.event({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]})


def test_heartbeats_are_what_the_dialects_own_servers_send() -> None:
    assert Messages().heartbeat("m", "int_1") == b'event: ping\ndata: {"type":"ping"}\n\n'
    assert Responses().heartbeat("m", "int_1") == b'event: keepalive\ndata: {"type":"keepalive"}\n\n'
    beat = msgspec.json.decode(Chat().heartbeat("m", "int_1").removeprefix(b"data: "))
    assert (beat["id"], beat["object"], beat["model"], beat["choices"]) == ("chatcmpl-int_1", "chat.completion.chunk", "m", [])


async def test_openai_chat_stream_passes_over_heartbeats(door: Door, oai: openai.AsyncOpenAI) -> None:
    beat = Chat().heartbeat("m", "int_1")
    door.streams(*BEATS, beat, beat, chat_chunk("Hello"), beat, *BEATS, chat_chunk(" there", "stop"), beat, b"data: [DONE]\n\n")
    async with oai.chat.completions.stream(model="m", messages=USER) as stream:
        completion = await stream.get_final_completion()
    assert (completion.choices[0].message.content, completion.choices[0].finish_reason) == ("Hello there", "stop")


async def test_openai_completion_stream_passes_over_heartbeats(door: Door, oai: openai.AsyncOpenAI) -> None:
    beat = Chat("completion", "text_completion").heartbeat("m", "int_1")
    word = sse.event(
        {"id": "c", "object": "text_completion", "choices": [{"index": 0, "text": "Hello", "finish_reason": "stop"}]}
    )
    door.streams(*BEATS, beat, word, beat, b"data: [DONE]\n\n")
    chunks = [chunk async for chunk in await oai.completions.create(model="m", prompt="hi", stream=True)]
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == "Hello"
    assert {chunk.object for chunk in chunks} == {"text_completion"}


def responses_stream(beat: bytes) -> list[bytes]:
    item: dict[str, Any] = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    part: dict[str, Any] = {"type": "output_text", "text": "", "annotations": []}
    response: dict[str, Any] = {"id": "r", "object": "response", "created_at": 1, "model": "m", "tools": [], "output": []}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    done = item | {"status": "completed", "content": [part | {"text": "Hello"}]}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": response | {"status": "in_progress"}},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.content_part.added", **place, "part": part},
        {"type": "response.output_text.delta", **place, "delta": "Hello", "logprobs": []},
        {"type": "response.completed", "response": response | {"status": "completed", "output": [done]}},
    ]
    return [part for event in events for part in (sse.event(event, name=event["type"]), beat)]


async def test_openai_responses_helper_passes_over_early_comments_and_later_heartbeats(
    door: Door, oai: openai.AsyncOpenAI
) -> None:
    door.streams(*BEATS, *responses_stream(Responses().heartbeat("m", "int_1")))
    async with oai.responses.stream(model="m", input="hi") as stream:
        response = await stream.get_final_response()
    assert response.output_text == "Hello"


async def test_anthropic_stream_passes_over_heartbeats(door: Door, claude: anthropic.AsyncAnthropic) -> None:
    beat = Messages().heartbeat("m", "int_1")
    start: dict[str, Any] = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": start | {"usage": {"input_tokens": 1, "output_tokens": 0}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
    ]
    door.streams(*BEATS, beat, *(part for event in events for part in (sse.event(event, name=event["type"]), beat, BEATS[0])))
    async with claude.messages.stream(model="m", max_tokens=9, messages=USER) as stream:
        message = await stream.get_final_message()
    assert [block.text for block in message.content if block.type == "text"] == ["Hello"]
    assert message.stop_reason == "end_turn"
