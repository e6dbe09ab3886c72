"""The gateway benchmark measures what it says: a mock that speaks the wire, a generator that counts right, rows and bars."""

from __future__ import annotations

import asyncio
import json
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator

import pytest
from bench import chart
from bench.gateways import ours, rows
from bench.gateways.client import Connection, Target
from bench.gateways.load import Job, carry_out, from_line, to_line
from bench.gateways.mock import Upstream, content_chunk
from bench.gateways.scenarios import Measured
from bench.report import Report


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    """The mock on a port of its own."""
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0)
    try:
        yield Target("127.0.0.1", server.sockets[0].getsockname()[1])
    finally:
        server.close()


def ask(job: Job) -> bytes:
    connection = Connection(job.target)
    try:
        connection.ask(job.target.request(job.body()))
        return connection.finish()
    finally:
        connection.close()


async def test_mock_asked_for_a_stream_sends_events_an_end_usage_and_done(target: Target) -> None:
    body = await asyncio.to_thread(ask, Job("latency", target, chunks=3))
    events = [event.removeprefix("data: ") for event in body.decode().split("\n\n") if event]
    assert events[-1] == "[DONE]"
    chunks = [json.loads(event) for event in events[:-1]]
    assert all(chunk["object"] == "chat.completion.chunk" for chunk in chunks)
    texts = [chunk["choices"][0]["delta"].get("content", "") for chunk in chunks if chunk["choices"]]
    assert [text.startswith("t=") for text in texts] == [True, True, True, False]
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["usage"]["total_tokens"] == 44


async def test_mock_asked_for_one_piece_sends_a_completion(target: Target) -> None:
    answer = json.loads(await asyncio.to_thread(ask, Job("latency", target)))
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["finish_reason"] == "stop"


def test_mock_chunk_has_the_size_of_a_real_one() -> None:
    assert 180 <= len(content_chunk(10**15)) <= 260


async def test_generator_of_paced_streams_finds_every_chunk(target: Target) -> None:
    job = Job("paced", target, concurrency=5, chunks=4, pace_ms=1)
    found = await asyncio.to_thread(carry_out, job)
    assert found["chunks"] == 20
    assert 0 < found["chunk_p50_us"] <= found["chunk_p99_us"]
    assert found["first_p50_us"] > 0


async def test_generator_in_a_closed_loop_counts_requests_and_their_chunks(target: Target) -> None:
    found = await asyncio.to_thread(carry_out, Job("throughput", target, seconds=0, concurrency=7, chunks=2))
    assert (found["requests"], found["chunks"]) == (7, 14)


async def test_generator_tells_an_answer_that_is_no_good(target: Target) -> None:
    missing = Target(target.host, target.port, headers={"transfer-encoding": "nonsense"})
    found = await asyncio.to_thread(carry_out, Job("latency", missing, seconds=0))
    assert "error" in found


def test_job_survives_its_line() -> None:
    job = Job("paced", Target("127.0.0.1", 1, "m", {"a": "b"}), seconds=0.5, concurrency=3, chunks=2, pace_ms=20)
    assert from_line(to_line(job)) == job


def test_rows_take_ratios_and_differences_within_a_round() -> None:
    def one(upstream: float, own: float, nginx: float) -> dict[str, dict[str, float]]:
        return {
            rows.DIRECT: {"p50_us": upstream},
            ours.OWN: {"p50_us": upstream + 200, "request_cpu_us": own},
            "nginx": {"p50_us": upstream + 50, "request_cpu_us": nginx},
        }

    report = Report("t")
    rows.fill(report, Measured([one(100, 100, 10), one(900, 400, 20)]), [ours.OWN, "nginx"])
    found = {figure.name: figure for figure in report.figures}
    assert found[f"added to a lone request, p50: {ours.OWN}"].samples == [0.2, 0.2]
    assert found[f"requests: {ours.OWN}"].samples == [10_000, 2_500]
    assert found[f"CPU per request, {ours.OWN} / nginx"].samples == [10, 20]
    assert not [name for name in found if "LiteLLM" in name]


def test_chart_draws_bars_in_proportion_to_the_logarithm() -> None:
    picture = ET.fromstring(chart.draw("a < b", [chart.Panel("p", {"relight": 10.0, "other": 1000.0, "none": 0.0})]))  # noqa: S314 - our own text
    bars = [element for element in picture.iter() if element.tag.endswith("rect")]
    assert [bar.get("class") for bar in bars] == ["ours", None]
    ours_width, other_width = (float(bar.get("width", "0")) for bar in bars)
    assert other_width == pytest.approx(3 * ours_width, rel=0.01)  # from 1: one decade and three


@pytest.mark.parametrize(("value", "text"), [(0.1312, "0.13"), (4.23, "4.2"), (78.4, "78"), (312.0, "310"), (15846.0, "15,800")])
def test_number_on_a_bar_keeps_two_digits_that_matter(value: float, text: str) -> None:
    assert chart.shown(value) == text
