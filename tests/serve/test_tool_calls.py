"""Through the whole server: calls that a model wrote as text run in every dialect, and broken histories do not brick one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from relight.serve.pipe import Sifted
from relight.wire.never_empty import NeverEmpty
from relight.wire.tool_check import toolset
from relight.wire.tool_text import TextCalls
from tests.providers.stand_in import StandIn, answer
from tests.serve.client import CHAT, MESSAGES, RESPONSES, Call, Door, front_door
from tests.serve.cloud import LAST, clouds, event, piece, provider, says, secret, streams, whole
from tests.serve.test_never_empty import EMPTY, engine
from tests.wire.tool_cases import CASES, TOOLS, Case, J

__all__ = ["secret"]

OLLAMA = "/api/chat"
DIALECTS = (CHAT, MESSAGES, RESPONSES, OLLAMA)
SCHEMA = {"type": "object", "properties": {"q": {"type": "string"}, "n": {"type": "integer"}}, "required": ["q"]}
CHAT_TOOL = {"type": "function", "function": {"name": "look", "parameters": SCHEMA}}
TOOL = {
    CHAT: CHAT_TOOL,
    OLLAMA: CHAT_TOOL,
    MESSAGES: {"name": "look", "input_schema": SCHEMA},
    RESPONSES: {"type": "function", "name": "look", "parameters": SCHEMA},
}
HERMES = f"<tool_call>\n{J}\n</tool_call>"
UNICODE = '<tool_call>\n{"name": "look", "arguments": {"q": "Grüße 世界 👩‍🚀", "n": "5"}}\n</tool_call>'


def script(text: str, more: str = "chunk=5") -> str:
    return f"{more} text={json.dumps(text)}"


async def ask(door: Door, text: str, path: str = CHAT, *, stream: bool, more: str = "chunk=5", **body: Any) -> Call:
    return await door.ask(script(text, more), path=path, stream=stream, **({"tools": [TOOL[path]]} | body)).done()


def told(call: Call, path: str, *, stream: bool) -> tuple[str, list[tuple[str, Any]], Any]:
    """The text, the calls, and why it ended."""
    if path == OLLAMA:
        return _ollama(call)
    if path == MESSAGES:
        return _messages(_streamed_message(call) if stream else call.json())
    if path == RESPONSES:
        return _response(call.events[-1][1]["response"] if stream else call.json())
    return _chat(_streamed_chat(call) if stream else call.json()["choices"][0])


def _chat(choice: dict[str, Any]) -> tuple[str, list[tuple[str, Any]], Any]:
    calls = [
        (one["function"]["name"], json.loads(one["function"]["arguments"])) for one in choice["message"].get("tool_calls") or ()
    ]
    return choice["message"]["content"] or "", calls, choice["finish_reason"]


def _streamed_chat(call: Call) -> dict[str, Any]:
    message: dict[str, Any] = {"content": "", "tool_calls": []}
    finish = None
    for _, data in call.events:
        for choice in data["choices"] if data != "[DONE]" else ():
            message["content"] += choice["delta"].get("content") or ""
            finish = choice["finish_reason"] or finish
            for one in choice["delta"].get("tool_calls", ()):
                if "id" in one:
                    assert one["index"] == len(message["tool_calls"])
                    message["tool_calls"].append(json.loads(json.dumps(one)))
                else:
                    message["tool_calls"][one["index"]]["function"]["arguments"] += one["function"]["arguments"]
    assert call.events[-1][1] == "[DONE]"
    return {"message": message, "finish_reason": finish}


def _messages(message: dict[str, Any]) -> tuple[str, list[tuple[str, Any]], Any]:
    text = "".join(block["text"] for block in message["content"] if block["type"] == "text")
    calls = [(block["name"], block["input"]) for block in message["content"] if block["type"] == "tool_use"]
    return text, calls, message["stop_reason"]


def _streamed_message(call: Call) -> dict[str, Any]:
    blocks: list[dict[str, Any]] = []
    stop = None
    for name, data in call.events:
        if name == "content_block_start":
            blocks.append({**data["content_block"], "partial": ""})
        elif name == "content_block_delta":
            blocks[-1]["text"] = blocks[-1].get("text", "") + data["delta"].get("text", "")
            blocks[-1]["partial"] += data["delta"].get("partial_json", "")
        elif name == "message_delta":
            stop = data["delta"]["stop_reason"]
    for block in blocks:
        block["input"] = json.loads(block["partial"] or "{}")
    assert call.events[-1][0] == "message_stop"
    return {"content": blocks, "stop_reason": stop}


def _response(response: dict[str, Any]) -> tuple[str, list[tuple[str, Any]], Any]:
    text = "".join(part["text"] for item in response["output"] if item["type"] == "message" for part in item["content"])
    calls = [(item["name"], json.loads(item["arguments"])) for item in response["output"] if item["type"] == "function_call"]
    return text, calls, response["status"]


def _ollama(call: Call) -> tuple[str, list[tuple[str, Any]], Any]:
    lines = [json.loads(line) for line in call.body.splitlines() if line.strip()]
    calls = [one["function"] for line in lines for one in line["message"].get("tool_calls") or ()]
    text = "".join(line["message"].get("content") or "" for line in lines)
    return text, [(one["name"], one["arguments"]) for one in calls], lines[-1]["done_reason"]


ENDS = {CHAT: "tool_calls", MESSAGES: "tool_use", RESPONSES: "completed", OLLAMA: "stop"}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", DIALECTS)
@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        (HERMES, ("", [("look", {"q": "zebra"})])),
        (f"Let me look.\n\n{HERMES}\n{HERMES}", ("Let me look.", [("look", {"q": "zebra"})] * 2)),
        (UNICODE, ("", [("look", {"q": "Grüße 世界 👩‍🚀", "n": 5})])),
        (f"```json\n{J}\n```", ("", [("look", {"q": "zebra"})])),
        ("<function=look>\n<parameter=q>\n世界\n</parameter>\n</function>", ("", [("look", {"q": "世界"})])),
    ],
    ids=["Hermes", "two behind words", "characters of many bytes", "fence", "coder"],
)
async def test_call_that_is_written_as_text_is_told_as_one(
    tmp_path: Path, path: str, stream: bool, text: str, becomes: tuple[str, list[Any]]
) -> None:
    async with front_door(tmp_path) as door:
        call = await ask(door, text, path, stream=stream)
    assert (call.status, call.is_complete) == (200, True)
    got_said, got_calls, ends = told(call, path, stream=stream)
    assert (got_said.strip(), got_calls) == becomes
    assert ends == ENDS[path]
    record = door.log.record()
    assert sum(record["mended"].values()) == len(got_calls)
    assert "error" not in record
    assert record["finish"] == "tool_calls"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", DIALECTS)
@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>{"name": "rm", "arguments": {}}</tool_call>',
        '{"name": "look", "arguments": {}}',
        f"Write `{HERMES[:11]}…` for example: a < b, {{x}}, [1].",
        '{"name": "look", "description": "finds"}',
        "Grüße, 世界! 👩‍🚀 <b>bold</b>",
    ],
)
async def test_text_that_is_no_call_stays_text(tmp_path: Path, path: str, stream: bool, text: str) -> None:
    async with front_door(tmp_path) as door:
        call = await ask(door, text, path, stream=stream)
    assert told(call, path, stream=stream)[:2] == (text, [])


@pytest.mark.parametrize("size", [1, 2, 3, 50, 1000])
async def test_it_does_not_matter_how_the_engine_cuts_its_bytes(tmp_path: Path, size: int) -> None:
    async with front_door(tmp_path) as door:
        call = await ask(door, f"世界\n{UNICODE}", stream=True, more=f"chunk={size}")
    assert told(call, CHAT, stream=True) == ("世界\n", [("look", {"q": "Grüße 世界 👩‍🚀", "n": 5})], "tool_calls")


async def test_usage_stands_behind_the_call(tmp_path: Path) -> None:
    async with front_door(tmp_path) as door:
        call = await ask(door, HERMES, stream=True, stream_options={"include_usage": True})
    *chunks, usage, done = [data for _, data in call.events]
    assert done == "[DONE]"
    assert usage["usage"]["completion_tokens"] > 0
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert door.log.record()["tokens"]["completion"] > 0


def sifted(data: list[bytes]) -> Call:
    """What a client gets of an engine's bytes, with nothing else between."""
    passage = Sifted(TextCalls(lambda: toolset(TOOLS), {}), NeverEmpty(), adds_usage=True)
    body = b"".join([passage.feed(one) for one in data]) + passage.finish()
    return Call(sent=[{}, {"body": body}])


def as_bytes(text: str) -> bytes:
    pieces = (piece(content=text[at : at + 4]) for at in range(0, len(text), 4))
    return b"".join((piece(role="assistant", content=""), *pieces, b": still here\n\n", piece("stop"), LAST, event(b"[DONE]")))


# In all others at every byte as well, but all at once: where characters are cut is tried out in tests/wire.
CUT_EVERYWHERE = ("hermes with characters of many bytes", "fence behind words", "words")


@pytest.mark.parametrize("case", [case for case in CASES if case.text.strip() and not case.is_cut], ids=lambda case: case.name)
def test_stream_may_be_cut_at_every_byte(case: Case) -> None:
    data = as_bytes(case.text)
    whole_call = told(sifted([data]), CHAT, stream=True)
    assert whole_call == (case.rest, list(case.calls), "tool_calls" if case.calls else "stop")
    assert told(sifted([data[at : at + 1] for at in range(len(data))]), CHAT, stream=True) == whole_call
    every = 1 if case.name in CUT_EVERYWHERE else max(1, len(data) // 8)
    for at in range(1, len(data), every):
        assert told(sifted([data[:at], data[at:]]), CHAT, stream=True) == whole_call


# --- what is left alone


SCRIPTS = (
    'text="plain words, and a < b" tokens=20',
    "unicode=1 chunk=1",
    'reasoning="let me see" text=done',
    'tool=look args={"q": "zebra \\n"} tool=again args={} chunk=7',
    'text="I look." tool=look args="{\\"q\\":"',
    "tokens=30 chunk=7",
    script('{"answer": 42}\n```json\n{"name": "my-package"}\n```\n', "chunk=3"),
)


@pytest.mark.parametrize("script", SCRIPTS)
async def test_answer_without_a_written_call_is_the_engines_byte_for_byte(tmp_path: Path, script: str) -> None:
    async with front_door(tmp_path) as door:
        await door.awake()
        streamed, whole_body = await door.direct(script), await door.direct(script, stream=False)
    in_pieces = [streamed[at : at + 100] for at in range(0, len(streamed), 100)]
    acts = (streams(streamed), streams(*in_pieces), answer(200, whole_body, content_type="application/json"))
    async with engine(tmp_path, *acts) as (door, _):
        await door.awake()
        for _ in range(2):
            call = await door.ask(stream=True, tools=[CHAT_TOOL]).done()
            assert call.body == streamed
        call = await door.ask(tools=[CHAT_TOOL]).done()
        assert call.body == whole_body
    assert all("mended" not in line["interaction"] for line in door.log.records)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "body",
    [
        {"tools": []},
        {"tools": None},
        {"tool_choice": "none"},
        {"response_format": {"type": "json_object"}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}}},
        {"grammar": 'root ::= "a"'},
    ],
    ids=str,
)
async def test_nothing_is_looked_for_where_nothing_may_be_called(tmp_path: Path, stream: bool, body: dict[str, Any]) -> None:
    async with front_door(tmp_path) as door:
        call = await ask(door, J, stream=stream, **body)
    assert told(call, CHAT, stream=stream) == (J, [], "stop")


@pytest.mark.parametrize("stream", [False, True])
async def test_request_without_tools_is_not_read_for_calls(tmp_path: Path, stream: bool) -> None:
    async with front_door(tmp_path) as door:
        call = await door.ask(script(HERMES), stream=stream).done()
    assert told(call, CHAT, stream=stream) == (HERMES, [], "stop")


# --- together with the rest


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES])
async def test_only_one_call_is_told_where_only_one_is_allowed(tmp_path: Path, path: str, stream: bool) -> None:
    single: dict[str, Any] = (
        {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}
        if path == MESSAGES
        else {"parallel_tool_calls": False}
    )
    async with front_door(tmp_path) as door:
        call = await ask(door, f"{HERMES}\n{HERMES}", path, stream=stream, **single)
    assert told(call, path, stream=stream)[1] == [("look", {"q": "zebra"})]
    assert door.log.record()["mended"] == {"marked_calls": 1, "calls_beyond_one": 1}


@pytest.mark.parametrize("stream", [False, True])
async def test_forced_call_is_the_grammars_and_not_looked_for(tmp_path: Path, stream: bool) -> None:
    async with front_door(tmp_path) as door:
        call = await ask(door, '{"q": "zebra"}', stream=stream, tool_choice="required")
    assert told(call, CHAT, stream=stream)[1] == [("look", {"q": "zebra"})]
    assert "mended" not in door.log.record()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", [CHAT, MESSAGES])
async def test_call_in_thoughts_alone_is_an_answer_and_not_asked_for_again(tmp_path: Path, path: str, stream: bool) -> None:
    async with front_door(tmp_path) as door:
        call = await door.ask(
            f'empty=0 text="" reasoning={json.dumps(HERMES)}', path=path, stream=stream, tools=[TOOL[path]]
        ).done()
    assert told(call, path, stream=stream)[1] == [("look", {"q": "zebra"})]
    assert door.log.record()["mended"] == {"thought_calls": 1}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", DIALECTS)
async def test_call_in_the_second_answer_is_told_as_well(tmp_path: Path, path: str, stream: bool) -> None:
    words = (piece(role="assistant", content=""), piece(content=HERMES), piece("stop"), LAST, event(b"[DONE]"))
    acts = (streams(*EMPTY), streams(*words)) if stream else (says(""), says(HERMES))
    async with engine(tmp_path, *acts) as (door, peer):
        call = await door.ask(path=path, stream=stream, tools=[TOOL[path]]).done()
    assert len(peer.seen) == 2
    assert told(call, path, stream=stream)[1] == [("look", {"q": "zebra"})]


async def test_engine_that_fails_in_the_middle_of_a_call_is_told(tmp_path: Path) -> None:
    async with front_door(tmp_path) as door:
        call = await ask(door, HERMES, stream=True, more="drop=after:2")
    assert "error" in call.events[-2][1]
    assert door.log.record()["error"] == "engine_crashed"


@pytest.mark.parametrize(
    ("mend", "is_called"),
    [
        (None, True),
        (["all"], True),
        (["calls"], True),
        (["-bare_calls"], True),
        (["history"], False),
        ([], False),
        (["-marked_calls"], False),
    ],
)
async def test_mendings_are_chosen_by_the_model(tmp_path: Path, mend: list[str] | None, is_called: bool) -> None:
    more: dict[str, Any] = {} if mend is None else {"mend": mend}
    async with front_door(tmp_path, **more) as door:
        call = await ask(door, HERMES, stream=True)
    assert bool(told(call, CHAT, stream=True)[1]) is is_called


# --- providers


@pytest.mark.usefixtures("secret")
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("mend", [None, ["all"]])
async def test_providers_answer_is_mended_only_where_that_is_asked_for(
    tmp_path: Path, mend: list[str] | None, stream: bool
) -> None:
    words = (piece(role="assistant", content=""), piece(content=HERMES), piece("stop"), LAST, event(b"[DONE]"))
    act = streams(*words) if stream else says(HERMES)
    async with StandIn(act) as peer:
        other = provider(peer, **({} if mend is None else {"mend": mend}))
        async with front_door(tmp_path, models=(), others={"far": other}) as door:
            call = await door.ask(stream=stream, tools=[CHAT_TOOL], model="far").done()
    assert bool(told(call, CHAT, stream=stream)[1]) is (mend is not None)
    assert b'"usage": {' not in call.body or not stream
    assert door.log.record()["tokens"]["completion"] == 200


# --- the way in


def sent(peer: StandIn) -> list[dict[str, Any]]:
    return [json.loads(seen.body) for seen in peer.seen]


BROKEN = [
    {"role": "user", "content": "hi"},
    {
        "role": "assistant",
        "tool_calls": [{"function": {"name": "look", "arguments": '{"q": "ze'}}, {"id": 5, "function": {"name": "look"}}],
    },
    {"role": "user", "content": "and?"},
    {"role": "tool", "content": "late", "tool_call_id": "nobody"},
    {"role": "assistant", "content": "a"},
    {"role": "assistant", "content": "b"},
]


async def test_broken_history_is_whole_when_the_engine_gets_it_and_counted(tmp_path: Path) -> None:
    async with engine(tmp_path, says("ok")) as (door, peer):
        call = await door.call("POST", CHAT, json.dumps({"messages": BROKEN, "tools": [CHAT_TOOL]}).encode()).done()
    assert call.status == 200
    (chat,) = sent(peer)
    roles = [message["role"] for message in chat["messages"]]
    assert roles == ["user", "assistant", "tool", "tool", "user", "user", "assistant"]
    counted = door.log.record()["mended"]
    assert counted == {
        "call_shapes": 1,
        "call_arguments": 2,
        "call_ids": 2,
        "lone_results": 1,
        "call_results": 2,
        "last_answers": 1,
    }
    metrics = (await door.get("/metrics")).body.decode()
    assert 'relight_mended_total{model="toy",what="call_results"} 2.0' in metrics


async def test_broken_history_is_left_where_the_model_says_so(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "hi"}, {"role": "tool", "content": "late", "tool_call_id": "nobody"}]
    async with front_door(tmp_path, mend=["calls"]) as door:
        call = await door.call("POST", CHAT, json.dumps({"messages": messages, "max_tokens": 9}).encode()).done()
    assert call.status == 200
    assert "mended" not in door.log.record()


REFUSED = json.dumps(
    {
        "error": {
            "code": 400,
            "message": "Unable to generate parser for this template. Error: Jinja Exception: roles must alternate",
            "type": "x",
        }
    }
).encode()
REFUSES = answer(400, REFUSED, content_type="application/json")


@pytest.mark.parametrize("path", DIALECTS[:2])
@pytest.mark.parametrize("stream", [False, True])
async def test_order_that_the_template_refuses_is_told_in_turns(tmp_path: Path, path: str, stream: bool) -> None:
    messages = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    act = streams() if stream else says()
    async with engine(tmp_path, REFUSES, act) as (door, peer):
        body = {"messages": messages, "stream": stream, "max_tokens": 9}
        call = await door.call("POST", path, json.dumps(body).encode()).done()
    assert (call.status, call.is_complete) == (200, True)
    first, second = sent(peer)
    assert [message["content"] for message in second["messages"]] == ["hi", "a\n\nb", "c"]
    assert {**first, "messages": 0} == {**second, "messages": 0}
    assert door.log.record()["mended"] == {"template_roles": 1}


async def test_template_that_takes_no_system_message_gets_none(tmp_path: Path) -> None:
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "hi"}]
    async with engine(tmp_path, REFUSES, REFUSES, says()) as (door, peer):
        call = await door.call("POST", CHAT, json.dumps({"messages": messages}).encode()).done()
    assert call.status == 200
    assert sent(peer)[2]["messages"] == [{"role": "user", "content": "s\n\nhi"}]


async def test_template_that_refuses_everything_is_told_after_three_times(tmp_path: Path) -> None:
    async with engine(tmp_path, REFUSES, REFUSES, REFUSES) as (door, peer):
        call = await door.ask().done()
    assert (call.status, len(peer.seen)) == (400, 3)
    assert "roles must alternate" in call.json()["error"]["message"]
    assert door.log.record()["error"] == "invalid_request"


async def test_other_refusals_are_told_at_once(tmp_path: Path) -> None:
    act = answer(400, b'{"error": {"code": 400, "message": "no such sampler", "type": "x"}}', content_type="application/json")
    async with engine(tmp_path, act) as (door, peer):
        call = await door.ask().done()
    assert (call.status, len(peer.seen)) == (400, 1)


@pytest.mark.usefixtures("secret")
async def test_list_of_models_counts_the_mendings_of_who_answered(tmp_path: Path) -> None:
    lists = {"best": {"fallback": ["far", "near"]}}
    async with clouds(tmp_path, lists=lists, far=(answer(500, b"{}", content_type="application/json"),), near=(says(),)) as (
        door,
        _,
    ):
        call = await door.call("POST", CHAT, json.dumps({"model": "best", "messages": BROKEN[:1]}).encode()).done()
    assert call.json() == whole()
    assert "mended" not in door.log.record()
