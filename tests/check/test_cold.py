"""The wait for the first word: whether clients are kept through it, by times that no test waits for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import pytest
from aiohttp import web

from relight.check.chat import Chat
from relight.check.cold import judge, wait_of
from relight.check.events import Chunk
from relight.check.examination import Examination, Target
from relight.check.messages import Messages
from relight.check.question import Tongue
from relight.check.unit import Settings
from relight.check.verdict import Report, Status
from tests.check.broken_server import serving
from tests.check.examined import Hurried

COMMENT = b": waking\n\n"
EMPTY = b'data: {"choices": []}\n\n'
WORD = b'data: {"choices": [{"index": 0, "delta": {"content": "OK"}}]}\n\n'
PING = b'event: ping\ndata: {"type": "ping"}\n\n'
TEXT = b'event: content_block_delta\ndata: {"type": "content_block_delta", "delta": {"text": "OK"}}\n\n'
GAP_S = 20.0


def judged(tongue: Tongue, dialect: str, chunks: Sequence[Chunk], head_at: float) -> Status:
    wait = wait_of(tongue, chunks, head_at)
    assert wait is not None
    return judge(dialect, wait, GAP_S).status


@pytest.mark.parametrize(
    ("head_at", "chunks", "status"),
    [
        (0.1, [(0.5, WORD)], Status.UNSURE),
        (0.1, [(15.0, EMPTY), (30.0, EMPTY), (45.0, WORD)], Status.PASS),
        (0.1, [(15.0, COMMENT), (30.0, COMMENT), (45.0, WORD)], Status.FAIL),
        (0.1, [(15.0, COMMENT), (19.0, EMPTY), (30.0, COMMENT), (38.0, EMPTY), (45.0, WORD)], Status.PASS),
        (0.1, [(45.0, WORD)], Status.FAIL),
        (45.0, [(45.0, WORD)], Status.FAIL),
        (0.1, [(5.0, EMPTY), (45.0, WORD)], Status.FAIL),
        (0.1, [(0.4, EMPTY), (0.8, EMPTY), (1.2, WORD)], Status.UNSURE),
        (0.1, [(5.0, EMPTY), (8.0, WORD)], Status.PASS),
        (0.1, [(4.0, EMPTY), (8.0, EMPTY), (12.0, WORD)], Status.PASS),
        (0.1, [(12.0, WORD)], Status.UNSURE),
        (0.1, [(0.2, EMPTY), (12.0, WORD)], Status.UNSURE),
        (0.1, [(4.0, COMMENT), (8.0, COMMENT), (12.0, WORD)], Status.UNSURE),
    ],
    ids=[
        *("awake", "real events", "comments alone", "both", "headers and silence", "silence", "one event, then silence"),
        *("awake, in parts", "short, parted once", "short, parted twice", "short silence", "short, one event at once"),
        "short, comments alone",
    ],
)
def test_wait_is_judged_by_what_agents_count(head_at: float, chunks: list[Chunk], status: Status) -> None:
    assert judged(Chat(), "chat", chunks, head_at) is status


def test_agents_of_messages_count_comments_and_codex_does_for_a_while() -> None:
    commented = [(float(at), COMMENT) for at in range(10, 110, 10)]
    assert judged(Messages(), "messages", [*commented, (115.0, TEXT)], 0.1) is Status.PASS
    assert judged(Messages(), "messages", [(15.0, PING), (30.0, TEXT)], 0.1) is Status.PASS
    assert judged(Messages(), "messages", [(4.0, COMMENT), (8.0, COMMENT), (12.0, TEXT)], 0.1) is Status.PASS
    wait = wait_of(Chat(), [*commented, (115.0, WORD)], 0.1)
    assert wait is not None
    assert judge("responses", wait, GAP_S).status is Status.PASS
    wait = wait_of(Chat(), [(float(at), COMMENT) for at in range(10, 130, 10)] + [(135.0, WORD)], 0.1)
    assert wait is not None
    assert judge("responses", wait, GAP_S).status is Status.FAIL


def test_stream_without_a_word_is_no_wait() -> None:
    assert wait_of(Chat(), [(1.0, COMMENT), (2.0, EMPTY)], 0.1) is None


# --- over the wire, the clock turned by the server


async def waking(parts: list[tuple[float, bytes]], *, refusals: int = 0, retry_after: str | None = "30") -> Report:
    """An examination of a server that answers so, each part after so many seconds; its first answers are 503."""
    clock, left = Hurried(), [refusals]

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.method == "GET":
            return web.json_response({"data": [{"id": "toy"}]})
        body = json.loads(await request.read())
        if left[0]:
            left[0] -= 1
            headers = {} if retry_after is None else {"retry-after": retry_after}
            return web.json_response({"error": {"message": "waking", "type": "x"}}, status=503, headers=headers)
        assert body["stream"]
        stream = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await stream.prepare(request)
        for seconds, part in parts:
            await _taken()
            await clock.advance(seconds)
            await stream.write(part)
        await stream.write_eof()
        return stream

    async with serving(answer) as url:
        settings = Settings(dialects=("chat",), only=frozenset({"stream"}))
        return await Examination(Target(url), settings, clock=clock).run()


async def _taken() -> None:
    """Let the client read what was written: both live in this loop."""
    for _ in range(50):
        await asyncio.sleep(0)


def status_of(report: Report, check: str) -> Status:
    (found,) = [finding.status for finding in report.findings if finding.check == check]
    return found


async def test_real_events_while_it_wakes_pass() -> None:
    report = await waking([(10.0, EMPTY), (10.0, EMPTY), (10.0, WORD)])
    assert status_of(report, "wake") is Status.PASS
    assert status_of(report, "keepalive") is Status.PASS


async def test_comments_alone_while_it_wakes_are_found() -> None:
    report = await waking([(10.0, COMMENT), (10.0, COMMENT), (10.0, WORD)])
    assert status_of(report, "wake") is Status.PASS
    assert status_of(report, "keepalive") is Status.FAIL
    (finding,) = [one for one in report.findings if one.check == "keepalive"]
    assert "Qwen Code" in finding.advice
    assert "2 comments" in finding.seen


async def test_wake_that_is_too_short_to_tell_says_its_longest_silence() -> None:
    report = await waking([(1.0, EMPTY), (8.0, WORD)])
    (finding,) = [one for one in report.findings if one.check == "keepalive"]
    assert finding.status is Status.UNSURE
    assert "silence of up to 8.0 s" in finding.seen
    assert "too short to tell" in finding.seen


async def test_refusal_with_retry_after_is_tried_again_as_agents_do() -> None:
    report = await waking([(1.0, WORD)], refusals=1)
    assert status_of(report, "wake") is Status.PASS
    (finding,) = [one for one in report.findings if one.check == "wake"]
    assert "refused with Retry-After" in finding.seen


async def test_refusal_without_retry_after_is_the_end() -> None:
    report = await waking([(1.0, WORD)], refusals=1, retry_after=None)
    assert status_of(report, "wake") is Status.FAIL
    assert report.agents == ()
