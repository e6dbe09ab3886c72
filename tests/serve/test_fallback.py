"""Several who may answer: in what order they are asked, when the next one is, and what is written about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from relight.clock import SystemClock
from tests.providers.stand_in import Act, End, error, raw
from tests.serve.client import CHAT, MESSAGES, Call, Door, request_body
from tests.serve.cloud import STREAM, begins, clouds, piece, says, secret, streams

pytestmark = pytest.mark.usefixtures("secret")

BEST = {"best": {"fallback": ["first", "second"]}}
OVERFLOWS = "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens."

__all__ = ["secret"]


async def first_half(end: End) -> None:
    """Half an answer in one piece, and the connection is closed."""
    end.send(b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{"choices": [')
    end.writer.close()


MOVES_ON: dict[str, tuple[Act, str]] = {
    "401": (error(401, "wrong key"), "provider_rejected"),
    "403": (error(403, "not here"), "provider_rejected"),
    "404": (error(404, "no such model"), "provider_rejected"),
    "429": (error(429, "slow down", retry_after="9"), "provider_rejected"),
    "overflow": (error(400, OVERFLOWS, "context_length_exceeded"), "context_length_exceeded"),
    "500": (error(500, "oh no"), "provider_unavailable"),
    "hangs-up": (raw(b"", then="reset"), "provider_unavailable"),
    "half": (first_half, "provider_unavailable"),
}
STAYS: dict[str, tuple[Act, str]] = {
    "400": (error(400, "role: should be user"), "provider_rejected"),
    "422": (error(422, "tools: not a list"), "provider_rejected"),
    "filter": (error(400, "stopped", "content_filter"), "content_filtered"),
}


def ask(door: Door, *, path: str = CHAT, script: str = "text=home", **more: Any) -> Call:
    return door.ask(script, path=path, **{"model": "best", **more})


def text(call: Call) -> str:
    """What was answered to a chat, whole or streamed."""
    if call.headers["content-type"] == "text/event-stream":
        chunks = [data for _, data in call.events if data != "[DONE]" and data["choices"]]
        return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
    said: str = call.json()["choices"][0]["message"]["content"]
    return said


# --- lists


@pytest.mark.parametrize("stream", [False, True])
async def test_first_of_a_list_answers_when_it_can(tmp_path: Path, stream: bool) -> None:
    first = streams() if stream else says()
    async with clouds(tmp_path, lists=BEST, first=(first,), second=()) as (door, peers):
        call = await ask(door, stream=stream).done()
        assert peers["second"].seen == []
    assert (call.status, text(call), call.headers["x-relight-model"]) == (200, "from afar", "first")
    record = door.log.record()
    assert (record["model"], record["answered_by"]) == ("best", "first")
    assert "given_up" not in record


@pytest.mark.parametrize("failure", [name for name in MOVES_ON if name != "half"])
async def test_next_streams_when_the_one_before_fails(tmp_path: Path, failure: str) -> None:
    act, code = MOVES_ON[failure]
    async with clouds(tmp_path, lists=BEST, first=(act,), second=(streams(),)) as (door, _):
        call = await ask(door, stream=True).done()
    assert (call.status, text(call), call.headers["x-relight-model"]) == (200, "from afar", "second")
    record = door.log.record()
    assert (record["answered_by"], record["given_up"]) == ("second", [{"model": "first", "error": code}])


@pytest.mark.parametrize("failure", MOVES_ON)
async def test_next_answers_when_the_one_before_fails(tmp_path: Path, failure: str) -> None:
    act, code = MOVES_ON[failure]
    async with clouds(tmp_path, lists=BEST, first=(act,), second=(says(),)) as (door, peers):
        call = await ask(door).done()
    assert (call.status, text(call), call.headers["x-relight-model"]) == (200, "from afar", "second")
    record = door.log.record()
    assert (record["answered_by"], record["given_up"]) == ("second", [{"model": "first", "error": code}])
    assert record["backend"] == f"127.0.0.1:{peers['second'].port}"
    assert "error" not in record
    assert record["cost_usd"] > 0


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("failure", STAYS)
async def test_request_that_is_at_fault_itself_is_not_asked_of_the_next(tmp_path: Path, failure: str, stream: bool) -> None:
    act, code = STAYS[failure]
    async with clouds(tmp_path, lists=BEST, first=(act,), second=(says(),)) as (door, peers):
        call = await ask(door, stream=stream).done()
        assert peers["second"].seen == []
    assert call.json()["error"]["code"] == code
    assert call.headers["x-relight-model"] == "first"
    assert "given_up" not in door.log.record()


async def test_last_failure_is_told_when_nobody_answers(tmp_path: Path) -> None:
    slow = error(429, "slow down", retry_after="9")
    async with clouds(tmp_path, lists=BEST, first=(error(500, "oh no"),), second=(slow,)) as (door, _):
        call = await ask(door).done()
    assert (call.status, call.headers["retry-after"]) == (429, "9")
    assert call.headers["x-relight-model"] == "second"
    record = door.log.record()
    assert record["given_up"] == [{"model": "first", "error": "provider_unavailable"}]
    assert (record["error"], record["answered_by"]) == ("provider_rejected", "second")


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
async def test_stream_that_has_begun_is_never_taken_over(tmp_path: Path, path: str) -> None:
    begun = begins(*STREAM[:2], then="reset")
    async with clouds(tmp_path, lists=BEST, first=(begun,), second=(streams(),)) as (door, peers):
        call = await ask(door, path=path, stream=True).done()
        assert peers["second"].seen == []
    assert b"provider_unavailable" in call.body
    assert call.is_complete
    assert "given_up" not in door.log.record()


async def test_silence_broken_by_heartbeats_is_not_a_begun_answer(tmp_path: Path) -> None:
    async with clouds(tmp_path, lists=BEST, first=(End.silence,), second=(streams(),)) as (door, peers):
        call = ask(door, stream=True)
        end = await peers["first"].arrived.get()
        await door.advance(5)
        await call.until(lambda call: len(call.events) == 1)
        end.reset()
        await call.done()
    assert text(call) == "from afar"
    assert door.log.record()["given_up"] == [{"model": "first", "error": "provider_unavailable"}]


async def test_list_of_lists_asks_everyone_once(tmp_path: Path) -> None:
    lists = {"best": {"fallback": ["cheap", "first"]}, "cheap": {"fallback": ["first", "second"]}}
    down = error(500, "no")
    async with clouds(tmp_path, lists=lists, first=(down, says()), second=(down,)) as (door, peers):
        call = await ask(door).done()
    assert call.status == 502
    assert [len(peers[name].seen) for name in ("first", "second")] == [1, 1]


# --- lists with a model of ours


@pytest.mark.parametrize("stream", [False, True])
async def test_provider_answers_for_an_engine_that_cannot_start(tmp_path: Path, stream: bool) -> None:
    cloud = streams() if stream else says()
    lists = {"best": {"fallback": ["toy", "cloud"]}}
    settings = {"args": ("--crash-at-load", "3")}
    async with clouds(tmp_path, models=("toy",), lists=lists, more=settings, cloud=(cloud,)) as (door, _):
        call = await ask(door, stream=stream).done()
    assert (call.status, text(call)) == (200, "from afar")
    record = door.log.record()
    assert (record["answered_by"], record["given_up"]) == ("cloud", [{"model": "toy", "error": "engine_failed"}])
    if not stream:
        assert call.headers["x-relight-model"] == "cloud"


async def test_provider_answers_for_an_engine_that_crashes_before_its_first_word(tmp_path: Path) -> None:
    lists = {"best": {"fallback": ["toy", "cloud"]}}
    async with clouds(tmp_path, models=("toy",), lists=lists, more={"clock": SystemClock()}, cloud=(says(),)) as (door, _):
        call = await ask(door, script="crash=after:1").done()
        refused = await ask(door, script="status=400").done()
    assert text(call) == "from afar"
    assert refused.json()["error"]["code"] == "engine_rejected"
    assert door.log.records[0]["interaction"]["given_up"] == [{"model": "toy", "error": "engine_crashed"}]


async def test_engine_answers_for_a_provider_that_is_down(tmp_path: Path) -> None:
    lists = {"best": {"fallback": ["cloud", "toy"]}}
    async with clouds(tmp_path, models=("toy",), lists=lists, cloud=(error(500, "no"), error(500, "no"))) as (door, _):
        whole = await ask(door).done()
        message = await ask(door, path=MESSAGES).done()
    assert (text(whole), whole.headers["x-relight-model"]) == ("home", "toy")
    assert message.json()["content"][0]["text"] == "home"
    records = [line["interaction"] for line in door.log.records]
    assert [record["answered_by"] for record in records] == ["toy", "toy"]
    assert "cost_usd" not in records[0]


async def test_what_only_one_of_a_list_speaks_is_asked_of_that_one(tmp_path: Path) -> None:
    lists = {"best": {"fallback": ["cloud", "toy"]}}
    async with clouds(tmp_path, models=("toy",), lists=lists, cloud=()) as (door, peers):
        call = await ask(door, path="/v1/messages/count_tokens", script="").done()
        assert peers["cloud"].seen == []
    assert (call.status, call.json()) == (200, {"input_tokens": 1})
    assert door.log.record()["answered_by"] == "toy"


# --- bridges


@pytest.mark.parametrize("stream", [False, True])
async def test_bridge_answers_at_once_and_the_next_request_is_the_models_own(tmp_path: Path, stream: bool) -> None:
    cloud = streams() if stream else says()
    async with clouds(tmp_path, models=("toy",), more={"bridge": "cloud"}, cloud=(cloud,)) as (door, peers):
        bridged = await ask(door, model="toy", stream=stream).done()
        await door.until_state("awake")
        own = await ask(door, model="toy", stream=stream).done()
        assert len(peers["cloud"].seen) == 1
    assert (text(bridged), bridged.headers["x-relight-model"]) == ("from afar", "cloud")
    assert (text(own), own.headers["x-relight-model"]) == ("home", "toy")
    first, second = (line["interaction"] for line in door.log.records)
    assert (first["model"], first["answered_by"]) == ("toy", "cloud")
    assert "given_up" not in first
    assert first["timings"]["wake_ms"] == 0
    assert "answered_by" not in second


async def test_bridged_wake_goes_on_while_the_bridge_answers(tmp_path: Path) -> None:
    settings = {"bridge": "cloud", "args": ("--load-forever",)}
    async with clouds(tmp_path, models=("toy",), more=settings, cloud=(begins(piece(content="x")), says())) as (door, _):
        call = ask(door, model="toy", stream=True)
        await call.until_bytes(b'"x"')
        assert await door.state() == "waking"
        again = await ask(door, model="toy").done()
        assert again.headers["x-relight-model"] == "cloud"
        call.leave()
        await call.done()
        assert await door.state() == "waking"


@pytest.mark.parametrize("stream", [False, True])
async def test_model_answers_after_its_wake_when_its_bridge_is_down(tmp_path: Path, stream: bool) -> None:
    async with clouds(tmp_path, models=("toy",), more={"bridge": "cloud"}, cloud=(error(500, "no"),)) as (door, _):
        call = await ask(door, model="toy", stream=stream).done()
    assert (call.status, text(call)) == (200, "home")
    record = door.log.record()
    assert record["given_up"] == [{"model": "cloud", "error": "provider_unavailable"}]
    assert "answered_by" not in record


async def test_bridge_that_does_not_speak_the_dialect_is_no_bridge(tmp_path: Path) -> None:
    async with clouds(tmp_path, models=("toy",), more={"bridge": "cloud"}, cloud=()) as (door, peers):
        body = request_body("", path=MESSAGES, model="toy")
        call = await door.call("POST", "/v1/messages/count_tokens", body).done()
        assert peers["cloud"].seen == []
    assert json.loads(call.body) == {"input_tokens": 1}
