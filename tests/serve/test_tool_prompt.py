"""Tools told in words at the real engine, with a model whose template hides them: what it reads, and that calls run."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest

from tests.serve.client import CHAT, MESSAGES, RESPONSES
from tests.serve.process import Served, serve
from tests.serve.test_snapshots import config, exchange, post, relight
from tests.serve.test_tool_calls import DIALECTS, OLLAMA, TOOL

pytestmark = pytest.mark.real

# The model of the tests calls nothing by itself: it is shown how, and goes on in the same way.
SHOTS = [
    {"role": role, "content": text}
    for word in ("cat", "dog", "bird", "fish")
    for role, text in (
        ("user", f"Look up: {word}"),
        ("assistant", f'<tool_call>\n{{"name": "look", "arguments": {{"q": "{word}"}}}}\n</tool_call>'),
    )
]
ASK = {"role": "user", "content": "Look up: dog"}
LIMITS: dict[str, dict[str, Any]] = {
    CHAT: {"max_tokens": 60, "temperature": 0},
    MESSAGES: {"max_tokens": 60, "temperature": 0},
    RESPONSES: {"max_output_tokens": 60, "temperature": 0},
    OLLAMA: {"options": {"num_predict": 60, "temperature": 0}, "stream": False},
}
ANY: dict[str, Any] = {CHAT: "required", MESSAGES: {"type": "any"}, RESPONSES: "required"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(config(tmp_path_factory.mktemp("told")), "--port", "0") as one:
        yield one


def asking(path: str, messages: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    name = "input" if path == RESPONSES else "messages"
    return {name: messages, "tools": [TOOL[path]], **LIMITS[path], **more}


def calls(path: str, answer: dict[str, Any]) -> list[tuple[str, Any]]:
    if path == MESSAGES:
        return [(one["name"], one["input"]) for one in answer["content"] if one["type"] == "tool_use"]
    if path == RESPONSES:
        return [(one["name"], json.loads(one["arguments"])) for one in answer["output"] if one["type"] == "function_call"]
    message = answer["message"] if path == OLLAMA else answer["choices"][0]["message"]
    found = [one["function"] for one in message.get("tool_calls") or ()]
    return [(one["name"], one["arguments"] if path == OLLAMA else json.loads(one["arguments"])) for one in found]


@pytest.mark.parametrize("path", DIALECTS)
def test_call_that_the_model_makes_by_itself_comes_as_one(served: Served, path: str) -> None:
    answer, interaction = exchange(served, path, asking(path, [*SHOTS, ASK]))
    assert calls(path, answer) == [("look", {"q": "dog"})]
    assert served.record_of(interaction)["mended"] == {"tools_in_prompt": 1, "marked_calls": 1}


@pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES])
def test_forced_call_holds(served: Served, path: str) -> None:
    answer, interaction = exchange(served, path, asking(path, [ASK], tool_choice=ANY[path]))
    ((name, arguments),) = calls(path, answer)
    assert name == "look"
    assert isinstance(arguments["q"], str)
    assert "tools_in_prompt" not in served.record_of(interaction).get("mended", {})  # it is told to call, not that it may


def test_history_of_calls_goes_on(served: Served) -> None:
    history: list[dict[str, Any]] = []
    for word in ("cat", "dog", "bird"):
        call = {"id": f"c_{word}", "type": "function", "function": {"name": "look", "arguments": json.dumps({"q": word})}}
        history += [
            {"role": "user", "content": f"Look up: {word}"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": call["id"], "content": f"{word}: found"},
        ]
    answer, interaction = exchange(served, CHAT, asking(CHAT, [*history, ASK]))
    assert calls(CHAT, answer) == [("look", {"q": "dog"})]
    assert served.record_of(interaction)["mended"]["tools_in_prompt"] == 1


def test_model_reads_the_tools(served: Served) -> None:
    with_tools = post(served, CHAT, asking(CHAT, [ASK], max_tokens=1))["usage"]["prompt_tokens"]
    without = post(served, CHAT, {"messages": [ASK], "max_tokens": 1})["usage"]["prompt_tokens"]
    assert with_tools > without + 100


@pytest.mark.parametrize(
    "history",
    [
        [ASK],
        [
            ASK,
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "look", "input": {"q": "dog"}}]},
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "found"}, {"type": "text", "text": "?"}],
            },
        ],
    ],
    ids=["a question", "a call"],
)
def test_tokens_that_are_counted_are_those_that_are_read(served: Served, history: list[dict[str, Any]]) -> None:
    asked = {"model": "smol", "system": "Be brief.", "messages": history, "tools": [TOOL[MESSAGES]]}
    counted = post(served, f"{MESSAGES}/count_tokens", asked)["input_tokens"]
    usage = post(served, MESSAGES, {**asked, "max_tokens": 1})["usage"]
    assert counted == usage["input_tokens"] + usage.get("cache_read_input_tokens", 0)
    assert counted > 150


def test_list_of_models_says_how_tools_are_seen(served: Served) -> None:
    (model,) = served.get("/v1/models")["data"]
    assert model["capabilities"] == ["completion", "tools"]
    assert model["relight"]["tools"] == "prompt"


def test_left_out_it_is_said(tmp_path: Any) -> None:
    file = config(tmp_path)
    file.write_text(file.read_text().replace("context = 2048", 'context = 2048\nmend = ["-tools_in_prompt"]'))
    with serve(file, "--port", "0") as served:
        (model,) = served.get("/v1/models")["data"]
        assert (model["capabilities"], model["relight"]["tools"]) == (["completion"], "none")
        told = post(served, CHAT, asking(CHAT, [ASK], max_tokens=1))["usage"]["prompt_tokens"]
        assert told == post(served, CHAT, {"messages": [ASK], "max_tokens": 1})["usage"]["prompt_tokens"]


def test_engine_that_knows_better_is_believed_from_its_wake_on(tmp_path: Any) -> None:
    template = "{% if false and tools %}{% endif %}{% for one in messages %}{{ one.role }}: {{ one.content }}\n{% endfor %}"
    file = config(tmp_path)
    args = json.dumps([f"--chat-template={template}"])
    file.write_text(file.read_text().replace("context = 2048", f"context = 2048\nargs = {args}"))
    with serve(file, "--port", "0") as served:
        assert served.get("/v1/models/smol")["relight"]["tools"] == "template"
        post(served, CHAT, asking(CHAT, [ASK], max_tokens=1))
        served.until(
            lambda: any("its template shows neither tools nor calls, as the engine found out" in line for line in served.lines)
        )
        assert served.get("/v1/models/smol")["relight"]["tools"] == "prompt"
        _, interaction = exchange(served, CHAT, asking(CHAT, [ASK], max_tokens=1))
        assert served.record_of(interaction)["mended"]["tools_in_prompt"] == 1


def test_what_is_baked_is_what_requests_begin_with(tmp_path: Any) -> None:
    file = config(tmp_path)
    system = {"role": "system", "content": "You are a librarian. " * 20}
    (tmp_path / "agent.json").write_text(json.dumps(asking(CHAT, [system, ASK])))
    (baked,) = relight(tmp_path, "bake", "agent.json", "--json")
    assert baked["state"] == "made"
    with serve(file, "--port", "0") as served:
        _, interaction = exchange(served, CHAT, asking(CHAT, [system, {"role": "user", "content": "Hello!"}], max_tokens=1))
        told = served.record_of(interaction)
    assert told["restored_tokens"] == baked["tokens"]
    assert math.isclose(told["tokens"]["cached"], baked["tokens"], abs_tol=2)
