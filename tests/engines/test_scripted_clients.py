"""The official clients, pointed at the scripted engine over a loopback port: they are the judges of its streams."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import openai
import pytest

from relight.clock import SystemClock
from relight.engines.scripted_server import Server, Settings

TEXT = '#script text="Grüße aus 世界" unicode=1'
TOOL = '#script text="Let me see" tool=get_weather args={"city": "Paris"}'
MESSAGE: list[Any] = [{"role": "user", "content": TEXT}]
TOOL_MESSAGE: list[Any] = [{"role": "user", "content": TOOL}]


@pytest.fixture
async def url() -> AsyncIterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    async with Server(Settings(), SystemClock()).listen(listener):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
async def oai(url: str) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
async def claude(url: str) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=url, api_key="none", max_retries=0) as client:
        yield client


async def test_openai_chat_stream_is_read_with_its_usage(oai: openai.AsyncOpenAI) -> None:
    stream = await oai.chat.completions.create(model="m", messages=MESSAGE, stream=True, stream_options={"include_usage": True})
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Grüße aus 世界"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 3


async def test_openai_chat_helper_puts_a_streamed_tool_call_together(oai: openai.AsyncOpenAI) -> None:
    async with oai.chat.completions.stream(model="m", messages=TOOL_MESSAGE) as stream:
        completion = await stream.get_final_completion()
    choice = completion.choices[0]
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", "Let me see")
    assert choice.message.tool_calls is not None
    function = choice.message.tool_calls[0].function
    assert (function.name, json.loads(function.arguments)) == ("get_weather", {"city": "Paris"})


async def test_openai_chat_is_read_whole(oai: openai.AsyncOpenAI) -> None:
    completion = await oai.chat.completions.create(model="m", messages=TOOL_MESSAGE)
    call = (completion.choices[0].message.tool_calls or [])[0]
    assert call.type == "function"
    assert call.function.arguments == '{"city": "Paris"}'


async def test_openai_completion_stream_is_read(oai: openai.AsyncOpenAI) -> None:
    stream = await oai.completions.create(model="m", prompt=TEXT, stream=True)
    assert "".join([chunk.choices[0].text async for chunk in stream]) == "Grüße aus 世界"


async def test_openai_responses_stream_is_read_to_its_end(oai: openai.AsyncOpenAI) -> None:
    stream = await oai.responses.create(model="m", input=TOOL, stream=True)
    events = [event async for event in stream]
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == "Let me see"
    assert (
        "".join(event.delta for event in events if event.type == "response.function_call_arguments.delta") == '{"city": "Paris"}'
    )
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.output_text == "Let me see"
    assert [item.type for item in last.response.output] == ["message", "function_call"]


async def test_openai_response_is_read_whole(oai: openai.AsyncOpenAI) -> None:
    response = await oai.responses.create(model="m", input=TEXT)
    assert (response.output_text, response.usage and response.usage.output_tokens) == ("Grüße aus 世界", 3)


async def test_openai_embeddings_are_decoded(oai: openai.AsyncOpenAI) -> None:
    result = await oai.embeddings.create(model="m", input=["one two", "two one"])
    assert len(result.data[0].embedding) == 8
    assert result.data[0].embedding == result.data[1].embedding


async def test_openai_client_raises_its_own_error_for_a_status_script(oai: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.RateLimitError, match="status=429"):
        await oai.chat.completions.create(model="m", messages=[{"role": "user", "content": "#script status=429"}])


async def test_openai_client_notices_a_dropped_stream(oai: openai.AsyncOpenAI) -> None:
    message: list[Any] = [{"role": "user", "content": "#script tokens=9 drop=after:2"}]
    stream = await oai.chat.completions.create(model="m", messages=message, stream=True)
    with pytest.raises(openai.APIConnectionError):
        _ = [chunk async for chunk in stream]


async def test_anthropic_stream_is_put_together(claude: anthropic.AsyncAnthropic) -> None:
    async with claude.messages.stream(model="m", max_tokens=99, messages=MESSAGE) as stream:
        text = await stream.get_final_text()
        message = await stream.get_final_message()
    assert (text, message.stop_reason, message.usage.output_tokens) == ("Grüße aus 世界", "end_turn", 3)


async def test_anthropic_tool_stream_is_put_together(claude: anthropic.AsyncAnthropic) -> None:
    async with claude.messages.stream(model="m", max_tokens=99, messages=TOOL_MESSAGE) as stream:
        message = await stream.get_final_message()
    assert [block.type for block in message.content] == ["text", "tool_use"]
    call = message.content[1]
    assert call.type == "tool_use"
    assert (call.name, call.input, message.stop_reason) == ("get_weather", {"city": "Paris"}, "tool_use")


async def test_anthropic_message_with_thinking_is_read_whole(claude: anthropic.AsyncAnthropic) -> None:
    messages: list[Any] = [{"role": "user", "content": "#script reasoning=hm text=yes"}]
    message = await claude.messages.create(model="m", max_tokens=99, messages=messages)
    assert [block.type for block in message.content] == ["thinking", "text"]


async def test_anthropic_count_tokens_counts_words(claude: anthropic.AsyncAnthropic) -> None:
    count = await claude.messages.count_tokens(model="m", system="be brief", messages=[{"role": "user", "content": "one two"}])
    assert count.input_tokens == 4
