"""What a compatible server must do, where only a real engine can show it; the rest is in `tests/serve/test_compat.py`.

The model is small and its words are of no interest. What is: that the engine keeps to the form that was asked for, takes what
agents send, and does not do work twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

import anthropic
import ollama
import openai
import pytest
from pydantic import BaseModel, ConfigDict, SecretStr

from tests.clients.scene import CLOCK, FUNCTION, SCHEMA, user
from tests.serve.process import Served

pytestmark = pytest.mark.real

MODEL = "smol"
ASK: Any = user("What is the weather in Oslo?")
FORCED: Any = {"type": "function", "function": {"name": "weather"}}
FLAT: Any = {"type": "function", "name": "weather", "parameters": SCHEMA, "strict": True}
TOOL: Any = {"name": "weather", "input_schema": SCHEMA}


class Place(BaseModel):
    """Part of a form, by reference."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal["town", "village"]


class Form(BaseModel):
    """A schema with $defs, $ref, anyOf and null. Nothing in it can be long: Anthropic's client takes out every bound."""

    model_config = ConfigDict(extra="forbid")
    home: Place
    other: Place | None
    mood: Literal["glad", "sad"]


@pytest.fixture(scope="module")
def chat(real: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{real.base}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def claude(real: Served) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=real.base, api_key="none", max_retries=0) as client:
        yield client


def ask(chat: openai.OpenAI, messages: Any = ASK, **more: Any) -> Any:
    return chat.chat.completions.create(**{"model": MODEL, "messages": messages, "max_tokens": 60, "temperature": 0, **more})


def is_call(name: str, arguments: str) -> bool:
    """Whether it is one that the schema allows."""
    given = json.loads(arguments)
    return name == "weather" and given.keys() == {"city"} and isinstance(given["city"], str) and len(given["city"]) <= 20


# --- transport


def test_item_06_prompt_that_was_given_up_is_not_read_again(real: Served, chat: openai.OpenAI) -> None:
    messages = user("lamp light " * 100)
    stream = ask(chat, messages, stream=True)
    for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            break
    stream.close()
    real.record_of(stream.response.headers["x-relight-interaction"])  # who is faster than that is answered in another slot
    usage = ask(chat, messages, max_tokens=1).usage
    assert usage.prompt_tokens_details.cached_tokens > 0.9 * usage.prompt_tokens


@pytest.mark.parametrize("stream", [False, True])
def test_item_08_overflow_is_400_before_streaming(chat: openai.OpenAI, claude: anthropic.Anthropic, stream: bool) -> None:
    ask(chat, max_tokens=1)  # awake
    long = user("word " * 9000)
    with pytest.raises(openai.BadRequestError) as found:
        ask(chat, long, stream=stream)
    assert found.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError) as found:
        chat.responses.create(model=MODEL, input=long, stream=stream)
    assert found.value.code == "context_length_exceeded"
    with pytest.raises(anthropic.BadRequestError, match=r"prompt is too long: 9\d\d\d tokens > 8192 maximum"):
        claude.messages.create(model=MODEL, messages=long, max_tokens=8, stream=stream)


def test_item_09_answer_longer_than_the_context_is_taken(chat: openai.OpenAI) -> None:
    assert ask(chat, max_tokens=128_000, stop=[" ", "\n"]).choices[0].finish_reason == "stop"


# --- chat completions


def test_item_10_every_form_of_content_is_taken(chat: openai.OpenAI) -> None:
    parts = [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]
    messages = [
        {"role": "system", "content": parts},
        {"role": "developer", "content": "Rules."},
        *user("one"),
        *user("two"),
        {"role": "assistant", "content": None},
        {"role": "assistant"},
        {"role": "assistant", "content": ""},
        {"role": "system", "content": "A reminder."},
        {"role": "user", "content": parts},
        {"role": "assistant", "content": "I"},
    ]
    assert ask(chat, messages, max_tokens=2).usage.completion_tokens >= 1


@pytest.mark.parametrize("tools", [None, [FUNCTION]])
def test_item_11_history_with_bad_calls_is_taken(chat: openai.OpenAI, tools: Any) -> None:
    messages = list(ASK)
    for place, arguments in enumerate(("", "{}", '{"city": "Os', "not JSON")):
        call = {"id": f"c{place}", "type": "function", "function": {"name": "no_such_tool", "arguments": arguments}}
        messages += [
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": f"c{place}", "content": [{"type": "text", "text": "failed"}]},
        ]
    more = {} if tools is None else {"tools": tools}
    assert ask(chat, messages, max_tokens=2, **more).usage.completion_tokens >= 1


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("choice", ["required", FORCED], ids=["required", "named"])
def test_item_12_forced_call_is_made_and_keeps_to_its_schema(chat: openai.OpenAI, stream: bool, choice: Any) -> None:
    tools = [FUNCTION] if choice == FORCED else [FUNCTION, CLOCK]
    answer = ask(chat, tools=tools, tool_choice=choice, stream=stream)
    if not stream:
        choice = answer.choices[0]
        (call,) = choice.message.tool_calls
        name, arguments, finish = call.function.name, call.function.arguments, choice.finish_reason
    else:
        deltas = [chunk.choices[0] for chunk in answer if chunk.choices]
        pieces = [piece for delta in deltas for piece in delta.delta.tool_calls or []]
        assert {piece.index for piece in pieces} == {0}
        name, arguments = pieces[0].function.name, "".join(piece.function.arguments or "" for piece in pieces)
        finish = deltas[-1].finish_reason
    assert finish == "tool_calls"
    assert is_call(name, arguments) or (name, json.loads(arguments)) == ("clock", {})


def test_item_12_forced_call_is_made_in_the_other_dialects(chat: openai.OpenAI, claude: anthropic.Anthropic) -> None:
    named: Any = {"type": "function", "name": "weather"}
    (item,) = chat.responses.create(model=MODEL, input=ASK, tools=[FLAT], tool_choice=named, max_output_tokens=60).output
    assert item.type == "function_call"
    assert is_call(item.name, item.arguments)
    with claude.messages.stream(model=MODEL, messages=ASK, tools=[TOOL], tool_choice={"type": "any"}, max_tokens=60) as stream:
        message = stream.get_final_message()
    (block,) = message.content
    assert (message.stop_reason, block.type) == ("tool_use", "tool_use")
    assert is_call(block.name, json.dumps(block.input))  # type: ignore[union-attr]


def test_item_12_tool_round_trip_is_taken(chat: openai.OpenAI) -> None:
    called = ask(chat, tools=[FUNCTION], tool_choice=FORCED).choices[0].message
    result = {"role": "tool", "tool_call_id": called.tool_calls[0].id, "content": "rain, 7 degrees"}
    assert ask(chat, [*ASK, called, result], tools=[FUNCTION], max_tokens=8).choices[0].message.content


def test_item_14_schema_with_references_and_null_is_kept_to(chat: openai.OpenAI) -> None:
    answer = chat.chat.completions.parse(model=MODEL, messages=ASK, response_format=Form, max_tokens=120, temperature=0)
    assert isinstance(answer.choices[0].message.parsed, Form)
    loose = ask(chat, user("Say something as JSON."), response_format={"type": "json_object"}, max_tokens=40)
    if loose.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(loose.choices[0].message.content), dict)
    assert loose.choices[0].message.content.lstrip().startswith("{")


def test_item_14_stops_choices_and_probabilities_are_given(chat: openai.OpenAI) -> None:
    answer = ask(chat, n=2, max_tokens=3, logprobs=True, top_logprobs=2)
    assert [choice.index for choice in answer.choices] == [0, 1]
    tokens = answer.choices[0].logprobs.content
    assert len(tokens) == 3
    assert all(token.logprob <= 0 and len(token.top_logprobs) == 2 for token in tokens)
    stopped = ask(chat, user("Count: 1, 2, 3, 4"), stop=["3", "Observation:"], max_tokens=30).choices[0]
    assert "3" not in stopped.message.content


def test_item_14_vectors_are_the_same_in_every_form(chat: openai.OpenAI) -> None:
    texts = ["The lamp is lit.", "The lamp is on.", "Cats eat fish."]
    default = [item.embedding for item in chat.embeddings.create(model="vectors", input=texts).data]
    floats = [item.embedding for item in chat.embeddings.create(model="vectors", input=texts, encoding_format="float").data]
    numbers = chat.embeddings.create(model="vectors", input=[[1, 2, 3], [4, 5]])

    def likeness(a: int, b: int) -> float:
        return sum(x * y for x, y in zip(default[a], default[b], strict=True))

    for one, other in zip(default, floats, strict=True):
        assert one == pytest.approx(other, abs=1e-3)
        assert sum(x * x for x in one) == pytest.approx(1, abs=1e-3)
    assert likeness(0, 1) > likeness(0, 2)
    assert [len(item.embedding) for item in numbers.data] == [len(default[0])] * 2


# --- messages, responses, Ollama


def test_item_15_history_of_an_agent_is_taken(claude: anthropic.Anthropic) -> None:
    use = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "is_error": True, "content": [{"type": "text", "text": "no net"}]}
    messages: Any = [
        *ASK,
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}, use]},
        {"role": "user", "content": [result, {"type": "text", "text": "go on"}]},
        {"role": "system", "content": "A reminder."},
        *user("Well?"),
    ]
    system: Any = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
    more: Any = {"tools": [TOOL], "thinking": {"type": "adaptive"}, "system": system}
    assert claude.messages.create(model=MODEL, messages=messages, max_tokens=4, **more).usage.output_tokens >= 1


def test_item_16_output_format_of_messages_is_kept_to(claude: anthropic.Anthropic) -> None:
    message = claude.messages.parse(model=MODEL, max_tokens=120, messages=ASK, output_format=Form)
    assert isinstance(message.parsed_output, Form)


def test_item_18_tokens_are_counted_as_the_answer_counts_them(claude: anthropic.Anthropic) -> None:
    counted = claude.messages.count_tokens(model=MODEL, messages=ASK, system="Be brief.").input_tokens
    usage = claude.messages.create(model=MODEL, messages=ASK, system="Be brief.", max_tokens=1).usage
    assert counted == usage.input_tokens + (usage.cache_read_input_tokens or 0)


def test_item_19_items_with_foreign_reasoning_are_taken(chat: openai.OpenAI) -> None:
    items: Any = [
        *ASK,
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAAB"},
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"city": "Oslo"}'},
        {"type": "function_call_output", "call_id": "c1", "output": "rain"},
    ]
    answer = chat.responses.create(model=MODEL, input=items, tools=[FLAT], store=False, max_output_tokens=8)
    assert answer.output_text


def test_item_21_format_of_responses_is_kept_to(chat: openai.OpenAI) -> None:
    answer = chat.responses.parse(model=MODEL, input=ASK, text_format=Form, max_output_tokens=120)
    assert isinstance(answer.output_parsed, Form)


def test_ollamas_client_streams_and_keeps_to_a_schema(real: Served) -> None:
    client = ollama.Client(host=real.base)
    try:
        options = {"num_predict": 120, "temperature": 0}
        parts = list(client.chat(model=MODEL, messages=ASK, stream=True, options={**options, "num_predict": 6}))
        assert "".join(part.message.content or "" for part in parts)
        assert parts[-1].eval_count == 6
        form = client.chat(model=MODEL, messages=ASK, format=Form.model_json_schema(), options=options)
        assert isinstance(Form.model_validate_json(form.message.content or ""), Form)
        assert len(client.embed(model="vectors", input=["lamp", "light"]).embeddings) == 2
    finally:
        client._client.close()


# --- what is built upon the clients


def test_langchain_is_given_a_forced_call_and_a_form(real: Served) -> None:
    from langchain_core.tools import tool
    from langchain_openai import ChatOpenAI

    @tool
    def weather(city: str) -> str:
        """Tells the weather of a city."""
        return f"rain in {city}"

    chat = ChatOpenAI(
        model=MODEL,
        base_url=f"{real.base}/v1",
        api_key=SecretStr("none"),
        max_retries=0,
        max_completion_tokens=120,
        temperature=0,
    )
    (call,) = chat.bind_tools([weather], tool_choice="weather").invoke("Weather in Oslo?").tool_calls
    assert call["args"].keys() == {"city"}
    assert isinstance(chat.with_structured_output(Form).invoke("Make one up."), Form)


async def test_pydantic_ai_is_given_a_form(real: Served) -> None:
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    async with openai.AsyncOpenAI(base_url=f"{real.base}/v1", api_key="none", max_retries=0) as client:
        model = OpenAIChatModel(MODEL, provider=OpenAIProvider(openai_client=client))
        result = await Agent(model, output_type=Form).run("Make one up.", model_settings={"max_tokens": 120, "temperature": 0})
    assert isinstance(result.output, Form)
