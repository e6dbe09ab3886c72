"""What is written about each interaction: once, whole, and nothing that must stay secret."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from relight.clock import ManualClock, SystemClock
from relight.telemetry.interaction import session_of
from tests.serve.client import CHAT, PATHS, Door, front_door

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PHASES = ("queue_ms", "mode_ms", "wake_ms", "restore_ms", "prefill_ms", "decode_ms")


async def _all_endings(door: Door) -> None:
    """One request of every kind of ending that needs no waiting."""
    for script in ("text=fine", "status=500", "status=400", "tokens=9 drop=after:3", "tokens=9 garbage=after:3", "empty=1"):
        for stream in (False, True):
            await door.ask(script, stream=stream).done()
    await door.ask(model="nonesuch").done()
    await door.call("POST", CHAT, b"{").done()
    gone = door.ask("prefill=1h", stream=True)
    await door.until_busy(1)
    gone.leave()
    await gone.done()
    await door.ask("crash=after:1", stream=True).done()


async def test_every_record_is_opened_once_and_closed_once_and_its_phases_add_up(tmp_path: Path) -> None:
    async with front_door(tmp_path, clock=SystemClock()) as door:
        await _all_endings(door)
    assert len(door.log.records) == 16
    assert door.log.unbalanced() == set()
    for line in door.log.records:
        timings = line["interaction"]["timings"]
        # Each is rounded to a microsecond by itself.
        assert sum(timings[phase] for phase in PHASES) == pytest.approx(timings["total_ms"], abs=0.004)
        assert timings["total_ms"] > 0
        assert line["interaction"]["status"] >= 200


async def test_phases_say_where_the_time_went(tmp_path: Path) -> None:
    async with front_door(tmp_path, args=("--load-forever",), wake_timeout="7s") as door:
        call = door.ask()
        await door.until_state("waking")
        await door.advance(7)
        await call.done()
    timings = door.log.record()["timings"]
    assert (timings["wake_ms"], timings["total_ms"], timings["prefill_ms"]) == (7000.0, 7000.0, 0.0)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("stream", [False, True])
async def test_tokens_and_finish_are_those_of_the_answer(tmp_path: Path, path: str, stream: bool) -> None:
    async with front_door(tmp_path) as door:
        await door.ask("tokens=7 cached=2 finish=length", path=path, stream=stream).done()
    record = door.log.record()
    assert record["tokens"] == {"prompt": 4, "cached": 2, "completion": 7}
    assert record["finish"] == "length"
    assert record["stream"] is stream
    assert (record["model"], record["backend"], record["service"]) == ("toy", "scripted", "test")


@pytest.mark.parametrize("stream", [False, True])
async def test_nothing_that_was_said_is_written_by_default(tmp_path: Path, stream: bool) -> None:
    async with front_door(tmp_path) as door:
        await door.ask('text="zebra crossing"', stream=stream).done()
    assert b"zebra" not in b"".join(door.log.raw)
    assert "content" not in door.log.record()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", PATHS)
async def test_full_content_holds_request_and_reply(tmp_path: Path, path: str, stream: bool) -> None:
    async with front_door(tmp_path, log={"content": "full"}) as door:
        await door.ask('text="zebra at jane@example.org"', path=path, stream=stream).done()
    content = door.log.record()["content"]
    assert "zebra at jane@example.org" in json.dumps(content["request"]).replace('\\"', '"')
    assert content["reply"] == "zebra at jane@example.org"


async def test_redacted_content_keeps_words_and_stars_addresses(tmp_path: Path) -> None:
    async with front_door(tmp_path, log={"content": "redacted"}) as door:
        await door.ask('text="zebra at jane@example.org"').done()
    content = door.log.record()["content"]
    assert "zebra" in content["reply"]
    assert b"jane@example.org" not in b"".join(door.log.raw)


async def test_secrets_of_the_request_are_nowhere_in_the_log(tmp_path: Path) -> None:
    secret = b"sk-very-secret-1234567890"
    headers = [
        (b"authorization", b"Bearer " + secret),
        (b"x-api-key", secret),
        (b"cookie", b"session=" + secret),
    ]
    async with front_door(tmp_path, log={"content": "full"}) as door:
        for script in ("text=x", "status=500", "crash=after:0"):
            await door.ask(script, headers=headers).done()
        await door.ask(model="nonesuch", headers=headers).done()
    assert len(door.log.records) == 4
    assert secret not in b"".join(door.log.raw)


@pytest.mark.parametrize(
    ("header", "value", "sampled"),
    [
        (b"traceparent", f"00-{TRACE}-00f067aa0ba902b7-01", True),
        (b"traceparent", f"00-{TRACE}-00f067aa0ba902b7-00", False),
        (b"x-cloud-trace-context", f"{TRACE}/{0x00F067AA0BA902B7};o=1", True),
    ],
)
async def test_trace_of_the_caller_is_on_every_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, header: bytes, value: str, sampled: bool
) -> None:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "my-project")
    async with front_door(tmp_path) as door:
        await door.ask(headers=[(header, value.encode())]).done()
    of_request = [line for line in door.log.lines if "interaction" in line or "opened" in line]
    assert len(of_request) == 2
    for line in of_request:
        assert line["logging.googleapis.com/trace"] == f"projects/my-project/traces/{TRACE}"
        assert line["logging.googleapis.com/spanId"] == "00f067aa0ba902b7"
        assert line["logging.googleapis.com/trace_sampled"] is sampled


@pytest.mark.parametrize("value", [b"", b"00-zz-yy-01", b"00-" + b"0" * 32 + b"-00f067aa0ba902b7-01", b"\xff\xfe"])
async def test_malformed_trace_is_ignored(tmp_path: Path, value: bytes) -> None:
    async with front_door(tmp_path) as door:
        assert (await door.ask(headers=[(b"traceparent", value)]).done()).status == 200
    assert not any("trace" in key for line in door.log.lines for key in line)


async def test_platforms_names_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K_SERVICE", "assistant")
    monkeypatch.setenv("K_REVISION", "assistant-00007-abc")
    async with front_door(tmp_path) as door:
        await door.ask().done()
    record = door.log.record()
    assert (record["service"], record["revision"]) == ("assistant", "assistant-00007-abc")


async def test_session_and_agent_are_kept_and_cut(tmp_path: Path) -> None:
    async with front_door(tmp_path) as door:
        await door.ask(headers=[(b"x-session-id", b"s" * 100), (b"user-agent", b"curl/8")]).done()
    (line,) = door.log.records
    assert line["interaction"]["session"] == session_of("s" * 100)  # longer than any identifier: its digest
    assert line["httpRequest"]["userAgent"] == "curl/8"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", PATHS)
async def test_headers_name_the_interaction_the_model_and_the_timing(tmp_path: Path, path: str, stream: bool) -> None:
    async with front_door(tmp_path) as door:
        await door.awake()
        call = await door.ask("prefill=1ms", path=path, stream=stream).done()
    assert call.headers["x-relight-interaction"] == door.log.record()["id"]
    assert call.headers["x-relight-model"] == "toy"
    assert call.headers["server-timing"].startswith("queue;dur=")
    if not stream:
        assert "prefill;dur=" in call.headers["server-timing"]


async def test_metrics_count_what_the_records_say(tmp_path: Path) -> None:
    async with front_door(tmp_path, clock=ManualClock()) as door:
        await door.ask("tokens=7").done()
        await door.ask("status=500").done()
        text = (await door.get("/metrics")).body.decode()
    assert 'relight_requests_total{dialect="chat",error="",model="toy",status="200"} 1.0' in text
    assert 'relight_requests_total{dialect="chat",error="engine_failed",model="toy",status="503"} 1.0' in text
    assert 'relight_tokens_total{kind="completion",model="toy"} 7.0' in text
    assert 'relight_wake_seconds_count{model="toy"} 1.0' in text
    assert 'relight_engine_state{model="toy",state="awake"} 1.0' in text


async def test_unknown_model_names_do_not_become_metrics(tmp_path: Path) -> None:
    async with front_door(tmp_path) as door:
        for number in range(5):
            await door.ask(model=f"guess-{number}").done()
        text: Any = (await door.get("/metrics")).body.decode()
    assert "guess" not in text
