"""OpenAI's client on the scripted engine: chats, responses, completions and vectors."""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.clients.scene import (
    ABOUT,
    CALL,
    CLOCK,
    FUNCTION,
    PERSON,
    PLACE,
    SCHEMA,
    THOUGHT,
    TWO_CALLS,
    Person,
    says,
    script,
    user,
)
from tests.serve.process import Served

FLAT: Any = {"type": "function", "name": "weather", "description": ABOUT, "parameters": SCHEMA, "strict": True}


@pytest.fixture(scope="module")
def client(scripted: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{scripted.base}/v1", api_key="none", max_retries=0) as client:
        yield client


def ask(client: openai.OpenAI, text: str, **more: Any) -> Any:
    return client.chat.completions.create(**{"model": "toy", "messages": user(text), **more})


def call_of(message: Any) -> tuple[str, Any]:
    (call,) = message.tool_calls
    assert call.id
    return call.function.name, json.loads(call.function.arguments)


# --- chats


def test_chat_whole_has_text_model_and_usage(client: openai.OpenAI) -> None:
    answer = ask(client, says("Grüße aus 世界"))
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("Grüße aus 世界", "stop")
    assert answer.model == "toy"
    assert answer.usage.completion_tokens == 3


@pytest.mark.parametrize("wants_usage", [False, True])
def test_chat_stream_tells_usage_iff_asked_for(client: openai.OpenAI, wants_usage: bool) -> None:
    chunks = list(ask(client, script("unicode=1 chunk=1"), stream=True, stream_options={"include_usage": wants_usage}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices).endswith("👩‍🚀 שלום")
    assert [chunk.choices for chunk in chunks if chunk.usage] == ([[]] if wants_usage else [])


def test_chat_reasoning_is_told_apart_from_the_answer(client: openai.OpenAI) -> None:
    message = ask(client, script(THOUGHT)).choices[0].message
    assert (message.reasoning_content, message.content) == ("let me see", "forty two")
    deltas = [chunk.choices[0].delta for chunk in ask(client, script(THOUGHT), stream=True) if chunk.choices]
    assert "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas) == "let me see"
    assert "".join(delta.content or "" for delta in deltas) == "forty two"


def test_chat_parallel_calls_come_with_ids_of_their_own(client: openai.OpenAI) -> None:
    choice = ask(client, script(TWO_CALLS), tools=[FUNCTION]).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert [json.loads(call.function.arguments)["city"] for call in choice.message.tool_calls] == ["Oslo", "Rome"]
    assert len({call.id for call in choice.message.tool_calls}) == 2


def test_chat_stream_helper_puts_parallel_calls_together(client: openai.OpenAI) -> None:
    tools: Any = [{**FUNCTION, "function": {**FUNCTION["function"], "strict": True}}]
    with client.chat.completions.stream(model="toy", messages=user(script(TWO_CALLS)), tools=tools) as stream:
        done = [event for event in stream if event.type == "tool_calls.function.arguments.done"]
        choice = stream.get_final_completion().choices[0]
    assert [event.parsed_arguments for event in done] == [{"city": "Oslo"}, {"city": "Rome"}]
    assert [call.function.parsed_arguments for call in choice.message.tool_calls or []] == [{"city": "Oslo"}, {"city": "Rome"}]


@pytest.mark.parametrize("stream", [False, True])
def test_chat_forced_call_is_made(client: openai.OpenAI, stream: bool) -> None:
    named = {"type": "function", "function": {"name": "weather"}}
    asked = client.chat.completions.stream if stream else client.chat.completions.parse
    strict: Any = {**FUNCTION, "function": {**FUNCTION["function"], "strict": True}}
    answer: Any = asked(model="toy", messages=user(says(PLACE)), tools=[strict], tool_choice=named)  # type: ignore[arg-type]
    if stream:
        with answer as events:
            answer = events.get_final_completion()
    assert answer.choices[0].finish_reason == "tool_calls"
    assert call_of(answer.choices[0].message) == ("weather", {"city": "Oslo"})


def test_chat_required_call_is_one_of_the_tools(client: openai.OpenAI) -> None:
    chosen = says(f'{{"name": "weather", "arguments": {PLACE}}}')
    answer = ask(client, chosen, tools=[CLOCK, FUNCTION], tool_choice="required")
    assert call_of(answer.choices[0].message) == ("weather", {"city": "Oslo"})


def test_chat_goes_on_after_a_tool_has_answered(client: openai.OpenAI) -> None:
    messages = user(script(CALL))
    called = ask(client, "", messages=messages, tools=[FUNCTION]).choices[0].message
    messages += [called, {"role": "tool", "tool_call_id": called.tool_calls[0].id, "content": "rain, 7 degrees"}]
    answer = ask(client, "", messages=messages, tools=[FUNCTION])
    assert answer.choices[0].message.content == "The tool answered: rain, 7 degrees"


def test_chat_parse_helper_fills_a_form(client: openai.OpenAI) -> None:
    answer = client.chat.completions.parse(model="toy", messages=user(says(PERSON)), response_format=Person)
    assert answer.choices[0].message.parsed == Person(name="Ada", age=36, tags=["first"])
    with client.chat.completions.stream(model="toy", messages=user(says(PERSON)), response_format=Person) as stream:
        assert stream.get_final_completion().choices[0].message.parsed == Person(name="Ada", age=36, tags=["first"])


def test_chat_that_is_cut_off_is_told_as_such(client: openai.OpenAI) -> None:
    assert ask(client, script("tokens=50"), max_completion_tokens=3).choices[0].finish_reason == "length"
    with pytest.raises(openai.LengthFinishReasonError):
        client.chat.completions.parse(model="toy", messages=user(says(PERSON)), response_format=Person, max_tokens=2)


@pytest.mark.parametrize("stream", [False, True])
def test_completion_of_a_prompt(client: openai.OpenAI, stream: bool) -> None:
    answer: Any = client.completions.create(model="toy", prompt=says("upon a time"), stream=stream)
    assert "".join(part.choices[0].text for part in (answer if stream else [answer]) if part.choices) == "upon a time"


# --- responses


def test_responses_whole_has_text_and_usage(client: openai.OpenAI) -> None:
    answer = client.responses.create(model="toy", input=says("hello there"), instructions="Be brief.")
    assert (answer.output_text, answer.status, answer.model) == ("hello there", "completed", "toy")
    assert answer.usage is not None
    assert answer.usage.output_tokens == 2


def test_responses_stream_helper_ends_with_the_whole_response(client: openai.OpenAI) -> None:
    with client.responses.stream(model="toy", input=script(THOUGHT)) as stream:
        events = list(stream)
        final = stream.get_final_response()
    numbers = [event.sequence_number for event in events]
    assert numbers == sorted(set(numbers))
    assert (events[0].type, events[-1].type) == ("response.created", "response.completed")
    assert [item.type for item in final.output] == ["reasoning", "message"]
    assert final.output_text == "forty two"


def test_responses_stream_helper_parses_the_arguments_of_calls(client: openai.OpenAI) -> None:
    with client.responses.stream(model="toy", input=script(TWO_CALLS), tools=[FLAT]) as stream:
        final = stream.get_final_response()
    assert [getattr(item, "parsed_arguments", None) for item in final.output] == [{"city": "Oslo"}, {"city": "Rome"}]


def test_responses_forced_call_is_made(client: openai.OpenAI) -> None:
    named: Any = {"type": "function", "name": "weather"}
    answer = client.responses.create(model="toy", input=says(PLACE), tools=[FLAT], tool_choice=named)
    (call,) = answer.output
    assert call.type == "function_call"
    assert (call.name, json.loads(call.arguments)) == ("weather", {"city": "Oslo"})


def test_responses_go_on_after_a_tool_has_answered(client: openai.OpenAI) -> None:
    items = user(script(f'reasoning="I should look" {CALL}'))
    first = client.responses.create(model="toy", input=items, tools=[FLAT], store=False, include=["reasoning.encrypted_content"])
    assert [item.type for item in first.output] == ["reasoning", "function_call"]
    call: Any = first.output[1]
    items += [*first.output, {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}]
    assert client.responses.create(model="toy", input=items, tools=[FLAT], store=False).output_text == "The tool answered: rain"


def test_responses_parse_helper_fills_a_form(client: openai.OpenAI) -> None:
    answer = client.responses.parse(model="toy", input=says(PERSON), text_format=Person)
    assert answer.output_parsed == Person(name="Ada", age=36, tags=["first"])


def test_responses_that_are_cut_off_are_incomplete(client: openai.OpenAI) -> None:
    answer = client.responses.create(model="toy", input=script("tokens=50"), max_output_tokens=3)
    assert answer.status == "incomplete"
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "max_output_tokens"


def test_responses_engine_that_dies_ends_the_stream_with_a_failed_response(client: openai.OpenAI) -> None:
    events = list(client.responses.create(model="dozer", input=script("tokens=9 drop=after:3"), stream=True))
    last: Any = events[-1]
    assert last.type == "response.failed"
    assert last.response.id == events[0].response.id  # type: ignore[union-attr]
    assert last.response.error.code == "engine_crashed"


# --- vectors, models, waiting


def test_vectors_are_the_same_in_either_form(client: openai.OpenAI) -> None:
    texts = ["lamp light", "lamp light", "night"]
    default = client.embeddings.create(model="vectors", input=texts)  # asks for base64, and decodes it
    floats = client.embeddings.create(model="vectors", input=texts, encoding_format="float")
    packed: Any = client.embeddings.create(model="vectors", input=texts[0], encoding_format="base64").data[0].embedding
    first, again, other = (item.embedding for item in floats.data)
    assert first == again != other
    assert [item.embedding for item in default.data] == [pytest.approx(first), pytest.approx(again), pytest.approx(other)]
    assert struct.unpack(f"<{len(first)}f", base64.b64decode(packed)) == pytest.approx(first)
    assert math.hypot(*first) == pytest.approx(1)
    assert floats.usage.prompt_tokens == 5


def test_vectors_are_made_of_token_numbers(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model="vectors", input=[[3, 4], [5]])
    assert [item.index for item in answer.data] == [0, 1]


def test_models_are_listed_and_retrieved(client: openai.OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert {"toy", "vectors", "dozer"} <= set(names)
    assert [client.models.retrieve(name).id for name in names] == names


@pytest.mark.parametrize("stream", [False, True])
def test_asleep_model_is_waited_for(scripted: Served, client: openai.OpenAI, stream: bool) -> None:
    scripted.get("/models/dozer/sleep", "POST")
    answer = ask(client, says("awake now"), model="dozer", stream=stream)
    if not stream:
        assert answer.choices[0].message.content == "awake now"
        return
    chunks = list(answer)
    assert len([chunk for chunk in chunks if not chunk.choices]) > 2  # the signs of life
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "awake now"


def test_asleep_model_is_waited_for_by_the_stream_helper_of_responses(scripted: Served, client: openai.OpenAI) -> None:
    scripted.get("/models/dozer/sleep", "POST")
    with client.responses.stream(model="dozer", input=says("awake now")) as stream:
        assert stream.get_final_response().output_text == "awake now"


async def test_async_client_reads_streams(scripted: Served) -> None:
    async with openai.AsyncOpenAI(base_url=f"{scripted.base}/v1", api_key="none", max_retries=0) as client:
        stream: Any = await client.chat.completions.create(model="toy", messages=user(says("one two")), stream=True)
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]) == "one two"
        async with client.responses.stream(model="toy", input=says("three")) as events:
            assert (await events.get_final_response()).output_text == "three"
