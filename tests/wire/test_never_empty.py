"""Empty answers: noticed, held back, and asked for again with a grammar that the real engine takes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from bench.wire import post

from relight.wire.never_empty import NeverEmpty, retry_request


def chunk(finish: str | None = None, id_: str = "first", **delta: object) -> dict[str, Any]:
    return {"id": id_, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def usage(id_: str, prompt: int, completion: int) -> dict[str, Any]:
    told = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return {"id": id_, "choices": [], "usage": told}


ROLE, END, USAGE = chunk(role="assistant", content=None), chunk(finish="stop"), usage("first", 30, 1)
CALL = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def test_empty_stream_is_held_from_its_last_chunk_on() -> None:
    never = NeverEmpty()
    assert [never.feed(one) for one in (ROLE, chunk(content=""), END, USAGE)] == [[ROLE], [chunk(content="")], [], []]
    assert never.is_empty
    assert never.finish() == [END, USAGE]
    assert never.finish() == []


@pytest.mark.parametrize("said", [{"content": "hi"}, {"tool_calls": [CALL]}, {"refusal": "no"}], ids=["text", "call", "refusal"])
def test_answer_with_something_in_it_passes_as_it_is(said: dict[str, Any]) -> None:
    chunks = [ROLE, chunk(**said), END, USAGE]
    never = NeverEmpty()
    assert [never.feed(one) for one in chunks] == [[one] for one in chunks]
    assert (never.is_empty, never.finish()) == (False, [])


@pytest.mark.parametrize("said", [{"content": " \n"}, {"reasoning_content": "hm"}, {"tool_calls": []}], ids=str)
def test_blanks_and_thoughts_alone_are_no_answer(said: dict[str, Any]) -> None:
    never = NeverEmpty()
    assert [never.feed(one) for one in (ROLE, chunk(**said), END)] == [[ROLE], [chunk(**said)], []]
    assert never.is_empty


@pytest.mark.parametrize("finish", ["length", "content_filter", "tool_calls"])
def test_ending_that_explains_itself_is_not_asked_again(finish: str) -> None:
    never = NeverEmpty()
    assert never.feed(chunk(finish=finish)) == [chunk(finish=finish)]
    assert not never.is_empty


def test_another_choice_that_says_something_releases_what_was_held() -> None:
    never = NeverEmpty()
    word = {"id": "first", "choices": [{"index": 1, "delta": {"content": "hi"}, "finish_reason": None}]}
    assert never.feed(END) == []
    assert never.feed(word) == [END, word]
    assert not never.is_empty


def test_second_stream_goes_on_where_the_first_one_ended() -> None:
    never = NeverEmpty()
    for one in (ROLE, END, USAGE):
        never.feed(one)
    second = never.second()
    more = [chunk(role="assistant", content=None), chunk(content="hi"), chunk(finish="stop"), usage("second", 30, 4)]
    out = [told for one in more for told in second.feed({**one, "id": "second"})] + second.finish()
    assert out == [chunk(content="hi"), END, usage("first", 30, 5)]


def test_second_stream_keeps_heartbeats_and_progress() -> None:
    never = NeverEmpty()
    never.feed(END)
    second = never.second()
    progress = {"prompt_progress": {"total": 9, "cache": 9, "processed": 9}}
    assert second.feed({"choices": []}) == [{"id": "first", "choices": []}]
    assert second.feed({**chunk(role="assistant", content=None), **progress}) == [{**chunk(), **progress}]


def whole(content: str | None, tokens: int, id_: str) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    return {**usage(id_, 30, tokens), "choices": [choice]}


def test_empty_whole_answer_is_followed_by_another_whose_tokens_are_added() -> None:
    never = NeverEmpty()
    assert never.whole(whole("", 1, "first")) == whole("", 1, "first")
    assert never.is_empty
    assert never.second().whole(whole("hi", 4, "second")) == whole("hi", 5, "first")


def test_whole_answer_with_words_is_not_empty() -> None:
    never = NeverEmpty()
    never.whole(whole("hi", 1, "first"))
    assert not never.is_empty


# --- asking again


def test_request_is_asked_again_with_a_grammar_and_nothing_else_changed() -> None:
    chat = {"messages": [], "max_tokens": 5, "response_format": {"type": "text"}}
    asked = retry_request(chat)
    assert asked is not None
    assert asked.pop("grammar").startswith("root ::= ")
    assert asked == chat


def test_tools_stay_but_are_not_called() -> None:
    asked = retry_request({"messages": [], "tools": [{"type": "function"}], "tool_choice": "auto"})
    assert asked is not None
    assert (asked["tools"], asked["tool_choice"]) == ([{"type": "function"}], "none")


@pytest.mark.parametrize("own", [{"grammar": 'root ::= "a"'}, {"response_format": {"type": "json_object"}}], ids=str)
def test_request_with_a_form_of_its_own_is_not_asked_again(own: dict[str, Any]) -> None:
    assert retry_request({"messages": [], **own}) is None


# --- the engine itself


# Token 2 ends SmolLM2's turn: with this bias the model says nothing.
SILENT = {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 4, "logit_bias": [[2, 100]]}
TOOLS = {"tools": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}]}


def ask(engine: str, chat: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = msgspec.json.decode(post(engine, "/v1/chat/completions", chat).partition(b"\r\n\r\n")[2])
    return answer


@pytest.mark.real
@pytest.mark.parametrize("tools", [{}, TOOLS], ids=["alone", "with tools"])
def test_engine_that_says_nothing_says_something_when_asked_again(tools: dict[str, Any], engine: str) -> None:
    chat = {**SILENT, **tools}
    never = NeverEmpty()
    first = never.whole(ask(engine, chat))
    assert never.is_empty
    again = retry_request(chat)
    assert again is not None
    second = never.second().whole(ask(engine, again))
    assert second["choices"][0]["message"]["content"].strip()
    assert second["id"] == first["id"]
    assert second["usage"]["completion_tokens"] > first["usage"]["completion_tokens"]
