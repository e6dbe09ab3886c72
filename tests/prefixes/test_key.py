from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.prefixes.boundary import common_prefix, shared_part, variants
from relight.prefixes.key import Chain, chain, ground

SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "Why?"}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


def chat(*messages: dict[str, Any], **settings: Any) -> bytes:
    return json.dumps({"model": "m", "messages": list(messages), **settings}).encode()


def test_requests_that_differ_in_the_users_words_share_the_key_of_the_rest() -> None:
    one, two = chain(chat(SYSTEM, USER)), chain(chat(SYSTEM, {"role": "user", "content": "How?"}))
    assert one.prefix == two.prefix is not None
    assert one.common(two.links) == one.shared + 1 == 2
    assert one.links[-1] != two.links[-1]


@pytest.mark.parametrize(
    "other",
    [
        chat({"role": "system", "content": "Be brief!"}, USER),
        chat(SYSTEM, USER, tools=[TOOL]),
        chat(SYSTEM, SYSTEM, USER),
        chat(SYSTEM, USER, response_format={"type": "json_object"}),
        chat(SYSTEM, USER, chat_template_kwargs={"enable_thinking": False}),
    ],
)
def test_what_is_rendered_before_the_user_changes_the_key(other: bytes) -> None:
    assert chain(other).prefix not in (chain(chat(SYSTEM, USER)).prefix, None)


@pytest.mark.parametrize("more", [{"stream": True}, {"temperature": 0.5}, {"max_tokens": 5}, {"tools": None}, {"user": "x"}])
def test_what_is_not_rendered_changes_nothing(more: dict[str, Any]) -> None:
    assert chain(chat(SYSTEM, USER, **more)) == chain(chat(SYSTEM, USER))


def test_white_space_and_the_order_of_names_change_nothing() -> None:
    spread = b'{ "messages": [ {"content": "Be brief.",  "role": "system"}, {"content":"Why?","role":"user"} ] }'
    assert chain(spread) == chain(chat(SYSTEM, USER))


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"messages": 5}', b'{"messages": []}', b"\xff", b"[" * 100_000])
def test_what_is_no_chat_has_no_key(body: bytes) -> None:
    assert chain(body).prefix is None


def test_user_alone_shares_nothing_and_tools_alone_do() -> None:
    assert chain(chat(USER)).prefix is None
    assert chain(chat(USER, tools=[TOOL])).prefix is not None


def test_message_is_not_taken_for_two() -> None:
    joined = chain(chat({"role": "system", "content": 'Be brief."}{"'}))
    assert joined.links != chain(chat(SYSTEM)).links


def test_chain_of_a_longer_conversation_goes_on_from_the_shorter() -> None:
    first = chain(chat(SYSTEM, USER))
    longer = chain(chat(SYSTEM, USER, {"role": "assistant", "content": "So."}, USER))
    assert longer.common(first.links) == len(first.links)
    assert Chain().common(first.links) == 0


def test_ground_depends_on_each_of_its_parts() -> None:
    known = {"weights": "w", "build": "b", "context": 8, "parallel": 1, "args": ("--a=1", "--b=2")}
    others = [
        {**known, "weights": "x"},
        {**known, "build": "c"},
        {**known, "context": 9},
        {**known, "parallel": 2},
        {**known, "args": ("--a=1",)},
    ]
    assert len({ground(**each) for each in (known, *others)}) == 6  # type: ignore[arg-type]
    assert ground(**{**known, "args": ("--b=2", "--a=1")}) == ground(**known)  # type: ignore[arg-type]


def test_shared_part_holds_no_word_of_a_user() -> None:
    said = {"messages": [SYSTEM, USER, {"role": "system", "content": "Later."}], "tools": [TOOL]}
    assert shared_part(said) == {"messages": [SYSTEM], "tools": [TOOL]}
    one, two = variants(said)
    assert [message["role"] for message in one["messages"]] == ["system", "user"]
    assert one["messages"][1] != two["messages"][1]


@given(st.lists(st.integers(0, 3), max_size=20), st.lists(st.integers(0, 3), max_size=20))
def test_common_prefix_begins_both_and_is_the_longest(one: list[int], two: list[int]) -> None:
    found = common_prefix(one, two)
    size = len(found)
    assert one[:size] == two[:size] == found
    assert size in (len(one), len(two)) or one[size] != two[size]
