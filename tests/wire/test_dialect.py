"""The tap on answers as llama.cpp (b11549) writes them, and on what no engine should write."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.engines.scripted_answer import Answer, Kind, Section, Stamp
from relight.engines.scripted_dialects import CHAT, COMPLETION, MESSAGES
from relight.engines.scripted_dialects import Dialect as Writer
from relight.engines.scripted_responses import RESPONSES
from relight.errors import ContextOverflow
from relight.wire.anthropic import Messages
from relight.wire.dialect import Dialect, Tap, Usage
from relight.wire.openai import Chat, Responses

TIMINGS = {"cache_n": 30, "prompt_n": 1, "prompt_ms": 11.5, "predicted_n": 2, "predicted_ms": 11.3}
OPENAI_USAGE = {"completion_tokens": 2, "prompt_tokens": 31, "total_tokens": 33, "prompt_tokens_details": {"cached_tokens": 30}}
RESPONSES_USAGE = {"input_tokens": 31, "output_tokens": 2, "total_tokens": 33, "input_tokens_details": {"cached_tokens": 30}}
MESSAGES_USAGE = {"cache_read_input_tokens": 30, "input_tokens": 1, "output_tokens": 2}
OUTPUT = [
    {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hello there"}]},
]


def data(*values: object) -> bytes:
    return b"".join(b"data: " + msgspec.json.encode(value) + b"\n\n" for value in values)


def named(*values: dict[str, Any]) -> bytes:
    return b"".join(f"event: {value['type']}\n".encode() + data(value) for value in values)


def chunk(delta: dict[str, Any], finish: str | None = None, **more: object) -> dict[str, Any]:
    return {"choices": [{"finish_reason": finish, "index": 0, "delta": delta}], "object": "chat.completion.chunk", **more}


DONE = b"data: [DONE]\n\n"
OPENING = [chunk({"role": "assistant", "content": None}), chunk({"content": "Hello"}), chunk({"content": " there"})]
TEXT_CHUNK = {"object": "text_completion", "choices": [{"text": "Hello", "index": 0, "finish_reason": None}]}
TEXT_END = {
    "object": "text_completion",
    "choices": [{"text": " there", "finish_reason": "length"}],
    "usage": OPENAI_USAGE,
    "timings": TIMINGS,
}
TIMED = Usage(31, 30, 2, "length", decode_s=TIMINGS["predicted_ms"] / 1000)
STREAMS: dict[str, tuple[Dialect, bytes, Usage]] = {
    "chat, timings only": (
        Chat(),
        data(*OPENING, chunk({}, "length", timings=TIMINGS)) + DONE,
        TIMED,
    ),
    "chat, with usage": (
        Chat(),
        data(*OPENING, chunk({}, "stop"), {"choices": [], "usage": OPENAI_USAGE, "timings": TIMINGS}) + DONE,
        Usage(31, 30, 2, "stop", decode_s=TIMINGS["predicted_ms"] / 1000),
    ),
    "chat, usage null in every chunk": (
        Chat(),
        data(*({**one, "usage": None} for one in OPENING), chunk({}, "stop"), {"choices": [], "usage": OPENAI_USAGE}) + DONE,
        Usage(31, 30, 2, "stop"),
    ),
    "completion": (Chat("completion", "text_completion"), data(TEXT_CHUNK, TEXT_END) + DONE, TIMED),
    "messages": (
        Messages(),
        named(
            {
                "type": "message_start",
                "message": {"content": [], "stop_reason": None, "usage": MESSAGES_USAGE | {"output_tokens": 0}},
            },
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": " there"}},
            {"type": "content_block_stop", "index": 0},
            {
                "type": "message_delta",
                "delta": {"stop_reason": "max_tokens", "stop_sequence": None},
                "usage": {"output_tokens": 2},
            },
            {"type": "message_stop"},
        ),
        Usage(31, 30, 2, "max_tokens"),
    ),
    "responses": (
        Responses(),
        named(
            {"type": "response.created", "response": {"id": "resp_1", "status": "in_progress"}},
            {"type": "response.output_text.delta", "item_id": "msg_1", "delta": "Hello"},
            {"type": "response.output_text.delta", "item_id": "msg_1", "delta": " there"},
            {"type": "response.output_text.done", "item_id": "msg_1", "text": "Hello there"},
            {"type": "response.output_item.done", "item": {"status": "completed", "content": OUTPUT[1]["content"]}},
            {"type": "response.completed", "response": {"status": "completed", "output": OUTPUT, "usage": RESPONSES_USAGE}},
        ),
        Usage(31, 30, 2, "completed"),
    ),
}
BODIES: dict[str, tuple[Dialect, dict[str, Any], Usage]] = {
    "chat": (
        Chat(),
        {
            "choices": [{"finish_reason": "length", "message": {"role": "assistant", "content": "Hello there"}}],
            "usage": OPENAI_USAGE,
            "timings": TIMINGS,
        },
        TIMED,
    ),
    "completion": (
        Chat("completion", "text_completion"),
        {"choices": [{"text": "Hello there", "index": 0, "finish_reason": "stop"}], "usage": OPENAI_USAGE},
        Usage(31, 30, 2, "stop"),
    ),
    "messages": (
        Messages(),
        {
            "type": "message",
            "content": [{"type": "thinking", "thinking": "hm", "signature": ""}, {"type": "text", "text": "Hello there"}],
            "stop_reason": "tool_use",
            "usage": MESSAGES_USAGE,
        },
        Usage(31, 30, 2, "tool_use"),
    ),
    "responses": (
        Responses(),
        {"object": "response", "output": OUTPUT, "status": "completed", "usage": RESPONSES_USAGE},
        Usage(31, 30, 2, "completed"),
    ),
}
FAILURES: dict[str, tuple[Dialect, bytes]] = {
    "chat": (Chat(), data(*OPENING, {"error": {"code": 500, "message": "out of slots", "type": "server_error"}})),
    "messages": (Messages(), named({"type": "error", "error": {"type": "api_error", "message": "out of slots"}})),
    "responses, llama.cpp": (Responses(), b"event: error\n" + data({"error": {"code": 500, "message": "out of slots"}})),
    "responses, OpenAI": (
        Responses(),
        named({"type": "error", "code": "server_error", "message": "out of slots", "param": None}),
    ),
    "responses, failed": (
        Responses(),
        named({"type": "response.failed", "response": {"status": "failed", "error": {"code": "x", "message": "out of slots"}}}),
    ),
}


@pytest.mark.parametrize("name", STREAMS)
@given(cuts=st.lists(st.integers(0, 4000), max_size=10), crlf=st.booleans(), keep_text=st.booleans())
def test_stream_cut_anywhere_gives_the_same_usage_and_words(name: str, cuts: list[int], crlf: bool, keep_text: bool) -> None:
    dialect, stream, expected = STREAMS[name]
    stream = stream.replace(b"\n", b"\r\n") if crlf else stream
    tap = Tap(dialect, stream=True, keep_text=keep_text)
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    for start, end in itertools.pairwise(edges):
        tap.feed(stream[start:end])
    assert tap.finish() == expected
    assert tap.text == ("Hello there" if keep_text else "")
    assert tap.first_event_seen


@pytest.mark.parametrize("name", BODIES)
@given(size=st.integers(1, 400))
def test_whole_answer_in_pieces_gives_its_usage_and_words(name: str, size: int) -> None:
    dialect, value, expected = BODIES[name]
    body = json.dumps(value, indent=1).encode()
    tap = Tap(dialect, stream=False, keep_text=True)
    for start in range(0, len(body), size):
        tap.feed(body[start : start + size])
    assert tap.finish() == expected
    assert tap.text == "Hello there"


@pytest.mark.parametrize("name", FAILURES)
def test_error_event_is_noted(name: str) -> None:
    dialect, stream = FAILURES[name]
    tap = Tap(dialect, stream=True)
    tap.feed(stream)
    assert tap.finish().error == "out of slots"


@pytest.mark.parametrize("is_stream", [True, False])
@pytest.mark.parametrize(
    ("dialect", "writer", "finish"),
    [
        (Chat(), CHAT, "tool_calls"),
        (Chat("completion", "text_completion"), COMPLETION, "tool_calls"),
        (Messages(), MESSAGES, "tool_use"),
        (Responses(), RESPONSES, "completed"),
    ],
)
def test_scripted_engine_is_read_like_the_real_one(dialect: Dialect, writer: Writer, finish: str, is_stream: bool) -> None:
    sections = (
        Section(Kind.REASONING, ("hm ", "so ")),
        Section(Kind.TEXT, ("Hello ", "there")),
        Section(Kind.CALL, ('{"a":', "1}"), "look"),
    )
    answer = Answer(Stamp("0" * 32, 1, "smol"), sections, "tool_calls", None, 31, 30, 1.0, 1.0, include_usage=False)
    tap = Tap(dialect, stream=is_stream, keep_text=True)
    for part in writer.blocks(answer) if is_stream else (msgspec.json.encode(writer.body(answer)),):
        tap.feed(part)
    assert replace(tap.finish(), decode_s=None) == Usage(31, 30, 6, finish)
    assert tap.text == "Hello there"


@pytest.mark.parametrize("dialect", [Chat(), Responses()])
def test_overflow_message_holds_its_code_for_clients_that_show_the_message_alone(dialect: Dialect) -> None:
    message = dialect.error_body(ContextOverflow("too long", prompt_tokens=300, context_tokens=256))["error"]["message"]
    assert message.startswith("This model's maximum context length is 256 tokens. However, your messages resulted in 300 tokens.")
    assert message.endswith("(context_length_exceeded)")


def test_embeddings_have_a_prompt_and_no_completion() -> None:
    tap = Tap(Chat("embeddings"), stream=False)
    tap.feed(b'{"data":[{"embedding":[0.5]}],"usage":{"prompt_tokens":4,"total_tokens":4}}')
    assert tap.finish() == Usage(prompt=4)


def test_count_tokens_is_a_prompt() -> None:
    tap = Tap(Messages(), stream=False)
    tap.feed(b'{"input_tokens":31}')
    assert tap.finish() == Usage(prompt=31)


def test_response_completed_without_usage_still_has_a_finish() -> None:
    tap = Tap(Responses(), stream=True)
    tap.feed(named({"type": "response.completed", "response": {"status": "completed", "output": []}}))
    assert tap.finish() == Usage(finish="completed")


def test_comments_are_not_the_first_event() -> None:
    tap = Tap(Chat(), stream=True)
    tap.feed(b":\n\n: still here\n\n")
    assert not tap.first_event_seen
    tap.feed(b"data: {}\n\n")
    assert tap.first_event_seen


def test_words_that_quote_a_usage_object_change_nothing() -> None:
    tap = Tap(Chat(), stream=True)
    tap.feed(data(chunk({"content": '"usage": {"prompt_tokens": 9}, "finish_reason":"x"'})))
    assert tap.finish() == Usage()


def test_large_body_is_not_kept() -> None:
    tap = Tap(Chat(), stream=False)
    for _ in range(9):
        tap.feed(b" " * (1 << 20))
        assert sum(map(len, tap._body)) <= Tap._MAX_BODY
    tap.feed(b'{"usage":{"prompt_tokens":4}}')
    assert tap._body == []
    assert tap.finish() == Usage()


def test_truth_is_not_a_token_count() -> None:
    tap = Tap(Chat(), stream=False)
    tap.feed(b'{"usage":{"prompt_tokens":true,"completion_tokens":"7"}}')
    assert tap.finish() == Usage()


WORDS = """choices delta message content text finish_reason usage prompt_tokens prompt_tokens_details timings prompt_n error
    response output status item stop_reason input_tokens type"""
NAMES = """choices delta message content text finish_reason usage prompt_tokens prompt_tokens_details timings prompt_n error
    response output status item stop_reason input_tokens type"""
KEYS = st.sampled_from(NAMES.split())
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("dialect", [Chat(), Messages(), Responses()], ids=lambda dialect: dialect.name)
@given(value=st.dictionaries(KEYS, JSON, max_size=5), is_stream=st.booleans())
def test_answer_of_any_shape_never_breaks_the_tap(dialect: Dialect, value: dict[str, Any], is_stream: bool) -> None:
    tap = Tap(dialect, stream=is_stream, keep_text=True)
    tap.feed(data(value) if is_stream else msgspec.json.encode(value))
    usage = tap.finish()
    assert {type(count) for count in (usage.prompt, usage.cached, usage.completion)} <= {int, type(None)}
    assert isinstance(tap.text, str)


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\xff", b"[1,2]", b"null", b'{"usage":', b'"error"', b""])
@pytest.mark.parametrize("is_stream", [True, False])
def test_garbage_is_not_read(garbage: bytes, is_stream: bool) -> None:
    tap = Tap(Chat(), stream=is_stream, keep_text=True)
    tap.feed(b'data: "usage"' + garbage + b"\n\n" if is_stream else garbage)
    assert tap.finish() == Usage()
