"""Broken histories: each mending by itself, all of them together, and that the real engine needs them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from bench.wire import post
from hypothesis import given, settings
from hypothesis import strategies as st

from relight.config.mendings import HISTORY
from relight.wire.history import MENDINGS, NOT_RUN, mend_history
from relight.wire.history_roles import alternating, is_refusal

Json = dict[str, Any]
ALL = frozenset(MENDINGS)
SYSTEM: Json = {"role": "system", "content": "Be brief."}
USER: Json = {"role": "user", "content": "hi"}
WORDS: Json = {"role": "assistant", "content": "yes"}


def call(id_: Any = "c1", arguments: Any = "{}", name: Any = "look") -> Json:
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}


def calling(*calls: Any, content: Any = None) -> Json:
    return {"role": "assistant", "content": content, "tool_calls": list(calls)}


def result(id_: Any = "c1", content: Any = "found") -> Json:
    return {"role": "tool", "tool_call_id": id_, "content": content}


PARTS: Json = {"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": "data:"}}]}
NOT = {"role": "tool", "content": NOT_RUN}


def mended(*messages: Any, wanted: frozenset[str] = ALL) -> tuple[list[Any], dict[str, int]]:
    told: list[Any] = json.loads(json.dumps(messages))  # no part of a decoded request is there twice
    counts: dict[str, int] = {}
    assert mend_history(told, wanted, counts) is bool(counts)
    return told, counts


def test_results_come_behind_their_own_calls() -> None:
    told, _ = mended(calling(call("a")), calling(call("b")), USER, result("a"), result("b"), USER)
    assert told == [calling(call("a")), result("a"), calling(call("b")), result("b"), USER, USER]


def test_names_are_those_of_the_configuration() -> None:
    assert {*MENDINGS, "template_roles"} == set(HISTORY)


WHOLE = [
    [USER],
    [SYSTEM, USER, WORDS, USER],
    [USER, calling(call()), result(), WORDS, USER],
    [USER, calling(call("a"), call("b")), result("b"), result("a"), USER],
    [USER, calling(call("a"), content="I look."), result("a"), calling(call("a")), result("a")],
    [USER, calling(call(name="no_such_tool")), result(content="error"), WORDS],
    [USER, {"role": "assistant", "content": ""}, USER, USER, {"role": "assistant", "content": None}, USER],
    [USER, WORDS],
    [
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "a"}]},
    ],
    [],
]


@pytest.mark.parametrize("messages", WHOLE, ids=str)
def test_history_that_is_whole_is_left_alone(messages: list[Json]) -> None:
    assert mended(*messages) == (messages, {})


@pytest.mark.parametrize(
    ("said", "becomes"),
    [
        ("", "{}"),
        (" \n", "{}"),
        (None, "{}"),
        ("null", "{}"),
        ('{"path": "a', '{"_raw":"{\\"path\\": \\"a"}'),
        ("[1]", '{"_raw":"[1]"}'),
        ('"x"', '{"_raw":"\\"x\\""}'),
        (5, '{"_raw":"5"}'),
        ([1], '{"_raw":"[1]"}'),
        ("NaN", '{"_raw":"NaN"}'),
    ],
    ids=str,
)
def test_arguments_become_an_object_that_keeps_their_text(said: object, becomes: str) -> None:
    told, counts = mended(USER, calling(call(arguments=said)), result())
    assert told == [USER, calling(call(arguments=becomes)), result()]
    assert counts == {"call_arguments": 1}


@pytest.mark.parametrize(
    ("calls", "become"),
    [
        ({"id": "c1", "function": {"name": "look", "arguments": "{}"}}, [call()]),
        ([{"id": "c1", "function": {"name": "look", "arguments": "{}"}}], [call()]),
        ([{"id": "c1", "name": "look", "arguments": "{}"}], [call()]),
        ([{"id": "c1", "function": "look", "arguments": "{}"}], [call()]),
        ([call(name="")], [call(name="unknown")]),
        ([call(name=None)], [call(name="unknown")]),
        ([call(), "nonsense", None, {"id": "x"}], [call()]),
        ([{"id": "c1", "type": "custom", "custom": {"name": "look", "input": "a"}}], [call(arguments='{"input":"a"}')]),
    ],
    ids=str,
)
def test_calls_become_a_list_of_named_functions(calls: object, become: list[Json]) -> None:
    told, counts = mended(USER, {"role": "assistant", "content": None, "tool_calls": calls}, result())
    assert told == [USER, calling(*become), result()]
    assert counts == {"call_shapes": 1}


@pytest.mark.parametrize("calls", ["nonsense", 5, ["a"], [{}]], ids=str)
def test_calls_that_are_none_leave_a_message(calls: object) -> None:
    told, _ = mended(USER, {"role": "assistant", "tool_calls": calls}, USER)
    assert told == [USER, {"role": "assistant", "content": ""}, USER]


@pytest.mark.parametrize("said", [None, "", 5, {}], ids=str)
def test_call_without_an_id_gets_one_and_so_does_its_result(said: object) -> None:
    told, counts = mended(USER, calling(call(said)), result(said))
    assert told == [USER, calling(call("call_1_0")), result("call_1_0")]
    assert counts == {"call_ids": 2}


def test_ids_that_are_made_up_are_the_same_each_time() -> None:
    messages = [USER, calling(call(None), call(None)), result(None), result(None)]
    assert mended(*messages) == mended(*messages)
    assert mended(*messages, USER, WORDS)[0][:4] == mended(*messages)[0]


def test_calls_with_the_same_id_are_told_apart_with_their_results_in_order() -> None:
    told, _ = mended(USER, calling(call("a"), call("a")), result("a", "one"), result("a", "two"))
    assert told == [USER, calling(call("a"), call("call_1_1")), result("a", "one"), result("call_1_1", "two")]


def test_result_without_an_id_is_that_of_the_call_that_waits() -> None:
    told, _ = mended(USER, calling(call("a"), call("b")), result("b"), {"role": "tool", "content": "x"})
    assert told[2:] == [result("b"), {"role": "tool", "content": "x", "tool_call_id": "a"}]


def test_call_without_a_result_was_not_run() -> None:
    told, counts = mended(USER, calling(call("a"), call("b")), result("b"), USER)
    assert told == [USER, calling(call("a"), call("b")), result("b"), NOT | {"tool_call_id": "a"}, USER]
    assert counts == {"call_results": 1}


def test_call_at_the_end_was_not_run() -> None:
    told, _ = mended(USER, calling(call()))
    assert told == [USER, calling(call()), NOT | {"tool_call_id": "c1"}]


def test_result_of_no_call_is_told_by_the_user() -> None:
    told, counts = mended(result("x", "found"), USER, WORDS, {**result("y", [{"type": "text", "text": "z"}]), "name": "look"})
    assert told[0] == {"role": "user", "content": "Result of an earlier tool call:\n\nfound"}
    assert told[3]["role"] == "user"
    assert [part["text"] for part in told[3]["content"]] == ["Result of look:", "z"]
    assert counts == {"lone_results": 2}


def test_second_result_of_a_call_is_told_by_the_user() -> None:
    told, _ = mended(USER, calling(call()), result(), result(content="again"))
    assert [message["role"] for message in told] == ["user", "assistant", "tool", "user"]


def test_result_that_stands_elsewhere_goes_behind_its_call() -> None:
    told, counts = mended(USER, calling(call("a"), call("b")), result("a"), USER, result("b", "late"))
    assert told == [USER, calling(call("a"), call("b")), result("a"), result("b", "late"), USER]
    assert counts == {"lone_results": 1}


@pytest.mark.parametrize(
    ("content", "becomes"),
    [
        ({"a": 1}, '{"a":1}'),
        (5, "5"),
        (["a", {"type": "refusal", "refusal": "no"}], [{"type": "text", "text": "a"}, {"type": "text", "text": "no"}]),
        ([{"type": "output_text", "text": "a"}], [{"type": "text", "text": "a"}]),
    ],
    ids=str,
)
def test_content_that_is_neither_text_nor_parts_becomes_one(content: object, becomes: object) -> None:
    told, counts = mended({"role": "user", "content": content})
    assert (told[0]["content"], counts) == (becomes, {"content_shapes": 1})


def test_answers_in_a_row_at_the_end_become_one() -> None:
    told, counts = mended(USER, WORDS, {"role": "assistant", "content": [{"type": "text", "text": "and"}]}, {"role": "assistant"})
    assert told == [USER, {"role": "assistant", "content": [{"type": "text", "text": "yes"}, {"type": "text", "text": "and"}]}]
    assert counts["last_answers"] == 2


@pytest.mark.parametrize("name", MENDINGS)
def test_mending_that_is_not_wanted_is_not_made(name: str) -> None:
    broken = [
        USER,
        {"role": "assistant"},
        {"role": "assistant", "tool_calls": [{"id": None, "name": "look", "arguments": "x"}, call("b")]},
        result("nobody"),
        {"role": "user", "content": 5},
        WORDS,
        WORDS,
    ]
    assert name in mended(*broken)[1]
    assert name not in mended(*broken, wanted=ALL - {name})[1]


ANY = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["", "a", "c1", "{}", "{"]),
    lambda one: (
        st.lists(one, max_size=2)
        | st.dictionaries(st.sampled_from(["id", "function", "name", "arguments", "type", "text", "custom"]), one, max_size=4)
    ),
    max_leaves=6,
)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool"])},
    optional={
        "content": ANY,
        "tool_calls": ANY | st.lists(st.sampled_from([call(), call("b"), call(None)]), max_size=3),
        "tool_call_id": ANY,
        "name": ANY,
    },
)


@given(st.lists(st.sampled_from([SYSTEM, USER, WORDS, PARTS, {"role": "user", "content": None}, 5]) | MESSAGE, max_size=5))
@settings(max_examples=200, deadline=None)
def test_glance_that_finds_nothing_wrong_is_right(messages: list[Any]) -> None:
    looked_through = json.loads(json.dumps(messages))
    if not sum(mending(looked_through) for mending in MENDINGS.values()):
        assert mended(*messages) == (messages, {})
    else:
        assert mended(*messages)[1]


@given(st.lists(MESSAGE | st.none() | st.text(max_size=2), max_size=8))
@settings(max_examples=200, deadline=None)
def test_any_history_becomes_one_that_is_whole(messages: list[Any]) -> None:
    told, _ = mended(*messages)
    assert mended(*told) == (told, {})
    waiting: set[str] = set()
    for message in told:
        if not isinstance(message, dict):
            continue
        if message["role"] == "tool":
            assert message["tool_call_id"] in waiting
            waiting.remove(message["tool_call_id"])
            continue
        assert not waiting
        for one in (message.get("tool_calls") or ()) if message["role"] == "assistant" else ():
            assert isinstance(one["function"]["name"], str)
            assert isinstance(one["function"]["arguments"], dict) or isinstance(json.loads(one["function"]["arguments"]), dict)
            assert one["id"] not in waiting
            waiting.add(one["id"])
    assert not waiting
    roles = [message["role"] for message in alternating(told, has_system=True)]
    turns = roles[1:] if roles[0] == "system" else roles
    assert turns == ["user", "assistant"] * (len(turns) // 2) + ["user"] * (len(turns) % 2)


def test_conversation_is_told_in_turns() -> None:
    told = alternating(
        [
            SYSTEM,
            SYSTEM,
            WORDS,
            USER,
            {"role": "assistant", "content": ""},
            USER,
            calling(call(arguments='{"q":1}')),
            result(),
            SYSTEM,
        ],
        has_system=True,
    )
    assert [message["role"] for message in told] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert told[0]["content"] == "Be brief.\n\nBe brief."
    assert told[3]["content"] == "hi\n\nhi"
    assert told[4]["content"] == '<tool_call>\n{"name": "look", "arguments": {"q":1}}\n</tool_call>'
    assert told[5]["content"] == "Result:\n\nfound\n\nBe brief."


def test_system_message_goes_to_the_user_where_the_template_takes_none() -> None:
    assert alternating([SYSTEM, USER], has_system=False) == [{"role": "user", "content": "Be brief.\n\nhi"}]


# --- the engine itself


def status(engine: str, messages: list[Any]) -> tuple[int, str]:
    head, _, body = post(engine, "/v1/chat/completions", {"messages": messages, "max_tokens": 1}).partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), body.decode()


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "messages"),
    [
        ("empty_content", [USER, {"role": "assistant"}, USER]),
        ("call_arguments", [USER, calling({"id": "c1", "type": "function", "function": {"name": "look"}}), result()]),
        ("call_shapes", [USER, calling({"id": "c1", "type": "custom", "custom": {"name": "x", "input": "y"}}), result()]),
        ("call_ids", [USER, calling(call(5)), result(5)]),
        ("call_ids", [USER, calling(call(None)), result(None)]),
        ("call_results", [USER, calling(call())]),
        ("last_answers", [USER, WORDS, WORDS]),
        ("content_shapes", [USER, calling(call()), result(content={"a": 1})]),
        ("content_shapes", [USER, {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}, USER]),
    ],
    ids=str,
)
def test_engine_takes_what_was_mended_and_refuses_what_was_not(name: str, messages: list[Json], engine: str) -> None:
    assert status(engine, messages)[0] in (400, 500)
    assert status(engine, mended(*messages)[0])[0] == 200
    assert status(engine, mended(*messages, wanted=ALL - {name})[0])[0] != 200


@pytest.mark.real
@pytest.mark.parametrize("messages", WHOLE[:-1], ids=str)
def test_engine_takes_what_is_left_alone(messages: list[Json], engine: str) -> None:
    assert status(engine, messages)[0] == 200


def test_refusal_of_a_template_is_known_by_its_words() -> None:
    said = "Unable to generate parser for this template. Automatic parser generation failed: …\nError: Jinja Exception: roles"
    assert is_refusal(said)
    assert not is_refusal("request (9 tokens) exceeds the available context size (8 tokens), try increasing it")


def test_many_results_without_an_id_are_given_to_many_calls() -> None:
    calls = [{"id": f"c{at}", "type": "function", "function": {"name": "f", "arguments": "{}"}} for at in range(60_000)]
    results = [{"role": "tool", "content": str(at)} for at in range(len(calls))]
    messages: list[Any] = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": None, "tool_calls": calls},
        *results,
    ]
    mend_history(messages, frozenset(HISTORY), {})
    assert [message["tool_call_id"] for message in messages[2:]] == [call["id"] for call in calls]
