"""Anthropic requests as chats: what is on offer, how to sample, in which form to answer, and what is refused."""

from __future__ import annotations

from typing import Any

import anthropic
import msgspec
import pytest
from anthropic import beta_tool
from hypothesis import given
from hypothesis import strategies as st

from relight.errors import InvalidRequest, ThreadUnsupported
from relight.wire.anthropic import Messages
from relight.wire.messages_request import to_chat
from tests.wire.messages_service import ABOUT, Json, Service, call, chunk, completion

BODY: Json = {"model": "smol", "max_tokens": 99, "messages": [{"role": "user", "content": "hi"}]}
SCHEMA: Json = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL: Json = {"name": "weather", "description": "Tells the weather.", "input_schema": SCHEMA}
FUNCTION: Json = {"name": "weather", "description": "Tells the weather.", "parameters": SCHEMA}


def chat(**fields: Any) -> Json:
    """The chat that a minimal request becomes with these fields."""
    return to_chat(BODY | fields, ABOUT).chat


def refused(**fields: Any) -> str:
    """What a minimal request with these fields is told."""
    with pytest.raises(InvalidRequest) as caught:
        to_chat(BODY | fields, ABOUT)
    return caught.value.message


# --- plain fields


def test_minimal_request_becomes_a_minimal_chat() -> None:
    assert chat() == {"model": "smol", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 99}


def test_sampling_fields_keep_their_meaning() -> None:
    asked = chat(temperature=0, top_p=0.9, top_k=20, stop_sequences=["END", "\n\n"], metadata={"user_id": '{"id":"u1"}'})
    assert {key: asked[key] for key in ("temperature", "top_p", "top_k", "stop", "user")} == {
        "temperature": 0,
        "top_p": 0.9,
        "top_k": 20,
        "stop": ["END", "\n\n"],
        "user": '{"id":"u1"}',
    }


def test_stream_asks_for_usage() -> None:
    asked = chat(stream=True)
    assert (asked["stream"], asked["stream_options"]) == (True, {"include_usage": True})
    assert "stream" not in chat(stream=False)


def test_fields_that_only_the_dialects_own_servers_serve_are_left_out() -> None:
    assert chat(
        thinking={"type": "adaptive", "display": "summarized"},
        output_config={"effort": "high"},
        context_management={"edits": [{"type": "clear_thinking_20251015"}]},
        service_tier="auto",
        container=None,
        betas=["x"],
        of_next_year={"a": 1},
    ) == chat(thinking={"type": "disabled"})


def test_fields_that_are_null_are_as_if_absent() -> None:
    keys = ("temperature", "top_k", "stop_sequences", "system", "tools", "tool_choice", "output_config", "stream", "thread")
    assert chat(**dict.fromkeys(keys), metadata={"user_id": None}) == chat()
    assert chat(output_config={"format": None}, stop_sequences=[], tools=[]) == chat()


# --- tools


def test_tools_become_functions_however_they_are_declared() -> None:
    tools = [TOOL, TOOL | {"type": "custom", "name": "b"}, TOOL | {"name": "c", "defer_loading": True, "cache_control": {}}]
    assert chat(tools=tools)["tools"] == [{"type": "function", "function": FUNCTION | {"name": n}} for n in ("weather", "b", "c")]


def test_tool_without_a_description_is_a_function_without_one() -> None:
    (tool,) = chat(tools=[{"name": "now", "input_schema": {"type": "object"}}])["tools"]
    assert tool["function"] == {"name": "now", "parameters": {"type": "object"}}


def test_hosted_tools_are_left_out() -> None:
    hosted = [
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 5},
        {"type": "bash_20250124", "name": "bash"},
        {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"},
        {"type": "mcp_toolset", "mcp_server_name": "x"},
    ]
    assert [tool["function"]["name"] for tool in chat(tools=[*hosted, TOOL])["tools"]] == ["weather"]
    assert chat(tools=hosted, tool_choice={"type": "auto"}) == chat()


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        ({"type": "auto"}, {"tool_choice": "auto"}),
        ({"type": "any"}, {"tool_choice": "required"}),
        ({"type": "none"}, {"tool_choice": "none"}),
        ({"type": "tool", "name": "weather"}, {"tool_choice": {"type": "function", "function": {"name": "weather"}}}),
        ({"type": "auto", "disable_parallel_tool_use": False}, {"tool_choice": "auto"}),
        ({"type": "any", "disable_parallel_tool_use": True}, {"tool_choice": "required", "parallel_tool_calls": False}),
    ],
)
def test_tool_choice_is_told_in_the_words_of_a_chat(choice: Json, told: Json) -> None:
    assert chat(tools=[TOOL], tool_choice=choice) == chat(tools=[TOOL]) | told


def test_choice_that_forces_a_tool_where_none_is_left_is_refused() -> None:
    hosted = {"type": "web_search_20250305", "name": "web_search"}
    assert refused(tools=[hosted], tool_choice={"type": "any"}).startswith("tool_choice: asks for a tool, but none is there")
    assert refused(tools=[TOOL], tool_choice={"type": "tool", "name": "other"}) == (
        'tool_choice.name: should be "weather", got "other"'
    )


def test_eager_tool_is_streamed_as_it_comes() -> None:
    tools = [TOOL | {"eager_input_streaming": True}]
    chunks = [chunk(tool_calls=[call(0, piece, id="a", name="weather")]) for piece in ('{"city":', ' "Paris"}')]
    service = Service(chunks)
    with service.client() as client, client.messages.stream(**(BODY | {"tools": tools})) as stream:
        pieces = [event.partial_json for event in stream if event.type == "input_json"]
        message = stream.get_final_message()
    assert pieces == ['{"city":', ' "Paris"}']
    assert [block.input for block in message.content if block.type == "tool_use"] == [{"city": "Paris"}]


# --- the form of the answer


@pytest.mark.parametrize("place", ["output_config", "output_format"])
def test_output_format_becomes_an_enforced_schema(place: str) -> None:
    wanted = {"type": "json_schema", "schema": SCHEMA}
    asked = chat(**{place: {"format": wanted, "effort": "low"} if place == "output_config" else wanted})
    assert asked["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
    }


# --- what is refused


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max_tokens": "9"}, "max_tokens: should be a whole number, got a string"),
        ({"max_tokens": True}, "max_tokens: should be a whole number, got true or false"),
        ({"max_tokens": 1.5}, "max_tokens: should be a whole number, got a fraction"),
        ({"temperature": "hot"}, "temperature: should be a number, got a string"),
        ({"top_p": False}, "top_p: should be a number, got true or false"),
        ({"stream": "yes"}, "stream: should be true or false, got a string"),
        ({"stop_sequences": "END"}, "stop_sequences: should be a list, got a string"),
        ({"stop_sequences": ["a", 1]}, "stop_sequences.1: should be a string, got a whole number"),
        ({"tools": {}}, "tools: should be a list, got an object"),
        ({"tools": ["weather"]}, "tools.0: should be an object, got a string"),
        ({"tools": [TOOL, {"name": "b"}]}, "tools.1.input_schema: should be an object, got nothing"),
        ({"tools": [{"input_schema": {}}]}, "tools.0.name: should be a string, got nothing"),
        ({"tool_choice": "auto"}, "tool_choice: should be an object, got a string"),
        ({"tool_choice": {"type": "all"}}, 'tool_choice.type: should be "auto", "any", "none" or "tool", got "all"'),
        ({"output_config": []}, "output_config: should be an object, got a list"),
        ({"output_config": {"format": {"type": "xml"}}}, 'output_config.format.type: should be "json_schema", got "xml"'),
        ({"output_format": {"type": "json_schema"}}, "output_format.schema: should be an object, got nothing"),
    ],
)
def test_bad_field_is_refused_by_its_place(fields: Json, message: str) -> None:
    assert refused(**fields) == message


def test_refusal_quotes_no_more_than_a_word_of_what_was_sent() -> None:
    assert "secret" not in refused(messages=[{"role": "user", "content": [{"type": "text", "text": ["secret"]}]}])
    assert len(refused(messages=[{"role": "r" * 5000}])) < 120


# --- threads


@pytest.mark.parametrize("thread", [{"type": "create"}, {"type": "continue", "previous_message_id": "msg_1"}])
def test_thread_is_refused_in_the_form_that_makes_clients_replay(thread: Json) -> None:
    with pytest.raises(ThreadUnsupported) as caught:
        to_chat(BODY | {"thread": thread}, ABOUT)
    error = Messages().error_body(caught.value)["error"]
    assert (caught.value.http_status, error["type"]) == (400, "invalid_request_error")
    assert error["details"] == {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}


def test_other_errors_carry_no_details() -> None:
    assert "details" not in Messages().error_body(InvalidRequest("no"))["error"]


@beta_tool
def weather(city: str) -> str:
    """Tells the weather.

    Args:
        city: Where.
    """
    return f"{city}: 21 degrees"


def test_tool_runner_of_the_official_client_gives_threads_up_and_sends_all_of_it() -> None:
    made = call(0, '{"city": "Paris"}', id="Zy6aYxqWk0dPmT", name="weather")
    service = Service(completion("tool_calls", tool_calls=[made]), completion(content="It is 21 degrees."))
    with service.client() as client:
        runner = client.beta.messages.tool_runner(
            model="smol", max_tokens=99, tools=[weather], messages=[{"role": "user", "content": "How warm is it in Paris?"}]
        )
        final = runner.until_done()
    assert [block.text for block in final.content if block.type == "text"] == ["It is 21 degrees."]
    assert "thread" in service.bodies[0]
    assert service.asked[-1]["messages"] == [
        {"role": "user", "content": "How warm is it in Paris?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "Zy6aYxqWk0dPmT",
                    "type": "function",
                    "function": {"name": "weather", "arguments": '{"city":"Paris"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "Zy6aYxqWk0dPmT", "content": "Paris: 21 degrees"},
    ]


def test_bad_request_is_raised_by_the_official_client_as_its_own_error() -> None:
    body = BODY | {"messages": [{"role": "user", "content": [{"type": "sound"}]}]}
    with Service().client() as client, pytest.raises(anthropic.BadRequestError, match=r"messages\.0\.content\.0\.type: should"):
        client.messages.create(**body)


# --- an agent's request, as a whole


AGENT: Json = {
    "model": "smol",
    "max_tokens": 32000,
    "stream": True,
    "thinking": {"type": "adaptive", "display": "summarized"},
    "output_config": {"effort": "high"},
    "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    "metadata": {"user_id": '{"device_id":"d1","session_id":"s1"}'},
    "system": [
        {"type": "text", "text": "client-version: 2.1"},
        {"type": "text", "text": "You write code.", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
    ],
    "tools": [
        {"name": "Bash", "description": "Runs a command.", "input_schema": {"type": "object", "properties": {}}},
        {"name": "Later", "description": "Is loaded later.", "defer_loading": True, "input_schema": {"type": "object"}},
    ],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "<reminder>Today is Sunday.</reminder>"},
                {"type": "text", "text": "Create hello.txt."},
            ],
        },
        {"role": "system", "content": [{"type": "text", "text": "The folder is empty.", "cache_control": {"type": "ephemeral"}}]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "I need a shell.", "signature": ""},
                {"type": "redacted_thinking", "data": "AAAA"},
                {"type": "text", "text": "I will."},
                {"type": "tool_use", "id": "toolu_Zy6aYxqWk0dPmT", "name": "Bash", "input": {"command": "touch hello.txt"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_Zy6aYxqWk0dPmT",
                    "content": [{"type": "text", "text": "touch: not allowed"}],
                    "is_error": True,
                    "cache_control": {"type": "ephemeral"},
                },
                {"type": "text", "text": "Try again."},
            ],
        },
    ],
}


def test_request_of_a_coding_agent_is_told_as_a_chat() -> None:
    asked = to_chat(AGENT, ABOUT).chat
    assert asked["messages"] == [
        {"role": "system", "content": "client-version: 2.1\nYou write code.\nBe brief."},
        {"role": "user", "content": "<reminder>Today is Sunday.</reminder>\nCreate hello.txt."},
        {"role": "system", "content": "The folder is empty."},
        {
            "role": "assistant",
            "content": "I will.",
            "reasoning_content": "I need a shell.",
            "tool_calls": [
                {
                    "id": "Zy6aYxqWk0dPmT",
                    "type": "function",
                    "function": {"name": "Bash", "arguments": '{"command":"touch hello.txt"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "Zy6aYxqWk0dPmT", "content": "Error:\ntouch: not allowed"},
        {"role": "user", "content": "Try again."},
    ]
    assert set(asked) == {"model", "messages", "max_tokens", "tools", "user", "stream", "stream_options"}
    assert [tool["function"]["name"] for tool in asked["tools"]] == ["Bash", "Later"]


def test_next_turn_begins_with_all_that_was_said_before() -> None:
    earlier = to_chat(AGENT, ABOUT).chat["messages"]
    answer = [{"role": "assistant", "content": "Done."}, {"role": "user", "content": "Thanks."}]
    as_text = {"role": "system", "content": "The folder is empty."}
    messages = [as_text if message["role"] == "system" else message for message in AGENT["messages"]]
    assert to_chat(AGENT | {"messages": messages + answer}, ABOUT).chat["messages"][: len(earlier)] == earlier


# --- nothing else is ever raised


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["", "x", "text", "image", "tool", "url", "json_schema"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["type", "text", "name"]), inner, max_size=2),
    max_leaves=4,
)
IMAGE: Json = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}}
RESULT: Json = {
    "type": "tool_result",
    "tool_use_id": "toolu_1",
    "content": [IMAGE, {"type": "text", "text": "a"}],
    "is_error": True,
}
SAID: Json = {"type": "text", "text": "a"}
GOOD: dict[str, list[Json]] = {
    "user": [
        *(SAID, IMAGE, RESULT, {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}),
        {"type": "document", "title": "t", "source": {"type": "content", "content": [IMAGE]}},
        {"type": "search_result", "title": "t", "source": "s", "content": [SAID]},
    ],
    "assistant": [*AGENT["messages"][2]["content"], {"type": "server_tool_use", "id": "srvtoolu_1", "name": "f", "input": {}}],
    "system": [SAID],
}


def spoil(draw: st.DrawFn, inside: Any) -> None:
    """Put junk in the place of one value, at any depth."""
    while inside:
        key = draw(st.sampled_from(list(inside) if isinstance(inside, dict) else range(len(inside))))
        if not isinstance(inside[key], (dict, list)) or draw(st.booleans()):
            inside[key] = draw(JUNK)
            return
        inside = inside[key]


@st.composite
def turns(draw: st.DrawFn) -> Json:
    """A turn of any role, with any blocks that may stand in it."""
    role = draw(st.sampled_from(sorted(GOOD)))
    content = draw(st.lists(st.sampled_from(GOOD[role]), max_size=3) | st.text(max_size=3))
    return {"role": role, "content": content}


@st.composite
def bodies(draw: st.DrawFn) -> tuple[Json, bool]:
    """A request, and whether one value in it is junk."""
    messages = draw(st.lists(turns(), min_size=1, max_size=3))
    body = msgspec.json.decode(msgspec.json.encode(AGENT | {"messages": messages}))
    if is_spoilt := draw(st.booleans()):
        spoil(draw, body)
    return body, is_spoilt


@given(bodies())
def test_any_body_becomes_a_chat_or_is_refused_by_a_place_in_it(made: tuple[Json, bool]) -> None:
    body, is_spoilt = made
    try:
        messages = to_chat(body, ABOUT).chat["messages"]
        place = None
    except InvalidRequest as error:
        messages, place = [], error.message.split(":")[0].split(".")[0]
    assert place is None or (is_spoilt and place in AGENT)
    assert msgspec.json.decode(msgspec.json.encode(messages)) == messages
    for message in messages:
        content = message["content"]
        assert content is None or isinstance(content, str) or {part["type"] for part in content} <= {"text", "image_url"}
