"""From what was measured to the rows of the report, with the goals that Relight has set itself."""

from __future__ import annotations

from typing import Final

from bench.gateways import litellm, nginx, ours, portkey
from bench.gateways.scenarios import Measured, Read, Round
from bench.report import Report

DIRECT: Final = "upstream itself"

Row = tuple[str, str, Read, dict[str, str]]

_BOTH: Final = (ours.OWN, ours.PROVIDER)

# What is said of every gateway: the row, its unit, how it is had from a round, and our goals.
_ROWS: Final[tuple[Row, ...]] = (
    ("CPU per request", "us", lambda one, name: one[name]["request_cpu_us"], {}),
    (
        "requests",
        "/s/core",
        lambda one, name: 1e6 / one[name]["request_cpu_us"],
        {ours.OWN: ">= 8000", ours.PROVIDER: ">= 3000"},
    ),
    (
        "chunks, streams that do not wait",
        "/s/core",
        lambda one, name: 1e6 / one[name]["chunk_cpu_us"],
        dict.fromkeys(_BOTH, ">= 60000"),
    ),
    (
        "added to a lone request, p50",
        "ms",
        lambda one, name: _added(one, name, "p50_us"),
        dict.fromkeys(_BOTH, "<= 0.35"),
    ),
    ("64 streams: share of a core", "%", lambda one, name: one[name]["core_percent"], dict.fromkeys(_BOTH, "<= 15")),
    ("64 streams: chunks passed on", "/s", lambda one, name: one[name]["chunks_per_s"], {}),
    ("64 streams: CPU per chunk", "us", lambda one, name: one[name]["paced_cpu_us"], {}),
    (
        "64 streams: added to a chunk, p50",
        "ms",
        lambda one, name: _added(one, name, "chunk_p50_us"),
        dict.fromkeys(_BOTH, "<= 0.3"),
    ),
    ("64 streams: a chunk late by, p99", "ms", lambda one, name: one[name]["chunk_p99_us"] / 1000, {}),
    ("64 streams: added to the first chunk, p50", "ms", lambda one, name: _added(one, name, "first_p50_us"), {}),
    ("CPU per request, prompt of 50 KB", "us", lambda one, name: one[name]["long_cpu_us"], {}),
    ("memory (PSS), loaded", "MiB", lambda one, name: one[name]["pss_mib"], {}),
)

# Ratios of CPU per request, in each round: which gateway, whether it is the numerator, and the goal.
_RATIOS: Final = (
    (litellm.NAME, "{other} / {us}", True, {ours.OWN: ">= 40", ours.PROVIDER: ">= 40"}),
    (portkey.NAME, "{other} / {us}", True, {ours.OWN: ">= 8", ours.PROVIDER: ">= 8"}),
    (nginx.NAME, "{us} / {other}", False, {ours.OWN: "<= 20"}),
)


def fill(report: Report, measured: Measured, names: list[str]) -> None:
    """Add all rows for which there are figures."""
    for what, unit, read, goals in _ROWS:
        for name in names:
            samples = measured.samples(read, name)
            _add(report, f"{what}: {name}", unit, samples, goals.get(name, ""))
    for other, words, is_above, goals in _RATIOS:
        for us in _BOTH:
            samples = measured.samples(_times(other), us)
            what = f"CPU per request, {words.format(us=us, other=other)}"
            _add(report, what, "x", samples if is_above else [1 / sample for sample in samples], goals.get(us, ""))


def _add(report: Report, name: str, unit: str, samples: list[float], goal: str) -> None:
    if samples:
        report.add(name, unit, samples, goal)


def _added(one: Round, name: str, figure: str) -> float:
    return (one[name][figure] - one[DIRECT][figure]) / 1000


def _times(other: str) -> Read:
    """How many times the CPU of a request the `other` gateway spends."""
    return lambda one, us: one[other]["request_cpu_us"] / one[us]["request_cpu_us"]
