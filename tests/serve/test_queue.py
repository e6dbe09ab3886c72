"""More requests than an engine has slots: who waits, who goes first, what those hear who cannot wait."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from relight.clock import SystemClock
from tests.serve.client import CHAT, MESSAGES, Call, Door, front_door

LARGE = "word " * 2000
ONE: dict[str, Any] = {"parallel": 1}


async def holding(door: Door, script: str = "text=held stall=after:1", **more: Any) -> Call:
    """A request that has a slot, and keeps it until it leaves."""
    call = door.ask(script, stream=True, **more)
    await call.until_bytes(b"held")
    return call


async def until_waiting(door: Door, count: int) -> None:
    while (await door.status())["waiting"] != count:
        await door.get("/livez")


async def leave(*calls: Call) -> None:
    for call in calls:
        call.leave()
        await call.done()


@pytest.mark.parametrize("stream", [False, True])
async def test_second_request_waits_for_its_turn_and_says_so(tmp_path: Path, stream: bool) -> None:
    async with front_door(tmp_path, **ONE) as door:
        first = await holding(door)
        second = door.ask("text=mine", stream=stream)
        await until_waiting(door, 1)
        status = await door.status()
        await door.advance(3)
        await leave(first)
        await second.done()
    assert (status["state"], status["running"], status["waiting"]) == ("awake", 1, 1)
    assert status["wait_s"] == 2.0  # nothing was measured yet: a second for each turn
    assert (second.status, b"mine" in second.body) == (200, True)
    gone, served = (line["interaction"] for line in door.log.records)
    assert gone["error"] == "client_gone"
    assert served["timings"]["queue_ms"] == 3000.0
    assert served["timings"]["wake_ms"] == 0.0
    if not stream:
        assert second.headers["server-timing"].startswith("queue;dur=3000.0")


async def test_wait_is_part_of_the_queue_also_after_a_wake(tmp_path: Path) -> None:
    async with front_door(tmp_path, **ONE) as door:
        calls = [door.ask("text=held stall=after:1", stream=True) for _ in range(2)]
        await calls[0].until_bytes(b"held")
        await until_waiting(door, 1)
        await door.advance(2)
        await leave(calls[0])
        await calls[1].until_bytes(b"held")
        await leave(calls[1])
    assert door.log.records[1]["interaction"]["timings"]["queue_ms"] == 2000.0


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
async def test_waiting_stream_hears_a_sign_of_life_every_heartbeat(tmp_path: Path, path: str) -> None:
    async with front_door(tmp_path, **ONE, server={"heartbeat": "5s"}) as door:
        first = await holding(door)
        second = door.ask("text=mine", stream=True, path=path)
        await until_waiting(door, 1)
        await door.advance(10)
        assert len(second.parts) == 2
        await leave(first)
        await second.done()
        assert b"mine" in second.body


async def test_small_request_passes_a_large_one(tmp_path: Path) -> None:
    async with front_door(tmp_path, **ONE) as door:
        first = await holding(door)
        large = door.ask(f"text=large {LARGE}")
        await until_waiting(door, 1)
        small = door.ask("text=small")
        await until_waiting(door, 2)
        await leave(first)
        await large.done()
        await small.done()
    assert [line["interaction"]["id"] for line in door.log.records] == [
        call.headers["x-relight-interaction"] for call in (first, small, large)
    ]


async def test_full_queue_is_503_with_the_time_that_turns_take(tmp_path: Path) -> None:
    async with front_door(tmp_path, **ONE, queue_depth=1) as door:
        measured = await holding(door)
        await door.advance(30)
        await leave(measured)
        calls = [await holding(door), door.ask("text=mine")]
        await until_waiting(door, 1)
        assert (await door.status())["wait_s"] == 60.0
        refused = {path: await door.ask("text=late", path=path).done() for path in (CHAT, MESSAGES)}
        await leave(*calls)
    for call in refused.values():
        assert (call.status, call.json()["error"]["code"], call.headers["retry-after"]) == (503, "queue_full", "60")
    assert refused[MESSAGES].json()["error"]["type"] == "overloaded_error"
    assert door.log.records[1]["interaction"]["error"] == "queue_full"


async def test_turn_that_does_not_come_in_time_is_503(tmp_path: Path) -> None:
    async with front_door(tmp_path, **ONE, queue_timeout="20s", server={"heartbeat": "5s"}) as door:
        first = await holding(door)
        whole = door.ask("text=mine")
        stream = door.ask("text=mine", stream=True)
        await until_waiting(door, 2)
        await door.advance(20)
        await whole.done()
        await stream.done()
        assert (await door.status())["waiting"] == 0
        await leave(first)
    assert (whole.status, whole.json()["error"]["code"]) == (503, "queue_timeout")
    assert int(whole.headers["retry-after"]) >= 1
    assert "queue_timeout" in whole.json()["error"]["hint"]
    assert (stream.status, stream.events[-2][1]["error"]["reason"]) == (200, "queue_timeout")
    records = [line["interaction"] for line in door.log.records]
    assert [(record["error"], record.get("error_code")) for record in records[:2]] == [("queue_full", "queue_timeout")] * 2
    assert records[0]["timings"]["queue_ms"] == 20_000.0


@pytest.mark.parametrize("stream", [False, True])
async def test_client_that_leaves_while_it_waits_gives_its_place_back(tmp_path: Path, stream: bool) -> None:
    async with front_door(tmp_path, **ONE, queue_depth=1) as door:
        first = await holding(door)
        waiting = door.ask("text=mine", stream=stream)
        await until_waiting(door, 1)
        await leave(waiting)
        assert (await door.status())["waiting"] == 0
        again = door.ask("text=mine")
        await until_waiting(door, 1)
        await leave(first)
        assert (await again.done()).status == 200
        await door.until_busy(0)


@pytest.mark.parametrize("stream", [False, True])
async def test_crash_while_a_request_waits_leaves_it_to_the_next_engine(tmp_path: Path, stream: bool) -> None:
    async with front_door(tmp_path, **ONE, clock=SystemClock()) as door:
        first = await holding(door)
        waiting = door.ask("text=mine", stream=stream)
        await until_waiting(door, 1)
        pid = door.engine.pid
        os.kill(pid, signal.SIGKILL)
        await first.done()
        await waiting.done()
        assert door.engine.pid != pid
    assert (waiting.status, b"mine" in waiting.body) == (200, True)
    crashed, served = (line["interaction"] for line in door.log.records)
    assert crashed["error"] == "engine_crashed"
    assert "error" not in served


async def test_engine_that_sleeps_by_hand_lets_the_waiting_finish_on_the_next_one(tmp_path: Path) -> None:
    async with front_door(tmp_path, **ONE, server={"grace": "3s"}, clock=SystemClock()) as door:
        first = await holding(door)
        await door.get("/models/toy/sleep", "POST")
        waiting = door.ask("text=mine")
        await until_waiting(door, 1)
        await leave(first)
        assert (await waiting.done()).status == 200


async def test_small_requests_get_the_lowest_slot_and_large_ones_the_highest(tmp_path: Path) -> None:
    async with front_door(tmp_path, parallel=3) as door:
        large = await holding(door, f"text=held stall=after:1 {LARGE}")
        assert await door.busy_slots() == [2]
        small = await holding(door)
        assert await door.busy_slots() == [0, 2]
        translated = await holding(door, path=MESSAGES)
        assert await door.busy_slots() == [0, 1, 2]
        await leave(small)
        await door.until_busy(2)
        again = await holding(door)
        assert await door.busy_slots() == [0, 1, 2]
        await leave(large, translated, again)


async def test_count_of_tokens_needs_no_slot(tmp_path: Path) -> None:
    async with front_door(tmp_path, **ONE) as door:
        first = await holding(door)
        counted = await door.ask(path="/v1/messages/count_tokens").done()
        assert (await door.status())["running"] >= 1
        await leave(first)
    assert (counted.status, counted.json()) == (200, {"input_tokens": 1})


async def test_waiting_requests_of_one_key_do_not_keep_another_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from relight.access.keys import create

    keys = {name: create(name, "2026-11-22") for name in ("many", "few")}
    monkeypatch.setenv("TEST_KEYS", ",".join(str(entry) for _, entry in keys.values()))
    headers = {name: [(b"authorization", f"Bearer {text}".encode())] for name, (text, _) in keys.items()}
    async with front_door(tmp_path, **ONE, sections={"auth": {"keys": {"secret": "TEST_KEYS"}}}) as door:
        turns = door.app.front.models["toy"].runner
        first = await holding(door, headers=headers["many"])
        calls = []
        for number, who in enumerate(("many", "many", "few"), start=1):
            calls.append(door.ask(f"text={who}", headers=headers[who]))
            while turns.status().waiting != number:
                await door.get("/livez")
        await leave(first)
        for call in calls:
            await call.done()
    assert [line["interaction"]["key"] for line in door.log.records] == ["many", "few", "many", "many"]


# --- waiting for JSON


async def test_held_answer_is_white_space_and_then_the_answer(tmp_path: Path) -> None:
    async with front_door(tmp_path, **ONE, server={"hold_json": "60s", "heartbeat": "5s"}) as door:
        first = await holding(door)
        held = door.ask("text=mine")
        await until_waiting(door, 1)
        await door.advance(59)
        assert held.sent == []
        await door.advance(11)
        assert (held.status, held.body) == (200, b"   ")
        assert held.headers["content-type"] == "application/json"
        await leave(first)
        await held.done()
    assert held.json()["choices"][0]["message"]["content"] == "mine"
    assert "content-length" not in held.headers
    assert held.is_complete


@pytest.mark.parametrize("path", [CHAT, MESSAGES, "/api/chat"])
async def test_error_after_white_space_is_an_error_body_with_status_200(tmp_path: Path, path: str) -> None:
    server = {"hold_json": "10s", "heartbeat": "5s"}
    async with front_door(tmp_path, **ONE, server=server, args=("--load-forever",), wake_timeout="30s") as door:
        held = door.ask(path=path)
        await door.until_state("waking")
        await door.advance(30)
        await held.done()
    told = held.json()
    assert held.body.startswith(b"    ")
    assert (held.status, held.is_complete) == (200, True)
    assert (told if path == "/api/chat" else told["error"])["code"] == "wake_timeout"
    record = door.log.record()
    assert (record["error"], record["status"]) == ("wake_timeout", 200)


async def test_answer_that_comes_in_time_is_not_held(tmp_path: Path) -> None:
    async with front_door(tmp_path, server={"hold_json": "60s"}) as door:
        call = await door.ask("text=mine").done()
    assert int(call.headers["content-length"]) == len(call.body)
    assert call.json()["choices"][0]["message"]["content"] == "mine"


async def test_client_that_leaves_a_held_answer_frees_the_engine(tmp_path: Path) -> None:
    async with front_door(tmp_path, server={"hold_json": "1s"}) as door:
        held = door.ask("text=mine first=1h")
        await door.until_state("awake")
        await door.until_busy(1)
        await door.advance(2)
        assert held.body == b" "
        await leave(held)
        await door.until_busy(0)
    assert door.log.record()["error"] == "client_gone"
