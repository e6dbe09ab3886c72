"""Requests to a model that sleeps, wakes or failed to: who is held, who is refused, and what they hear meanwhile."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from relight.clock import ManualClock, SystemClock
from tests.serve.client import CHAT, MESSAGES, PATHS, RESPONSES, Door, front_door

FOREVER = ("--load-forever",)
QUIET = ("/livez", "/readyz", "/status", "/metrics", "/v1/models", "/v1/models/toy", "/")


@pytest.fixture
async def waking(tmp_path: Path) -> AsyncIterator[Door]:
    """An engine that never gets loaded."""
    async with front_door(tmp_path, args=FOREVER, wake_timeout="120s", queue_depth=2, server={"heartbeat": "5s"}) as door:
        yield door
    assert not door.log.unbalanced()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# --- while it wakes


@pytest.mark.parametrize("path", PATHS)
async def test_streaming_client_hears_a_comment_at_once(waking: Door, path: str) -> None:
    call = waking.ask(path=path, stream=True)
    await call.until_bytes(b"\n\n")
    assert call.status == 200
    assert call.headers["content-type"] == "text/event-stream"
    assert call.headers["x-relight-interaction"].startswith("int_")
    assert call.body.startswith(b": waking toy, about ")
    assert call.events == []
    call.leave()
    await call.done()


def is_heartbeat(path: str, name: str, data: Any) -> bool:
    if path == MESSAGES:
        return (name, data) == ("ping", {"type": "ping"})
    if path == RESPONSES:
        return (name, data) == ("keepalive", {"type": "keepalive"})
    expected = "text_completion" if path == "/v1/completions" else "chat.completion.chunk"
    return name == "" and data["choices"] == [] and data["object"] == expected and data["model"] == "toy"


@pytest.mark.parametrize("path", [path for path in PATHS if path != RESPONSES])
async def test_waking_stream_gets_a_data_event_every_heartbeat(waking: Door, path: str) -> None:
    call = waking.ask(path=path, stream=True)
    await call.until_bytes(b"\n\n")
    for beat in range(1, 7):
        await waking.advance(4.9)
        assert len(call.events) == beat - 1
        await waking.advance(0.1)
        assert len(call.events) == beat
    assert all(is_heartbeat(path, name, data) for name, data in call.events)
    call.leave()
    await call.done()


async def test_waking_responses_stream_gets_comments_and_after_100_s_keepalives(waking: Door) -> None:
    call = waking.ask(path=RESPONSES, stream=True)
    await call.until_bytes(b"\n\n")
    await waking.advance(99)
    assert call.events == []
    assert len(call.parts) == 1 + 19
    await waking.advance(1)
    assert [is_heartbeat(RESPONSES, *event) for event in call.events] == [True]
    call.leave()
    await call.done()


@pytest.mark.parametrize("path", [path for path in PATHS if path != RESPONSES])
@pytest.mark.parametrize("comments", ["", " comments=10ms"])
async def test_long_prefill_gets_a_data_event_every_heartbeat(tmp_path: Path, path: str, comments: str) -> None:
    """The engine's own comments must not pass for life: clients do not count them."""
    async with front_door(tmp_path, server={"heartbeat": "5s"}, native=(path,)) as door:
        await door.awake()
        call = door.ask(f"prefill=1h{comments}", path=path, stream=True)
        await door.until_busy(1)
        for beat in range(1, 4):
            await door.advance(4.9)
            seen = len(call.parts)
            if comments:
                await call.until(lambda call, seen=seen: len(call.parts) > seen)  # type: ignore[misc]
            await door.advance(0.1)
            assert len(call.events) == beat
        assert all(is_heartbeat(path, name, data) for name, data in call.events)
        call.leave()
        await call.done()
        await door.until_busy(0)


async def test_stalled_decode_gets_heartbeats_too(tmp_path: Path) -> None:
    async with front_door(tmp_path, server={"heartbeat": "5s"}) as door:
        call = door.ask("text=one stall=after:1", stream=True)
        await call.until_bytes(b'"one"')
        before = len(call.events)
        await door.advance(10)
        assert len(call.events) == before + 2
        call.leave()
        await call.done()


async def test_whole_answer_is_held_in_silence(waking: Door) -> None:
    call = waking.ask()
    await waking.until_state("waking")
    await waking.advance(119)
    assert call.sent == []
    call.leave()
    await call.done()


async def test_wake_timeout_is_503_with_retry_after_and_the_wake_goes_on(waking: Door) -> None:
    call = waking.ask()
    await waking.until_state("waking")
    await waking.advance(120)
    await call.done()
    assert (call.status, call.json()["error"]["code"]) == (503, "wake_timeout")
    assert int(call.headers["retry-after"]) >= 1
    assert await waking.state() == "waking"
    record = waking.log.record()
    assert (record["error"], record["status"], record["timings"]["wake_ms"]) == ("wake_timeout", 503, 120_000.0)


@pytest.mark.parametrize("path", PATHS)
async def test_wake_timeout_in_an_open_stream_is_the_dialects_error_event(waking: Door, path: str) -> None:
    call = waking.ask(path=path, stream=True)
    await call.until_bytes(b"\n\n")
    await waking.advance(120)
    await call.done()
    assert call.is_complete
    ends = [event for event in call.events if event[1] != "[DONE]"][-1]
    if path == MESSAGES:
        assert ends[0] == "error"
        assert ends[1]["error"]["type"] == "overloaded_error"
    elif path == RESPONSES:
        assert ends[0] == "response.failed"
        assert ends[1]["response"]["error"]["code"] == "wake_timeout"
    else:
        assert (ends[1]["error"]["code"], ends[1]["error"]["reason"]) == (503, "wake_timeout")
        assert call.events[-1] == ("", "[DONE]")
    assert waking.log.record()["status"] == 200


@pytest.mark.parametrize("stream", [False, True])
async def test_full_queue_is_refused_at_once(waking: Door, stream: bool) -> None:
    held = [waking.ask(), waking.ask(stream=True)]
    await held[1].until_bytes(b"\n\n")
    refused = await waking.ask(stream=stream).done()
    assert (refused.status, refused.json()["error"]["code"]) == (503, "queue_full")
    assert int(refused.headers["retry-after"]) >= 1
    for call in held:
        call.leave()
        await call.done()
    assert [line["interaction"]["error"] for line in waking.log.records] == ["queue_full", "client_gone", "client_gone"]


async def test_client_that_leaves_while_waking_gives_its_place_back_and_the_wake_goes_on(waking: Door) -> None:
    calls = [waking.ask(stream=stream) for stream in (False, True)]
    await waking.until_state("waking")
    for call in calls:
        call.leave()
        await call.done()
    status = waking.app.front.models["toy"].runner.status()
    assert (status.waiting, status.state) == (0, "waking")
    assert {line["interaction"]["status"] for line in waking.log.records} == {499}


async def test_concurrent_wakes_join_one_start(tmp_path: Path) -> None:
    async with front_door(tmp_path, args=("--load", "50ms"), parallel=8) as door:
        calls = [door.ask("text=yes", stream=bool(number % 2)) for number in range(8)]
        for call in calls:
            assert (await call.done()).status == 200
        assert len([note for note in door.log.notes() if "is awake" in note]) == 1


async def test_wake_and_its_length_are_in_the_headers_of_whoever_waited(tmp_path: Path) -> None:
    async with front_door(tmp_path, clock=SystemClock()) as door:
        first = await door.ask().done()
        second = await door.ask().done()
    assert float(first.headers["x-relight-wake-ms"]) > 0
    assert "wake;dur=" in first.headers["server-timing"]
    assert "x-relight-wake-ms" not in second.headers


# --- engines that do not wake


async def test_engine_that_crashes_at_load_is_a_typed_503_with_its_last_lines(tmp_path: Path) -> None:
    async with front_door(tmp_path, args=("--crash-at-load", "7")) as door:
        call = await door.ask().done()
        error = call.json()["error"]
        assert (call.status, error["code"], error["source"]) == (503, "engine_failed", "engine")
        assert "exited with code 7" in error["message"]
        assert "--crash-at-load: failed to load model" in error["message"]
        assert call.headers["retry-after"] == "1"
        ready = await door.get("/readyz")
        assert (ready.status, ready.body) == (503, b"failed: toy\n")


async def test_failed_engine_backs_off_then_wakes(tmp_path: Path) -> None:
    state = tmp_path / "state"
    async with front_door(tmp_path, args=("--fail-loads", "2", "--state", str(state))) as door:
        assert (await door.ask().done()).status == 503
        started = len(door.log.notes())
        again = await door.ask().done()
        assert (again.status, again.json()["error"]["code"]) == (503, "engine_failed")
        assert len(door.log.notes()) == started  # refused by the back-off: no second start
        await door.advance(1)
        second = await door.ask(stream=True).done()
        assert b"engine_failed" in second.body
        await door.advance(2)
        assert (await door.ask("text=back").done()).status == 200


# --- falling asleep


async def test_idle_engine_sleeps_frees_its_process_and_wakes_again(tmp_path: Path) -> None:
    async with front_door(tmp_path, idle_after="5m") as door:
        await door.ask().done()
        pid = door.engine.pid
        await door.advance(299)
        assert await door.state() == "awake"
        await door.advance(1)
        await door.app.front.models["toy"].runner._asleep.wait()
        assert await door.state() == "asleep"
        assert not is_alive(pid)
        assert (await door.ask("text=again").done()).status == 200
        assert door.engine.pid != pid


@pytest.mark.parametrize("path", QUIET)
async def test_looking_at_the_service_wakes_nothing(tmp_path: Path, path: str) -> None:
    async with front_door(tmp_path) as door:
        assert (await door.get(path)).status == 200
        assert await door.state() == "asleep"
        assert door.log.records == []


@pytest.mark.parametrize("path", QUIET)
async def test_looking_at_the_service_does_not_keep_it_awake(tmp_path: Path, path: str) -> None:
    async with front_door(tmp_path, idle_after="10s") as door:
        await door.awake()
        for _ in range(4):
            await door.advance(2.5)
            await door.get(path)
        assert await door.state() == "asleep"


async def test_wake_and_sleep_by_hand_answer_at_once_with_what_follows(tmp_path: Path) -> None:
    async with front_door(tmp_path) as door:
        woken = await door.get("/models/toy/wake", "POST")
        assert (woken.status, woken.json()["state"]) == (202, "waking")
        await door.until_state("awake")
        pid = door.engine.pid
        slept = await door.get("/models/toy/sleep", "POST")
        assert (slept.status, slept.json()["state"]) == (202, "asleep")
        await door.app.front.models["toy"].runner._asleep.wait()
        assert not is_alive(pid)
        assert door.log.records == []


async def test_sleep_by_hand_lets_a_running_answer_finish(tmp_path: Path) -> None:
    async with front_door(tmp_path) as door:
        call = door.ask("tokens=40 delay=5ms", stream=True)
        await call.until_bytes(b'"content":"')
        assert (await door.get("/models/toy/sleep", "POST")).json()["state"] == "draining"
        await call.done()
        assert call.events[-1] == ("", "[DONE]")
        await door.until_state("asleep")
        assert door.log.record()["status"] == 200
        assert "error" not in door.log.record()


async def test_answer_that_outlasts_the_grace_ends_with_an_error_event(tmp_path: Path) -> None:
    async with front_door(tmp_path, server={"grace": "3s"}) as door:
        call = door.ask("text=one stall=after:1", stream=True)
        await call.until_bytes(b'"one"')
        await door.get("/models/toy/sleep", "POST")
        await door.advance(3)
        await call.done()
        assert call.is_complete
        assert "error" in call.events[-2][1]
        assert await door.state() == "asleep"


async def test_request_while_draining_waits_for_the_next_engine(tmp_path: Path) -> None:
    async with front_door(tmp_path, server={"grace": "3s"}) as door:
        old = door.ask("text=one stall=after:1", stream=True)
        await old.until_bytes(b'"one"')
        pid = door.engine.pid
        await door.get("/models/toy/sleep", "POST")
        new = door.ask("text=fresh")
        await asyncio.sleep(0)
        await door.advance(3)
        await old.done()
        assert (await new.done()).status == 200
        assert door.engine.pid != pid


# --- the end of the server


async def test_stopping_server_refuses_new_requests_and_says_so(tmp_path: Path) -> None:
    async with front_door(tmp_path) as door:
        await door.app.stop()
        call = await door.ask(path=CHAT).done()
        assert (call.status, call.json()["error"]["code"]) == (503, "stopping")
        assert (await door.get("/readyz")).body == b"stopping\n"
        assert (await door.get("/livez")).status == 200


async def test_stopping_while_waking_tells_whoever_waits(waking: Door) -> None:
    whole, stream = waking.ask(), waking.ask(stream=True)
    await stream.until_bytes(b"\n\n")
    await waking.app.stop()
    assert (await whole.done()).json()["error"]["code"] == "stopping"
    assert b'"stopping"' in (await stream.done()).body


async def test_request_cancelled_by_a_stopping_server_ends_with_an_error_event(tmp_path: Path) -> None:
    async with front_door(tmp_path) as door:
        call = door.ask("text=one stall=after:1", stream=True)
        await call.until_bytes(b'"one"')
        door.app.front.is_stopping = True
        assert call.task is not None
        call.task.cancel()
        await call.done()
        assert call.is_complete
        assert call.events[-2][1]["error"]["reason"] == "stopping"
        await door.until_busy(0)


async def test_request_cancelled_by_its_host_program_closes_its_record_and_stays_cancelled(tmp_path: Path) -> None:
    async with front_door(tmp_path) as door:
        call = door.ask("text=one stall=after:1", stream=True)
        await call.until_bytes(b'"one"')
        assert call.task is not None
        call.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call.task
        assert not door.log.unbalanced()
        await door.until_busy(0)


async def test_lifespan_ends_the_engines(tmp_path: Path) -> None:
    async with front_door(tmp_path, clock=ManualClock()) as door:
        await door.awake()
        pid, folder = door.engine.pid, door.engine.socket.parent
        incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        said: list[str] = []

        async def send(message: Any) -> None:
            said.append(message["type"])

        for kind in ("lifespan.startup", "lifespan.shutdown"):
            incoming.put_nowait({"type": kind})
        await door.app({"type": "lifespan"}, incoming.get, send)
        assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
        assert not is_alive(pid)
        assert not folder.exists()


async def test_stalled_client_does_not_hold_up_a_server_that_has_run_out_of_patience(tmp_path: Path) -> None:
    async with front_door(tmp_path) as door:
        call = door.ask("tokens=100000", stream=True)
        await call.until_bytes(b'"content":')
        call.stall()
        door.app.front.is_stopping = True
        assert call.task is not None
        call.task.cancel()
        await call.done()
        assert not call.is_complete
        assert door.log.record()["error"] == "engine_failed"
        assert not door.log.unbalanced()


async def test_model_wakes_again_after_its_folder_of_sockets_was_cleaned_away(tmp_path: Path) -> None:
    async with front_door(tmp_path) as door:
        await door.awake()
        folder = door.engine.socket.parent
        await door.call("POST", "/models/toy/sleep").done()
        await door.until_state("asleep")
        shutil.rmtree(folder, ignore_errors=True)  # the engine may be taking its socket away just now
        assert (await door.ask("text=back").done()).status == 200


async def test_request_that_was_half_sent_when_the_server_stopped_wakes_nothing(tmp_path: Path) -> None:
    async with front_door(tmp_path) as door:
        call = door.call("POST", CHAT, None)
        call.feed(b'{"messages": [', more=True)
        await door.app.stop()
        call.feed(b"]}")
        assert (await call.done()).status == 503
        assert call.json()["error"]["code"] == "stopping"
        assert await door.state() == "asleep"
