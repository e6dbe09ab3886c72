"""Mendings of chat requests, and that the real engine needs them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from bench.wire import post

from relight.errors import InvalidRequest
from relight.wire.history import MENDINGS
from relight.wire.mending import Mended, Needs, encode, fields, mend

NEEDS = Needs(context=8192, max_tokens=1024, mends=frozenset(("empty_content", "call_arguments")))
USER = {"role": "user", "content": "hi"}


def mended(request: object, needs: Needs = NEEDS) -> dict[str, Any]:
    """What goes out for a request."""
    asked = fields(msgspec.json.encode(request))
    mend(asked, needs)
    decoded: dict[str, Any] = msgspec.json.decode(encode(asked))
    return decoded


def history(*messages: object) -> dict[str, Any]:
    return {"messages": list(messages), "max_tokens": 5}


def calling(*calls: object) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": list(calls)}


def call(**function: object) -> dict[str, Any]:
    return {"id": "c1", "type": "function", "function": {"name": "look", **function}}


# --- fields


@pytest.mark.parametrize("body", [b"", b"{", b"nonsense", b'{"a": }'])
def test_body_that_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="the body is not JSON"):
        fields(body)


@pytest.mark.parametrize("body", [b"[]", b"1", b'"text"', b"null"])
def test_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="should be a JSON object"):
        fields(body)


def test_fields_keep_order_and_the_very_bytes_of_values() -> None:
    body = b'{"z": 1.0, "messages":[ {"role":"user","content":"\\u00e9"} ],"max_tokens": 5}'
    asked = fields(body)
    assert list(asked) == ["z", "messages", "max_tokens"]
    assert encode(asked) == b'{"z":1.0,"messages":[ {"role":"user","content":"\\u00e9"} ],"max_tokens":5}'


def test_request_that_needs_nothing_is_not_changed() -> None:
    parts = {"role": "user", "content": [{"type": "text", "text": "hi"}]}
    turns = [USER, calling(call(arguments='{"a": 1}')), {"role": "tool", "tool_call_id": "c1", "content": None}, parts]
    tools = [{"type": "function", "function": {"name": "look"}}]
    asked = fields(msgspec.json.encode({"model": "m", "messages": turns, "max_tokens": 5, "tools": tools, "stream": True}))
    before = dict(asked)
    assert mend(asked, Needs(context=8192, max_tokens=9)) == Mended(changed=False, adds_usage=False)
    assert asked == before


# --- name and cap


def test_name_of_the_backend_is_put_in_where_the_clients_stood() -> None:
    request = mended({"model": "gpt", **history(USER)}, Needs(context=9, max_tokens=5, model="smol"))
    assert list(request) == ["model", "messages", "max_tokens"]
    assert request["model"] == "smol"


def test_name_is_left_when_none_is_given() -> None:
    assert mended({"model": "gpt", **history(USER)})["model"] == "gpt"


@pytest.mark.parametrize(
    ("said", "becomes"),
    [
        ({}, {"max_tokens": 1024}),
        ({"max_tokens": None, "max_completion_tokens": None}, {"max_tokens": 1024}),
        ({"max_tokens": -1}, {"max_tokens": 1024}),
        ({"max_completion_tokens": -1}, {"max_completion_tokens": 1024}),
        ({"max_tokens": 128_000}, {"max_tokens": 8192}),
        ({"max_completion_tokens": 32_000}, {"max_completion_tokens": 8192}),
        ({"max_tokens": 7, "max_completion_tokens": 9000.5}, {"max_tokens": 7, "max_completion_tokens": 8192}),
        ({"n_predict": 100_000}, {"n_predict": 8192}),
        ({"max_tokens": 8192}, {"max_tokens": 8192}),
        ({"max_tokens": 0}, {"max_tokens": 0}),
        ({"max_tokens": -5}, {"max_tokens": -5}),
        ({"max_tokens": "many"}, {"max_tokens": "many"}),
        ({"max_tokens": True}, {"max_tokens": True}),
    ],
    ids=str,
)
def test_answer_gets_an_end_within_the_context(said: dict[str, Any], becomes: dict[str, Any]) -> None:
    assert mended({"messages": [USER], **said}) == {"messages": [USER], **becomes}


def test_default_end_is_not_beyond_the_context() -> None:
    assert mended({"messages": [USER]}, Needs(context=512, max_tokens=1024))["max_tokens"] == 512


# --- what is asked beside the request

ASKING = Needs(context=8192, max_tokens=9, include_usage=True, progress=True)


@pytest.mark.parametrize("said", [{}, {"stream_options": None}, {"stream_options": {"include_usage": False}}], ids=str)
def test_stream_is_asked_for_usage_that_its_client_did_not_ask_for(said: dict[str, Any]) -> None:
    asked = fields(msgspec.json.encode({**history(USER), "stream": True, **said}))
    assert mend(asked, ASKING).adds_usage
    assert msgspec.json.decode(asked["stream_options"]) == {"include_usage": True}


def test_other_stream_options_stay_beside_usage() -> None:
    request = {**history(USER), "stream": True, "stream_options": {"include_obfuscation": False}}
    assert mended(request, ASKING)["stream_options"] == {"include_obfuscation": False, "include_usage": True}


def test_usage_that_the_client_asked_for_is_no_addition() -> None:
    asked = fields(msgspec.json.encode({**history(USER), "stream": True, "stream_options": {"include_usage": True}}))
    assert not mend(asked, ASKING).adds_usage


def test_progress_is_asked_for_in_streams() -> None:
    assert mended({**history(USER), "stream": True}, ASKING)["return_progress"] is True


def test_progress_that_the_client_declined_stays_declined() -> None:
    assert mended({**history(USER), "stream": True, "return_progress": False}, ASKING)["return_progress"] is False


@pytest.mark.parametrize("said", [{}, {"stream": False}, {"stream": None}, {"stream": "yes"}], ids=str)
def test_whole_answer_is_asked_for_neither_usage_nor_progress(said: dict[str, Any]) -> None:
    request = {**history(USER), **said}
    assert mended(request, ASKING) == request


def test_slot_is_the_servers_to_choose() -> None:
    assert "id_slot" not in mended({**history(USER), "id_slot": 7}, ASKING)


# --- messages


@pytest.mark.parametrize("role", ["system", "user", "assistant", "tool"])
def test_message_without_content_says_nothing(role: str) -> None:
    assert mended(history(USER, {"role": role}))["messages"][1] == {"role": role, "content": ""}


def test_empty_list_of_calls_is_no_content() -> None:
    said = {"role": "assistant", "tool_calls": []}
    assert mended(history(said))["messages"] == [{**said, "content": ""}]


@pytest.mark.parametrize("content", [None, "", [], "hi", [{"type": "text", "text": "hi"}]], ids=str)
def test_content_that_the_engine_takes_is_left(content: object) -> None:
    said = {"role": "assistant", "content": content}
    assert mended(history(said))["messages"] == [said]


def test_calls_need_no_content() -> None:
    said = {"role": "assistant", "tool_calls": [call(arguments="{}")]}
    assert mended(history(said))["messages"] == [said]


@pytest.mark.parametrize(
    ("arguments", "become"),
    [
        ("", "{}"),
        (" \n", "{}"),
        ('{"path": "a', '{"_raw":"{\\"path\\": \\"a"}'),
        ("look at é", '{"_raw":"look at é"}'),
        ("NaN", '{"_raw":"NaN"}'),
        ('{"a": 1}', '{"a": 1}'),
        ("[1]", '{"_raw":"[1]"}'),
        ({"a": 1}, {"a": 1}),
        (None, "{}"),
    ],
    ids=str,
)
def test_arguments_of_the_history_become_json(arguments: object, become: object) -> None:
    [said] = mended(history(calling(call(arguments=arguments))))["messages"]
    assert said["tool_calls"] == [call(arguments=become)]


def test_call_without_arguments_gets_some() -> None:
    [said] = mended(history(calling({"id": "c1", "type": "function", "function": {"name": "look"}})))["messages"]
    assert said["tool_calls"] == [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}]


def test_one_mended_message_leaves_the_others_as_they_were() -> None:
    other = {"role": "user", "content": "1e400", "x": [1.5, None, True]}
    assert mended(history(other, {"role": "assistant"}, other))["messages"][::2] == [other, other]


@pytest.mark.parametrize("messages", [None, "hi", {}, ["hi", 5]], ids=str)
def test_messages_that_the_engine_refuses_properly_are_left_to_it(messages: object) -> None:
    assert mended({"messages": messages, "max_tokens": 5})["messages"] == messages


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
AUDIO = {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({"content": "hi"}, r"^messages\.1\.role: should be a role, got nothing"),
        ({"role": "user", "content": [IMAGE]}, r'^messages\.1\.content\.0: this model reads text only, got "image_url"'),
        ({"role": "user", "content": [{"type": "text"}, AUDIO]}, r"^messages\.1\.content\.1: this model reads text only"),
        ({"role": "assistant", "tool_calls": "x"}, r"^messages\.1\.tool_calls: should be a list, got text"),
        (calling("x"), r"^messages\.1\.tool_calls\.0\.function: should be an object with a name, got nothing"),
        (calling({"type": "function", "function": {}}), r"^messages\.1\.tool_calls\.0\.function: .*got an object"),
    ],
    ids=str,
)
def test_message_that_the_engine_would_choke_on_is_refused_with_its_place(message: object, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        mended(history(USER, message))


def test_image_goes_to_a_model_that_reads_images() -> None:
    request = history({"role": "user", "content": [IMAGE]})
    assert mended(request, Needs(context=8192, max_tokens=9, images=True)) == request


@pytest.mark.parametrize(
    ("tools", "words"),
    [
        ("x", r"^tools: should be a list, got text"),
        ([{"type": "web_search"}], r'^tools\.0: should have the type "function", got "web_search"'),
        ([{"type": "function"}], r"^tools\.0\.function: should be an object with a name, got nothing"),
        ([5], r"^tools\.0: should have the type"),
    ],
    ids=str,
)
def test_tools_that_are_no_functions_are_refused(tools: object, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        mended({**history(USER), "tools": tools})


# --- the engine itself


def status(engine: str, request: object) -> int:
    return int(post(engine, "/v1/chat/completions", request).split(b" ", 2)[1])


@pytest.mark.real
@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant"},
        {"role": "user"},
        {"role": "tool", "tool_call_id": "c1"},
        calling({"id": "c1", "type": "function", "function": {"name": "look"}}),
        calling({"id": "c1", "function": {"name": "look", "arguments": "{}"}}),
    ],
    ids=str,
)
def test_engine_takes_what_was_mended_and_refuses_what_was_not(message: object, engine: str) -> None:
    request = {"messages": [USER, message, USER], "max_tokens": 1}
    assert status(engine, request) in (400, 500)
    assert status(engine, mended(request, Needs(context=8192, max_tokens=1024, mends=frozenset(MENDINGS)))) == 200


@pytest.mark.real
@pytest.mark.parametrize("message", [{"content": "hi"}, {"role": "user", "content": [IMAGE]}], ids=str)
def test_engine_fails_on_what_is_refused_here(message: object, engine: str) -> None:
    assert status(engine, history(message)) == 500


@pytest.mark.real
def test_engine_tells_progress_and_usage_when_asked(engine: str) -> None:
    answer = post(engine, "/v1/chat/completions", mended({"messages": [USER], "max_tokens": 1, "stream": True}, ASKING))
    assert b'"prompt_progress":{' in answer
    assert b'"choices":[]' in answer
    assert b'"usage":{"completion_tokens":1,' in answer
