"""What a compatible server must do, item by item, as coding agents and official clients need it.

Here is what the front door does by itself; what only a real engine can show has the same item numbers in
`tests/clients/test_real_items.py`, and what the clients' own code makes of it stands beside that.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from relight.access.keys import create
from tests.serve.client import CHAT, MESSAGES, RESPONSES, Call, Door, front_door, request_body
from tests.serve.cloud import says
from tests.serve.test_never_empty import engine

COUNT = "/v1/messages/count_tokens"
DIALECTS = (CHAT, MESSAGES, RESPONSES)
CALL = 'tool=weather args={"city": "Oslo"}'
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CHAT_TOOL = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
TOOLS: dict[str, Any] = {
    CHAT: CHAT_TOOL,
    MESSAGES: {"name": "weather", "input_schema": SCHEMA},
    RESPONSES: {"type": "function", "name": "weather", "parameters": SCHEMA},
}


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with front_door(tmp_path, context=2_000_000) as door:
        await door.awake()
        yield door
        assert not door.log.unbalanced()


async def post(door: Door, path: str, **body: Any) -> Call:
    return await door.call("POST", path, json.dumps(body).encode()).done()


async def put_to_engine(folder: Path, path: str, **body: Any) -> dict[str, Any]:
    """What the engine is sent for a request."""
    async with engine(folder, says("fine")) as (door, peer):
        call = await post(door, path, **body)
    assert call.status == 200, call.body
    (seen,) = peer.seen
    sent: dict[str, Any] = json.loads(seen.body)
    return sent


def words(call: Call, path: str) -> str:
    """The text of a whole answer."""
    answer = call.json()
    if path == MESSAGES:
        return "".join(block.get("text", "") for block in answer["content"])
    if path == RESPONSES:
        return "".join(part["text"] for item in answer["output"] if item["type"] == "message" for part in item["content"])
    return str(answer["choices"][0]["message"]["content"])


# --- transport


async def test_item_01_either_key_header_is_taken_and_unknown_headers_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, entry = create("laptop", "2026-11-22")
    monkeypatch.setenv("TEST_KEYS", str(entry))
    more = [(b"anthropic-beta", b"a,b"), (b"x-stainless-os", b"Linux"), (b"x-made-up", b"1")]
    async with front_door(tmp_path, sections={"auth": {"keys": {"secret": "TEST_KEYS"}}}) as door:
        for header in ((b"authorization", f"Bearer {key}".encode()), (b"x-api-key", key.encode())):
            for version in (b"2023-06-01", b"2026-10-21"):
                headers = [header, (b"anthropic-version", version), *more]
                for path in (*DIALECTS, "/v1/completions", COUNT):
                    assert (await door.ask("text=yes", path=path, headers=headers).done()).status == 200, path
                for path in ("/v1/models", "/v1/models/toy"):
                    assert (await door.call("GET", path, headers=headers).done()).status == 200, path


async def test_item_02_models_are_in_the_shape_of_both_dialects(door: Door) -> None:
    page = (await door.get("/v1/models")).json()
    assert (page["object"], page["has_more"], page["first_id"], page["last_id"]) == ("list", False, "toy", "toy")
    (model,) = page["data"]
    assert (model["id"], model["object"], model["type"], model["display_name"]) == ("toy", "model", "model", "toy")
    assert isinstance(model["created"], int)
    assert model["created_at"].endswith("Z")
    one = (await door.get("/v1/models/toy")).json()
    assert {key: one[key] for key in ("id", "object", "type", "created")} == {
        key: model[key] for key in ("id", "object", "type", "created")
    }
    for path in ("/api/hello", "/"):
        assert (await door.get(path, "HEAD")).status in (200, 404)


@pytest.mark.parametrize("path", DIALECTS)
async def test_item_03_large_bodies_and_unknown_fields_are_taken(door: Door, path: str) -> None:
    unknown: dict[str, Any] = {
        "store": False,
        "metadata": {"user_id": "u"},
        "prompt_cache_key": "k",
        "reasoning": {"effort": "low"},
        "reasoning_effort": "low",
        "service_tier": "auto",
        "user": "u",
        "context_management": {"edits": []},
        "output_config": {"effort": "low"},
        "client_metadata": {"a": 1},
        "include": [],
        "made_up": [1],
    }
    tools = [TOOLS[path]] * 20 if path == CHAT else [TOOLS[path]]
    filler = {"role": "user", "content": "word " * 250_000}
    script = {"role": "user", "content": "#script text=taken"}
    body = {**unknown, "tools": tools, "max_tokens": 100, "input" if path == RESPONSES else "messages": [filler, script]}
    if path != MESSAGES:
        body["parallel_tool_calls"] = True
    assert len(json.dumps(body)) > 1 << 20
    call = await post(door, path, **body)
    assert (call.status, words(call, path)) == (200, "taken")


@pytest.mark.parametrize(
    ("path", "within_s", "event"),
    [(CHAT, 15, ""), (MESSAGES, 15, "ping"), (RESPONSES, 110, "keepalive")],
    ids=["chat", "messages", "responses"],
)
async def test_item_04_stream_has_its_head_at_once_and_real_events_while_it_waits(
    tmp_path: Path, path: str, within_s: int, event: str
) -> None:
    async with front_door(tmp_path, args=("--load-forever",)) as door:
        call = door.ask(path=path, stream=True)
        await call.until_bytes(b": waking toy")
        assert (call.status, call.headers["content-type"]) == (200, "text/event-stream")
        for _ in range(within_s // 5):
            await door.advance(5)
        events = call.events
        call.leave()
        await call.done()
    assert events
    assert {name for name, _ in events} == {event}
    if path == CHAT:
        assert all(data["choices"] == [] and data["object"] == "chat.completion.chunk" for _, data in events)
    else:
        assert all(data == {"type": event} for _, data in events)


@pytest.mark.parametrize("path", DIALECTS)
async def test_item_05_json_is_kept_alive_with_white_space_where_it_is_configured(tmp_path: Path, path: str) -> None:
    async with front_door(tmp_path, args=("--load-forever",), wake_timeout="100s", server={"hold_json": "60s"}) as door:
        call = door.ask(path=path)
        await door.advance(59)
        assert not call.sent
        await door.advance(30)
        assert (call.status, call.body.strip()) == (200, b"")
        assert len(call.body) >= 5
        await door.advance(20)
        await call.done()
    assert call.json()["error"]["code"] == "wake_timeout"


@pytest.mark.parametrize("path", DIALECTS)
@pytest.mark.parametrize("stream", [False, True])
async def test_item_06_client_that_leaves_frees_its_slot_for_the_next(tmp_path: Path, path: str, stream: bool) -> None:
    async with front_door(tmp_path, parallel=1) as door:
        await door.awake()
        call = door.ask("prefill=1h", path=path, stream=stream)
        await door.until_busy(1)
        call.leave()
        await call.done()
        assert words(await door.ask("text=next", path=path).done(), path) == "next"


@pytest.mark.parametrize("path", DIALECTS)
async def test_item_07_busy_queues_first_and_then_is_503_with_retry_after(tmp_path: Path, path: str) -> None:
    async with front_door(tmp_path, parallel=1, queue_depth=1) as door:
        await door.awake()
        running = door.ask("prefill=1h", path=path)
        await door.until_busy(1)
        waiting = door.ask("text=mine", path=path)
        while not (await door.get("/status")).json()["models"]["toy"]["waiting"]:
            pass
        refused = await door.ask("text=late", path=path).done()
        running.leave()
        await running.done()
        assert words(await waiting.done(), path) == "mine"
    assert (refused.status, refused.json()["error"]["code"]) == (503, "queue_full")
    assert int(refused.headers["retry-after"]) >= 1


@pytest.mark.parametrize("path", DIALECTS)
async def test_item_07_wrong_key_is_401_in_the_shape_of_its_dialect(
    tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_KEYS", str(create("laptop", "2026-11-22")[1]))
    async with front_door(tmp_path, sections={"auth": {"keys": {"secret": "TEST_KEYS"}}}) as door:
        call = await door.ask(path=path, headers=[(b"x-api-key", b"rl_wrong")]).done()
    assert (call.status, call.json()["error"]["type"]) == (401, "authentication_error")
    assert call.json().get("type") == ("error" if path == MESSAGES else None)


@pytest.mark.parametrize("path", DIALECTS)
async def test_item_07_fault_of_the_client_is_never_500(door: Door, path: str) -> None:
    image = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]}
    call = await post(door, path, **{"input" if path == RESPONSES else "messages": [image], "max_tokens": 9})
    assert 400 <= call.status < 500


@pytest.mark.parametrize("path", DIALECTS)
@pytest.mark.parametrize("stream", [False, True])
async def test_item_08_overflow_is_400_before_streaming_in_the_words_that_agents_look_for(
    tmp_path: Path, path: str, stream: bool
) -> None:
    async with front_door(tmp_path, context=256) as door:
        await door.awake()
        call = await post(
            door,
            path,
            **{"input": "word " * 300} if path == RESPONSES else {"messages": _user("word " * 300)},
            stream=stream,
            max_tokens=9,
        )
    error = call.json()["error"]
    assert (call.status, error["code"]) == (400, "context_length_exceeded")
    if path == MESSAGES:
        assert error["message"] == "prompt is too long: 300 tokens > 256 maximum"
    else:
        assert error["message"].startswith(
            "This model's maximum context length is 256 tokens. However, your messages resulted in 300 tokens."
        )


@pytest.mark.parametrize(
    ("path", "name"),
    [(CHAT, "max_tokens"), (CHAT, "max_completion_tokens"), (MESSAGES, "max_tokens"), (RESPONSES, "max_output_tokens")],
)
async def test_item_09_answer_longer_than_the_context_is_clamped(tmp_path: Path, path: str, name: str) -> None:
    body = {"input": "hi"} if path == RESPONSES else {"messages": _user("hi")}
    sent = await put_to_engine(tmp_path, path, **body, **{name: 128_000})
    assert sent[name if path == CHAT else "max_tokens"] == 8192


@pytest.mark.parametrize("path", [CHAT, RESPONSES])
async def test_item_09_answer_without_a_limit_gets_one(tmp_path: Path, path: str) -> None:
    body = {"input": "hi"} if path == RESPONSES else {"messages": _user("hi")}
    assert (await put_to_engine(tmp_path, path, **body))["max_tokens"] == 4096


# --- chat completions


def _user(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


PARTS = [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]


@pytest.mark.parametrize("content", ["one two", PARTS, "", None])
@pytest.mark.parametrize("role", ["system", "developer", "user", "assistant"])
async def test_item_10_every_role_takes_every_form_of_content(tmp_path: Path, role: str, content: Any) -> None:
    messages = [*_user("hi"), {"role": role, "content": content}, *_user("there"), *_user("again")]
    assert (await put_to_engine(tmp_path, CHAT, messages=messages))["messages"] == messages


async def test_item_10_message_without_content_and_one_at_the_end_are_taken(tmp_path: Path) -> None:
    messages = [*_user("hi"), {"role": "assistant"}, *_user("there"), {"role": "assistant", "content": "I"}]
    sent = (await put_to_engine(tmp_path, CHAT, messages=messages))["messages"]
    assert sent == [messages[0], {"role": "assistant", "content": ""}, *messages[2:]]


@pytest.mark.parametrize(("said", "sent"), [("", "{}"), ('{"city": "Os', '{"_raw":"{\\"city\\": \\"Os"}'), ("{}", "{}")])
async def test_item_11_history_with_bad_calls_of_unknown_tools_is_mended(tmp_path: Path, said: str, sent: str) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "no_such_tool", "arguments": said}}
    result = {"role": "tool", "tool_call_id": "c1", "content": "failed"}
    messages = [*_user("hi"), {"role": "assistant", "content": None, "tool_calls": [call]}, result]
    got = (await put_to_engine(tmp_path, CHAT, messages=messages))["messages"][1]["tool_calls"][0]
    assert got["function"] == {"name": "no_such_tool", "arguments": sent}


@pytest.mark.parametrize(
    ("path", "choice"),
    [
        (CHAT, "required"),
        (CHAT, {"type": "function", "function": {"name": "weather"}}),
        (MESSAGES, {"type": "any"}),
        (MESSAGES, {"type": "tool", "name": "weather"}),
        (RESPONSES, "required"),
        (RESPONSES, {"type": "function", "name": "weather"}),
    ],
)
async def test_item_12_forced_tool_choice_is_enforced_by_a_schema(tmp_path: Path, path: str, choice: Any) -> None:
    body = {"input": "hi"} if path == RESPONSES else {"messages": _user("hi"), "max_tokens": 99}
    async with engine(tmp_path, says('{"city": "Oslo"}')) as (door, peer):
        call = await post(door, path, **body, tools=[TOOLS[path]], tool_choice=choice)
    sent = json.loads(peer.seen[0].body)
    assert sent["response_format"]["json_schema"]["schema"] == SCHEMA
    assert "tools" not in sent
    assert _called(call, path) == ("weather", {"city": "Oslo"})


@pytest.mark.parametrize("choice", ["none", "auto"])
async def test_item_12_free_tool_choice_is_left_to_the_engine(tmp_path: Path, choice: str) -> None:
    sent = await put_to_engine(tmp_path, CHAT, messages=_user("hi"), tools=[CHAT_TOOL], tool_choice=choice)
    assert (sent["tools"], sent["tool_choice"], "response_format" in sent) == ([CHAT_TOOL], choice, False)


def _called(call: Call, path: str) -> tuple[str, Any]:
    answer = call.json()
    if path == MESSAGES:
        (block,) = answer["content"]
        return block["name"], block["input"]
    (made,) = answer["output"] if path == RESPONSES else answer["choices"][0]["message"]["tool_calls"]
    function = made.get("function", made)
    return function["name"], json.loads(function["arguments"])


@pytest.mark.parametrize("forced", [False, True])
async def test_item_13_streamed_calls_begin_with_id_and_name_and_end_with_done(door: Door, forced: bool) -> None:
    more: dict[str, Any] = {"tools": [CHAT_TOOL], "stream_options": {"include_usage": True}}
    script = 'text="{\\"city\\": \\"Oslo\\"}"' if forced else f'{CALL} tool=weather args={{"city": "Rome"}}'
    call = await door.ask(script, stream=True, **more, **({"tool_choice": "required"} if forced else {})).done()
    *chunks, done = [data for _, data in call.events]
    assert done == "[DONE]"
    assert (chunks[-1]["choices"], chunks[-1]["usage"]["completion_tokens"] > 0) == ([], True)
    pieces = [piece for chunk in chunks if chunk["choices"] for piece in chunk["choices"][0]["delta"].get("tool_calls", [])]
    heads = [piece for piece in pieces if "id" in piece]
    assert [(head["index"], head["type"], head["function"]["name"]) for head in heads] == [
        (index, "function", "weather") for index in range(1 if forced else 2)
    ]
    for head in heads:
        of_it = [piece for piece in pieces if piece["index"] == head["index"]]
        assert of_it[0] is head
        assert json.loads("".join(piece["function"]["arguments"] for piece in of_it)).keys() == {"city"}
    finishes = [chunk["choices"][0]["finish_reason"] for chunk in chunks if chunk["choices"]]
    assert [finish for finish in finishes if finish] == ["tool_calls"]


async def test_item_13_usage_is_streamed_only_to_who_asks(door: Door) -> None:
    asked: list[dict[str, Any]] = [{}, {"stream_options": {"include_usage": False}}]
    for more in asked:
        call = await door.ask(CALL, stream=True, tools=[CHAT_TOOL], **more).done()
        assert not any(data.get("usage") for _, data in call.events if data != "[DONE]")


async def test_item_14_forms_and_limits_of_an_answer_reach_the_engine(tmp_path: Path) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"anyOf": [{"$ref": "#/$defs/x"}, {"type": "null"}]}},
        "$defs": {"x": {"type": "string"}},
    }
    asked = {
        "response_format": {"type": "json_schema", "json_schema": {"name": "form", "strict": True, "schema": schema}},
        "stop": ["Observation:", "END"],
        "n": 2,
        "logprobs": True,
        "top_logprobs": 3,
        "max_completion_tokens": 50,
    }
    sent = await put_to_engine(tmp_path, CHAT, messages=_user("hi"), **asked)
    assert {key: sent[key] for key in asked} == asked


async def test_item_14_completions_and_vectors_are_answered(door: Door) -> None:
    legacy = (await post(door, "/v1/completions", prompt="#script text=on", max_tokens=5)).json()
    assert (legacy["object"], legacy["choices"][0]["text"]) == ("text_completion", "on")
    floats = (await post(door, "/v1/embeddings", input="1 2")).json()["data"][0]["embedding"]
    packed = (await post(door, "/v1/embeddings", input=[[1, 2]], encoding_format="base64")).json()["data"][0]["embedding"]
    assert struct.unpack(f"<{len(floats)}f", base64.b64decode(packed)) == pytest.approx(floats)


# --- messages


async def test_item_15_everything_that_agents_put_into_a_history_is_understood(tmp_path: Path) -> None:
    use = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "is_error": True, "content": [{"type": "text", "text": "no net"}]}
    sent = await put_to_engine(
        tmp_path,
        MESSAGES,
        max_tokens=99,
        system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        thinking={"type": "adaptive"},
        messages=[
            *_user("hi"),
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}, use]},
            {"role": "user", "content": [result, {"type": "text", "text": "go on"}]},
            {"role": "system", "content": [{"type": "text", "text": "A reminder."}]},
        ],
        tools=[{**TOOLS[MESSAGES], "defer_loading": True}, {"type": "web_search_20260209", "name": "web_search"}],
        tool_choice={"type": "auto", "disable_parallel_tool_use": True},
    )
    assert [message["role"] for message in sent["messages"]] == ["system", "user", "assistant", "tool", "user", "system"]
    assert sent["messages"][2]["reasoning_content"] == "hm"
    assert sent["messages"][3]["content"] == "Error:\nno net"
    assert [tool["function"]["name"] for tool in sent["tools"]] == ["weather"]
    assert (sent["tool_choice"], sent["parallel_tool_calls"]) == ("auto", False)


@pytest.mark.parametrize("thinking", [{"type": "adaptive"}, {"type": "enabled", "budget_tokens": 1024}, {"type": "disabled"}])
@pytest.mark.parametrize("choice", [None, {"type": "none"}])
async def test_item_15_thinking_and_no_tools_are_taken(door: Door, thinking: Any, choice: Any) -> None:
    body = json.loads(request_body("text=yes", path=MESSAGES, thinking=thinking, tools=[TOOLS[MESSAGES]], tool_choice=choice))
    assert words(await post(door, MESSAGES, **body), MESSAGES) == "yes"


async def test_item_16_format_of_output_config_becomes_one_that_the_engine_enforces(tmp_path: Path) -> None:
    config = {"format": {"type": "json_schema", "schema": SCHEMA}, "effort": "low"}
    sent = await put_to_engine(tmp_path, MESSAGES, messages=_user("hi"), max_tokens=99, output_config=config)
    assert sent["response_format"]["json_schema"]["schema"] == SCHEMA


async def test_item_17_events_of_a_message_come_in_their_order(door: Door) -> None:
    script = f'reasoning=hm text="Let me look." {CALL}'
    call = await door.ask(script, path=MESSAGES, stream=True, tools=[TOOLS[MESSAGES]]).done()
    events = [(name, data) for name, data in call.events if name != "ping"]
    assert all(name == data["type"] for name, data in call.events)
    names = [name for name, _ in events]
    once = [name for at, name in enumerate(names) if at == 0 or names[at - 1] != name]
    block = ["content_block_start", "content_block_delta", "content_block_stop"]
    assert once == ["message_start", *block * 3, "message_delta", "message_stop"]
    start, end = events[0][1]["message"], events[-2][1]
    assert start["id"].startswith("msg_")
    assert start["usage"]["input_tokens"] > 0
    kinds = [data["content_block"] for name, data in events if name == "content_block_start"]
    assert [kind["type"] for kind in kinds] == ["thinking", "text", "tool_use"]
    assert kinds[2]["id"].startswith("toolu_")
    deltas = {data["index"]: data["delta"]["type"] for name, data in events if name == "content_block_delta"}
    assert (deltas[1], deltas[2]) == ("text_delta", "input_json_delta")
    assert (end["delta"]["stop_reason"], end["usage"]["output_tokens"] > 0) == ("tool_use", True)


async def test_item_17_error_of_a_message_is_in_its_own_shape(door: Door) -> None:
    call = await post(door, MESSAGES, model="nonesuch", messages=_user("hi"), max_tokens=9)
    assert (call.status, call.json()["type"], call.json()["error"]["type"]) == (404, "error", "not_found_error")


@pytest.mark.parametrize("thread", [{"type": "create"}, {"type": "continue", "previous_message_id": "msg_1"}])
async def test_item_18_threads_are_refused_so_that_clients_send_the_whole_history(door: Door, thread: Any) -> None:
    call = await post(door, MESSAGES, messages=_user("hi"), max_tokens=9, thread=thread)
    assert (call.status, call.json()["error"]["type"]) == (400, "invalid_request_error")
    assert call.json()["error"]["details"] == {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}


async def test_item_18_tokens_are_counted(door: Door) -> None:
    assert (await post(door, COUNT, messages=_user("one two three"))).json() == {"input_tokens": 3}


# --- responses


async def test_item_19_every_kind_of_item_and_tool_is_understood(tmp_path: Path) -> None:
    def say(role: str, kind: str, text: str, **more: Any) -> dict[str, Any]:
        return {"type": "message", "role": role, "content": [{"type": kind, "text": text}], **more}

    sent = await put_to_engine(
        tmp_path,
        RESPONSES,
        instructions="Be brief.",
        input=[
            say("developer", "input_text", "Rules."),
            say("user", "input_text", "hi"),
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAAB"},
            say("assistant", "output_text", "Let me look.", id="msg_1"),
            {"type": "function_call", "call_id": "c1", "name": "weather", "namespace": "net", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "rain"},
            {"type": "custom_tool_call", "call_id": "c2", "name": "patch", "input": "*** Begin"},
            {"type": "custom_tool_call_output", "call_id": "c2", "output": "done"},
        ],
        tools=[
            {"type": "namespace", "name": "net", "description": "The net.", "tools": [TOOLS[RESPONSES]]},
            {"type": "custom", "name": "patch"},
            {"type": "web_search"},
        ],
    )
    assert [message["role"] for message in sent["messages"]] == ["system", "user", "assistant", "tool", "assistant", "tool"]
    assert sent["messages"][2]["tool_calls"][0]["function"]["name"] == "weather"
    assert [tool["function"]["name"] for tool in sent["tools"]] == ["weather", "patch"]


async def test_item_19_call_of_a_member_is_told_with_its_namespace(door: Door) -> None:
    tools = [{"type": "namespace", "name": "net", "tools": [TOOLS[RESPONSES]]}]
    call = await door.ask(CALL, path=RESPONSES, tools=tools).done()
    (item,) = call.json()["output"]
    assert (item["type"], item["name"], item["namespace"]) == ("function_call", "weather", "net")


async def test_item_20_events_of_a_response_come_in_their_order(door: Door) -> None:
    call = await door.ask(f'text="Let me look." {CALL}', path=RESPONSES, stream=True, tools=[TOOLS[RESPONSES]]).done()
    names = [name.removeprefix("response.") for name, _ in call.events]
    once = [name for at, name in enumerate(names) if at == 0 or names[at - 1] != name]
    # Calls are closed when the answer has ended: an engine may tell several at once.
    assert once == [
        *("created", "in_progress"),
        *("output_item.added", "content_part.added", "output_text.delta", "output_text.done", "content_part.done"),
        *("output_item.done", "output_item.added", "function_call_arguments.delta", "function_call_arguments.done"),
        *("output_item.done", "completed"),
    ]
    assert [data["sequence_number"] for _, data in call.events] == list(range(len(call.events)))
    assert call.events[-1][1]["response"]["usage"]["output_tokens"] > 0


async def test_item_20_failure_is_a_response_with_a_code(tmp_path: Path) -> None:
    async with front_door(tmp_path, context=256) as door:  # asleep: the head is out before the engine can refuse
        call = await post(door, RESPONSES, input="word " * 300, stream=True)
    name, data = call.events[-1]
    assert (name, data["response"]["status"]) == ("response.failed", "failed")
    assert data["response"]["error"]["code"] == "context_length_exceeded"


async def test_item_21_memory_is_refused_clearly_and_store_is_never_needed(door: Door) -> None:
    refused = await post(door, RESPONSES, input="hi", previous_response_id="resp_1")
    assert refused.status == 400
    assert "previous_response_id: responses are not kept here" in refused.json()["error"]["message"]
    for store in (True, False, None):
        answer = await door.ask("text=yes", path=RESPONSES, store=store).done()
        assert (answer.status, answer.json()["store"]) == (200, False)


async def test_item_21_format_of_text_becomes_one_that_the_engine_enforces(tmp_path: Path) -> None:
    form = {"type": "json_schema", "name": "place", "schema": SCHEMA, "strict": True}
    sent = await put_to_engine(tmp_path, RESPONSES, input="hi", text={"format": form})
    assert sent["response_format"]["json_schema"] == {"name": "place", "schema": SCHEMA, "strict": True}
