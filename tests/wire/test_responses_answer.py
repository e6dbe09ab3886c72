"""Chat answers told as responses, read by the official client as it reads OpenAI's own."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import httpx2
import msgspec
import openai
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import Response, ResponseFunctionToolCall, ResponseReasoningItem, ResponseStreamEvent

from relight.engines.scripted_answer import Answer, Kind, Section, Stamp
from relight.engines.scripted_dialects import CHAT
from relight.errors import ContextOverflow, EngineCrashed
from relight.wire import sse
from relight.wire.openai import Responses
from relight.wire.responses_answer import ResponsesWriter
from relight.wire.responses_items import seal, unseal
from relight.wire.responses_request import to_chat
from relight.wire.translation import About, Json, Writer

ABOUT = About(model="smol", id="int_1", created=1_790_000_000)
USAGE = {
    "prompt_tokens": 31,
    "completion_tokens": 7,
    "total_tokens": 38,
    "prompt_tokens_details": {"cached_tokens": 30},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
TIMINGS = {"cache_n": 30, "prompt_n": 1, "prompt_ms": 11.5, "predicted_n": 7, "predicted_ms": 11.3}
PROGRESS = {"choices": [], "prompt_progress": {"total": 31, "cache": 30, "processed": 31}}
EVENT: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(ResponseStreamEvent)
TOOLS: list[Json] = [
    {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {"at": {"type": "string"}}}},
    {"type": "namespace", "name": "team", "description": "", "tools": [{"type": "function", "name": "ask", "parameters": {}}]},
    {"type": "custom", "name": "patch", "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"}},
]


class Spoken(pydantic.BaseModel):
    city: str
    people: int


def chunk(delta: Json, finish: str | None = None, **more: object) -> Json:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], "object": "chat.completion.chunk", **more}


def said(text: str) -> Json:
    return chunk({"content": text})


def thought(text: str) -> Json:
    return chunk({"reasoning_content": text})


def called(index: int, arguments: str, name: str = "", call_id: str = "") -> Json:
    start = {"id": call_id, "type": "function"} if call_id else {}
    return chunk({"tool_calls": [{"index": index, **start, "function": {"name": name, "arguments": arguments}}]})


OPENING = chunk({"role": "assistant", "content": None})


def ending(finish: str = "stop") -> list[Json]:
    return [chunk({}, finish), {"choices": [], "usage": USAGE}]


class Service:
    """What stands before the client: every request is translated and answered with the same chat."""

    def __init__(self) -> None:
        self.chunks: list[Json] = []
        self.answer: Json = {}
        self.asked: Json = {}
        self.fails: EngineCrashed | ContextOverflow | None = None

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        translated = to_chat(msgspec.json.decode(request.content), ABOUT)
        self.asked = translated.chat
        if not translated.chat.get("stream"):
            return httpx2.Response(200, json=translated.writer.whole(self.answer))
        assert isinstance(translated.writer, ResponsesWriter)
        parts = [translated.writer.feed(one) for one in self.chunks]
        parts.append(translated.writer.failed(self.fails) if self.fails else translated.writer.finish())
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=b"".join(parts))


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def client(service: Service) -> Iterator[openai.OpenAI]:
    http = httpx2.Client(transport=httpx2.MockTransport(service))
    with openai.OpenAI(base_url="http://door/v1", api_key="none", max_retries=0, http_client=http) as client:
        yield client


def final(client: openai.OpenAI, **more: Any) -> Any:
    with client.responses.stream(model="smol", input="hi", **more) as stream:
        return stream.get_final_response()


def writer_for(**more: Any) -> Writer:
    return to_chat({"model": "smol", "input": "hi", "stream": True, **more}, ABOUT).writer


def events_of(writer: Writer, chunks: Iterable[Json]) -> list[Json]:
    """Every event, checked against the official types and for its number."""
    told = b"".join([*(writer.feed(one) for one in chunks), writer.finish()])
    return decoded(told)


def decoded(told: bytes) -> list[Json]:
    events = [msgspec.json.decode(payload) for payload in sse.payloads(told)]
    names = [line.removeprefix(b"event: ").decode() for line in told.splitlines() if line.startswith(b"event: ")]
    assert names == [event["type"] for event in events]
    for event in events:
        assert EVENT.validate_python(event).type == event["type"]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    return events


def test_text_stream_is_assembled_by_the_official_helper(service: Service, client: openai.OpenAI) -> None:
    service.chunks = [PROGRESS, OPENING, said("Hello"), said(" there"), *ending()]
    response = final(client, instructions="Be kind.", temperature=0.5, metadata={"run": "7"})
    assert response.output_text == "Hello there"
    assert (response.id, response.model, response.status, response.created_at) == (
        "resp_int_1",
        "smol",
        "completed",
        ABOUT.created,
    )
    assert (response.instructions, response.temperature, response.metadata) == ("Be kind.", 0.5, {"run": "7"})
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens, response.usage.total_tokens) == (31, 7, 38)
    assert response.usage.input_tokens_details.cached_tokens == 30
    assert response.usage.output_tokens_details.reasoning_tokens == 2


def test_text_stream_has_every_event_in_order() -> None:
    events = events_of(writer_for(), [PROGRESS, PROGRESS, OPENING, said("Hello"), said(" there"), *ending()])
    assert [event["type"].removeprefix("response.") for event in events] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    inside = events[4:8]
    assert {(event["item_id"], event["output_index"], event["content_index"]) for event in inside} == {("msg_int_1_0", 0, 0)}
    assert events[2]["item"] == {
        "id": "msg_int_1_0",
        "type": "message",
        "role": "assistant",
        "status": "in_progress",
        "content": [],
    }
    assert events[-1]["response"]["output"] == [events[-2]["item"]]


@pytest.mark.parametrize("first", [{}, PROGRESS, OPENING, said("x")], ids=["empty", "progress", "opening", "word"])
def test_first_chunk_of_any_kind_begins_the_response_once(first: Json) -> None:
    writer = writer_for()
    begun = decoded(writer.feed(first))
    assert [event["type"] for event in begun[:2]] == ["response.created", "response.in_progress"]
    assert begun[0]["response"]["status"] == "in_progress"
    assert b"response.created" not in writer.feed(first) + writer.finish()


def test_progress_after_the_first_chunk_is_silent() -> None:
    writer = writer_for()
    writer.feed(PROGRESS)
    assert writer.feed(PROGRESS) == b""


def test_stream_without_a_word_is_a_complete_response(service: Service, client: openai.OpenAI) -> None:
    service.chunks = []
    response = final(client)
    assert (response.output, response.status, response.usage) == ([], "completed", None)


def test_timings_stand_in_for_usage() -> None:
    events = events_of(writer_for(), [said("Hello"), chunk({}, "stop", timings=TIMINGS)])
    usage = events[-1]["response"]["usage"]
    assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (31, 7, 38)
    assert usage["input_tokens_details"]["cached_tokens"] == 30


def test_function_call_is_parsed_by_the_official_helper(service: Service, client: openai.OpenAI) -> None:
    service.chunks = [
        OPENING,
        said("I look."),
        called(0, "", "look", "call_a"),
        called(0, '{"at":'),
        called(0, '"x"}'),
        *ending("tool_calls"),
    ]
    strict = {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"], "additionalProperties": False}
    tool = {"type": "function", "name": "look", "parameters": strict, "strict": True}
    message, call = final(client, tools=[tool]).output
    assert message.content[0].text == "I look."
    assert (call.type, call.name, call.call_id, call.status) == ("function_call", "look", "call_a", "completed")
    assert (call.arguments, call.parsed_arguments, call.namespace) == ('{"at":"x"}', {"at": "x"}, None)


def test_function_call_has_every_event_in_order() -> None:
    events = events_of(writer_for(tools=TOOLS), [called(0, '{"at":', "look", "call_a"), called(0, '"x"}'), *ending("tool_calls")])
    assert [event["type"].removeprefix("response.") for event in events[2:]] == [
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    assert events[2]["item"]["arguments"] == ""
    assert events[5]["arguments"] == '{"at":"x"}'


def test_member_of_a_namespace_is_called_under_its_namespace(service: Service, client: openai.OpenAI) -> None:
    service.chunks = [called(0, "{}", "ask", "call_a"), *ending("tool_calls")]
    (call,) = final(client, tools=TOOLS).output
    assert (call.type, call.name, call.namespace) == ("function_call", "ask", "team")


def test_tool_with_free_input_is_called_with_it(service: Service, client: openai.OpenAI) -> None:
    written = msgspec.json.encode({"input": 'a "patch"\nof two lines'}).decode()
    service.chunks = [called(0, written[:9], "patch", "call_a"), called(0, written[9:]), *ending("tool_calls")]
    (call,) = final(client, tools=TOOLS).output
    assert (call.type, call.name, call.input, call.call_id) == (
        "custom_tool_call",
        "patch",
        'a "patch"\nof two lines',
        "call_a",
    )


def test_tool_with_free_input_has_every_event_in_order() -> None:
    events = events_of(writer_for(tools=TOOLS), [called(0, '{"input":"x"}', "patch", "call_a"), *ending("tool_calls")])
    assert [event["type"].removeprefix("response.") for event in events[2:-1]] == [
        "output_item.added",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.done",
        "output_item.done",
    ]
    assert events[2]["item"]["input"] == ""


@pytest.mark.parametrize("written", ['{"inp', "*** Begin", '{"other": 1}', "", "[1]"])
def test_free_input_that_the_model_wrote_otherwise_is_passed_on_as_it_is(written: str) -> None:
    events = events_of(writer_for(tools=TOOLS), [called(0, written, "patch", "call_a"), *ending("tool_calls")])
    assert events[-1]["response"]["output"][0]["input"] == written


def test_interleaved_calls_are_told_apart() -> None:
    chunks = [
        called(0, '{"at":', "look", "call_a"),
        called(1, '{"q":', "ask", "call_b"),
        called(0, "1}"),
        called(1, "2}"),
        *ending("tool_calls"),
    ]
    output = events_of(writer_for(tools=TOOLS), chunks)[-1]["response"]["output"]
    assert [(item["call_id"], item["arguments"]) for item in output] == [("call_a", '{"at":1}'), ("call_b", '{"q":2}')]


def test_calls_that_all_have_the_same_number_are_told_apart_by_id() -> None:
    chunks = [called(0, "{}", "look", "call_a"), called(0, "{}", "ask", "call_b"), *ending("tool_calls")]
    output = events_of(writer_for(tools=TOOLS), chunks)[-1]["response"]["output"]
    assert [(item["call_id"], item["name"]) for item in output] == [("call_a", "look"), ("call_b", "ask")]


def test_calls_without_an_id_or_with_a_used_one_get_their_own(service: Service, client: openai.OpenAI) -> None:
    service.chunks = [
        called(0, "{}", "look"),
        called(1, "{}", "look", "call_a"),
        called(2, "{}", "look", "call_a"),
        *ending("tool_calls"),
    ]
    output = final(client, tools=TOOLS).output
    assert len({call.call_id for call in output}) == 3
    assert all(call.call_id for call in output)


def test_name_that_comes_late_loses_no_arguments() -> None:
    chunks = [called(0, '{"at":', "", "call_a"), called(0, "1}", "look"), *ending("tool_calls")]
    (call,) = events_of(writer_for(tools=TOOLS), chunks)[-1]["response"]["output"]
    assert (call["name"], call["arguments"]) == ("look", '{"at":1}')


def test_call_without_a_name_is_still_told() -> None:
    (call,) = events_of(writer_for(), [called(0, "{}", "", "call_a"), *ending("tool_calls")])[-1]["response"]["output"]
    assert (call["name"], call["call_id"], call["arguments"]) == ("", "call_a", "{}")


def test_call_without_arguments_has_an_empty_object() -> None:
    events = events_of(writer_for(tools=TOOLS), [called(0, "", "look", "call_a"), *ending("tool_calls")])
    assert [event["delta"] for event in events if "delta" in event] == ["{}"]
    assert events[-1]["response"]["output"][0]["arguments"] == "{}"


def test_call_of_a_tool_that_nobody_offered_keeps_its_name() -> None:
    (call,) = events_of(writer_for(tools=TOOLS), [called(0, "{}", "no_such", "c"), *ending("tool_calls")])[-1]["response"][
        "output"
    ]
    assert (call["type"], call["name"], "namespace" in call) == ("function_call", "no_such", False)


def test_reasoning_is_an_item_of_its_own(service: Service, client: openai.OpenAI) -> None:
    service.chunks = [OPENING, thought("Let me "), thought("see."), said("Yes."), *ending()]
    reasoning, message = final(client).output
    assert isinstance(reasoning, ResponseReasoningItem)
    assert reasoning.content is not None
    assert [(part.type, part.text) for part in reasoning.content] == [("reasoning_text", "Let me see.")]
    assert (reasoning.id, reasoning.summary, reasoning.encrypted_content) == ("rs_int_1_0", [], None)
    assert message.content[0].text == "Yes."


def test_reasoning_has_every_event_in_order() -> None:
    events = events_of(writer_for(), [thought("Hm."), said("Yes."), *ending()])
    assert [event["type"].removeprefix("response.") for event in events[2:9]] == [
        "output_item.added",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
    ]
    assert [event["output_index"] for event in events[2:9]] == [0, 0, 0, 0, 0, 0, 1]


def test_reasoning_is_sealed_for_a_client_that_gives_back_only_that() -> None:
    events = events_of(writer_for(include=["reasoning.encrypted_content"]), [thought("Hm, ü."), said("Yes."), *ending()])
    added, done = (
        event["item"] for event in events if event["type"].startswith("response.output_item") and "summary" in event["item"]
    )
    assert "encrypted_content" not in added
    back = [{"role": "user", "content": "hi"}, {key: done[key] for key in ("type", "summary", "encrypted_content")}]
    again = to_chat({"input": [*back, {"role": "assistant", "content": "Yes."}]}, ABOUT)
    assert again.chat["messages"][1] == {"role": "assistant", "content": "Yes.", "reasoning_content": "Hm, ü."}


@given(words=st.text())
def test_sealed_words_come_back(words: str) -> None:
    assert unseal(seal(words)) == words


@pytest.mark.parametrize("foreign", [None, 7, "gAAAAABo", "relight:", "relight:%%%", "relight:/w==", "relight:ü"])
def test_foreign_seal_holds_nothing(foreign: object) -> None:
    assert unseal(foreign) == ""


@pytest.mark.parametrize(("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")])
def test_answer_cut_short_is_an_incomplete_response(finish: str, reason: str) -> None:
    events = events_of(writer_for(tools=TOOLS), [said("I look."), called(0, '{"at', "look", "call_a"), *ending(finish)])
    last = events[-1]
    assert last["type"] == "response.incomplete"
    assert (last["response"]["status"], last["response"]["incomplete_details"]) == ("incomplete", {"reason": reason})
    assert [item["status"] for item in last["response"]["output"]] == ["completed", "incomplete"]
    assert last["response"]["usage"]["output_tokens"] == 7


def test_incomplete_response_is_read_by_the_official_client(service: Service, client: openai.OpenAI) -> None:
    service.chunks = [said("Hel"), *ending("length")]
    *_, last = client.responses.create(model="smol", input="hi", stream=True)
    assert last.type == "response.incomplete"
    assert (last.response.output_text, last.response.incomplete_details is not None) == ("Hel", True)


def test_structured_stream_is_parsed_by_the_official_helper(service: Service, client: openai.OpenAI) -> None:
    service.chunks = [said('{"city": "Rome", '), said('"people": 3}'), *ending()]
    assert final(client, text_format=Spoken).output_parsed == Spoken(city="Rome", people=3)
    assert service.asked["response_format"]["json_schema"]["schema"]["required"] == ["city", "people"]


def test_structured_whole_answer_is_parsed_by_the_official_client(service: Service, client: openai.OpenAI) -> None:
    service.answer = whole("stop", content='{"city": "Rome", "people": 3}')
    parsed = client.responses.parse(model="smol", input="hi", text_format=Spoken)
    assert parsed.output_parsed == Spoken(city="Rome", people=3)


def whole(finish: str, **message: Any) -> Json:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    return {"id": "chatcmpl-1", "object": "chat.completion", "choices": [choice], "usage": USAGE}


def test_whole_answer_is_a_response_object(service: Service, client: openai.OpenAI) -> None:
    calls = [
        {"id": f"call_{name}", "type": "function", "function": {"name": name, "arguments": "{}"}} for name in ("ask", "look")
    ]
    service.answer = whole("tool_calls", content="I ask.", reasoning_content="Hm.", tool_calls=calls)
    tools: Any = TOOLS
    response = client.responses.create(model="smol", input="hi", tools=tools)
    assert Response.model_validate(response.to_dict()).status == "completed"
    assert [item.type for item in response.output] == ["reasoning", "message", "function_call", "function_call"]
    assert isinstance(response.output[2], ResponseFunctionToolCall)
    assert (response.output[2].namespace, response.output[2].name) == ("team", "ask")
    assert (response.output_text, response.usage is not None) == ("I ask.", True)


@pytest.mark.parametrize("answer", [{}, {"choices": []}, {"choices": [{"message": None}]}, whole("stop", content=None)])
def test_whole_answer_with_nothing_in_it_is_an_empty_response(answer: Json) -> None:
    response = writer_for().whole(answer)
    assert (response["status"], response["output"]) == ("completed", [])
    Response.model_validate(response)


@pytest.mark.parametrize("include_usage", [True, False])
def test_chat_as_the_engine_writes_it_is_told_whole_and_in_pieces(include_usage: bool) -> None:
    sections = (
        Section(Kind.REASONING, ("hm ", "so ")),
        Section(Kind.TEXT, ("Hello ", "there")),
        Section(Kind.CALL, ('{"a":', "1}"), "look"),
        Section(Kind.CALL, ('{"b":', "2}"), "ask"),
    )
    answer = Answer(Stamp("0" * 32, 1, "w.gguf"), sections, "tool_calls", None, 31, 30, 1.0, 1.0, include_usage=include_usage)
    payloads = sse.payloads(b"".join(CHAT.blocks(answer)))
    assert payloads[-1] == b"[DONE]"
    response = events_of(writer_for(tools=TOOLS), map(msgspec.json.decode, payloads[:-1]))[-1]["response"]
    assert [told_in(item) for item in response["output"]] == ["hm so ", "Hello there", '{"a":1}', '{"b":2}']
    assert response["model"] == "smol"
    assert response["usage"]["input_tokens"] == 31
    assert response == writer_for(tools=TOOLS).whole(CHAT.body(answer))


def pieces(text: str, cuts: list[int]) -> list[str]:
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(edges)]


CUTS = st.lists(st.integers(0, 40), max_size=6)


@settings(max_examples=150)
@given(
    reasoning=st.text(max_size=20),
    content=st.text(max_size=30),
    calls=st.lists(st.tuples(st.sampled_from(["look", "ask", "patch", "none"]), st.text(max_size=20)), max_size=3),
    cuts=CUTS,
    has_names_first=st.booleans(),
    finish=st.sampled_from(["stop", "tool_calls", "length"]),
)
def test_answer_cut_anywhere_is_the_same_response(
    *, reasoning: str, content: str, calls: list[tuple[str, str]], cuts: list[int], has_names_first: bool, finish: str
) -> None:
    chunks = [PROGRESS, OPENING]
    chunks += [thought(piece) for piece in pieces(reasoning, cuts)] + [said(piece) for piece in pieces(content, cuts)]
    for index, (name, arguments) in enumerate(calls):
        first, *rest = ["", *pieces(arguments, cuts)] if has_names_first else pieces(arguments, cuts)
        chunks.append(called(index, first, name, f"call_{index}"))
        chunks += [called(index, piece) for piece in rest]
    events = events_of(writer_for(tools=TOOLS), [*chunks, *ending(finish)])
    tool_calls = [
        {"id": f"call_{index}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for index, (name, arguments) in enumerate(calls)
    ]
    answer = whole(finish, content=content, reasoning_content=reasoning, tool_calls=tool_calls)
    response = events[-1]["response"]
    assert response == writer_for(tools=TOOLS).whole(answer)
    assert deltas(events) == {item["id"]: told_in(item) for item in response["output"] if told_in(item)}


def deltas(events: list[Json]) -> dict[str, str]:
    told: defaultdict[str, str] = defaultdict(str)
    for event in events:
        if event.get("delta"):
            told[event["item_id"]] += event["delta"]
    return dict(told)


def told_in(item: Json) -> str:
    if "content" in item:
        return "".join(part["text"] for part in item["content"])
    return str(item["arguments"] if item["type"] == "function_call" else item["input"])


NAMES = "choices delta message content reasoning_content tool_calls function id index name arguments finish_reason usage timings"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES.split()), inner, max_size=4),
    max_leaves=12,
)


@given(chunks=st.lists(st.dictionaries(st.sampled_from(NAMES.split()), JSON, max_size=5), max_size=4))
def test_chunks_of_any_shape_make_a_valid_stream(chunks: list[Json]) -> None:
    events = events_of(writer_for(tools=TOOLS), chunks)
    assert events[-1]["type"] in ("response.completed", "response.incomplete")
    assert all(item["status"] in ("completed", "incomplete") for item in events[-1]["response"]["output"])


# --- failures


OVERFLOW = ContextOverflow("too long", prompt_tokens=9000, context_tokens=8192)


def test_failure_goes_through_the_official_helper(service: Service, client: openai.OpenAI) -> None:
    service.chunks = [OPENING, said("Hel")]
    service.fails = EngineCrashed("engine ended with signal 9")
    with client.responses.stream(model="smol", input="hi") as stream:
        events = list(stream)
    last = events[-1]
    assert last.type == "response.failed"
    assert last.sequence_number == len(events) - 1
    assert (last.response.id, last.response.status, last.response.output_text) == ("resp_int_1", "failed", "Hel")
    assert last.response.error is not None
    assert (last.response.error.code, last.response.error.message) == ("engine_crashed", "engine ended with signal 9")


def test_failure_before_the_first_chunk_begins_the_response_too(service: Service, client: openai.OpenAI) -> None:
    service.fails = OVERFLOW
    with client.responses.stream(model="smol", input="hi") as stream:
        events = list(stream)
    assert [event.type for event in events] == ["response.created", "response.in_progress", "response.failed"]
    last = events[-1]
    assert last.type == "response.failed"
    assert last.response.error is not None
    assert last.response.error.to_dict()["code"] == "context_length_exceeded"
    assert last.response.error.message.startswith("This model's maximum context length is 8192 tokens.")


def test_error_event_of_the_dialect_has_what_the_official_types_ask_for() -> None:
    (failed,) = (msgspec.json.decode(payload) for payload in sse.payloads(Responses().error_event(OVERFLOW)))
    error = failed["response"]["error"]
    assert (error["code"], error["type"], error["param"]) == ("context_length_exceeded", "invalid_request_error", None)
    # Codes are ours: everything else has to be what the types name.
    known = failed["response"] | {"error": error | {"code": "server_error"}}
    assert EVENT.validate_python(failed | {"response": known}).sequence_number == 0
