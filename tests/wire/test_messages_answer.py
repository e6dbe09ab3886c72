"""Chat answers as messages, read by the official client, however the engine cuts them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import anthropic
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from relight.engines.scripted_answer import Answer, Kind, Section, Stamp
from relight.engines.scripted_dialects import CHAT, MESSAGES
from relight.wire import sse
from relight.wire.messages_answer import MessagesWriter
from tests.wire.messages_service import ABOUT, Json, Service, call, chunk, completion

USER: list[Any] = [{"role": "user", "content": "hi"}]
OPENING = chunk(role="assistant", content=None)
USAGE = {"prompt_tokens": 31, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 30}}
TIMINGS = {"cache_n": 30, "prompt_n": 1, "predicted_n": 2, "predicted_ms": 11.3}
TOLD = {"input_tokens": 1, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 30, "output_tokens": 2}
NOTHING_TOLD = {"input_tokens": 0, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 0}


def events(*chunks: Json, eager: frozenset[str] = frozenset()) -> list[Json]:
    """What the writer sends for the chunks, as payloads; every event is named for its type."""
    writer = MessagesWriter(ABOUT, eager=eager)
    sent = b"".join(writer.feed(one) for one in chunks) + writer.finish()
    told = [msgspec.json.decode(payload) for payload in sse.payloads(sent)]
    assert [line[7:].decode() for line in sent.splitlines() if line.startswith(b"event: ")] == [one["type"] for one in told]
    return told


def streamed(*chunks: Json) -> anthropic.types.Message:
    """The message that the official client puts together."""
    asked: Json = {"model": "smol", "max_tokens": 99, "messages": USER}
    with Service(list(chunks)).client() as client, client.messages.stream(**asked) as stream:
        return stream.get_final_message()


def content(message: anthropic.types.Message) -> list[Json]:
    return [block.to_dict() for block in message.content]


def told_whole(answer: Json) -> Json:
    """The message in one piece, as the official client reads it."""
    with Service(answer).client() as client:
        message = client.messages.create(model="smol", max_tokens=99, messages=USER)
    return message.to_dict()


def check_order(told: list[Json]) -> None:
    """Blocks stand one after another, each opened, told and closed, inside the message."""
    told = [one for one in told if one["type"] != "ping"]
    assert [told[0]["type"], *(one["type"] for one in told[-2:])] == ["message_start", "message_delta", "message_stop"]
    count = 0
    is_open = False
    for one in told[1:-2]:
        assert one["index"] == count
        assert is_open == (one["type"] != "content_block_start")
        is_open = one["type"] != "content_block_stop"
        count += not is_open
    assert not is_open


# --- the order of events


def test_text_is_told_in_the_full_order_of_events() -> None:
    told = events(OPENING, chunk(content="Hello"), chunk(content=" there"), chunk("stop"), {"choices": [], "usage": USAGE})
    head = {"id": "msg_int_7", "type": "message", "role": "assistant", "model": "smol", "content": []}
    assert told == [
        {"type": "message_start", "message": head | {"stop_reason": None, "stop_sequence": None, "usage": NOTHING_TOLD}},
        {"type": "ping"},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": " there"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": TOLD},
        {"type": "message_stop"},
    ]


def test_every_piece_of_text_leaves_with_the_chunk_that_brings_it() -> None:
    writer = MessagesWriter(ABOUT)
    assert b"message_start" in writer.feed(OPENING)
    assert b'"text":"Hel"' in writer.feed(chunk(content="Hel"))
    assert sse.payloads(writer.feed(chunk(content="lo"))) == [
        b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"lo"}}'
    ]


def test_first_token_that_is_half_a_character_starts_the_message_all_the_same() -> None:
    told = events(chunk(role="assistant", content=""), chunk(content=""), chunk(content="世"), chunk("stop"))
    assert [one["type"] for one in told[:3]] == ["message_start", "ping", "content_block_start"]


def test_thinking_is_signed_and_closed_before_text_begins() -> None:
    told = events(OPENING, chunk(reasoning_content="hm"), chunk(reasoning_content="m"), chunk(content="Yes"), chunk("stop"))
    kinds = [(one.get("delta") or one.get("content_block") or one)["type"] for one in told[2:-2]]
    assert kinds == [
        *("thinking", "thinking_delta", "thinking_delta", "signature_delta", "content_block_stop"),
        *("text", "text_delta", "content_block_stop"),
    ]
    check_order(told)


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_thinking_is_read_by_the_official_client(name: str) -> None:
    thinking = {"type": "thinking", "thinking": "hmm", "signature": ""}
    text = {"type": "text", "text": "Yes"}
    assert content(streamed(OPENING, chunk(**{name: "hm"}), chunk(**{name: "m"}), chunk(content="Yes"))) == [thinking, text]
    assert told_whole(completion(content="Yes", **{name: "hmm"}))["content"] == [thinking, text]


def test_answer_of_nothing_is_a_message_without_blocks() -> None:
    assert [one["type"] for one in events()] == ["message_start", "ping", "message_delta", "message_stop"]
    message = streamed(OPENING, chunk(content=""), chunk("stop"))
    assert (message.content, message.stop_reason) == ([], "end_turn")
    assert told_whole(completion(content=""))["content"] == []


def test_chunks_that_say_nothing_become_no_events() -> None:
    writer = MessagesWriter(ABOUT)
    silents: list[Json] = [{"choices": []}, {"error": {"message": "broke"}}, {"choices": [], "usage": None}, {}]
    for silent in silents:
        assert writer.feed(silent) == b""


def test_first_choice_alone_is_told() -> None:
    other = {"choices": [{"index": 1, "delta": {"content": "no"}, "finish_reason": "length"}]}
    message = streamed(OPENING, chunk(content="yes"), other, chunk("stop"))
    assert (content(message), message.stop_reason) == ([{"type": "text", "text": "yes"}], "end_turn")


# --- tokens


def progress(processed: int) -> Json:
    return {"choices": [], "prompt_progress": {"total": 31, "cache": 30, "processed": processed, "time_ms": 5}}


def test_progress_starts_the_message_once_and_is_a_ping_after_that() -> None:
    told = events(progress(30), progress(31), OPENING, chunk(content="Hello"), chunk("stop"))
    assert [one["type"] for one in told[:4]] == ["message_start", "ping", "ping", "content_block_start"]
    assert told[0]["message"]["usage"] == TOLD | {"output_tokens": 0}


def test_progress_beside_a_choice_is_read_as_well() -> None:
    told = events(OPENING | {"prompt_progress": {"total": 31, "cache": 30, "processed": 31}}, chunk(content="Hello"))
    assert told[0]["message"]["usage"]["input_tokens"] == 1
    assert told[-2]["usage"]["cache_read_input_tokens"] == 30


@pytest.mark.parametrize(
    ("end", "usage"),
    [
        ({"usage": USAGE}, TOLD),
        ({"timings": TIMINGS}, TOLD),
        ({"usage": USAGE, "timings": TIMINGS}, TOLD),
        ({"usage": {"prompt_tokens": 31, "completion_tokens": 2}}, TOLD | {"input_tokens": 31, "cache_read_input_tokens": 0}),
        ({}, NOTHING_TOLD),
        ({"usage": None}, NOTHING_TOLD),
    ],
)
def test_tokens_are_counted_without_the_cached_ones(end: Json, usage: Json) -> None:
    message = streamed(OPENING, chunk(content="Hello"), chunk("stop") | end)
    assert message.usage.to_dict() == usage
    assert told_whole(completion(content="Hello") | end)["usage"] == usage


def test_usage_without_details_leaves_what_progress_said_of_the_cache() -> None:
    told = events(progress(31), chunk(content="Hello"), {"choices": [], "usage": {"prompt_tokens": 31, "completion_tokens": 2}})
    assert told[-2]["usage"] == TOLD


# --- why it ended


@pytest.mark.parametrize(
    ("finish", "message", "reason"),
    [
        ("stop", {"content": "Hello"}, "end_turn"),
        ("length", {"content": "Hello"}, "max_tokens"),
        ("content_filter", {"content": "Hello"}, "refusal"),
        ("stop", {"refusal": "I will not"}, "refusal"),
        ("tool_calls", {"tool_calls": [call(0, "{}", id="a", name="f")]}, "tool_use"),
        ("stop", {"tool_calls": [call(0, "{}", id="a", name="f")]}, "tool_use"),
        ("length", {"tool_calls": [call(0, '{"a', id="a", name="f")]}, "max_tokens"),
        ("tool_calls", {"content": "Hello"}, "end_turn"),
        (None, {"content": "Hello"}, "end_turn"),
    ],
)
def test_finish_reason_is_told_in_the_dialects_words(finish: str | None, message: Json, reason: str) -> None:
    assert streamed(OPENING, chunk(**message), chunk(finish)).stop_reason == reason
    assert told_whole(completion(finish, **message))["stop_reason"] == reason  # type: ignore[arg-type]


def test_stop_sequence_is_named_where_the_engine_names_it() -> None:
    end = chunk("stop")
    end["choices"][0]["stop_reason"] = "END"
    message = streamed(OPENING, chunk(content="Hello"), end)
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "END")


def test_stop_token_of_a_number_is_no_stop_sequence() -> None:
    end = chunk("stop")
    end["choices"][0]["stop_reason"] = 151645
    message = streamed(OPENING, chunk(content="Hello"), end)
    assert (message.stop_reason, message.stop_sequence) == ("end_turn", None)


def test_refusal_is_told_as_text() -> None:
    assert content(streamed(OPENING, chunk(refusal="I will "), chunk(refusal="not"))) == [{"type": "text", "text": "I will not"}]


# --- tools


def uses(*chunks: Json) -> list[tuple[str, str, Any]]:
    """Id, name and input of the tools that the client is asked to use."""
    check_order(events(*chunks))
    return [(block.id, block.name, block.input) for block in streamed(*chunks).content if block.type == "tool_use"]


ID, OTHER_ID = "Zy6aYxqWk0dPmT", "q9TtR2hLw7sVbN"


def test_arguments_in_fragments_are_put_together() -> None:
    chunks = [chunk(tool_calls=[call(0, piece)]) for piece in ('{"ci', 'ty": "Par', 'is"}')]
    assert uses(OPENING, chunk(tool_calls=[call(0, "", id=ID, name="weather")]), *chunks, chunk("tool_calls")) == [
        (f"toolu_{ID}", "weather", {"city": "Paris"})
    ]


def test_whole_call_in_one_chunk_is_read() -> None:
    made = call(0, '{"city": "Paris"}', id=ID, name="weather")
    assert uses(chunk("tool_calls", role="assistant", tool_calls=[made])) == [(f"toolu_{ID}", "weather", {"city": "Paris"})]


@pytest.mark.parametrize("arguments", ["", None, "{}", "  ", "null"])
def test_call_without_arguments_has_an_empty_input(arguments: str | None) -> None:
    made = call(0, arguments, id=ID, name="now")
    assert uses(OPENING, chunk(tool_calls=[made]), chunk("tool_calls")) == [(f"toolu_{ID}", "now", {})]
    assert told_whole(completion("tool_calls", tool_calls=[made]))["content"][0]["input"] == {}


def test_interleaved_calls_become_blocks_one_after_another() -> None:
    first, second = call(0, '{"n":', id=ID, name="f"), call(1, '{"n":', id=OTHER_ID, name="g")
    rest = [chunk(tool_calls=[call(1, "2")]), chunk(tool_calls=[call(0, "1}"), call(1, "}")])]
    assert uses(OPENING, chunk(tool_calls=[first]), chunk(tool_calls=[second]), *rest, chunk("tool_calls")) == [
        (f"toolu_{ID}", "f", {"n": 1}),
        (f"toolu_{OTHER_ID}", "g", {"n": 2}),
    ]


def test_call_is_closed_as_soon_as_it_is_complete_and_another_begins() -> None:
    writer = MessagesWriter(ABOUT)
    writer.feed(chunk(tool_calls=[call(0, '{"n": 1}', id=ID, name="f")]))
    told = [msgspec.json.decode(one) for one in sse.payloads(writer.feed(chunk(tool_calls=[call(1, "", id=OTHER_ID, name="g")])))]
    assert [(one["type"], one["index"]) for one in told] == [
        ("content_block_delta", 0),
        ("content_block_stop", 0),
        ("content_block_start", 1),
    ]


@pytest.mark.parametrize("index", [None, 0])
def test_calls_without_an_index_of_their_own_are_told_apart_by_their_ids(index: int | None) -> None:
    first = [call(index, '{"n":', id=ID, name="f"), call(index, " 1}", id=ID, name="f")]
    second = [call(index, '{"n":', id=OTHER_ID, name="f"), call(index, " 2}")]
    chunks = [chunk(tool_calls=[one]) for one in (*first, *second)]
    assert uses(OPENING, *chunks) == [(f"toolu_{ID}", "f", {"n": 1}), (f"toolu_{OTHER_ID}", "f", {"n": 2})]


def test_name_that_comes_late_is_waited_for() -> None:
    chunks = [chunk(tool_calls=[call(0, "{", id=ID)]), chunk(tool_calls=[call(0, "}", name="f")])]
    assert uses(OPENING, *chunks) == [(f"toolu_{ID}", "f", {})]


def test_call_that_never_gets_a_name_is_told_at_the_end_all_the_same() -> None:
    assert uses(OPENING, chunk(tool_calls=[call(0, "{}", id=ID)]), chunk("tool_calls")) == [(f"toolu_{ID}", "", {})]


@pytest.mark.parametrize("given_id", ["call_0", "", "functions.bash:0", "x" * 65])
def test_id_that_may_come_again_or_that_clients_refuse_is_replaced(given_id: str) -> None:
    made = [call(n, "{}", id=given_id, name="f") for n in (0, 1)]
    ids = [block["id"] for block in told_whole(completion("tool_calls", tool_calls=made))["content"]]
    assert ids == ["toolu_int_7_0", "toolu_int_7_1"]


def test_whole_calls_without_index_are_told_apart_by_their_place() -> None:
    made = [call(None, f'{{"n": {n}}}', name="f") for n in (1, 2)]
    blocks = told_whole(completion("tool_calls", tool_calls=made))["content"]
    assert [block["input"] for block in blocks] == [{"n": 1}, {"n": 2}]


def test_text_before_and_after_a_call_keeps_its_place() -> None:
    made = call(0, '{"n": 1}', id=ID, name="f")
    message = streamed(OPENING, chunk(content="Let me see"), chunk(tool_calls=[made]), chunk(content="done"), chunk("tool_calls"))
    assert [block.type for block in message.content] == ["text", "tool_use", "text"]


def test_raw_line_breaks_in_arguments_are_taken_as_meant() -> None:
    made = call(0, '{"text": "one\ntwo\tthree"}', id=ID, name="write")
    assert uses(OPENING, chunk(tool_calls=[made])) == [(f"toolu_{ID}", "write", {"text": "one\ntwo\tthree"})]


@pytest.mark.parametrize("arguments", ['{"a": 1', "not json", "[1]", '"text"', '{"a": 1}}', '{"a": "\\ud800"}', "[" * 9000])
def test_arguments_that_are_no_object_become_an_empty_input(arguments: str) -> None:
    made = call(0, arguments, id=ID, name="f")
    assert uses(OPENING, chunk(tool_calls=[made]), chunk("tool_calls")) == [(f"toolu_{ID}", "f", {})]
    assert told_whole(completion("tool_calls", tool_calls=[made]))["content"][0]["input"] == {}


@given(st.text() | st.text('{}[]":,\\ \n1e+-.atrufnls'))
def test_any_arguments_give_the_client_the_same_object_streamed_and_whole(arguments: str) -> None:
    made = call(0, arguments, id=ID, name="f")
    (delta,) = [one["delta"] for one in events(chunk(tool_calls=[made])) if one["type"] == "content_block_delta"]
    whole = MessagesWriter(ABOUT).whole(completion("tool_calls", tool_calls=[made]))
    value = msgspec.json.decode(delta["partial_json"])
    assert isinstance(value, dict)
    assert msgspec.json.decode(msgspec.json.encode(whole["content"][0]["input"])) == value


def fragments(eager: frozenset[str]) -> list[str]:
    chunks = [chunk(tool_calls=[call(0, piece)]) for piece in ('{"n":', " 1", "}")]
    told = events(chunk(tool_calls=[call(0, "", id=ID, name="f")]), *chunks, eager=eager)
    check_order(told)
    return [one["delta"]["partial_json"] for one in told if one["type"] == "content_block_delta"]


def test_input_is_sent_when_it_is_complete_or_as_it_comes_where_the_tool_is_eager() -> None:
    assert fragments(frozenset()) == ['{"n":1}']
    assert fragments(frozenset({"f"})) == ['{"n":', " 1", "}"]


def test_eager_call_without_arguments_still_has_an_input() -> None:
    told = events(chunk(tool_calls=[call(0, "", id=ID, name="f")]), eager=frozenset({"f"}))
    assert [one["delta"]["partial_json"] for one in told if one["type"] == "content_block_delta"] == ["{}"]


# --- the same answer, however it is cut


def cuts(draw: st.DrawFn, text: str) -> list[str]:
    places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=6)))
    return [text[start:end] for start, end in pairwise([0, *places, len(text)])]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
INPUTS = st.lists(st.dictionaries(st.text(max_size=4), JSON_VALUES, max_size=3), max_size=3)


@st.composite
def cut_answers(draw: st.DrawFn) -> tuple[Json, list[Json]]:
    """An answer in one piece, and as chunks of any size, its calls' fragments in any order between them."""
    thought, text, inputs = draw(st.text(max_size=20)), draw(st.text(max_size=20)), draw(INPUTS)
    calls = [msgspec.json.encode(one).decode() for one in inputs]
    names = [call(n, "", id=f"{ID}{n}", name=f"tool_{n}") for n in range(len(calls))]
    waiting = [[call(n, piece) for piece in cuts(draw, arguments)] for n, arguments in enumerate(calls)]
    told: list[Json] = [{"reasoning_content": piece} for piece in cuts(draw, thought)]
    told += [{"content": piece} for piece in cuts(draw, text)]
    told += [{"tool_calls": [one]} for one in names]
    while left := [queue for queue in waiting if queue]:
        told.append({"tool_calls": [draw(st.sampled_from(left)).pop(0)]})
    finish = "tool_calls" if calls else "stop"
    made = [one | {"function": one["function"] | {"arguments": calls[n]}} for n, one in enumerate(names)]
    whole = completion(finish, content=text, reasoning_content=thought, tool_calls=made) | {"usage": USAGE}
    return whole, [OPENING, *(chunk(**delta) for delta in told), chunk(finish), {"choices": [], "usage": USAGE}]


@given(cut_answers())
def test_message_is_the_same_however_the_answer_is_cut(answer: tuple[Json, list[Json]]) -> None:
    whole, chunks = answer
    check_order(events(*chunks))
    assert streamed(*chunks).to_dict(exclude_none=True) == {
        key: value for key, value in told_whole(whole).items() if value is not None
    }


DELTAS = st.one_of(
    st.builds(lambda text: {"content": text}, st.sampled_from(["", "a", "b"])),
    st.builds(lambda text: {"reasoning_content": text}, st.sampled_from(["", "a", "b"])),
    st.builds(
        lambda index, text, name, id_: {"tool_calls": [call(index, text, **({"name": name, "id": id_} if name else {}))]},
        st.sampled_from([None, 0, 1, 7, -1]),
        st.sampled_from(["", "{", "}", '{"a":1}', "x"]),
        st.sampled_from([None, "f", "g"]),
        st.sampled_from(["", "id", ID, OTHER_ID]),
    ),
)


@given(st.lists(DELTAS, max_size=12))
def test_any_order_of_deltas_is_told_as_blocks_one_after_another(deltas: list[Json]) -> None:
    told = events(*(chunk(**delta) for delta in deltas))
    check_order(told)
    said = "".join(delta.get("content", "") for delta in deltas)
    assert "".join(one["delta"].get("text", "") for one in told if one["type"] == "content_block_delta") == said


@pytest.mark.parametrize("junk", [None, 1, "x", [], [1], [[]], {}, {"index": "a", "function": 3}, [{"function": []}]])
def test_what_no_engine_should_send_breaks_nothing(junk: Any) -> None:
    for sent in (
        {"choices": junk},
        {"choices": [{"delta": junk}]},
        {"choices": [{"delta": {"tool_calls": junk, "content": junk and None, "reasoning_content": junk and 1}}]},
        {"choices": [{"delta": {}}], "usage": junk, "prompt_progress": junk, "timings": junk},
    ):
        check_order(events(sent))
        assert MessagesWriter(ABOUT).whole({"choices": [{"message": sent["choices"]}], **sent})["type"] == "message"


# --- as clients use it


class Weather(BaseModel):
    city: str
    degrees: int


def test_parsed_output_comes_back_as_the_model_that_was_asked_for() -> None:
    service = Service(completion(content='{"city": "Paris", "degrees": 21}'))
    with service.client() as client:
        message = client.messages.parse(model="smol", max_tokens=99, messages=USER, output_format=Weather)
    assert message.parsed_output == Weather(city="Paris", degrees=21)
    asked = service.asked[0]["response_format"]["json_schema"]["schema"]
    assert (set(asked["properties"]), asked["required"]) == ({"city", "degrees"}, ["city", "degrees"])


def test_parsed_output_of_a_stream_comes_back_after_thinking() -> None:
    service = Service(
        [OPENING, chunk(reasoning_content="hm"), chunk(content='{"city": "Paris", '), chunk(content='"degrees": 21}')]
    )
    with (
        service.client() as client,
        client.messages.stream(model="smol", max_tokens=99, messages=USER, output_format=Weather) as stream,
    ):
        assert stream.get_final_message().parsed_output == Weather(city="Paris", degrees=21)


def test_raw_stream_of_the_client_gives_every_event() -> None:
    service = Service([progress(30), progress(31), OPENING, chunk(content="Hello"), chunk("stop"), {"usage": USAGE}])
    with service.client() as client:
        stream = client.messages.create(model="smol", max_tokens=99, messages=USER, stream=True)
        kinds = [str(event.type) for event in stream]
    assert [kind for kind in kinds if kind != "ping"] == [
        *("message_start", "content_block_start", "content_block_delta", "content_block_stop"),
        *("message_delta", "message_stop"),
    ]


SECTIONS = (
    Section(Kind.REASONING, ("hm", "m")),
    Section(Kind.TEXT, ("Grüße", " 世界")),
    Section(Kind.CALL, ('{"', "city", '":"', "Paris", '"}'), "weather"),
)


@pytest.mark.parametrize("sections", [SECTIONS, SECTIONS[:2], SECTIONS[2:], ()])
@pytest.mark.parametrize("include_usage", [False, True])
def test_chat_of_the_scripted_engine_is_told_as_it_tells_it_itself(sections: tuple[Section, ...], include_usage: bool) -> None:
    answer = Answer(Stamp("0" * 32, 1, "smol"), sections, "stop", None, 31, 30, 1.0, 1.0, include_usage)
    payloads = [one for block in CHAT.blocks(answer) for one in sse.payloads(block) if one != b"[DONE]"]
    own = MESSAGES.body(answer)
    message = streamed(*(msgspec.json.decode(one) for one in payloads)).to_dict(exclude_none=True)
    whole = MessagesWriter(ABOUT).whole(msgspec.json.decode(msgspec.json.encode(CHAT.body(answer))))
    for told in (message, whole):
        blocks: Any = told["content"]
        assert [block | {"id": ""} for block in blocks] == [block | {"id": ""} for block in own["content"]]
        assert told["usage"] == own["usage"] | {"cache_creation_input_tokens": 0}
