"""Requests in Ollama's words: what they become, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest

from relight.errors import InvalidRequest
from relight.wire.ollama_request import chat_request, generate_request
from relight.wire.translation import About, Translated

ABOUT = About(model="smol", id="int_1", created=1_795_314_088)
USER = {"role": "user", "content": "hi"}


def chat(*messages: object, **more: object) -> Translated:
    return chat_request({"model": "smol", "messages": list(messages or (USER,)), **more}, ABOUT, 8192)


def generate(**request: object) -> Translated:
    return generate_request({"model": "smol", **request}, ABOUT, 8192)


# --- streams


@pytest.mark.parametrize("said", [{}, {"stream": None}, {"stream": True}], ids=str)
def test_answer_is_streamed_with_usage_unless_told_not_to(said: dict[str, Any]) -> None:
    asked = chat(**said).chat
    assert (asked["stream"], asked["stream_options"]) == (True, {"include_usage": True})


def test_whole_answer_is_asked_for() -> None:
    assert chat(stream=False).chat == {"model": "smol", "messages": [USER], "stream": False}


# --- messages


def test_tool_results_find_their_calls_by_name_and_else_in_order() -> None:
    calls: list[dict[str, Any]] = [{"function": {"name": name, "arguments": {}}} for name in ("a", "b", "a")]
    results = [{"role": "tool", "content": "1", "tool_name": name} for name in ("b", "a")]
    asked = chat(USER, {"role": "assistant", "content": "", "tool_calls": calls}, *results, {"role": "tool", "content": "3"})
    ids = [call["id"] for call in asked.chat["messages"][1]["tool_calls"]]
    assert len(set(ids)) == 3
    assert [message["tool_call_id"] for message in asked.chat["messages"][2:]] == [ids[1], ids[0], ids[2]]


def test_tool_result_without_a_call_is_kept() -> None:
    [message] = chat({"role": "tool", "content": "1", "tool_name": "b"}).chat["messages"]
    assert message == {"role": "tool", "content": "1", "tool_call_id": "call_b"}


def test_thinking_of_the_history_is_kept() -> None:
    [message] = chat({"role": "assistant", "content": "hi", "thinking": "hm"}).chat["messages"]
    assert message == {"role": "assistant", "content": "hi", "reasoning_content": "hm"}


@pytest.mark.parametrize(
    ("image", "url"),
    [
        ("iVBORw0", "data:image/png;base64,iVBORw0"),
        ("/9j/4AA", "data:image/jpeg;base64,/9j/4AA"),
        ("UklGRg", "data:image/webp;base64,UklGRg"),
        ("data:image/gif;base64,R0", "data:image/gif;base64,R0"),
    ],
)
def test_image_becomes_a_part_of_its_kind(image: str, url: str) -> None:
    [message] = chat({"role": "user", "content": "what?", "images": [image]}).chat["messages"]
    assert message["content"] == [{"type": "text", "text": "what?"}, {"type": "image_url", "image_url": {"url": url}}]


def test_generate_is_a_chat_of_one_question() -> None:
    asked = generate(prompt="hi", system="Be kind.", suffix="", context=[], raw=False, template="")
    assert asked.chat["messages"] == [{"role": "system", "content": "Be kind."}, USER]


@pytest.mark.parametrize("name", ["raw", "suffix", "template", "context", "width"])
def test_generate_refuses_what_a_chat_cannot_do(name: str) -> None:
    value = {"raw": True, "context": [1, 2], "width": 64}.get(name, "x")
    with pytest.raises(InvalidRequest, match=f"^{name}: is not served here"):
        generate(prompt="hi", **{name: value})


@pytest.mark.parametrize("asked", [chat_request({"messages": []}, ABOUT, 9), generate(), generate(system="x")])
def test_request_without_a_question_only_wakes(asked: Translated) -> None:
    assert asked.asks_nothing
    assert not chat().asks_nothing


# --- options


def test_options_get_the_engines_names() -> None:
    asked = chat(options={"temperature": 0, "num_predict": 5, "num_keep": 3, "stop": "x", "top_k": None}).chat
    assert {name: asked[name] for name in ("temperature", "max_tokens", "n_keep", "stop")} == {
        "temperature": 0,
        "max_tokens": 5,
        "n_keep": 3,
        "stop": ["x"],
    }
    assert "top_k" not in asked


def test_answer_that_fills_the_context_may_be_as_long_as_it() -> None:
    assert chat(options={"num_predict": -2}).chat["max_tokens"] == 8192


@pytest.mark.parametrize("tokens", [512, 8192])
def test_context_that_the_model_has_is_nothing_to_do(tokens: int) -> None:
    assert chat(options={"num_ctx": tokens}).chat == chat().chat


def test_context_that_the_model_has_not_is_refused_with_the_one_it_has() -> None:
    with pytest.raises(InvalidRequest, match=r"^options\.num_ctx: .* a context of 8192 tokens, got 8193"):
        chat(options={"num_ctx": 8193})


@pytest.mark.parametrize(
    "name",
    ["numa", "num_gpu", "num_thread", "use_mmap", "use_mlock", "num_batch", "main_gpu", "low_vram", "tfs_z", "penalize_newline"],
)
def test_option_that_means_nothing_here_is_refused_by_name(name: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^options: {name} cannot be set by a request"):
        chat(options={name: 1, "seed": 1})


def test_unknown_option_is_refused_with_the_nearest() -> None:
    with pytest.raises(InvalidRequest, match=r"^options\.temprature: there is no such option") as caught:
        chat(options={"temprature": 1})
    assert caught.value.hint == 'did you mean "temperature"?'


def test_option_like_none_is_refused_with_all_there_are() -> None:
    with pytest.raises(InvalidRequest, match="there is no such option") as caught:
        chat(options={"zzz": 1})
    assert caught.value.hint is not None
    assert "top_p" in caught.value.hint
    assert "num_gpu" not in caught.value.hint


# --- format, thinking, keep-alive


@pytest.mark.parametrize("given", [None, ""])
def test_no_format_is_none(given: object) -> None:
    assert "response_format" not in chat(format=given).chat


def test_formats_become_what_the_engine_enforces() -> None:
    assert chat(format="json").chat["response_format"] == {"type": "json_object"}
    wanted = chat(format={"type": "array"}).chat["response_format"]
    assert (wanted["type"], wanted["json_schema"]["schema"]) == ("json_schema", {"type": "array"})


@pytest.mark.parametrize(
    ("think", "wanted"),
    [
        (True, {"enable_thinking": True}),
        (False, {"enable_thinking": False}),
        ("high", {"enable_thinking": True, "reasoning_effort": "high"}),
        (None, None),
    ],
    ids=str,
)
def test_thinking_is_for_the_template_to_switch(think: object, wanted: object) -> None:
    assert chat(think=think).chat.get("chat_template_kwargs") == wanted


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (None, None),
        ("5m", 300),
        ("1h30m", 5400),
        ("1.5s", 1.5),
        ("300ms", 0.3),
        ("90", 90),
        (0, 0),
        ("0", 0),
        ("0s", 0),
        (42, 42),
        (-1, math.inf),
        ("-1m", math.inf),
        ("-1", math.inf),
    ],
    ids=str,
)
def test_keep_alive_is_told_in_seconds(said: object, seconds: float | None) -> None:
    assert chat(keep_alive=said).keep_alive_s == (seconds if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"keep_alive": "soon"}, r'^keep_alive: should be seconds or a duration like "5m", got "soon"'),
        ({"keep_alive": "5m!"}, r"^keep_alive: "),
        ({"keep_alive": True}, r"^keep_alive: "),
        ({"format": "xml"}, r'^format: should be "json" or a JSON schema, got "xml"'),
        ({"think": "hard"}, r'^think: .*got "hard"'),
        ({"stream": "yes"}, r'^stream: should be true or false, got "yes"'),
        ({"options": [1]}, r"^options: should be an object, got a list"),
        ({"options": {"seed": "x"}}, r'^options\.seed: should be a number, got "x"'),
        ({"options": {"stop": [5]}}, r"^options\.stop: should be text, got a number"),
        ({"tools": {}}, r"^tools: should be a list, got an object"),
        ({"tools": ["x"]}, r"^tools\.0: should be an object, got text"),
        ({"messages": "hi"}, r"^messages: should be a list, got text"),
        ({"messages": ["hi"]}, r"^messages\.0: should be an object, got text"),
        ({"messages": [{"content": "hi"}]}, r"^messages\.0\.role: should be a role"),
        ({"messages": [{"role": "user", "content": [1]}]}, r"^messages\.0\.content: should be text, got a list"),
        ({"messages": [{"role": "user", "images": [5]}]}, r"^messages\.0\.images: should be text, got a number"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{}]}]},
            r"^messages\.0\.tool_calls\.0\.function: should be an object",
        ),
    ],
    ids=str,
)
def test_value_of_another_kind_is_refused_with_its_place(more: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        chat_request({"model": "smol", "messages": [USER], **more}, ABOUT, 8192)


def test_log_probabilities_are_asked_for() -> None:
    asked = chat(logprobs=True, top_logprobs=2).chat
    assert (asked["logprobs"], asked["top_logprobs"]) == (True, 2)
