"""The events and bodies of each dialect, in llama.cpp's order."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from relight.engines.script import Script, ToolCall
from relight.engines.scripted_answer import Answer, Stamp, compose
from relight.engines.scripted_dialects import CHAT, COMPLETION, MESSAGES, Dialect, cut
from relight.engines.scripted_prompt import Prompt
from relight.engines.scripted_responses import RESPONSES

ALL = [CHAT, COMPLETION, MESSAGES, RESPONSES]
FULL = Script(reasoning="hm so", text="Look here", tools=(ToolCall("w", '{"a":1}'), ToolCall("v", "{}")), cached=2)


def make(script: Script, *, include_usage: bool = False, max_tokens: int | None = None) -> Answer:
    prompt = Prompt("hello", None, 5, stream=True, include_usage=include_usage, max_tokens=max_tokens, stops=())
    return compose(prompt, script, Stamp("0123456789abcdef" * 2, 1_700_000_000, "smol"), 100)


def events(dialect: Dialect, answer: Answer) -> list[Any]:
    """Data of every event; a named one must repeat its name as `type`."""
    parsed: list[Any] = []
    for event in b"".join(dialect.blocks(answer)).decode().split("\n\n")[:-1]:
        *name, data = event.split("\n")
        value: Any = json.loads(data.removeprefix("data: ")) if data != "data: [DONE]" else "[DONE]"
        assert not name or name == [f"event: {value['type']}"]
        parsed.append(value)
    return parsed


@pytest.mark.parametrize("dialect", ALL)
@pytest.mark.parametrize("script", [FULL, Script(), Script(empty=True), Script(tokens=1)])
def test_stream_has_one_block_per_token_and_one_to_close_it(dialect: Dialect, script: Script) -> None:
    answer = make(script)
    assert len(list(dialect.blocks(answer))) == answer.tokens + 1


def test_chat_stream_opens_with_the_role_and_ends_with_the_reason_timings_and_done() -> None:
    opening, first, *_, last, done = events(CHAT, make(Script(text="a b")))
    assert opening["choices"] == [{"finish_reason": None, "index": 0, "delta": {"role": "assistant", "content": None}}]
    assert first["choices"][0]["delta"] == {"content": "a"}
    assert last["choices"] == [{"finish_reason": "stop", "index": 0, "delta": {}}]
    assert last["timings"]["predicted_n"] == 2
    assert "usage" not in last
    assert done == "[DONE]"


def test_chat_stream_with_usage_has_it_in_a_chunk_without_choices() -> None:
    *_, last, usage, done = events(CHAT, make(Script(text="a b", cached=2), include_usage=True))
    assert (last["choices"][0]["finish_reason"], "timings" in last) == ("stop", False)
    assert (usage["choices"], usage["timings"]["cache_n"]) == ([], 2)
    assert usage["usage"] == {
        "completion_tokens": 2,
        "prompt_tokens": 5,
        "total_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 2},
    }
    assert done == "[DONE]"


def test_chat_stream_puts_calls_together_from_fragments() -> None:
    deltas = [event["choices"][0]["delta"] for event in events(CHAT, make(FULL))[:-1]]
    calls = [call for delta in deltas for call in delta.get("tool_calls", [])]
    arguments: Counter[int] = Counter()
    texts = {0: "", 1: ""}
    for call in calls:
        arguments[call["index"]] += 1
        texts[call["index"]] += call["function"]["arguments"]
    assert texts == {0: '{"a":1}', 1: "{}"}
    assert arguments[0] > 1
    named = [(call["id"], call["type"], call["function"]["name"]) for call in calls if "id" in call]
    assert [(kind, name) for _, kind, name in named] == [("function", "w"), ("function", "v")]
    assert len({identity for identity, _, _ in named}) == 2
    assert [delta["reasoning_content"] for delta in deltas if "reasoning_content" in delta] == ["hm", " so"]


def test_two_calls_of_the_same_tool_keep_their_own_index() -> None:
    chunks = events(CHAT, make(Script(tools=(ToolCall("w"), ToolCall("w")))))[:-1]
    calls = [call for chunk in chunks for call in chunk["choices"][0]["delta"].get("tool_calls", [])]
    assert [call["index"] for call in calls] == [0, 1]


def test_chat_body_has_message_reasoning_calls_usage_and_timings() -> None:
    body = CHAT.body(make(FULL))
    message = body["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == ("Look here", "hm so")
    assert [call["function"] for call in message["tool_calls"]] == [
        {"name": "w", "arguments": '{"a":1}'},
        {"name": "v", "arguments": "{}"},
    ]
    assert (body["object"], body["model"], body["choices"][0]["finish_reason"]) == ("chat.completion", "smol", "tool_calls")
    assert body["usage"]["total_tokens"] == 5 + body["timings"]["predicted_n"]


def test_completion_stream_has_texts_then_usage_in_the_last_chunk() -> None:
    *chunks, last, done = events(COMPLETION, make(Script(text="a b"), max_tokens=1))
    assert [chunk["choices"][0]["text"] for chunk in chunks] == ["a"]
    assert "usage" not in chunks[0]
    assert last["choices"] == [{"text": "", "index": 0, "logprobs": None, "finish_reason": "length"}]
    assert (last["usage"]["completion_tokens"], last["object"], done) == (1, "text_completion", "[DONE]")


def test_completion_body_has_the_text() -> None:
    body = COMPLETION.body(make(Script(text="a b")))
    assert body["choices"] == [{"text": "a b", "index": 0, "logprobs": None, "finish_reason": "stop"}]


def test_messages_stream_has_the_order_of_llama_cpp() -> None:
    parsed = events(MESSAGES, make(FULL))
    assert [(event["type"].removeprefix("content_"), event.get("index")) for event in parsed] == [
        ("message_start", None),
        ("block_start", 0),
        ("block_delta", 0),
        ("block_delta", 0),
        ("block_start", 1),
        ("block_delta", 1),
        ("block_delta", 1),
        ("block_start", 2),
        *[("block_delta", 2)] * 5,
        ("block_start", 3),
        ("block_delta", 3),
        ("block_delta", 0),
        ("block_stop", 0),
        ("block_stop", 1),
        ("block_stop", 2),
        ("block_stop", 3),
        ("message_delta", None),
        ("message_stop", None),
    ]
    assert parsed[0]["message"]["usage"] == {"cache_read_input_tokens": 2, "input_tokens": 3, "output_tokens": 0}
    assert parsed[-2]["delta"] == {"stop_reason": "tool_use", "stop_sequence": None}
    assert parsed[-2]["usage"] == {"output_tokens": 10}


def test_messages_body_has_content_blocks_and_parsed_input() -> None:
    body = MESSAGES.body(make(FULL))
    assert [block["type"] for block in body["content"]] == ["thinking", "text", "tool_use", "tool_use"]
    assert (body["content"][2]["name"], body["content"][2]["input"]) == ("w", {"a": 1})
    assert (body["stop_reason"], body["usage"]["output_tokens"]) == ("tool_use", 10)


@pytest.mark.parametrize(
    ("finish", "reason"),
    [("stop", "end_turn"), ("length", "max_tokens"), ("tool_calls", "tool_use"), ("content_filter", "refusal")],
)
def test_messages_stop_reason_follows_the_finish(finish: str, reason: str) -> None:
    assert MESSAGES.body(make(Script(finish=finish)))["stop_reason"] == reason


def test_responses_stream_has_the_order_of_llama_cpp() -> None:
    parsed = events(RESPONSES, make(Script(reasoning="hm", text="a b", tools=(ToolCall("w", "{}"),))))
    assert [event["type"].removeprefix("response.") for event in parsed] == [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_text.delta",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_item.added",
        "function_call_arguments.delta",
        "output_item.done",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.done",
        "completed",
    ]
    assert parsed[6]["item_id"] == parsed[4]["item"]["id"]
    assert parsed[8]["item"] == parsed[8]["item"] | {"name": "w", "arguments": "", "status": "in_progress"}
    done = parsed[-1]["response"]
    assert [item["type"] for item in done["output"]] == ["reasoning", "message", "function_call"]
    assert done["usage"]["output_tokens"] == 4
    assert parsed[-1]["timings"]["predicted_n"] == 4


def test_responses_body_has_the_output_items() -> None:
    body = RESPONSES.body(make(FULL))
    message, call = body["output"][1], body["output"][2]
    assert message["content"] == [{"type": "output_text", "annotations": [], "logprobs": [], "text": "Look here"}]
    assert (call["name"], call["arguments"], body["status"]) == ("w", '{"a":1}', "completed")


def test_cut_without_wishes_leaves_the_block_whole() -> None:
    assert list(cut("grüße".encode(), None, inside_characters=False)) == ["grüße".encode()]


def test_cut_by_size_loses_nothing() -> None:
    parts = list(cut(b"0123456789", 4, inside_characters=False))
    assert parts == [b"0123", b"4567", b"89"]


def test_cut_inside_characters_splits_each_of_them() -> None:
    parts = list(cut("aü世b".encode(), None, inside_characters=True))
    assert b"".join(parts) == "aü世b".encode()
    assert [part[-1] >= 0xC0 for part in parts] == [True, True, False]
