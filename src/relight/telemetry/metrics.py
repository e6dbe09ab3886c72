"""Counts that `/metrics` shows. Counting is plain arithmetic; the Prometheus library is imported by the first scrape."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from relight.telemetry.interaction import Phase, Record

if TYPE_CHECKING:
    from prometheus_client.core import Metric

BUCKETS_S: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


@dataclass(slots=True)
class Histogram:
    """Counts per bucket (upper bounds in seconds, the last one open) and their sum."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_S) + 1))
    total_s: float = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(BUCKETS_S, seconds)] += 1
        self.total_s += seconds

    def cumulative(self) -> list[tuple[str, float]]:
        """Buckets as Prometheus wants them: `(upper bound, count so far)`."""
        bounds = [*(f"{bound:g}" for bound in BUCKETS_S), "+Inf"]
        running, out = 0, []
        for bound, number in zip(bounds, self.counts, strict=True):
            running += number
            out.append((bound, float(running)))
        return out


def _counts() -> defaultdict[Any, int]:
    return defaultdict(int)


def _histograms() -> defaultdict[str, Histogram]:
    return defaultdict(Histogram)


@dataclass(slots=True)
class Metrics:
    """Everything counted since the process started."""

    requests: dict[tuple[str, str, str, str], int] = field(default_factory=_counts)
    tokens: dict[tuple[str, str], int] = field(default_factory=_counts)
    first_token: dict[str, Histogram] = field(default_factory=_histograms)
    queue: dict[str, Histogram] = field(default_factory=_histograms)
    cost_usd: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    given_up: dict[tuple[str, str], int] = field(default_factory=_counts)
    wakes: dict[str, Histogram] = field(default_factory=_histograms)
    engine_failures: dict[str, int] = field(default_factory=_counts)
    modes: dict[tuple[str, str], int] = field(default_factory=_counts)
    ratings: dict[str, int] = field(default_factory=_counts)
    mended: dict[tuple[str, str], int] = field(default_factory=_counts)

    def count(self, record: Record) -> None:
        """Add one closed interaction."""
        it = record.interaction
        key = (it.model, it.dialect, str(it.status), it.category.value if it.category else "")
        self.requests[key] += 1
        for kind, number in (("prompt", it.prompt_tokens), ("cached", it.cached_tokens), ("completion", it.completion_tokens)):
            if number:
                self.tokens[it.model, kind] += number
        if it.model:
            self.queue[it.model].observe(record.phases[Phase.QUEUE])
        if it.mode_by:
            self.modes[it.mode, it.mode_by] += 1
        if it.cost_usd is not None:
            self.cost_usd[it.model] += it.cost_usd
        for one in it.given_up:
            self.given_up[one["model"], one["error"]] += 1
        for what, number in it.mended.items():
            self.mended[it.model, what] += number
        if it.first_token_s is not None:
            self.first_token[it.model].observe(it.first_token_s)

    def woke(self, model: str, seconds: float) -> None:
        """Add one completed wake."""
        self.wakes[model].observe(seconds)

    def rated(self, rating: str) -> None:
        """Add one rating of an answer."""
        self.ratings[rating] += 1

    def engine_failed(self, model: str) -> None:
        """Add one engine that failed to start or died."""
        self.engine_failures[model] += 1


def exposition(metrics: Metrics, engines: dict[str, dict[str, Any]]) -> tuple[bytes, str]:
    """The text of `/metrics` and its content type; `engines` maps a model to its state, running and waiting."""
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
    from prometheus_client.registry import Collector

    class Snapshot(Collector):
        def collect(self) -> Iterator[Metric]:
            yield from _families(metrics, engines)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Snapshot())
    return generate_latest(registry), CONTENT_TYPE_LATEST


def _counters(metrics: Metrics) -> Iterator[tuple[str, str, list[str], Mapping[Any, float]]]:
    """What only grows: name, help text, labels, and the counts by label."""
    yield "relight_requests", "Interactions closed.", ["model", "dialect", "status", "error"], metrics.requests
    yield "relight_tokens", "Tokens as the answers counted them.", ["model", "kind"], metrics.tokens
    yield "relight_cost_usd", "What answers of providers cost, in USD.", ["model"], metrics.cost_usd
    text = "Times that a model did not answer and another was asked in its place."
    yield "relight_given_up", text, ["model", "error"], metrics.given_up
    yield "relight_modes", "Messages by the mode that they were answered in.", ["mode", "by"], metrics.modes
    yield "relight_ratings", "Answers that were rated.", ["rating"], metrics.ratings
    yield "relight_mended", "Mendings of calls and histories, by what was mended.", ["model", "what"], metrics.mended
    yield "relight_engine_failures", "Engines that failed to start or died.", ["model"], metrics.engine_failures


def _families(metrics: Metrics, engines: dict[str, dict[str, Any]]) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    for name, text, names, counts in _counters(metrics):
        counter = CounterMetricFamily(name, text, labels=names)
        for labels, number in counts.items():
            counter.add_metric([labels] if isinstance(labels, str) else list(labels), number)
        yield counter

    for name, text, histograms in (
        ("relight_first_token_seconds", "From admission to the first token.", metrics.first_token),
        ("relight_queue_seconds", "From admission to the engine, without its wake: waiting for a turn.", metrics.queue),
        ("relight_wake_seconds", "From the start of an engine until it answers.", metrics.wakes),
    ):
        family = HistogramMetricFamily(name, text, labels=["model"])
        for model, histogram in histograms.items():
            family.add_metric([model], histogram.cumulative(), histogram.total_s)
        yield family

    state = GaugeMetricFamily("relight_engine_state", "1 for the state that the engine is in.", labels=["model", "state"])
    running = GaugeMetricFamily("relight_requests_running", "Requests that the engine works on.", labels=["model"])
    waiting = GaugeMetricFamily("relight_requests_waiting", "Requests that wait for a wake or for their turn.", labels=["model"])
    for model, facts in engines.items():
        state.add_metric([model, str(facts["state"])], 1)
        running.add_metric([model], facts["running"])
        waiting.add_metric([model], facts["waiting"])
    yield from (state, running, waiting)
