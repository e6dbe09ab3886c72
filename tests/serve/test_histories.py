"""Broken histories and written calls at the real engine, with a template as strict as there are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serve.process import Served, serve
from tests.serve.test_snapshots import config, exchange, post

pytestmark = pytest.mark.real

# Written for this: user and assistant in turn, behind a system message, and nothing else.
STRICT = (
    "{%- set first = 1 if messages[0]['role'] == 'system' else 0 -%}"
    "{%- for message in messages[first:] -%}"
    "{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}"
    "{{ raise_exception('Conversation roles must alternate') }}{%- endif -%}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|im_start|>assistant\n{%- endif -%}"
)
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "Look something up.",
        "parameters": {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]},
    },
}
USER: dict[str, Any] = {"role": "user", "content": "Say yes."}
WORDS: dict[str, Any] = {"role": "assistant", "content": "yes"}


def calling(*calls: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": list(calls)}


CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"q": "a"}'}}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "found"}
HISTORIES: dict[str, list[Any]] = {
    "whole": [USER, calling(CALL), RESULT, WORDS, USER],
    "dangling": [USER, calling(CALL), USER],
    "dangling at the end": [USER, calling(CALL)],
    "lone": [RESULT, USER],
    "numbers for ids": [USER, calling({**CALL, "id": 1}), {**RESULT, "tool_call_id": 1}, USER],
    "no ids": [USER, calling({"function": {"name": "look"}}), {"role": "tool", "content": "x"}, USER],
    "no JSON": [USER, calling({**CALL, "function": {"name": "look", "arguments": '{"q'}}), RESULT, USER],
    "no list": [USER, {"role": "assistant", "tool_calls": "x"}, USER],
    "no name": [USER, calling({"id": "c1", "function": {}}), RESULT],
    "unknown tool": [USER, calling({**CALL, "function": {"name": "rm", "arguments": "{}"}}), RESULT, USER],
    "two users": [USER, USER],
    "two answers": [USER, WORDS, WORDS, USER],
    "two answers at the end": [USER, WORDS, WORDS],
    "empty answer": [USER, {"role": "assistant", "content": ""}, USER],
    "nothing in an answer": [USER, {"role": "assistant"}, USER],
    "system further down": [USER, WORDS, {"role": "system", "content": "Be brief."}, USER],
    "answer first": [WORDS, USER],
    "object as content": [USER, calling(CALL), {**RESULT, "content": {"a": 1}}],
}


@pytest.fixture(scope="module", params=["its own template", "a strict template"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("histories")
    file = config(folder)
    if request.param == "a strict template":
        args = json.dumps([f"--chat-template={STRICT}"])
        text = file.read_text().replace("context = 2048", f"context = 2048\nargs = {args}")
        file.write_text(text)
    with serve(file, "--port", "0") as one:
        yield one


@pytest.mark.parametrize("tools", [{}, {"tools": [TOOL]}], ids=["without tools", "with tools"])
@pytest.mark.parametrize("name", HISTORIES)
def test_no_history_bricks_a_conversation(served: Served, name: str, tools: dict[str, Any]) -> None:
    answer = post(served, "/v1/chat/completions", {"messages": HISTORIES[name], "max_tokens": 2, "temperature": 0, **tools})
    assert answer["choices"][0]["message"]["role"] == "assistant"


def test_order_of_roles_is_changed_only_where_the_template_refuses_it(served: Served, request: pytest.FixtureRequest) -> None:
    _, interaction = exchange(served, "/v1/chat/completions", {"messages": [USER, USER], "max_tokens": 1})
    mended = served.record_of(interaction).get("mended", {})
    is_strict = request.node.callspec.params["served"] == "a strict template"
    assert mended == ({"template_roles": 1} if is_strict else {})


def test_call_that_the_model_writes_as_text_is_told_as_one(served: Served) -> None:
    said = '<tool_call>\n{{"name": "look", "arguments": {{"q": "{}"}}}}\n</tool_call>'
    shots = [
        {"role": role, "content": text}
        for word in ("cat", "dog", "bird", "fish")
        for role, text in (("user", f"Look up: {word}"), ("assistant", said.format(word)))
    ]
    body = {
        "messages": [*shots, {"role": "user", "content": "Look up: dog"}],
        "max_tokens": 60,
        "temperature": 0,
        "tools": [TOOL],
    }
    answer, interaction = exchange(served, "/v1/chat/completions", body)
    choice = answer["choices"][0]
    (call,) = choice["message"]["tool_calls"]
    assert (call["function"]["name"], json.loads(call["function"]["arguments"])) == ("look", {"q": "dog"})
    assert choice["finish_reason"] == "tool_calls"
    assert served.record_of(interaction)["mended"]["marked_calls"] == 1
