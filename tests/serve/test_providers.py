"""A request that a provider answers: what it is sent, what its client hears, and what is written about it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.providers.stand_in import CHUNKED, KEY, Act, End, StandIn, answer, error, raw
from tests.serve.client import CHAT, MESSAGES, RESPONSES, Call, Door, front_door
from tests.serve.cloud import COST_USD, LAST, STREAM, begins, clouds, event, piece, provider, says, secret, streams, whole
from tests.serve.process import free_port

pytestmark = pytest.mark.usefixtures("secret")

OLLAMA = "/api/chat"
DIALECTS = (CHAT, MESSAGES, RESPONSES, OLLAMA)
ASKED: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 50}
CLIENTS_KEY = b"sk-client-9876543210"

__all__ = ["secret"]


def body(path: str, **more: Any) -> bytes:
    """The same question in the dialect of `path`."""
    asked = {**ASKED, **more}
    if path == RESPONSES:
        asked = {"input": "hi", **more}
    elif path == OLLAMA:
        asked.pop("max_tokens")
    elif path == "/v1/completions":
        asked = {"prompt": "hi", **more}
    return json.dumps(asked).encode()


def ask(door: Door, path: str = CHAT, **more: Any) -> Call:
    return door.call("POST", path, body(path, **{"stream": False, **more}))


def seen(peer: StandIn, number: int = 0) -> dict[str, Any]:
    """What the provider was sent."""
    sent: dict[str, Any] = json.loads(peer.seen[number].body)
    return sent


def error_of(call: Call, path: str) -> dict[str, Any]:
    """The error of a whole answer, whatever its dialect, with its message."""
    told = call.json()
    if path == OLLAMA:
        return {**told, "message": told["error"]}
    error: dict[str, Any] = told["error"]
    return error


# --- what is sent, and what comes back


@pytest.mark.parametrize("stream", [False, True])
async def test_chat_is_sent_with_our_key_and_their_name_and_with_nothing_of_the_client(tmp_path: Path, stream: bool) -> None:
    headers = [(b"authorization", b"Bearer " + CLIENTS_KEY), (b"x-api-key", CLIENTS_KEY), (b"cookie", CLIENTS_KEY)]
    async with clouds(tmp_path, cloud=(streams() if stream else says(),)) as (door, peers):
        await door.call("POST", CHAT, body(CHAT, stream=stream, model="cloud"), [*headers, (b"x-stainless-os", b"Linux")]).done()
    (sent,) = peers["cloud"].seen
    assert sent.path == CHAT
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert sent.headers["user-agent"].startswith("relight/")
    assert CLIENTS_KEY.decode() not in str(sent.headers)
    assert {"x-api-key", "cookie", "x-stainless-os"} & set(sent.headers) == set()
    assert seen(peers["cloud"])["model"] == "big-1"
    assert seen(peers["cloud"])["messages"] == ASKED["messages"]
    assert seen(peers["cloud"])["max_tokens"] == 50


async def test_whole_answer_passes_as_it_is_and_its_record_knows_tokens_and_cost(tmp_path: Path) -> None:
    async with clouds(tmp_path, cloud=(says(),)) as (door, peers):
        call = await ask(door).done()
    assert (call.status, call.json()) == (200, whole())
    assert call.headers["x-relight-model"] == "cloud"
    record = door.log.record()
    assert record["tokens"] == {"prompt": 1000, "cached": 400, "completion": 200}
    assert record["cost_usd"] == pytest.approx(COST_USD)
    assert (record["backend"], record["finish"]) == (f"127.0.0.1:{peers['cloud'].port}", "stop")
    assert "answered_by" not in record
    assert KEY.encode() not in b"".join(door.log.raw)


async def test_stream_of_a_client_that_asked_for_usage_passes_byte_for_byte(tmp_path: Path) -> None:
    async with clouds(tmp_path, cloud=(streams(),)) as (door, _):
        call = await ask(door, stream=True, stream_options={"include_usage": True}).done()
    assert call.body == b"".join(STREAM)
    assert call.headers["content-type"] == "text/event-stream"
    record = door.log.record()
    assert record["tokens"] == {"prompt": 1000, "cached": 400, "completion": 200}
    assert (record["cost_usd"], record["finish"]) == (pytest.approx(COST_USD), "stop")


@pytest.mark.parametrize("options", [{}, {"stream_options": {"include_usage": False}}, {"stream_options": None}])
async def test_usage_is_asked_for_and_kept_from_a_client_that_did_not(tmp_path: Path, options: dict[str, Any]) -> None:
    async with clouds(tmp_path, cloud=(streams(),)) as (door, peers):
        call = await ask(door, stream=True, **options).done()
    assert seen(peers["cloud"])["stream_options"] == {"include_usage": True}
    chunks = [data for _, data in call.events if data != "[DONE]"]
    assert [chunk["choices"][0]["delta"].get("content") for chunk in chunks] == ["", "from ", "afar", None]
    assert call.events[-1][1] == "[DONE]"
    assert door.log.record()["tokens"]["completion"] == 200
    assert door.log.record()["cost_usd"] == pytest.approx(COST_USD)


async def test_provider_without_a_price_costs_nothing_that_is_known(tmp_path: Path) -> None:
    async with StandIn(says()) as peer, front_door(tmp_path, models=(), others={"cloud": provider(peer)}) as door:
        assert (await ask(door).done()).status == 200
    assert "cost_usd" not in door.log.record()


async def test_prompt_of_any_size_is_the_providers_to_judge(tmp_path: Path) -> None:
    async with clouds(tmp_path, cloud=(says(),)) as (door, peers):
        assert (await ask(door, max_tokens=10_000_000).done()).status == 200
    assert seen(peers["cloud"])["max_tokens"] == 10_000_000


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/embeddings"])
async def test_what_providers_speak_beside_chat_goes_to_the_path_of_that_name(tmp_path: Path, path: str) -> None:
    given = {"object": "list", "data": [], "usage": {"prompt_tokens": 3, "total_tokens": 3}}
    async with clouds(tmp_path, cloud=(answer(200, json.dumps(given).encode()),)) as (door, peers):
        call = await door.call("POST", path, b'{"input": "hi", "prompt": "hi"}').done()
    assert (call.status, call.json()) == (200, given)
    assert peers["cloud"].seen[0].path == path
    assert seen(peers["cloud"]) == {"input": "hi", "prompt": "hi", "model": "big-1"}


# --- other dialects, over a provider that only chats


async def test_message_is_put_as_a_chat_and_told_as_a_message(tmp_path: Path) -> None:
    async with clouds(tmp_path, cloud=(says(),)) as (door, peers):
        call = await ask(door, MESSAGES, system="be brief").done()
    assert peers["cloud"].seen[0].path == CHAT
    assert seen(peers["cloud"])["messages"][0] == {"role": "system", "content": "be brief"}
    told = call.json()
    assert (told["type"], told["content"][0]["text"], told["stop_reason"]) == ("message", "from afar", "end_turn")
    assert told["model"] == "cloud"
    assert door.log.record()["cost_usd"] == pytest.approx(COST_USD)


async def test_response_is_put_as_a_chat_and_told_as_a_response(tmp_path: Path) -> None:
    async with clouds(tmp_path, cloud=(says(),)) as (door, peers):
        call = await ask(door, RESPONSES).done()
    assert peers["cloud"].seen[0].path == CHAT
    told = call.json()
    assert (told["object"], told["status"], told["model"]) == ("response", "completed", "cloud")
    assert told["output"][0]["content"][0]["text"] == "from afar"


async def test_ollama_chat_is_put_as_a_chat_and_told_as_ollama_does(tmp_path: Path) -> None:
    async with clouds(tmp_path, cloud=(says(),)) as (door, peers):
        call = await ask(door, OLLAMA).done()
    assert peers["cloud"].seen[0].path == CHAT
    told = call.json()
    assert (told["message"]["content"], told["done"], told["model"]) == ("from afar", True, "cloud")
    assert (told["prompt_eval_count"], told["eval_count"]) == (1000, 200)


async def test_streamed_message_has_its_events_and_the_usage_of_the_provider(tmp_path: Path) -> None:
    async with clouds(tmp_path, cloud=(streams(),)) as (door, peers):
        call = await ask(door, MESSAGES, stream=True).done()
    assert seen(peers["cloud"])["stream_options"] == {"include_usage": True}
    names = [name for name, _ in call.events]
    assert (names[0], names[-1]) == ("message_start", "message_stop")
    texts = [data["delta"]["text"] for name, data in call.events if name == "content_block_delta"]
    assert "".join(texts) == "from afar"
    assert next(data for name, data in call.events if name == "message_delta")["usage"]["output_tokens"] == 200
    assert door.log.record()["tokens"] == {"prompt": 1000, "cached": 400, "completion": 200}


async def test_streamed_response_has_its_events_and_the_usage_of_the_provider(tmp_path: Path) -> None:
    async with clouds(tmp_path, cloud=(streams(),)) as (door, _):
        call = await ask(door, RESPONSES, stream=True).done()
    names = [name for name, _ in call.events]
    assert (names[0], names[-1]) == ("response.created", "response.completed")
    assert call.events[-1][1]["response"]["usage"]["output_tokens"] == 200
    assert "".join(data["delta"] for name, data in call.events if name == "response.output_text.delta") == "from afar"


async def test_ollama_stream_is_the_default_and_is_lines(tmp_path: Path) -> None:
    async with clouds(tmp_path, cloud=(streams(),)) as (door, peers):
        call = await door.call("POST", OLLAMA, body(OLLAMA)).done()
    assert seen(peers["cloud"])["stream"] is True
    assert call.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in call.body.splitlines()]
    assert "".join(line["message"]["content"] for line in lines) == "from afar"
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]


@pytest.mark.parametrize(
    ("models", "hint"), [((), "no model of this service does"), (("toy",), "these do: toy")], ids=["nobody", "toy"]
)
async def test_count_of_tokens_at_a_provider_is_501_that_names_who_counts(
    tmp_path: Path, models: tuple[str, ...], hint: str
) -> None:
    async with clouds(tmp_path, models=models, cloud=()) as (door, peers):
        call = await ask(door, "/v1/messages/count_tokens", model="cloud").done()
        assert peers["cloud"].seen == []
    error = call.json()["error"]
    assert (call.status, error["code"], error["hint"]) == (501, "not_supported", hint)
    assert "/v1/messages/count_tokens" in error["message"]


# --- failures

OVERFLOWS = "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens."
NO_HTTP = raw(b"\x16\x03\x01 what is this\r\n\r\n", then="end")
HANGS_UP = raw(b"", then="reset")
FAILURES: dict[str, tuple[Act, int, str, str]] = {
    "400": (error(400, "no such thing"), 400, "provider_rejected", "provider_rejected"),
    "401": (error(401, f"wrong key {KEY}"), 502, "provider_rejected", "provider_rejected"),
    "403": (error(403, "not this region"), 502, "provider_rejected", "provider_rejected"),
    "404": (error(404, "no model big-1"), 502, "provider_rejected", "provider_rejected"),
    "429": (error(429, "slow down", retry_after="17"), 429, "provider_rejected", "provider_rejected"),
    "302": (answer(302, b"", location="https://elsewhere.example/"), 502, "provider_rejected", "provider_rejected"),
    "overflow": (error(400, OVERFLOWS, "context_length_exceeded"), 400, "context_length_exceeded", "context_overflow"),
    "filter": (error(400, "stopped", "content_filter"), 400, "content_filtered", "content_filtered"),
    "500": (error(500, "oh no"), 502, "provider_unavailable", "provider_unavailable"),
    "529": (error(529, "overloaded", retry_after="3"), 502, "provider_unavailable", "provider_unavailable"),
    "hangs-up": (HANGS_UP, 502, "provider_unavailable", "provider_unavailable"),
    "no-http": (NO_HTTP, 502, "provider_unavailable", "provider_unavailable"),
}


@pytest.mark.parametrize(
    ("failure", "path", "stream"),
    [
        *((failure, CHAT, False) for failure in FAILURES),
        *((failure, path, stream) for failure in ("401", "overflow", "500") for path in DIALECTS[1:] for stream in (False, True)),
        *((failure, CHAT, True) for failure in ("401", "429", "hangs-up", "no-http")),
    ],
)
async def test_failure_of_a_provider_is_typed_in_the_dialect(tmp_path: Path, failure: str, path: str, stream: bool) -> None:
    act, status, code, category = FAILURES[failure]
    async with clouds(tmp_path, cloud=(act,)) as (door, _):
        call = await ask(door, path, stream=stream).done()
    told = error_of(call, path)
    assert call.headers["content-type"] == "application/json"
    assert (call.status, told["code"], told["source"]) == (status, code, "provider")
    assert KEY not in call.body.decode()
    record = door.log.record()
    assert (record["error"], record["error_code"], record["status"]) == (category, code, status)
    assert "given_up" not in record
    assert "cost_usd" not in record
    assert KEY.encode() not in b"".join(door.log.raw)


@pytest.mark.parametrize("path", DIALECTS)
async def test_refusal_for_now_passes_on_when_to_come_again(tmp_path: Path, path: str) -> None:
    async with clouds(tmp_path, cloud=(FAILURES["429"][0],)) as (door, _):
        call = await ask(door, path).done()
    assert (call.status, call.headers["retry-after"]) == (429, "17")


async def test_words_of_a_provider_reach_the_client_and_not_the_log(tmp_path: Path) -> None:
    async with clouds(tmp_path, cloud=(error(400, "zebra is not a role"),)) as (door, _):
        call = await ask(door).done()
    assert "zebra" in call.json()["error"]["message"]
    assert b"zebra" not in b"".join(door.log.raw)


async def test_provider_that_is_not_there_is_502(tmp_path: Path) -> None:
    others = {"cloud": {"url": f"http://127.0.0.1:{free_port()}/v1", "retries": 0}}
    async with front_door(tmp_path, models=(), others=others) as door:
        call = await ask(door).done()
    told = call.json()["error"]
    assert (call.status, told["code"], told["source"]) == (502, "provider_unavailable", "provider")
    assert "models.cloud.url" in told["hint"]


@pytest.mark.parametrize("stream", [False, True])
async def test_provider_that_does_not_begin_is_504_and_left(tmp_path: Path, stream: bool) -> None:
    async with StandIn(End.silence) as peer:
        cloud = provider(peer, first_byte_timeout="50ms")
        async with front_door(tmp_path, models=(), others={"cloud": cloud}) as door:
            call = await ask(door, stream=stream).done()
            await peer.ends[0].left.wait()
    assert (call.status, call.json()["error"]["code"]) == (504, "provider_timeout")
    assert door.log.record()["error"] == "provider_timeout"


async def test_provider_that_fails_for_a_moment_is_asked_again(tmp_path: Path) -> None:
    peer = StandIn(error(503, "busy", retry_after="2"), says())
    async with peer, front_door(tmp_path, models=(), others={"cloud": provider(peer, retries=1)}) as door:
        call = ask(door)
        await peer.arrived.get()
        while len(peer.seen) < 2:
            await door.advance(1)
        await call.done()
    assert call.json()["choices"][0]["message"]["content"] == "from afar"
    assert "given_up" not in door.log.record()


@pytest.mark.parametrize("path", DIALECTS)
async def test_stream_that_breaks_off_ends_with_the_error_of_its_dialect(tmp_path: Path, path: str) -> None:
    async with clouds(tmp_path, cloud=(begins(*STREAM[:2], then="reset"),)) as (door, _):
        call = await ask(door, path, stream=True).done()
    assert (call.status, call.is_complete) == (200, True)
    assert b"from " in call.body
    assert b'"provider_unavailable"' in call.body.splitlines(keepends=True)[-1 if path == OLLAMA else -4 if path == CHAT else -2]
    record = door.log.record()
    assert (record["error"], record["status"]) == ("provider_unavailable", 200)


@pytest.mark.parametrize("usage", [False, True], ids=["filtered", "untouched"])
async def test_error_event_in_a_providers_stream_is_the_providers(tmp_path: Path, usage: bool) -> None:
    said = event({"error": {"message": "overloaded", "type": "server_error"}})
    async with clouds(tmp_path, cloud=(streams(piece(content="from"), said),)) as (door, _):
        call = await ask(door, stream=True, stream_options={"include_usage": usage}).done()
    assert b"overloaded" in call.body
    assert door.log.record()["error"] == "provider_unavailable"


@pytest.mark.parametrize("path", [MESSAGES, RESPONSES, OLLAMA])
async def test_answer_that_is_not_json_is_the_providers_failure(tmp_path: Path, path: str) -> None:
    async with clouds(tmp_path, cloud=(answer(200, b"<html>hello</html>", content_type="text/html"),)) as (door, _):
        call = await ask(door, path).done()
    told = error_of(call, path)
    assert (call.status, told["code"], told["source"]) == (502, "provider_unavailable", "provider")


async def test_whole_answer_to_a_stream_is_the_providers_failure(tmp_path: Path) -> None:
    async with clouds(tmp_path, cloud=(says(),)) as (door, _):
        call = await ask(door, stream=True).done()
    assert (call.status, call.json()["error"]["source"]) == (502, "provider")


# --- clients that leave


@pytest.mark.parametrize("path", DIALECTS)
async def test_client_that_leaves_a_stream_closes_the_providers_connection(tmp_path: Path, path: str) -> None:
    async with clouds(tmp_path, cloud=(begins(*STREAM[:2]),)) as (door, peers):
        call = ask(door, path, stream=True)
        await call.until_bytes(b"from ")
        call.leave()
        await call.done()
        await peers["cloud"].ends[0].left.wait()
    record = door.log.record()
    assert (record["error"], record["status"]) == ("client_gone", 499)


async def test_client_that_leaves_before_the_answer_closes_the_providers_connection(tmp_path: Path) -> None:
    async with clouds(tmp_path, cloud=(End.silence,)) as (door, peers):
        call = ask(door)
        end = await peers["cloud"].arrived.get()
        call.leave()
        await call.done()
        await end.left.wait()
    assert door.log.record()["error"] == "client_gone"


async def test_silent_provider_is_bridged_by_heartbeats(tmp_path: Path) -> None:
    async with clouds(tmp_path, cloud=(begins(piece(content="from")),), more={"server": {"heartbeat": "5s"}}) as (door, _):
        call = ask(door, stream=True)
        await call.until_bytes(b"from")
        before = len(call.events)
        await door.advance(10)
        assert len(call.events) == before + 2
        assert LAST not in call.body
        call.leave()
        await call.done()


# --- a stop


@pytest.mark.parametrize("stream", [False, True])
async def test_answer_of_a_provider_has_the_grace_of_a_stop(tmp_path: Path, stream: bool) -> None:
    async with clouds(tmp_path, cloud=(End.silence,)) as (door, peers):
        call = ask(door, stream=stream)
        end = await peers["cloud"].arrived.get()
        door.app.announce_stop()
        stopping = asyncio.create_task(door.app.stop())
        await door.advance(7.9)
        assert not stopping.done()
        if stream:
            end.send(CHUNKED)
            for one in (*STREAM, b""):
                end.chunk(one)
        else:
            await says()(end)
        await call.done()
        await door.advance(0)
        await stopping
    assert call.status == 200
    assert "1 running get up to" in door.log.notes()[0]
    assert door.log.record().get("error") is None


async def test_answer_of_a_provider_that_outlives_the_grace_is_told_so(tmp_path: Path) -> None:
    async with clouds(tmp_path, cloud=(End.silence,)) as (door, peers):
        call = ask(door)
        await peers["cloud"].arrived.get()
        stopping = asyncio.create_task(door.app.stop())
        await door.advance(8.1)
        await call.done()
        await stopping
    assert (call.status, call.json()["error"]["code"]) == (503, "stopping")


# --- a stream that only seems to end


@pytest.mark.parametrize("path", DIALECTS)
async def test_stream_that_ends_without_a_reason_is_not_an_answer(tmp_path: Path, path: str) -> None:
    async with clouds(tmp_path, cloud=(streams(*STREAM[:3]),)) as (door, _):
        call = await ask(door, path, stream=True).done()
    record = door.log.record()
    assert record["error"] == "provider_unavailable"
    assert b"before the answer was complete" in call.body
