"""The official clients against the real llama.cpp engine, asleep and awake: every route, overflow, and leaving early."""

from __future__ import annotations

import json
import select
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from tests.serve.process import Served

pytestmark = pytest.mark.real

MODEL = "smol"
SAY: Any = [{"role": "user", "content": "Say hello."}]  # any client's shape of a message


@pytest.fixture
def chat(real: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{real.base}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def claude(real: Served) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=real.base, api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(params=["asleep", "awake"])
def state(real: Served, request: pytest.FixtureRequest) -> str:
    """Bring the engine there first."""
    wanted: str = request.param
    _bring(real, "sleep" if wanted == "asleep" else "wake", wanted)
    return wanted


def _bring(real: Served, how: str, wanted: str) -> None:
    real.get(f"/models/{MODEL}/{how}", "POST")
    real.until(lambda: real.get("/status")["models"][MODEL]["state"] == wanted)


def test_chat_whole(state: str, chat: openai.OpenAI) -> None:
    answer = chat.chat.completions.create(model=MODEL, messages=SAY, max_tokens=8)
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert 0 < answer.usage.completion_tokens <= 8


def test_chat_stream(state: str, chat: openai.OpenAI) -> None:
    options: Any = {"include_usage": True}
    stream = chat.chat.completions.create(
        model=MODEL,
        messages=SAY,
        max_tokens=8,
        stream=True,
        stream_options=options,
    )
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert chunks[-1].usage is not None


def test_chat_stream_helper(state: str, chat: openai.OpenAI) -> None:
    # The helper raises when an answer is cut off, so this one is made to end by itself.
    with chat.chat.completions.stream(model=MODEL, messages=SAY, max_tokens=200, temperature=0, stop=["!", "."]) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    assert "content.delta" in kinds
    assert final.choices[0].message.content


@pytest.mark.parametrize("stream", [False, True])
def test_completions(state: str, chat: openai.OpenAI, stream: bool) -> None:
    answer: Any = chat.completions.create(model=MODEL, prompt="Once upon a time", max_tokens=8, stream=stream)
    text = "".join(part.choices[0].text for part in answer if part.choices) if stream else answer.choices[0].text
    assert text


def test_responses_whole(state: str, chat: openai.OpenAI) -> None:
    assert chat.responses.create(model=MODEL, input="Say hello.", max_output_tokens=16).output_text


def test_responses_stream(state: str, chat: openai.OpenAI) -> None:
    events = list(chat.responses.create(model=MODEL, input="Say hello.", max_output_tokens=16, stream=True))
    assert events[0].type == "response.created"
    assert events[-1].type in ("response.completed", "response.incomplete")
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta")


def test_responses_stream_helper(state: str, chat: openai.OpenAI) -> None:
    # The helper has no final response for an answer that is cut off. Without sampling this one ends by itself.
    with chat.responses.stream(model=MODEL, input="Say hello.", temperature=0, max_output_tokens=200) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
    assert final.output_text


def test_messages_whole(state: str, claude: anthropic.Anthropic) -> None:
    answer = claude.messages.create(model=MODEL, messages=SAY, max_tokens=8)
    assert answer.content[0].type == "text"
    assert answer.usage.output_tokens > 0


def test_messages_stream_helper(state: str, claude: anthropic.Anthropic) -> None:
    with claude.messages.stream(model=MODEL, messages=SAY, max_tokens=8) as stream:
        words = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert words
    assert final.stop_reason in ("max_tokens", "end_turn")


def test_count_tokens(state: str, claude: anthropic.Anthropic) -> None:
    assert claude.messages.count_tokens(model=MODEL, messages=SAY).input_tokens > 0


async def test_async_clients(real: Served) -> None:
    async with openai.AsyncOpenAI(base_url=f"{real.base}/v1", api_key="none", max_retries=0) as chat:
        stream: Any = await chat.chat.completions.create(model=MODEL, messages=SAY, max_tokens=8, stream=True)
        assert [chunk async for chunk in stream]
    async with (
        anthropic.AsyncAnthropic(base_url=real.base, api_key="none", max_retries=0) as claude,
        claude.messages.stream(model=MODEL, messages=SAY, max_tokens=8) as events,
    ):
        assert [text async for text in events.text_stream]


def test_models_are_listed_for_both_clients(real: Served, chat: openai.OpenAI, claude: anthropic.Anthropic) -> None:
    assert [model.id for model in chat.models.list()] == [model.id for model in claude.models.list()] == [MODEL, "vectors"]
    assert chat.models.retrieve(MODEL).id == claude.models.retrieve(MODEL).id == MODEL


def test_context_overflow_is_typed_with_both_numbers(chat: openai.OpenAI, claude: anthropic.Anthropic) -> None:
    long: Any = [{"role": "user", "content": "word " * 9000}]
    with pytest.raises(openai.BadRequestError) as found:
        chat.chat.completions.create(model=MODEL, messages=long)
    assert found.value.code == "context_length_exceeded"
    assert "maximum context length is 8192 tokens" in found.value.message
    with pytest.raises(anthropic.BadRequestError, match=r"prompt is too long: 9\d\d\d tokens > 8192 maximum"):
        claude.messages.create(model=MODEL, messages=long, max_tokens=8)


def test_unknown_model_is_not_found_for_both_clients(chat: openai.OpenAI, claude: anthropic.Anthropic) -> None:
    with pytest.raises(openai.NotFoundError):
        chat.chat.completions.create(model="nonesuch", messages=SAY)
    with pytest.raises(anthropic.NotFoundError):
        claude.messages.create(model="nonesuch", messages=SAY, max_tokens=8)


def test_client_that_leaves_in_mid_stream_frees_the_engines_slot(real: Served, chat: openai.OpenAI) -> None:
    count: Any = [{"role": "user", "content": "Count to one thousand."}]
    without_end: Any = {"ignore_eos": True}
    stream: Any = chat.chat.completions.create(model=MODEL, messages=count, stream=True, max_tokens=4000, extra_body=without_end)
    for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            break
    stream.close()
    assert _decoded_until_free(_engine_socket(real)) < 2000
    assert real.record_of(stream.response.headers["x-relight-interaction"])["error"] == "client_gone"


def test_client_that_leaves_while_its_prompt_is_read_frees_the_engines_slot(real: Served) -> None:
    """llama.cpp looks for a client that left once a second, and stops between two batches of the prompt."""
    _bring(real, "wake", "awake")
    real.settle()
    seen = len(real.records())
    long: Any = [{"role": "user", "content": "lamp light " * 2500}]
    with real.connection() as connection:
        body = json.dumps({"model": MODEL, "messages": long, "stream": True})
        connection.request("POST", "/v1/chat/completions", body)
        socket = _engine_socket(real)
        while not _busy(socket):
            select.select((), (), (), 0.05)
    assert _decoded_until_free(socket) == 0
    real.until(lambda: any(record.get("error") == "client_gone" for record in real.records()[seen:]))


def _decoded_until_free(socket: Path) -> int:
    """How many tokens of the answer were there at the last look at a slot that was at work.

    Not looked more often than every 1.5 s: each answer of llama.cpp puts off its next look for clients that left.
    """
    decoded = 0
    while slots := _busy(socket):
        decoded = slots[0]["next_token"][0]["n_decoded"]
        select.select((), (), (), 1.5)
    return decoded


def _engine_socket(real: Served) -> Path:
    words = [word for engine in real.engines() for word in Path(f"/proc/{engine}/cmdline").read_bytes().split(b"\0")]
    return next(Path(word.decode().removeprefix("socket=")) for word in words if word.endswith(b"/0.sock"))


def _busy(path: Path) -> list[Any]:
    """The slots at work."""
    import socket

    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET /slots HTTP/1.1\r\nhost: engine\r\nconnection: close\r\n\r\n")
        got = b""
        while data := client.recv(1 << 16):
            got += data
    return [slot for slot in json.loads(got.partition(b"\r\n\r\n")[2]) if slot["is_processing"]]
