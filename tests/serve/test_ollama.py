"""Ollama's routes, judged by its official client: over the scripted engine, asleep and awake."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import ollama
import pytest

from tests.serve.client import Call, Door, front_door
from tests.serve.cloud import clouds, secret

__all__ = ["secret"]


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with front_door(tmp_path, idle_after="5m") as door:
        yield door
        assert not door.log.unbalanced()


@pytest.fixture
async def client(door: Door) -> ollama.AsyncClient:
    return client_of(door)


def client_of(door: Door) -> ollama.AsyncClient:
    return ollama.AsyncClient(host="http://127.0.0.1:11434", transport=httpx.ASGITransport(door.app))


def say(script: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"#script {script}"}]


def lines(call: Call) -> list[dict[str, Any]]:
    return [json.loads(line) for line in call.body.splitlines()]


async def post(door: Door, path: str, **asked: Any) -> Call:
    return await door.call("POST", path, json.dumps(asked).encode()).done()


# --- answers


async def test_chat_streams_unless_told_not_to(door: Door) -> None:
    call = await post(door, "/api/chat", model="toy", messages=say("text='one'"))
    told = lines(call)
    assert (call.status, call.headers["content-type"]) == (200, "application/x-ndjson")
    assert "".join(line["message"]["content"] for line in told) == "'one'"
    assert [line["done"] for line in told] == [False] * (len(told) - 1) + [True]
    record = door.log.record()
    assert (record["dialect"], record["stream"], record["tokens"]["completion"]) == ("ollama-chat", True, 1)


async def test_chat_is_read_whole_and_in_pieces(door: Door, client: ollama.AsyncClient) -> None:
    whole = await client.chat(model="toy", messages=say("tokens=7"))
    assert len((whole.message.content or "").split()) == 7
    assert (whole.model, whole.done, whole.done_reason, whole.eval_count) == ("toy", True, "stop", 7)
    parts = [part async for part in await client.chat(model="toy:latest", messages=say("tokens=7 finish=length"), stream=True)]
    assert "".join(part.message.content or "" for part in parts) == whole.message.content
    assert (parts[-1].done_reason, parts[-1].eval_count) == ("length", 7)
    assert parts[-1].prompt_eval_count is not None


async def test_tool_calls_and_thoughts_are_read(client: ollama.AsyncClient) -> None:
    asked = say('reasoning="Hm, Paris." tool=get_weather args={"city": "Paris"}')
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}}}
    answer = await client.chat(model="toy", messages=asked, tools=[tool], think=True)
    assert answer.message.thinking == "Hm, Paris."
    (call,) = answer.message.tool_calls or ()
    assert (call.function.name, call.function.arguments) == ("get_weather", {"city": "Paris"})
    streamed = [part async for part in await client.chat(model="toy", messages=asked, tools=[tool], think=True, stream=True)]
    calls = [call for part in streamed for call in part.message.tool_calls or ()]
    assert [call.function.arguments for call in calls] == [{"city": "Paris"}]
    assert "".join(part.message.thinking or "" for part in streamed) == "Hm, Paris."


async def test_generate_is_read_whole_and_in_pieces(door: Door, client: ollama.AsyncClient) -> None:
    whole = await client.generate(model="toy", prompt="#script tokens=5", system="be brief")
    assert (len((whole.response or "").split()), whole.done_reason) == (5, "stop")
    parts = [part async for part in await client.generate(model="toy", prompt="#script tokens=5", stream=True)]
    assert "".join(part.response or "" for part in parts) == whole.response
    assert {line["interaction"]["dialect"] for line in door.log.records} == {"ollama-generate"}


async def test_texts_become_vectors(client: ollama.AsyncClient) -> None:
    two = await client.embed(model="toy", input=["one", "two"])
    one = await client.embeddings(model="toy", prompt="one")
    assert len(two.embeddings) == 2
    assert list(two.embeddings[0]) == list(one.embedding)
    assert two.embeddings[0] != two.embeddings[1]
    assert two.prompt_eval_count is not None


async def test_vectors_come_in_one_piece_of_json(door: Door) -> None:
    for path, asked in (("/api/embed", {"input": "one"}), ("/api/embeddings", {"prompt": "one"})):
        call = await post(door, path, model="toy", **asked)
        assert (call.status, call.headers["content-type"]) == (200, "application/json")
    assert [line["interaction"]["stream"] for line in door.log.records] == [False, False]
    assert [line["interaction"]["tokens"] for line in door.log.records] == [{"prompt": 1}, {"prompt": 1}]


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
async def test_waking_stream_gets_lines_that_say_nothing(tmp_path: Path, path: str) -> None:
    async with front_door(tmp_path, args=("--load-forever",), wake_timeout="20s", server={"heartbeat": "5s"}) as door:
        call = door.call("POST", path, json.dumps({"messages": say(""), "prompt": "hi"}).encode())
        await door.until_state("waking")
        await door.advance(19)
        heard = lines(call)
        await door.advance(1)
        await call.done()
    assert len(heard) == 3
    assert all(line["done"] is False and line["model"] == "toy" for line in heard)
    assert lines(call)[-1]["code"] == "wake_timeout"
    assert isinstance(lines(call)[-1]["error"], str)


# --- settings


async def test_context_that_fits_is_taken_and_a_larger_one_refused(door: Door, client: ollama.AsyncClient) -> None:
    assert (await client.chat(model="toy", messages=say("text=ok"), options={"num_ctx": 8192})).message.content == "ok"
    with pytest.raises(ollama.ResponseError, match=r"options\.num_ctx: .* 8192 tokens, got 8193") as caught:
        await client.chat(model="toy", messages=say("text=ok"), options={"num_ctx": 8193})
    assert caught.value.status_code == 400
    assert door.log.records[1]["interaction"]["error"] == "invalid_request"


async def test_length_and_stops_are_kept(client: ollama.AsyncClient) -> None:
    cut = await client.chat(model="toy", messages=say("tokens=50"), options={"num_predict": 3})
    assert (cut.eval_count, cut.done_reason) == (3, "length")
    stopped = await client.generate(model="toy", prompt='#script text="one two three"', options={"stop": ["two"]})
    assert (stopped.response or "").strip() == "one"


@pytest.mark.parametrize(
    ("option", "says"), [("temprature", 'did you mean "temperature"'), ("num_gpu", "cannot be set by a request")]
)
async def test_option_that_means_nothing_here_is_refused_by_name(door: Door, option: str, says: str) -> None:
    call = await post(door, "/api/chat", model="toy", messages=say("text=ok"), options={option: 1})
    assert (call.status, call.json()["code"]) == (400, "invalid_request")
    assert option in call.json()["error"]
    assert says in call.json()["error"] + call.json().get("hint", "")
    assert await door.state() == "asleep"


async def test_unknown_model_is_the_clients_own_error(door: Door, client: ollama.AsyncClient) -> None:
    with pytest.raises(ollama.ResponseError, match='there is no "nonesuch"') as caught:
        await client.chat(model="nonesuch", messages=say(""))
    assert caught.value.status_code == 404


# --- waking, and sleeping


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
async def test_request_that_asks_nothing_wakes_and_sleeps(door: Door, path: str) -> None:
    woken = lines(await post(door, path, model="toy"))
    assert [(line["done"], line["done_reason"]) for line in woken] == [(True, "load")]
    assert await door.state() == "awake"
    slept = lines(await post(door, path, model="toy", keep_alive=0))
    assert [(line["done"], line["done_reason"]) for line in slept] == [(True, "unload")]
    await door.until_state("asleep")


async def test_client_wakes_and_sleeps_a_model(door: Door, client: ollama.AsyncClient) -> None:
    assert (await client.generate(model="toy")).done_reason == "load"
    assert [model.model for model in (await client.ps()).models] == ["toy"]
    assert (await client.generate(model="toy", keep_alive=0)).done_reason == "unload"
    await door.until_state("asleep")
    assert (await client.ps()).models == []


async def test_model_sleeps_after_the_answer_that_asks_for_it(door: Door, client: ollama.AsyncClient) -> None:
    answer = await client.chat(model="toy", messages=say("text=bye"), keep_alive=0)
    assert (answer.message.content, answer.done) == ("bye", True)
    assert answer.load_duration is not None
    assert answer.load_duration > 0 or await door.state() == "asleep"
    await door.until_state("asleep")


async def test_model_that_another_uses_does_not_sleep_after_an_answer(door: Door, client: ollama.AsyncClient) -> None:
    other = door.ask("prefill=1h", stream=True)
    await door.until_state("awake")
    await door.until_busy(1)
    await client.chat(model="toy", messages=say("text=bye"), keep_alive=0)
    assert await door.state() == "awake"
    other.leave()
    await other.done()


async def test_model_that_another_uses_is_not_unloaded(door: Door, client: ollama.AsyncClient) -> None:
    other = door.ask("prefill=1h", stream=True)
    await door.until_state("awake")
    await door.until_busy(1)
    assert (await client.generate(model="toy", keep_alive=0)).done_reason == "unload"
    assert await door.state() == "awake"
    other.leave()
    await other.done()


async def test_load_that_fails_is_told(tmp_path: Path) -> None:
    async with front_door(tmp_path, args=("--crash-at-load", "3")) as door:
        with pytest.raises(ollama.ResponseError, match="exited with code 3") as caught:
            await client_of(door).generate(model="toy")
        assert caught.value.status_code == 503


@pytest.mark.parametrize("keep_alive", [None, 0])
@pytest.mark.usefixtures("secret")
async def test_provider_is_always_awake_and_not_asked_for_nothing(tmp_path: Path, keep_alive: int | None) -> None:
    async with clouds(tmp_path, cloud=()) as (door, peers):
        answer = await client_of(door).generate(model="cloud", keep_alive=keep_alive)
        assert peers["cloud"].seen == []
    assert (answer.done, answer.done_reason) == (True, "load" if keep_alive is None else "unload")


# --- what is there


async def test_models_are_listed_and_shown(door: Door, client: ollama.AsyncClient) -> None:
    (model,) = (await client.list()).models
    assert model.model == "toy"
    shown = await client.show("toy:latest")
    assert shown.capabilities == ["completion", "tools", "embedding"]
    assert shown.parameters == "num_ctx 8192"
    assert 8192 in (shown.modelinfo or {}).values()
    with pytest.raises(ollama.ResponseError, match="nonesuch"):
        await client.show("nonesuch")
    assert await door.state() == "asleep"
    assert door.log.records == []


@pytest.mark.parametrize("field", ["model", "name"])
async def test_show_takes_the_name_from_either_field(door: Door, field: str) -> None:
    assert (await post(door, "/api/show", **{field: "toy"})).status == 200


async def test_version_is_told(door: Door) -> None:
    call = await door.get("/api/version")
    assert set(call.json()) == {"version"}
    assert call.json()["version"].count(".") == 2
