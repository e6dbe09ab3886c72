"""The clients of the dialects: whatever a server sends, they read it, say what is wrong, and never fall over it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.check.chat import Chat
from relight.check.events import lines, server_sent
from relight.check.examination import TONGUES
from relight.check.http import Line, Reply
from relight.check.question import Call, Finish, Question, Tongue, Turn, misfit, user
from relight.check.verdict import shown
from relight.clock import ManualClock
from relight.values import Secret

BY_TONGUE = pytest.mark.parametrize("tongue", TONGUES, ids=lambda tongue: tongue.name)
KEYS = [
    *(
        "choices",
        "delta",
        "message",
        "content",
        "tool_calls",
        "function",
        "name",
        "arguments",
        "id",
        "index",
        "finish_reason",
        "usage",
    ),
    *("error", "type", "text", "response", "output", "status", "done", "done_reason", "sequence_number", "output_index"),
    *("content_block", "stop_reason", "prompt_tokens", "input_tokens", "object"),
]
KINDS = [
    *(
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "ping",
    ),
    *("error", "response.created", "response.output_item.added", "response.output_item.done", "response.output_text.delta"),
    *("response.completed", "text", "tool_use", "function_call", "message", "response", "reasoning", "stop", "length", "17"),
]
LEAF = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(KINDS) | st.text(max_size=3)
VALUE = st.recursive(
    LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4), max_leaves=12
)
OBJECT = st.dictionaries(st.sampled_from(KEYS), VALUE, max_size=6)


@BY_TONGUE
@given(body=OBJECT)
def test_no_answer_trips_a_reader(tongue: Tongue, body: dict[str, Any]) -> None:
    answer = tongue.whole(body)
    assert isinstance(answer.text, str)
    tongue.refusal(json.dumps(body).encode())


@BY_TONGUE
@given(bodies=st.lists(st.tuples(st.sampled_from(KINDS), OBJECT), max_size=6), cut=st.integers(1, 40))
def test_no_stream_trips_a_reader(tongue: Tongue, bodies: list[tuple[str, dict[str, Any]]], cut: int) -> None:
    if tongue.name == "ollama":
        stream = b"".join(json.dumps(body).encode() + b"\n" for _, body in bodies)
    else:
        stream = b"".join(f"event: {kind}\ndata: {json.dumps({'type': kind, **body})}\n\n".encode() for kind, body in bodies)
    whole = [(0.0, stream)]
    pieces = [(0.0, stream[at : at + cut]) for at in range(0, len(stream), cut)]
    assert tongue.told(pieces) == tongue.told(whole)
    assert tongue.has_begun(pieces) == tongue.has_begun(whole)


@given(garbage=st.binary(max_size=60))
def test_no_bytes_trip_a_reader(garbage: bytes) -> None:
    for tongue in TONGUES:
        tongue.told([(0.0, garbage)])
        tongue.refusal(garbage)


def test_events_know_when_they_came_and_what_they_are() -> None:
    chunks = [(1.0, b': waiting\r\n\r\ndata: {"a":'), (2.0, b" 1}\r"), (3.0, b"\n\r\nevent: x\ndata: [DONE]\n\ndata: cut")]
    events = server_sent(chunks)
    assert [(event.at, event.name, event.data) for event in events] == [
        (1.0, "", None),
        (3.0, "", b'{"a": 1}'),
        (3.0, "x", b"[DONE]"),
    ]
    assert events[0].is_comment
    assert events[2].is_done
    assert [line.data for line in lines([(0.0, b'{"a"'), (1.0, b': 1}\n\n{"b": 2}')])] == [b'{"a": 1}', b'{"b": 2}']


def test_what_came_is_looked_at_once_and_the_tail_of_an_event_again() -> None:
    reply = Reply("POST /")
    looks = []
    for part in (b"data: 1\n\ndata: 2", b"\n", b"\ndata: 3\r\n\r\n", b"data: 4"):
        reply.chunks.append((0.0, part))
        looks.append(reply.unread())
    assert looks == [b"data: 1\n\ndata: 2", b"data: 2\n", b"data: 2\n\ndata: 3\r\n\r\n", b"data: 4"]


def test_stream_of_calls_is_put_together() -> None:
    pieces: list[Any] = [
        {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "weather", "arguments": ""}}]},
        {"tool_calls": [{"index": 1, "id": "b", "function": {"name": "time", "arguments": "{"}}]},
        {
            "tool_calls": [
                {"index": 0, "function": {"arguments": '{"city": "Oslo"}'}},
                {"index": 1, "function": {"arguments": "}"}},
            ]
        },
    ]
    events = [f"data: {json.dumps({'choices': [{'delta': piece}]})}\n\n" for piece in pieces]
    events.append('data: {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}\n\ndata: [DONE]\n\n')
    answer = Chat().told([(0.0, "".join(events).encode())])
    assert answer.faults == []
    assert answer.finish == Finish.TOOLS
    assert answer.calls == [Call("a", "weather", '{"city": "Oslo"}'), Call("b", "time", "{}")]


@BY_TONGUE
def test_history_is_put_in_the_words_of_the_dialect(tongue: Tongue) -> None:
    call = Call("call_1", "weather", '{"city": "Oslo"}')
    turns = (Turn("system", "Brief."), user("Hi"), Turn("assistant", None, (call,)), Turn("tool", "rain", answers="call_1"))
    body = tongue.body(Question(turns, stream=True), "toy")
    told = json.dumps(body)
    for word in ("Brief.", "Hi", "weather", "Oslo", "rain"):
        assert word in told
    assert body["model"] == "toy"
    assert body["stream"] is True
    assert ("call_1" in told) is (tongue.name != "ollama")


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ('{"city": "Oslo"}', None),
        ('{"city": "Os', "no JSON object"),
        ("[]", "no JSON object"),
        ("{}", "lack city"),
        ('{"city": "Oslo", "zone": 1}', "zone"),
        ('{"city": "Rome"}', "city does not fit"),
        ('{"city": 1}', "city does not fit"),
    ],
)
def test_arguments_are_held_against_the_schema(arguments: str, fault: str | None) -> None:
    schema = {"properties": {"city": {"type": "string", "enum": ["Oslo", "Lima"]}}, "required": ["city"]}
    found = misfit(arguments, schema)
    assert (found is None) if fault is None else (found is not None and fault in found)


@given(at=st.integers(0, 400), length=st.integers(1, 60))
def test_no_cut_of_a_line_shows_a_key(at: int, length: int) -> None:
    key = "sk-0123456789abcdef"
    line = Line("http://a.example", Secret("KEY", key), ManualClock())
    said = line.star(shown(f"{'x' * at}{key}{'y' * 300}", length))
    assert key[:8] not in said


def test_somebody_elses_words_are_one_printable_line() -> None:
    assert shown("a\x1b[2J\r\nb\u202ec\u2028d") == "a [2J b c d"
    assert shown(b"\xff\x00" * 500, 10) == "� � � � �…"
