"""Demanded tool calls: what the engine is asked, how its JSON is told, and that the real engine makes them."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from bench.wire import post
from hypothesis import given
from hypothesis import strategies as st

from relight.errors import InvalidRequest
from relight.wire import sse
from relight.wire.forced import ForcedCall, force
from relight.wire.translation import Filter

CITY: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
PERSON: dict[str, Any] = {
    "$defs": {"Name": {"type": "object", "properties": {"first": {"type": "string"}}, "required": ["first"]}},
    "type": "object",
    "properties": {"who": {"$ref": "#/$defs/Name"}, "age": {"anyOf": [{"type": "integer"}, {"type": "null"}]}},
    "required": ["who", "age"],
}


def tool(name: str, parameters: object = None, **more: object) -> dict[str, Any]:
    function = {"name": name, "description": f"does {name}", **more}
    return {"type": "function", "function": function if parameters is None else {**function, "parameters": parameters}}


WEATHER, GREET, NOW = tool("weather", CITY), tool("greet", PERSON), tool("now")
ASK = {"messages": [{"role": "user", "content": "What is the weather in Paris?"}], "max_tokens": 80, "temperature": 0}


def demand(choice: object, *tools: object, **more: object) -> dict[str, Any]:
    return copy.deepcopy({**ASK, "tools": list(tools), "tool_choice": choice, **more})


def named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def schema(chat: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = chat["response_format"]["json_schema"]["schema"]
    return found


# --- what is demanded


@pytest.mark.parametrize(
    "choice",
    [None, "auto", "none", {}, {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [named("weather")]}}],
    ids=str,
)
def test_call_that_is_the_models_to_decide_is_left_alone(choice: object) -> None:
    chat = demand(choice, WEATHER)
    before = copy.deepcopy(chat)
    assert force(chat) is None
    assert chat == before


@pytest.mark.parametrize("tools", [None, [], "x", [{"type": "web_search"}]], ids=str)
def test_demand_without_functions_is_left_to_the_engine(tools: object) -> None:
    assert force({**ASK, "tools": tools, "tool_choice": "required"}) is None


@pytest.mark.parametrize(
    "choice",
    [
        named("fly"),
        {"type": "function", "name": "fly"},
        {"type": "function"},
        {"type": "function", "function": {"name": 5}},
        {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [named("fly")]}},
    ],
    ids=str,
)
def test_function_that_is_not_among_the_tools_is_refused(choice: object) -> None:
    with pytest.raises(InvalidRequest, match=r"^tool_choice.*: should name one of the tools"):
        force(demand(choice, WEATHER))


def test_demanded_call_is_asked_for_in_words_and_by_grammar() -> None:
    chat = demand("required", WEATHER, parallel_tool_calls=True)
    force(chat)
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & set(chat)
    system, user = chat["messages"]
    assert system["role"] == "system"
    assert '{"name":"weather","description":"does weather","parameters":{"type":"object"' in system["content"]
    assert user == ASK["messages"][0]  # type: ignore[index]
    assert schema(chat) == CITY


def test_named_function_is_the_only_one_that_can_be_called() -> None:
    chat = demand(named("greet"), WEATHER, GREET)
    force(chat)
    assert schema(chat) == PERSON
    assert "weather" not in chat["messages"][0]["content"]


def test_allowed_tools_are_the_only_ones_that_can_be_called() -> None:
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [named("weather"), named("now")]}}
    chat = demand(allowed, WEATHER, GREET, NOW)
    force(chat)
    assert [variant["properties"]["name"]["const"] for variant in schema(chat)["anyOf"]] == ["weather", "now"]


@pytest.mark.parametrize(
    ("content", "becomes"),
    [("Be kind.", "Be kind.\n\n"), ("", ""), (None, ""), ([{"type": "text", "text": "Be kind."}], "Be kind.")],
    ids=str,
)
@pytest.mark.parametrize("role", ["system", "developer"])
def test_words_are_added_to_the_instructions_that_are_there(role: str, content: Any, becomes: str) -> None:
    chat = demand("required", WEATHER, messages=[{"role": role, "content": content}, *ASK["messages"]])  # type: ignore[misc]
    before = chat["messages"][0]
    was = copy.deepcopy(before)
    force(chat)
    said = chat["messages"][0]["content"]
    text = said if isinstance(said, str) else "".join(part["text"] for part in said)
    assert text.startswith(f"{becomes}Call this function now.")
    assert before == was
    assert len(chat["messages"]) == 2


def test_references_still_point_at_their_own_definitions_when_functions_are_combined() -> None:
    chat = demand("required", GREET, tool("meet", PERSON))
    force(chat)
    for place, variant in enumerate(schema(chat)["anyOf"]):
        reference = variant["properties"]["arguments"]["properties"]["who"]["$ref"]
        found: Any = schema(chat)
        for step in reference.removeprefix("#/").split("/"):
            found = found[int(step)] if isinstance(found, list) else found[step]
        assert reference.startswith(f"#/anyOf/{place}/")
        assert found == PERSON["$defs"]["Name"]
    assert PERSON["properties"]["who"] == {"$ref": "#/$defs/Name"}


@pytest.mark.parametrize("parameters", [None, {}, {"type": "object", "properties": {}, "additionalProperties": False}], ids=str)
def test_function_without_parameters_is_called_with_an_empty_object(parameters: object) -> None:
    chat = demand("required", tool("now", parameters))
    force(chat)
    assert schema(chat) == {"const": {}}


def test_function_that_takes_any_object_may_be_given_any_object() -> None:
    chat = demand("required", tool("note", {"type": "object"}))
    force(chat)
    assert schema(chat) == {"type": "object"}


# --- how the answer is told


def chunk(content: str | None = None, finish: str | None = None, index: int = 0, **delta: object) -> dict[str, Any]:
    told = delta if content is None else {**delta, "content": content}
    return {"id": "c", "choices": [{"index": index, "delta": told, "finish_reason": finish}]}


def stream(filter_: Filter, *chunks: dict[str, Any]) -> list[dict[str, Any]]:
    return [out for one in chunks for out in filter_.feed(one)] + filter_.finish()


def deltas(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [choice["delta"] for one in chunks for choice in one["choices"]]


def joined(chunks: list[dict[str, Any]]) -> tuple[str | None, str]:
    """Name and arguments of the one call that a stream tells."""
    calls = [call for delta in deltas(chunks) for call in delta.get("tool_calls", [])]
    assert {call["index"] for call in calls} <= {0}
    assert ["id" in call and call["type"] == "function" for call in calls] == [True] + [False] * (len(calls) - 1)
    return calls[0]["function"]["name"], "".join(call["function"]["arguments"] for call in calls)


def test_stream_of_one_function_becomes_a_call() -> None:
    usage = {"choices": [], "usage": {"completion_tokens": 3}}
    role = chunk(role="assistant", content=None)
    out = stream(ForcedCall("weather"), role, chunk('{"city"'), chunk(':"Paris"}'), chunk(finish="stop"), usage)
    assert joined(out) == ("weather", '{"city":"Paris"}')
    assert out[0]["choices"][0]["delta"] == {"role": "assistant", "content": None}
    assert [one["choices"][0]["finish_reason"] for one in out[:-1]] == [None, None, None, "tool_calls"]
    assert out[-1] == usage


def test_role_with_empty_content_has_no_content() -> None:
    assert deltas(stream(ForcedCall("f"), chunk("", role="assistant"))) == [{"role": "assistant", "content": None}]


def test_thoughts_pass() -> None:
    out = stream(ForcedCall("f"), chunk(reasoning_content="hm"), chunk("{}", reasoning_content="so"), chunk(finish="stop"))
    assert [delta.get("reasoning_content") for delta in deltas(out)] == ["hm", "so", None]


def test_call_that_was_cut_off_keeps_its_finish_reason() -> None:
    out = stream(ForcedCall("f"), chunk('{"a'), chunk(finish="length"))
    assert (joined(out), out[-1]["choices"][0]["finish_reason"]) == (("f", '{"a'), "length")


def test_text_that_was_cut_off_before_it_named_a_function_stays_text() -> None:
    out = stream(ForcedCall(None), chunk('{"na'), chunk('me": "we'), chunk(finish="length"))
    assert [(one["choices"][0]["delta"], one["choices"][0]["finish_reason"]) for one in out] == [
        ({"content": '{"name": "we'}, "length")
    ]


def test_choices_are_told_apart() -> None:
    out = stream(
        ForcedCall("f"), chunk("{", index=0), chunk("[", index=1), chunk("}", index=0), chunk("]", index=1), chunk(finish="stop")
    )
    told = {place: joined([one for one in out if one["choices"][0]["index"] == place]) for place in (0, 1)}
    assert told == {0: ("f", "{}"), 1: ("f", "[]")}
    ids = [call["id"] for delta in deltas(out) for call in delta.get("tool_calls", []) if "id" in call]
    assert len(set(ids)) == 2


def test_progress_and_heartbeats_pass_unchanged() -> None:
    beat: dict[str, Any] = {"choices": []}
    progress = {**chunk(role="assistant", content=None), "prompt_progress": {"total": 9, "cache": 0, "processed": 3}}
    filter_ = ForcedCall("f")
    assert filter_.feed(beat) == [beat]
    assert filter_.feed(progress)[0]["prompt_progress"] == progress["prompt_progress"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text('a"\\{}[]é\n ', max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('k"\\}', max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(
    name=st.text('f"\\n.', min_size=1, max_size=5),
    arguments=st.dictionaries(st.text('k"{', max_size=3), JSON, max_size=4),
    pretty=st.booleans(),
    cuts=st.lists(st.integers(0, 200), max_size=8),
)
def test_call_is_told_the_same_however_its_text_is_cut(name: str, arguments: Any, pretty: Any, cuts: list[int]) -> None:
    text = msgspec.json.encode({"name": name, "arguments": arguments})
    if pretty:
        text = msgspec.json.format(text, indent=2) + b"\n"
    said = text.decode()
    places = sorted({0, len(said), *(cut for cut in cuts if cut < len(said))})
    pieces = [chunk(said[start:end]) for start, end in pairwise(places)]
    got_name, got = joined(stream(ForcedCall(None), *pieces, chunk(finish="stop")))
    assert got_name == name
    assert msgspec.json.decode(got) == arguments
    whole = ForcedCall(None).whole({"choices": [{"index": 0, "message": {"content": said}, "finish_reason": "stop"}]})
    assert whole["choices"][0]["message"]["tool_calls"][0]["function"] == {"name": name, "arguments": got}


def test_whole_answer_becomes_a_call() -> None:
    message = {"role": "assistant", "content": '{"a": 1}', "reasoning_content": "hm"}
    answer = {"id": "c", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": {"total_tokens": 5}}
    told = ForcedCall("f").whole(answer)
    [choice] = told["choices"]
    [call] = choice["message"].pop("tool_calls")
    assert choice == {
        "index": 0,
        "message": {"role": "assistant", "content": None, "reasoning_content": "hm"},
        "finish_reason": "tool_calls",
    }
    assert call.pop("id").startswith("call_")
    assert call == {"type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    assert told["usage"] == answer["usage"]


# --- the engine itself


def ask(engine: str, chat: dict[str, Any]) -> tuple[str | None, Any]:
    """The call that the engine makes, name and decoded arguments, streamed."""
    told = force(chat)
    assert told is not None
    raw = post(engine, "/v1/chat/completions", {**chat, "stream": True})
    chunks = [msgspec.json.decode(one) for one in sse.payloads(raw) if one != b"[DONE]"]
    out = stream(told, *chunks)
    assert [one["choices"][0]["finish_reason"] for one in out if one["choices"]][-1] == "tool_calls"
    name, arguments = joined(out)
    return name, msgspec.json.decode(arguments)


@pytest.mark.real
def test_engine_calls_the_one_function_with_fitting_arguments(engine: str) -> None:
    name, arguments = ask(engine, demand("required", WEATHER))
    assert name == "weather"
    assert isinstance(arguments["city"], str)


@pytest.mark.real
def test_engine_calls_a_named_function_whose_schema_has_references(engine: str) -> None:
    name, arguments = ask(engine, demand(named("greet"), WEATHER, GREET))
    assert name == "greet"
    assert isinstance(arguments["who"]["first"], str)
    assert isinstance(arguments["age"], int | None)


@pytest.mark.real
def test_engine_calls_one_of_several_functions(engine: str) -> None:
    name, arguments = ask(engine, demand("required", NOW, GREET, tool("meet", PERSON)))
    expected: dict[str | None, set[str]] = {"now": set(), "greet": {"who", "age"}, "meet": {"who", "age"}}
    assert set(arguments) == expected[name]


@pytest.mark.real
def test_engine_calls_in_one_piece(engine: str) -> None:
    chat = demand("required", NOW)
    told = force(chat)
    assert told is not None
    raw = post(engine, "/v1/chat/completions", chat)
    answer = told.whole(msgspec.json.decode(raw.partition(b"\r\n\r\n")[2]))
    assert answer["choices"][0]["message"]["tool_calls"][0]["function"] == {"name": "now", "arguments": "{}"}
    assert answer["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.real
def test_engine_still_answers_a_demand_with_text_by_itself(engine: str) -> None:
    raw = post(engine, "/v1/chat/completions", {**demand("required", WEATHER), "max_tokens": 8})
    message = msgspec.json.decode(raw.partition(b"\r\n\r\n")[2])["choices"][0]["message"]
    assert message["content"]
    assert "tool_calls" not in message
