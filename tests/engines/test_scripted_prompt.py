"""Requests read into prompts."""

from __future__ import annotations

from typing import Any

import pytest

from relight.engines.scripted_prompt import read_chat, read_completion, read_responses
from relight.errors import InvalidRequest


def test_chat_request_counts_the_words_of_every_message_and_tool() -> None:
    prompt = read_chat(
        {
            "messages": [
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": [{"type": "text", "text": "one two"}, {"type": "text", "text": "three"}]},
                {"role": "assistant", "content": "four"},
            ],
            "tools": [{"name": "w"}],
        }
    )
    assert prompt.user == "one two\nthree"
    assert prompt.tokens == 2 + 3 + 1 + 2  # the tool is `[{"name": "w"}]`, two words
    assert (prompt.stream, prompt.include_usage, prompt.max_tokens, prompt.tool_result) == (False, False, None, None)


def test_chat_options_are_read() -> None:
    prompt = read_chat(
        {"messages": [], "stream": True, "stream_options": {"include_usage": True}, "max_completion_tokens": 9, "stop": "x"}
    )
    assert (prompt.stream, prompt.include_usage, prompt.max_tokens, prompt.stops) == (True, True, 9, ("x",))


def test_chat_that_ends_in_a_tool_message_carries_its_result() -> None:
    messages = [{"role": "user", "content": "weather?"}, {"role": "tool", "content": "sunny"}]
    prompt = read_chat({"messages": messages})
    assert (prompt.user, prompt.tool_result) == ("weather?", "sunny")


def test_messages_request_that_ends_in_a_tool_result_keeps_the_words_before_it() -> None:
    result = {"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": "sunny"}]}
    body: dict[str, Any] = {
        "system": "be brief",
        "messages": [{"role": "user", "content": "weather?"}, {"role": "user", "content": [result]}],
        "stop_sequences": ["a", "b"],
    }
    prompt = read_chat(body)
    assert (prompt.user, prompt.tool_result, prompt.stops, prompt.tokens) == ("weather?", "sunny", ("a", "b"), 4)


def test_responses_input_may_be_text() -> None:
    prompt = read_responses({"input": "one two", "instructions": "be brief", "max_output_tokens": 5})
    assert (prompt.user, prompt.tokens, prompt.max_tokens) == ("one two", 4, 5)


def test_responses_input_may_be_items_that_end_in_a_call_output() -> None:
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "weather?"}]},
        {"type": "function_call", "name": "w", "arguments": "{}"},
        {"type": "function_call_output", "output": "sunny"},
    ]
    prompt = read_responses({"input": items})
    assert (prompt.user, prompt.tool_result, prompt.tokens) == ("weather?", "sunny", 3)


def test_completion_prompt_may_be_text_or_texts() -> None:
    assert read_completion({"prompt": "one two"}).user == "one two"
    assert read_completion({"prompt": ["one", "two"]}).user == "one\ntwo"


@pytest.mark.parametrize(
    ("read", "body", "words"),
    [
        (read_chat, {}, "'messages' is required"),
        (read_responses, {}, "'input' is required"),
        (read_completion, {}, "key 'prompt' not found"),
        (read_chat, {"messages": "hi"}, "messages: should be a list of objects, got str"),
        (read_chat, {"messages": [], "stream": "yes"}, "stream: should be a boolean, got str"),
    ],
)
def test_wrong_request_is_refused_by_name(read: Any, body: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(body)
    assert words in str(caught.value)


def test_results_are_counted_since_the_user_spoke() -> None:
    messages = [
        {"role": "tool", "content": "old"},
        {"role": "user", "content": "weather?"},
        {"role": "tool", "content": "sunny"},
        {"role": "user", "content": [{"type": "tool_result", "content": "warm"}, {"type": "tool_result", "content": "dry"}]},
    ]
    prompt = read_chat({"messages": messages, "tools": [{"name": "w"}]})
    assert (prompt.results, prompt.has_tools) == (("sunny", "warm", "dry"), True)


def test_plan_is_kept_to_although_the_agent_speaks_as_the_user() -> None:
    plan = "go #script step=0 tool=w step=1 text=done"
    messages = [
        {"role": "user", "content": plan},
        {"role": "tool", "content": "sunny"},
        {"role": "user", "content": "a reminder"},
    ]
    prompt = read_chat({"messages": messages})
    assert (prompt.user, prompt.results, prompt.tool_result) == (plan, ("sunny",), None)


def test_plan_ends_with_the_next_script() -> None:
    messages = [{"role": "user", "content": "#script step=0 tool=w"}, {"role": "user", "content": "#script text=hello"}]
    assert read_chat({"messages": messages}).user == "#script text=hello"


def test_outputs_of_calls_are_results_in_the_responses_dialect() -> None:
    items = [{"role": "user", "content": "weather?"}, {"type": "function_call_output", "output": "sunny"}]
    assert read_responses({"input": items}).results == ("sunny",)
