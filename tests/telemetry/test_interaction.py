from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.errors import Category, EngineCrashed, QueueFull
from relight.telemetry.interaction import HttpFacts, Interaction, Origin, Phase, Record, Trace, new_id, parse_trace


class Hands:
    """A clock without a loop: `at` is what it shows."""

    def __init__(self, at: float = 0.0) -> None:
        self.at = at

    def now(self) -> float:
        return self.at

    def wall(self) -> float:
        return 1_700_000_000.0 + self.at

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("a record never waits")


def opened(hands: Hands | None = None) -> Interaction:
    return Interaction(hands or Hands(), Origin("portfolio"), HttpFacts("POST", "/v1/chat/completions", "127.0.0.1", "curl"))


def written(it: Interaction) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(it.close().fields())
    return fields


TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


# --- phases


@given(st.lists(st.tuples(st.sampled_from(Phase), st.integers(0, 10_000)), max_size=30), st.integers(0, 10_000))
def test_phases_add_up_to_the_whole_exactly(steps: list[tuple[Phase, int]], last: int) -> None:
    hands = Hands()  # whole seconds, so that sums of floats are exact
    it = opened(hands)
    expected = dict.fromkeys(Phase, 0.0)
    current = Phase.QUEUE
    for phase, spent in steps:
        hands.at += spent
        expected[current] += spent
        it.enter(phase)
        current = phase
    hands.at += last
    expected[current] += last
    record = it.close()
    assert record.phases == expected
    assert sum(record.phases.values()) == record.total_s == hands.at


@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=20))
def test_written_phases_add_up_within_one_percent(spans: list[float]) -> None:
    hands = Hands(1e6)
    it = opened(hands)
    for phase, span in zip(itertools.cycle(Phase), spans, strict=False):
        it.enter(phase)
        hands.at += span
    timings = written(it)["timings"]
    whole = timings["total_ms"]
    assert sum(timings[f"{phase}_ms"] for phase in Phase) == pytest.approx(whole, rel=0.01, abs=0.005)


def test_first_token_ends_the_prefill_once() -> None:
    hands = Hands()
    it = opened(hands)
    it.enter(Phase.PREFILL)
    hands.at = 2.0
    it.first_token()
    hands.at = 5.0
    it.first_token()
    record = it.close()
    assert it.first_token_s == 2.0
    assert (record.phases[Phase.PREFILL], record.phases[Phase.DECODE]) == (2.0, 3.0)


def test_running_phase_is_not_among_the_finished() -> None:
    hands = Hands()
    it = opened(hands)
    hands.at = 1.0
    it.enter(Phase.WAKE)
    hands.at = 3.0
    it.enter(Phase.PREFILL)
    assert it.finished() == {Phase.QUEUE: 1.0, Phase.WAKE: 2.0}


# --- closing


def test_record_closed_twice_is_an_error() -> None:
    it = opened()
    it.close()
    with pytest.raises(RuntimeError, match=f"{it.id} closed twice"):
        it.close()


def test_first_reason_of_a_failure_stays() -> None:
    it = opened()
    it.fail(QueueFull("64 requests wait"))
    it.fail(EngineCrashed("gone"))
    assert (it.category, it.error) == (Category.QUEUE_FULL, "64 requests wait")


def test_fields_leave_out_what_is_not_known() -> None:
    fields = written(opened())
    assert set(fields) == {"id", "service", "dialect", "stream", "status", "timings", "tokens"}
    assert fields["tokens"] == {}
    assert "first_token_ms" not in fields["timings"]


def test_fields_are_those_of_the_design() -> None:
    hands = Hands()
    it = Interaction(hands, Origin("portfolio", "portfolio-00007"), HttpFacts("POST", "/", "", ""))
    it.dialect, it.model, it.backend, it.session, it.stream, it.status = "chat", "smol", "llama.cpp", "s1", True, 200
    it.prompt_tokens, it.cached_tokens, it.completion_tokens, it.finish = 31, 30, 0, "stop"
    it.enter(Phase.WAKE)
    hands.at = 0.25
    it.first_token()
    hands.at = 1.0
    it.fail(EngineCrashed("gone"))
    it.content = {"reply": "Hello"}
    assert written(it) == {
        "id": it.id,
        "service": "portfolio",
        "revision": "portfolio-00007",
        "dialect": "chat",
        "model": "smol",
        "backend": "llama.cpp",
        "stream": True,
        "status": 200,
        "error": "engine_crashed",
        "error_code": "engine_crashed",
        "error_message": "gone",
        "finish": "stop",
        "session": "s1",
        "timings": {
            "queue_ms": 0.0,
            "mode_ms": 0.0,
            "wake_ms": 250.0,
            "restore_ms": 0.0,
            "prefill_ms": 0.0,
            "decode_ms": 750.0,
            "first_token_ms": 250.0,
            "total_ms": 1000.0,
        },
        "tokens": {"prompt": 31, "cached": 30, "completion": 0},
        "content": {"reply": "Hello"},
    }


def test_record_is_the_interactions() -> None:
    it = opened()
    record = it.close()
    assert isinstance(record, Record)
    assert record.interaction is it
    assert it.is_closed


def test_ids_sort_by_time_and_differ() -> None:
    ids = [new_id(wall) for wall in (1.0, 1_700_000_000.0, 1_700_000_000.001, 4_000_000_000.0)]
    assert ids == sorted(ids)
    assert {len(one) for one in ids} == {32}
    assert new_id(1.0) != new_id(1.0)


# --- where it comes from


def test_platforms_names_win_over_the_configured_one() -> None:
    environ = {"K_SERVICE": "live", "K_REVISION": "live-00002", "GOOGLE_CLOUD_PROJECT": "my-project"}
    assert Origin.from_environment("portfolio", environ) == Origin("live", "live-00002", "my-project")


def test_configured_name_holds_outside_of_a_platform() -> None:
    assert Origin.from_environment("portfolio", {"K_SERVICE": ""}) == Origin("portfolio")


# --- traces


@pytest.mark.parametrize(
    ("headers", "trace"),
    [
        ({b"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-01"}, Trace(TRACE_ID, SPAN_ID, sampled=True)),
        ({b"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-00"}, Trace(TRACE_ID, SPAN_ID)),
        ({b"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-03"}, Trace(TRACE_ID, SPAN_ID, sampled=True)),
        ({b"traceparent": f"01-{TRACE_ID}-{SPAN_ID}-01-more"}, Trace(TRACE_ID, SPAN_ID, sampled=True)),
        ({b"x-cloud-trace-context": f"{TRACE_ID}/255;o=1"}, Trace(TRACE_ID, "00000000000000ff", sampled=True)),
        ({b"x-cloud-trace-context": f"{TRACE_ID}/255;o=0"}, Trace(TRACE_ID, "00000000000000ff")),
        ({b"x-cloud-trace-context": f"{TRACE_ID}/18446744073709551615"}, Trace(TRACE_ID, "f" * 16)),
        ({b"x-cloud-trace-context": TRACE_ID}, Trace(TRACE_ID)),
        ({b"x-cloud-trace-context": f"{TRACE_ID};o=1"}, Trace(TRACE_ID, sampled=True)),
        ({b"x-cloud-trace-context": f"{TRACE_ID}/0;o=1"}, Trace(TRACE_ID, sampled=True)),
        ({b"x-cloud-trace-context": f"{TRACE_ID}/18446744073709551616"}, Trace(TRACE_ID)),
        ({b"x-cloud-trace-context": f"{TRACE_ID}/{'9' * 5000}"}, Trace(TRACE_ID)),
        ({b"x-cloud-trace-context": f"{TRACE_ID}/x;o=1"}, Trace(TRACE_ID, sampled=True)),
        (
            {b"traceparent": "nonsense", b"x-cloud-trace-context": f"{TRACE_ID}/255;o=1"},
            Trace(TRACE_ID, "00000000000000ff", sampled=True),
        ),
        (
            {b"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-01", b"x-cloud-trace-context": f"{'1' * 32}/255"},
            Trace(TRACE_ID, SPAN_ID, sampled=True),
        ),
    ],
)
def test_trace_is_read(headers: dict[bytes, str], trace: Trace) -> None:
    assert parse_trace({name: value.encode() for name, value in headers.items()}) == trace


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {b"traceparent": ""},
        {b"traceparent": f"00-{'0' * 32}-{SPAN_ID}-01"},
        {b"traceparent": f"00-{TRACE_ID}-{'0' * 16}-01"},
        {b"traceparent": f"00-{TRACE_ID.upper()}-{SPAN_ID}-01"},
        {b"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-1"},
        {b"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-0x"},
        {b"traceparent": f"00-{TRACE_ID}-{SPAN_ID}"},
        {b"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-01-more"},
        {b"traceparent": f"ff-{TRACE_ID}-{SPAN_ID}-01"},
        {b"traceparent": f"-{TRACE_ID}-{SPAN_ID}-01"},
        {b"traceparent": f"00-{TRACE_ID[1:]}-{SPAN_ID}-01"},
        {b"x-cloud-trace-context": ""},
        {b"x-cloud-trace-context": f"{'0' * 32}/1;o=1"},
        {b"x-cloud-trace-context": f"{TRACE_ID}ab/1;o=1"},
        {b"x-cloud-trace-context": "/1;o=1"},
    ],
)
def test_malformed_trace_is_none(headers: dict[bytes, str]) -> None:
    assert parse_trace({name: value.encode() for name, value in headers.items()}) is None


PIECES = st.sampled_from((TRACE_ID, SPAN_ID, "00", "01", "ff", "0", "9" * 21, "-", "/", ";", "o=1", "\xb2", "x")) | st.text(
    st.characters(codec="latin-1"), max_size=3
)
VALUES = st.lists(PIECES, max_size=8).map(lambda parts: "".join(parts).encode("latin-1"))


@given(st.fixed_dictionaries({}, optional={b"traceparent": VALUES, b"x-cloud-trace-context": VALUES}))
def test_trace_of_any_header_is_well_formed_or_none(headers: Mapping[bytes, bytes]) -> None:
    trace = parse_trace(headers)
    if trace is not None:
        assert len(trace.trace_id) == 32
        assert int(trace.trace_id, 16) > 0
        assert trace.span_id is None or (len(trace.span_id) == 16 and int(trace.span_id, 16) > 0)


# --- an answer in one piece


@pytest.mark.parametrize(
    ("told_s", "prefill_s", "decode_s"), [(3.0, 1.0, 3.0), (None, 4.0, 0.0), (9.0, 0.0, 4.0), (-1.0, 4.0, 0.0)]
)
def test_decoding_that_the_engine_timed_is_taken_out_of_the_prefill(
    told_s: float | None, prefill_s: float, decode_s: float
) -> None:
    hands = Hands()
    it = opened(hands)
    it.enter(Phase.PREFILL)
    hands.at = 4.0
    it.split_decode(told_s)
    record = it.close()
    assert (record.phases[Phase.PREFILL], record.phases[Phase.DECODE]) == (prefill_s, decode_s)
    assert sum(record.phases.values()) == record.total_s


def test_streamed_answer_keeps_the_phases_that_were_seen() -> None:
    hands = Hands()
    it = opened(hands)
    it.enter(Phase.PREFILL)
    hands.at = 1.0
    it.first_token()
    hands.at = 2.0
    it.split_decode(1.9)
    assert it.close().phases[Phase.PREFILL] == 1.0
