"""The recorder: what an agent asks first is taken down, and the agent is told that all is done and ends."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from relight.bridge.recorder import Recorder, Recording, Request, Start, record
from relight.clock import ManualClock
from relight.errors import EngineFailed, UsageError
from tests.bridge.bridging import CHAT, MESSAGES, OLLAMA, RESPONSES, request_body

TOOL: Any = {"type": "function", "function": {"name": "write", "parameters": {"type": "object", "properties": {}}}}
SYSTEM = "You are an agent. " * 50

AGENT = """
import os, sys, openai
client = openai.OpenAI(base_url=os.environ["AGENT_URL"], api_key="none", max_retries=0)
tool = {"type": "function", "function": {"name": "write", "parameters": {"type": "object", "properties": {}}}}
system = {"role": "system", "content": "You are an agent. " * 50}
user = {"role": "user", "content": "my very private words"}
title = {"role": "system", "content": "Make a title. " * 400}
print(client.models.list().data[0].id)
client.chat.completions.create(model="toy", messages=[title, user])
answer = client.chat.completions.create(model="toy", messages=[system, user], tools=[tool], stream=True)
said = "".join(chunk.choices[0].delta.content or "" for chunk in answer if chunk.choices)
sys.exit(0 if said == "Done." else 3)
"""
STUCK = AGENT.replace("sys.exit(", "open('asked', 'w').close(); import time; time.sleep(600); sys.exit(")
MUTE = "import sys; print('loading'); sys.exit('no such model: toy')"


def agent(folder: Path, text: str = AGENT) -> Start:
    file = folder / "agent.py"
    file.write_text(text)
    return Start([sys.executable, str(file)], {"AGENT_URL": "{v1}"}, folder)


def asked(size: int, tools: int, path: str = CHAT) -> Request:
    return Request(path, {"tools": [TOOL] * tools}, size, "agent/1")


# --- an agent, started


@pytest.mark.real
async def test_first_question_of_an_agent_is_told_from_its_title(tmp_path: Path) -> None:
    found = await record(agent(tmp_path), models=("toy",))

    assert [one.tools for one in found.requests] == [0, 1]
    assert found.main.body["messages"][0]["content"] == SYSTEM
    assert found.requests[0].size > found.main.size
    assert found.main.agent.startswith("OpenAI/Python")


@pytest.mark.real
async def test_agent_that_does_not_end_is_stopped_when_it_asks_no_more(tmp_path: Path) -> None:
    clock = ManualClock()
    recording = asyncio.create_task(record(agent(tmp_path, STUCK), clock=clock, patience_s=600, quiet_s=4))
    await _until((tmp_path / "asked").exists)
    await _until(lambda: len(clock._sleepers) > 0)
    assert not recording.done()
    await clock.advance(5)

    assert len((await recording).requests) == 2


@pytest.mark.real
async def test_agent_that_asks_nothing_is_told_in_its_own_last_words(tmp_path: Path) -> None:
    with pytest.raises(
        EngineFailed, match=r"ended with code 1 before it asked anything; last lines: loading / no such model: toy"
    ):
        await record(agent(tmp_path, MUTE))


async def test_agent_that_is_not_there_is_said() -> None:
    with pytest.raises(UsageError, match="no-such-agent cannot be started"):
        await record(Start(["no-such-agent"]))


async def test_patience_ends_when_nothing_comes() -> None:
    clock = ManualClock()
    recording = asyncio.create_task(record(None, clock=clock, patience_s=60))
    await _until(lambda: len(clock._sleepers) > 0)
    await clock.advance(61)

    with pytest.raises(UsageError, match="nothing was asked within 1m"):
        await recording


async def test_port_that_is_taken_is_said() -> None:
    recorder = Recorder()
    async with recorder.listening() as address:
        port = int(address.rpartition(":")[2])
        with pytest.raises(UsageError, match=f"cannot listen on port {port}"):
            await record(None, port=port)


async def _until(condition: Callable[[], bool]) -> None:
    """Wait for another process, which tells nobody."""
    for _ in range(20_000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never came true")


# --- which request it is


def test_largest_with_tools_is_the_prefix() -> None:
    title, main, second = asked(90_000, 0), asked(50_000, 12), asked(20_000, 3)
    assert Recording((title, main, second)).main is main


def test_agent_without_tools_has_its_largest() -> None:
    small, large = asked(1_000, 0), asked(11_000, 0)
    assert Recording((small, large)).main is large
    assert large.tokens == 2750


# --- what agents are told


@pytest.mark.parametrize("stream", [True, False])
async def test_openais_client_reads_it(stream: bool) -> None:
    import openai

    async with Recorder().listening() as address, openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="x") as client:
        said: Any = [{"role": "user", "content": "hi"}]
        if stream:
            chunks: Any = await client.chat.completions.create(
                model="toy", messages=said, stream=True, stream_options={"include_usage": True}
            )
            found = [chunk async for chunk in chunks]
            assert "".join(one.choices[0].delta.content or "" for one in found if one.choices) == "Done."
            assert found[-1].usage is not None
        else:
            answer: Any = await client.chat.completions.create(model="toy", messages=said)
            assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("Done.", "stop")


@pytest.mark.parametrize("stream", [True, False])
async def test_openais_client_reads_it_as_a_response(stream: bool) -> None:
    import openai

    async with Recorder().listening() as address, openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="x") as client:
        if stream:
            async with client.responses.stream(model="toy", input="hi") as events:
                answer: Any = await events.get_final_response()
        else:
            answer = await client.responses.create(model="toy", input="hi")
        assert (answer.output_text, answer.status) == ("Done.", "completed")


@pytest.mark.parametrize("stream", [True, False])
async def test_anthropics_client_reads_it(stream: bool) -> None:
    import anthropic

    said: Any = [{"role": "user", "content": "hi"}]
    async with Recorder().listening() as address, anthropic.AsyncAnthropic(base_url=address, api_key="x") as client:
        assert (await client.messages.count_tokens(model="toy", messages=said)).input_tokens > 0
        if stream:
            async with client.messages.stream(model="toy", max_tokens=9, messages=said) as events:
                answer: Any = await events.get_final_message()
        else:
            answer = await client.messages.create(model="toy", max_tokens=9, messages=said)
        assert (answer.content[0].text, answer.stop_reason) == ("Done.", "end_turn")


async def test_ollamas_client_reads_it() -> None:
    import ollama

    async with Recorder().listening() as address:
        client = ollama.AsyncClient(host=address)
        try:
            answer = await client.chat(model="toy", messages=[{"role": "user", "content": "hi"}])
        finally:
            await client._client.aclose()
        assert (answer.message.content, answer.done) == ("Done.", True)


@pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES, OLLAMA])
async def test_question_is_taken_down_whole(path: str) -> None:
    recorder, asked = Recorder(), request_body(path, "hello", stream=False)
    async with (
        recorder.listening() as address,
        ClientSession() as session,
        session.post(f"{address}{path}", json=asked) as answer,
    ):
        assert answer.status == 200

    (found,) = recorder.requests
    assert (found.path, found.body) == (path, asked)


@pytest.mark.parametrize(
    ("headers", "path", "data", "status"),
    [
        ({"host": "evil.example"}, CHAT, b"{}", 403),
        ({"origin": "https://evil.example"}, CHAT, b"{}", 403),
        ({}, CHAT, b"no json", 400),
        ({}, CHAT, b"[]", 400),
        ({}, "/v1/embeddings", b"{}", 404),
    ],
)
async def test_what_is_no_agents_question_is_not_taken_down(headers: Any, path: str, data: bytes, status: int) -> None:
    recorder = Recorder()
    async with (
        recorder.listening() as address,
        ClientSession() as session,
        session.post(f"{address}{path}", data=data, headers=headers) as answer,
    ):
        assert answer.status == status
    assert recorder.requests == []
