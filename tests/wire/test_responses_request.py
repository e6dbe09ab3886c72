"""Responses requests, of the shapes that real clients send, as chat requests."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.errors import InvalidRequest
from relight.wire.responses_request import to_chat
from relight.wire.translation import About, Json

ABOUT = About(model="smol", id="int_1", created=1_790_000_000)


def chat(*items: Json, **more: Any) -> Json:
    return to_chat({"model": "smol", "input": list(items) or "hi", **more}, ABOUT).chat


def messages(*items: Json, **more: Any) -> list[Json]:
    told = chat(*items, **more)["messages"]
    assert isinstance(told, list)
    return told


def echo(**body: Any) -> Json:
    """The response object that a request leads to."""
    return to_chat({"input": "hi", **body}, ABOUT).writer.whole({})


def user(text: str) -> Json:
    return {"role": "user", "content": text}


def call(name: str, call_id: str, arguments: str = "{}", **more: Any) -> Json:
    return {"type": "function_call", "name": name, "call_id": call_id, "arguments": arguments, **more}


def output(call_id: str, text: Any = "done") -> Json:
    return {"type": "function_call_output", "call_id": call_id, "output": text}


def tool_call(name: str, call_id: str, arguments: str = "{}") -> Json:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def function(name: str, **more: Any) -> Json:
    return {"type": "function", "name": name, **more}


def namespace(name: str, *members: Json, **more: Any) -> Json:
    return {"type": "namespace", "name": name, "description": f"Tools of {name}.", "tools": list(members), **more}


# --- what a coding agent sends

AGENT: Json = {
    "model": "smol",
    "input": [
        {
            "type": "message",
            "role": "developer",
            "content": [
                {"type": "input_text", "text": "You edit files in a workspace."},
                {"type": "input_text", "text": "Never ask back."},
            ],
        },
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "<place>/srv/app</place>"}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Make hello.txt."}]},
        {"type": "reasoning", "summary": [], "encrypted_content": "gAAAAABo"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I make it."}]},
        {"type": "function_call", "name": "shell", "arguments": '{"command":["touch","hello.txt"]}', "call_id": "call_1"},
        {"type": "function_call", "name": "report", "namespace": "team", "arguments": "", "call_id": "call_2"},
        {"type": "function_call_output", "call_id": "call_1", "output": "exit 0"},
        {"type": "function_call_output", "call_id": "call_2", "output": [{"type": "input_text", "text": "heard"}]},
        {"type": "custom_tool_call", "name": "patch", "input": "*** Begin", "call_id": "call_3", "status": "completed"},
        {"type": "custom_tool_call_output", "call_id": "call_3", "output": "applied"},
    ],
    "tools": [
        {
            "type": "function",
            "name": "shell",
            "description": "Runs a command.",
            "strict": False,
            "parameters": {"type": "object", "properties": {"command": {"type": "array", "items": {"type": "string"}}}},
        },
        {
            "type": "namespace",
            "name": "team",
            "description": "Other agents.",
            "tools": [{"type": "function", "name": "report", "parameters": {"type": "object", "properties": {}}}],
        },
        {
            "type": "custom",
            "name": "patch",
            "description": "Edits files.",
            "format": {"type": "grammar", "syntax": "lark", "definition": 'start: "*** Begin"'},
        },
        {"type": "web_search", "external_web_access": True},
    ],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "reasoning": {"summary": "auto"},
    "store": False,
    "stream": True,
    "include": ["reasoning.encrypted_content"],
    "prompt_cache_key": "0191",
    "client_metadata": {"session": "7"},
}


def test_agent_request_becomes_a_chat() -> None:
    chat = to_chat(AGENT, ABOUT).chat
    tools = chat.pop("tools")
    assert chat == {
        "model": "smol",
        "messages": [
            {
                "role": "system",
                "content": [
                    {"type": "text", "text": "You edit files in a workspace."},
                    {"type": "text", "text": "Never ask back."},
                ],
            },
            user("<place>/srv/app</place>"),
            user("Make hello.txt."),
            {
                "role": "assistant",
                "content": "I make it.",
                "tool_calls": [
                    tool_call("shell", "call_1", '{"command":["touch","hello.txt"]}'),
                    tool_call("report", "call_2", ""),
                ],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "exit 0"},
            {"role": "tool", "tool_call_id": "call_2", "content": "heard"},
            {"role": "assistant", "content": None, "tool_calls": [tool_call("patch", "call_3", '{"input":"*** Begin"}')]},
            {"role": "tool", "tool_call_id": "call_3", "content": "applied"},
        ],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    shell, report, patch = (tool["function"] for tool in tools)
    assert shell == {key: AGENT["tools"][0][key] for key in ("name", "description", "parameters", "strict")}
    assert (report["name"], report["description"]) == ("report", "Other agents.")
    assert patch["parameters"]["required"] == ["input"]
    assert 'start: "*** Begin"' in patch["parameters"]["properties"]["input"]["description"]


def test_next_turn_begins_with_the_same_messages() -> None:
    more = [*AGENT["input"], {"role": "assistant", "content": "Made."}, {"role": "user", "content": "Thanks."}]
    now, later = to_chat(AGENT, ABOUT).chat["messages"], to_chat(AGENT | {"input": more}, ABOUT).chat["messages"]
    assert later[: len(now)] == now


# --- messages


def test_input_string_is_what_the_user_says() -> None:
    assert to_chat({"input": "hi"}, ABOUT).chat == {"model": "smol", "messages": [user("hi")]}


def test_instructions_and_leading_developer_messages_are_one_system_message() -> None:
    given: list[Json] = [
        {"role": "developer", "content": "Be short."},
        {"role": "system", "content": [{"type": "input_text", "text": "And kind."}]},
    ]
    assert messages(*given, user("hi"), instructions="Be right.") == [
        {"role": "system", "content": "Be right.\n\nBe short.\n\nAnd kind."},
        user("hi"),
    ]


def test_empty_instructions_are_no_message() -> None:
    assert messages(user("hi"), instructions="") == [user("hi")]


def test_later_developer_message_stays_in_its_place() -> None:
    told = messages(user("hi"), {"role": "developer", "content": "Now be short."}, user("so?"))
    assert [message["role"] for message in told] == ["user", "system", "user"]


@pytest.mark.parametrize(
    "more", [{}, {"type": "message"}, {"type": None}, {"type": "message", "id": "msg_1", "status": "completed"}]
)
def test_message_is_one_with_or_without_id_and_type(more: Json) -> None:
    assert messages({"role": "user", "content": "hi", **more}) == [user("hi")]


def test_parts_of_a_message_become_parts_of_a_chat() -> None:
    parts = [
        {"type": "input_text", "text": "What is it?"},
        {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"},
    ]
    (message,) = messages({"role": "user", "content": parts})
    assert message["content"] == [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}},
    ]


def test_refusal_in_the_history_is_text() -> None:
    (message, _) = messages({"role": "assistant", "content": [{"type": "refusal", "refusal": "I will not."}]}, user("Please."))
    assert message == {"role": "assistant", "content": "I will not."}


def test_trailing_assistant_message_stays() -> None:
    assert messages(user("hi"), {"role": "assistant", "content": "Well"})[-1] == {"role": "assistant", "content": "Well"}


def test_message_without_parts_is_empty() -> None:
    assert messages({"role": "assistant", "content": []}, user("hi"))[0] == {"role": "assistant", "content": ""}


@pytest.mark.parametrize("is_text_first", [True, False])
def test_calls_and_the_message_beside_them_are_one_message(is_text_first: bool) -> None:
    said = {"role": "assistant", "content": "I look."}
    calls = [call("look", "a"), call("look", "b")]
    told = messages(user("hi"), *([said, *calls] if is_text_first else [*calls, said]), output("a"), output("b"))
    assert told[1] == {"role": "assistant", "content": "I look.", "tool_calls": [tool_call("look", "a"), tool_call("look", "b")]}
    assert [message["role"] for message in told[2:]] == ["tool", "tool"]


def test_calls_after_an_output_are_the_next_message() -> None:
    told = messages(user("hi"), call("look", "a"), output("a"), call("look", "b"), output("b"))
    assert [message["role"] for message in told] == ["user", "assistant", "tool", "assistant", "tool"]


def test_arguments_of_the_history_go_on_as_they_are() -> None:
    told = messages(user("hi"), call("look", "a", '{"at":'), output("a"))
    assert told[1]["tool_calls"][0]["function"]["arguments"] == '{"at":'


def test_output_of_several_parts_keeps_them() -> None:
    parts = [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]
    assert messages(call("look", "a"), output("a", parts))[1]["content"] == [{"type": "text", "text": one} for one in "ab"]


@pytest.mark.parametrize(
    "reasoning",
    [
        {"content": [{"type": "reasoning_text", "text": "Hm."}], "summary": [{"type": "summary_text", "text": "other"}]},
        {"summary": [{"type": "summary_text", "text": "Hm."}], "encrypted_content": "gAAAAABo"},
        {"summary": [{"type": "summary_text", "text": "Hm."}], "content": None},
    ],
)
def test_plain_reasoning_goes_with_the_message_after_it(reasoning: Json) -> None:
    told = messages(user("hi"), {"type": "reasoning", "id": "rs_1", **reasoning}, {"role": "assistant", "content": "Yes."})
    assert told[1] == {"role": "assistant", "content": "Yes.", "reasoning_content": "Hm."}


def test_plain_reasoning_goes_with_the_call_after_it() -> None:
    thought = {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]}
    told = messages(user("hi"), thought, call("look", "a"), output("a"))
    assert told[1] == {"role": "assistant", "content": None, "reasoning_content": "Hm.", "tool_calls": [tool_call("look", "a")]}


@pytest.mark.parametrize("reasoning", [{}, {"summary": []}, {"encrypted_content": "gAAAAABo", "summary": []}, {"content": []}])
def test_reasoning_that_nobody_can_read_is_dropped(reasoning: Json) -> None:
    told = messages(user("hi"), {"type": "reasoning", **reasoning}, {"role": "assistant", "content": "Yes."})
    assert told == [user("hi"), {"role": "assistant", "content": "Yes."}]


def test_reasoning_without_an_answer_is_dropped() -> None:
    thought = {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]}
    assert messages(user("hi"), thought, user("so?")) == [user("hi"), user("so?")]


@pytest.mark.parametrize(
    "kind",
    ["local_shell_call", "local_shell_call_output", "web_search_call", "mcp_list_tools", "tool_search_output", "program"],
)
def test_bookkeeping_of_hosted_tools_is_passed_over(kind: str) -> None:
    assert messages(user("hi"), {"type": kind, "id": "x_1"}) == [user("hi")]


# --- tools


def names(told: Json) -> list[str]:
    return [tool["function"]["name"] for tool in told["tools"]]


def test_hosted_tools_are_left_out() -> None:
    told = chat(tools=[{"type": "web_search"}, {"type": "image_generation"}], tool_choice="auto", parallel_tool_calls=True)
    assert told == {"model": "smol", "messages": [user("hi")]}


def test_tool_without_parameters_takes_none() -> None:
    assert chat(tools=[function("look", parameters=None)])["tools"][0] == {
        "type": "function",
        "function": {"name": "look", "parameters": {"type": "object", "properties": {}}},
    }


def test_members_of_the_same_name_are_told_apart_and_found_again() -> None:
    tools = [
        function("ask"),
        namespace("team", function("ask")),
        namespace("user", function("ask"), {"type": "custom", "name": "tell"}),
    ]
    history = [call("ask", "a"), call("ask", "b", namespace="team"), call("ask", "c", namespace="user")]
    told = to_chat({"input": [user("hi"), *history], "tools": tools}, ABOUT)
    assert names(told.chat) == ["ask", "team__ask", "user__ask", "tell"]
    assert [one["function"]["name"] for one in told.chat["messages"][1]["tool_calls"]] == ["ask", "team__ask", "user__ask"]
    calls = [tool_call(name, name) for name in ("ask", "team__ask", "user__ask", "tell")]
    items = told.writer.whole({"choices": [{"message": {"tool_calls": calls}}]})["output"]
    assert [(item["type"], item["name"], item.get("namespace")) for item in items] == [
        ("function_call", "ask", None),
        ("function_call", "ask", "team"),
        ("function_call", "ask", "user"),
        ("custom_tool_call", "tell", "user"),
    ]


def test_tool_given_twice_is_offered_once() -> None:
    assert names(chat(tools=[function("look"), function("look")])) == ["look"]


def test_tools_that_an_item_adds_are_offered() -> None:
    told = chat(
        user("hi"), {"type": "additional_tools", "role": "developer", "tools": [function("late")]}, tools=[function("look")]
    )
    assert names(told) == ["look", "late"]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        ({"type": "function", "name": "look"}, {"type": "function", "function": {"name": "look"}}),
        ({"type": "custom", "name": "patch"}, {"type": "function", "function": {"name": "patch"}}),
        ({"type": "function", "name": "ask"}, {"type": "function", "function": {"name": "ask"}}),
        ({"type": "function", "name": "look", "namespace": "team"}, {"type": "function", "function": {"name": "team__look"}}),
    ],
)
def test_tool_choice_is_said_in_the_chats_words(choice: object, expected: object) -> None:
    tools = [function("look"), {"type": "custom", "name": "patch"}, namespace("team", function("ask"), function("look"))]
    assert chat(tools=tools, tool_choice=choice)["tool_choice"] == expected


def test_allowed_tools_are_the_only_ones_offered() -> None:
    choice = {"type": "allowed_tools", "mode": "required", "tools": [function("look"), {"type": "web_search"}]}
    told = chat(tools=[function("look"), function("ask")], tool_choice=choice)
    assert (names(told), told["tool_choice"]) == (["look"], "required")


# --- the rest


def test_structured_format_is_the_chats_response_format() -> None:
    form = {"type": "json_schema", "name": "City", "schema": {"type": "object"}, "strict": True}
    assert chat(text={"format": form, "verbosity": "low"})["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "City", "schema": {"type": "object"}, "strict": True},
    }
    assert chat(text={"format": {"type": "json_object"}})["response_format"] == {"type": "json_object"}
    for text in (None, {}, {"format": None}, {"format": {"type": "text"}}):
        assert "response_format" not in chat(text=text)


def test_sampling_goes_over() -> None:
    told = chat(max_output_tokens=64, temperature=0, top_p=0.9, reasoning={"effort": "low", "summary": "auto"})
    assert {key: value for key, value in told.items() if key not in ("model", "messages")} == {
        "max_tokens": 64,
        "temperature": 0,
        "top_p": 0.9,
        "reasoning_effort": "low",
    }


def test_what_means_nothing_here_is_ignored() -> None:
    ignored = {
        "store": True,
        "include": ["message.output_text.logprobs"],
        "prompt_cache_key": "k",
        "client_metadata": {"a": "b"},
        "metadata": {"a": "b"},
        "truncation": "auto",
        "service_tier": "flex",
        "user": "me",
        "background": False,
        "previous_response_id": None,
        "stream": False,
        "safety_identifier": "s",
    }
    assert chat(**ignored) == {"model": "smol", "messages": [user("hi")]}


def test_response_repeats_its_request() -> None:
    told = echo(
        metadata={"run": "7"}, tool_choice="none", tools=[function("look")], top_p=0.5, text={"verbosity": "low"}, store=True
    )
    assert {key: told[key] for key in ("metadata", "tool_choice", "tools", "top_p", "store")} == {
        "metadata": {"run": "7"},
        "tool_choice": "none",
        "tools": [function("look")],
        "top_p": 0.5,
        "store": False,
    }
    assert told["text"] == {"format": {"type": "text"}, "verbosity": "low"}


def test_response_says_what_holds_where_the_request_is_silent() -> None:
    told = echo()
    assert (told["parallel_tool_calls"], told["tool_choice"], told["tools"], told["metadata"]) == (True, "auto", [], {})
    assert (told["instructions"], told["temperature"], told["previous_response_id"]) == (None, None, None)


# --- what cannot be served

PART = {"role": "user", "content": [{"type": "input_text", "text": "hi"}]}
BAD: dict[str, tuple[Json, str]] = {
    "no input": ({}, "input: should be text or a list of items, got nothing"),
    "input is a number": ({"input": 7}, "input: should be a list, got 7"),
    "no items": ({"input": []}, "input: should be a message at least, got a list"),
    "item is text": ({"input": ["hi"]}, 'input.0: should be an object, got "hi"'),
    "item of no type": ({"input": [{"content": "hi"}]}, "input.0.type: should be text, got nothing"),
    "item of unknown type": ({"input": [{"type": "song"}]}, "input.0.type: should be a message, a call, its output or reasoning"),
    "compaction": ({"input": [{"type": "compaction", "encrypted_content": "x"}]}, "input.0.type: should be"),
    "reference": (
        {"input": [user("hi"), {"type": "item_reference", "id": "msg_1"}]},
        "input.1: nothing is kept between requests",
    ),
    "unknown role": (
        {"input": [{"role": "critic", "content": "hi"}]},
        "input.0.role: should be one of user, assistant, system, dev",
    ),
    "no role": ({"input": [{"type": "message", "content": "hi"}]}, "input.0.role: should be text, got nothing"),
    "no content": ({"input": [{"role": "user"}]}, "input.0.content: should be text or a list of parts, got nothing"),
    "part of unknown type": (
        {"input": [PART, PART, PART, {"role": "user", "content": [{"type": "input_video"}]}]},
        'input.3.content.0.type: should be input_text, output_text, input_image or refusal, got "input_video"',
    ),
    "text is a number": (
        {"input": [{"role": "user", "content": [{"type": "input_text", "text": 7}]}]},
        "input.0.content.0.text: ",
    ),
    "image in a file": (
        {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
        "input.0.content.0.image_url: no files are kept here",
    ),
    "image for the system": (
        {"input": [{"role": "developer", "content": [{"type": "input_image", "image_url": "data:"}]}]},
        "input.0.content: should be text only in a message of the developer",
    ),
    "call without name": ({"input": [{"type": "function_call", "call_id": "a", "arguments": ""}]}, "input.0.name: "),
    "call without id": ({"input": [{"type": "function_call", "name": "a", "arguments": ""}]}, "input.0.call_id: "),
    "arguments are an object": ({"input": [{"type": "function_call", "arguments": {}}]}, "input.0.arguments: should be text"),
    "free input is missing": ({"input": [{"type": "custom_tool_call", "name": "a", "call_id": "a"}]}, "input.0.input: "),
    "output is missing": ({"input": [{"type": "function_call_output", "call_id": "a"}]}, "input.0.output: "),
    "instructions are a list": ({"input": "hi", "instructions": []}, "instructions: should be text, got a list"),
    "tools are an object": ({"input": "hi", "tools": {}}, "tools: should be a list, got an object"),
    "tool of no type": ({"input": "hi", "tools": [{"name": "a"}]}, "tools.0.type: should be text, got nothing"),
    "chat's tool": ({"input": "hi", "tools": [{"type": "function", "function": {"name": "a"}}]}, "tools.0.name: should be text"),
    "member of no name": ({"input": "hi", "tools": [namespace("a", {"type": "function"})]}, "tools.0.tools.0.name: "),
    "parameters are text": ({"input": "hi", "tools": [function("a", parameters="x")]}, "tools.0.parameters: should be an object"),
    "unknown choice": (
        {"input": "hi", "tool_choice": "maybe"},
        'tool_choice: should be an object or one of none, auto, required, got "m',
    ),
    "choice of a stranger": (
        {"input": "hi", "tools": [function("a")], "tool_choice": function("b")},
        'tool_choice.name: should be a tool of this request, got "b"',
    ),
    "choice of a hosted tool": (
        {"input": "hi", "tool_choice": {"type": "web_search"}},
        "tool_choice.type: should be function, custom or",
    ),
    "call required of nobody": (
        {"input": "hi", "tool_choice": "required"},
        "tool_choice: a call is required, but there is no tool",
    ),
    "unknown format": (
        {"input": "hi", "text": {"format": {"type": "xml"}}},
        "text.format.type: should be text, json_schema or js",
    ),
    "no schema": ({"input": "hi", "text": {"format": {"type": "json_schema", "name": "a"}}}, "text.format.schema: "),
    "no tokens": ({"input": "hi", "max_output_tokens": 0}, "max_output_tokens: should be a whole number above zero, got 0"),
    "warm": ({"input": "hi", "temperature": "warm"}, 'temperature: should be a number, got "warm"'),
    "stream is text": ({"input": "hi", "stream": "yes"}, 'stream: should be true or false, got "yes"'),
    "effort is a number": ({"input": "hi", "reasoning": {"effort": 3}}, "reasoning.effort: should be text, got 3"),
    "earlier response": ({"input": "hi", "previous_response_id": "resp_1"}, "previous_response_id: responses are not kept here"),
    "conversation": ({"input": "hi", "conversation": {"id": "conv_1"}}, "conversation: responses are not kept here"),
    "background": ({"input": "hi", "background": True}, "background: responses are not kept here"),
    "template": ({"input": "hi", "prompt": {"id": "pmpt_1"}}, "prompt: no prompt templates are kept here"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_request_is_refused_with_the_place(name: str) -> None:
    body, message = BAD[name]
    with pytest.raises(InvalidRequest) as caught:
        to_chat(body, ABOUT)
    assert caught.value.message.startswith(message)


def test_request_with_a_memory_is_told_what_to_do() -> None:
    with pytest.raises(InvalidRequest) as caught:
        to_chat({"input": "hi", "previous_response_id": "resp_1"}, ABOUT)
    assert caught.value.hint == "send the whole history in input, with store set to false"


def test_log_of_a_refusal_does_not_quote_the_request() -> None:
    with pytest.raises(InvalidRequest) as caught:
        to_chat({"input": ["my secret " + "x" * 100]}, ABOUT)
    assert caught.value.message == f'input.0: should be an object, got "my secret {"x" * 30}…"'
    assert caught.value.log_message == "input.0: should be an object"


FIELDS = """input instructions tools tool_choice text format type role content name namespace call_id arguments output summary
    reasoning include metadata message function_call function_call_output input_text function custom json_schema"""
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.sampled_from(FIELDS.split()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS.split()), inner, max_size=5),
    max_leaves=20,
)


@given(body=st.dictionaries(st.sampled_from(FIELDS.split()), JSON, max_size=6))
def test_request_of_any_shape_is_translated_or_refused(body: Json) -> None:
    try:
        told = to_chat(body, ABOUT).chat
    except InvalidRequest as error:
        assert ":" in error.message  # noqa: PT017 - either outcome is fine, each has its check
    else:
        assert {message["role"] for message in told["messages"]} <= {"system", "user", "assistant", "tool"}
