from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from relight.errors import EngineCrashed
from relight.telemetry.interaction import HttpFacts, Interaction, Origin, Phase
from relight.telemetry.metrics import BUCKETS_S, Histogram, Metrics, exposition
from tests.telemetry.test_interaction import Hands

ENGINES = {"smol": {"state": "awake", "running": 2, "waiting": 3}}


def count(metrics: Metrics, *, model: str = "smol", first_token: float | None = 0.3, failed: bool = False) -> None:
    hands = Hands()
    it = Interaction(hands, Origin("s"), HttpFacts("POST", "/", "", ""))
    it.model, it.dialect, it.status = model, "chat", 502 if failed else 200
    if first_token is not None:
        hands.at = first_token
        it.first_token()
        it.prompt_tokens, it.cached_tokens, it.completion_tokens = 31, 30, 8
    if failed:
        it.fail(EngineCrashed("gone"))
    metrics.count(it.close())


def samples(metrics: Metrics, engines: dict[str, dict[str, object]] | None = None) -> dict[tuple[str, ...], float]:
    """Every sample: its name and its labels' values, in the order of their names."""
    text, kind = exposition(metrics, ENGINES if engines is None else engines)
    assert kind.startswith("text/plain")
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_exposition_counts_what_was_closed() -> None:
    metrics = Metrics()
    count(metrics)
    count(metrics)
    count(metrics, first_token=None, failed=True)
    metrics.engine_failed("smol")
    metrics.woke("smol", 0.7)
    found = samples(metrics)
    assert found["relight_requests_total", "chat", "", "smol", "200"] == 2
    assert found["relight_requests_total", "chat", "engine_crashed", "smol", "502"] == 1
    assert found["relight_tokens_total", "prompt", "smol"] == 62
    assert found["relight_tokens_total", "cached", "smol"] == 60
    assert found["relight_tokens_total", "completion", "smol"] == 16
    assert found["relight_engine_failures_total", "smol"] == 1
    assert found["relight_first_token_seconds_count", "smol"] == 2
    assert found["relight_first_token_seconds_sum", "smol"] == pytest.approx(0.6)
    assert found["relight_first_token_seconds_bucket", "0.25", "smol"] == 0
    assert found["relight_first_token_seconds_bucket", "0.5", "smol"] == 2
    assert found["relight_wake_seconds_bucket", "1", "smol"] == 1
    assert found["relight_wake_seconds_bucket", "+Inf", "smol"] == 1
    assert found["relight_engine_state", "smol", "awake"] == 1
    assert (found["relight_requests_running", "smol"], found["relight_requests_waiting", "smol"]) == (2, 3)


def test_waiting_and_cost_are_counted_by_model() -> None:
    metrics, hands = Metrics(), Hands()
    it = Interaction(hands, Origin("s"), HttpFacts("POST", "/", "", ""))
    it.model, it.answered_by, it.cost_usd = "best", "cloud", 0.0025
    it.gave_up_on("down", EngineCrashed("gone"))
    hands.at = 0.2
    it.enter(Phase.PREFILL)
    metrics.count(it.close())
    found = samples(metrics)
    assert found["relight_cost_usd_total", "best"] == 0.0025
    assert found["relight_given_up_total", "engine_crashed", "down"] == 1.0
    assert found["relight_queue_seconds_count", "best"] == 1.0
    assert found["relight_queue_seconds_sum", "best"] == pytest.approx(0.2)


def test_exposition_before_any_request_is_well_formed() -> None:
    assert samples(Metrics(), {}) == {}


def test_every_family_has_a_type_and_a_text() -> None:
    text, _ = exposition(Metrics(), ENGINES)
    families = {family.name: family for family in text_string_to_metric_families(text.decode())}
    assert {name: family.type for name, family in families.items()} == {
        "relight_requests": "counter",
        "relight_tokens": "counter",
        "relight_cost_usd": "counter",
        "relight_engine_failures": "counter",
        "relight_given_up": "counter",
        "relight_modes": "counter",
        "relight_ratings": "counter",
        "relight_mended": "counter",
        "relight_queue_seconds": "histogram",
        "relight_first_token_seconds": "histogram",
        "relight_wake_seconds": "histogram",
        "relight_engine_state": "gauge",
        "relight_requests_running": "gauge",
        "relight_requests_waiting": "gauge",
    }
    assert all(family.documentation for family in families.values())


@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_model_of_any_name_is_escaped(name: str) -> None:
    metrics = Metrics()
    count(metrics, model=name)
    text, _ = exposition(metrics, {})
    # The parser cuts at every line end that Python knows; what matters is that ours are escaped.
    line = next(line for line in text.decode().split("\n") if line.startswith("relight_requests_total{"))
    escaped = name.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    assert f'model="{escaped}"' in line


# --- buckets


@pytest.mark.parametrize("bound", BUCKETS_S)
def test_duration_on_a_bound_counts_within_it(bound: float) -> None:
    histogram = Histogram()
    histogram.observe(bound)
    assert histogram.counts[BUCKETS_S.index(bound)] == 1


def test_duration_beyond_all_bounds_counts_only_in_the_open_bucket() -> None:
    histogram = Histogram()
    histogram.observe(301.0)
    assert histogram.cumulative()[-2:] == [("300", 0.0), ("+Inf", 1.0)]


@given(st.lists(st.floats(0, 1000), max_size=50))
def test_buckets_hold_what_is_not_above_their_bound(seconds: list[float]) -> None:
    histogram = Histogram()
    for one in seconds:
        histogram.observe(one)
    expected = [sum(one <= bound for one in seconds) for bound in (*BUCKETS_S, float("inf"))]
    assert [number for _, number in histogram.cumulative()] == expected
    assert histogram.total_s == pytest.approx(sum(seconds))
