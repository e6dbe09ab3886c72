"""What models need, by arithmetic: held against what was measured, and written into the documentation."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from relight.agents.catalog import AGENTS
from relight.agents.catalog_page import overview, sections
from relight.agents.needs import (
    GIB,
    MACHINES,
    MEASURED_DECODE,
    MEASURED_PREFILL,
    SHAPES,
    SMOL,
    Machine,
    Shape,
    cache_bytes_per_token,
    decode_rate,
    is_room,
    memory_bytes,
    prefill_s,
    restore_s,
    snapshot_bytes,
    weights_bytes,
)
from relight.agents.needs_table import Load, baked_table, choices_table, loads, models_table, rates_table

PAGE = Path(__file__).parents[2] / "docs/agents.md"
BY_NAME = {shape.name: shape for shape in SHAPES}
CPU, L4, RTX = MACHINES
TWO_THREADS = Machine("two threads, here", 8 * GIB, CPU.flops / 4, 1.0, CPU.bandwidth / 4, 1.0)

TABLES: dict[str, Callable[[], str]] = {
    "overview": lambda: overview(AGENTS.values()),
    "sections": lambda: sections(AGENTS.values()),
    "models": models_table,
    "rates": rates_table,
    "choices": lambda: choices_table(AGENTS.values()),
    "baked": lambda: baked_table(AGENTS.values()),
}


# --- the page


@pytest.mark.parametrize("name", TABLES)
def test_page_says_what_the_code_says(name: str) -> None:
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    page = PAGE.read_text()
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    assert after, f"docs/agents.md: no place for {name}"
    right = f"{before}{begin}{TABLES[name]()}\n{end}{after}"
    if "RELIGHT_GOLDEN" in os.environ:
        PAGE.write_text(right)
    assert right == PAGE.read_text()


def test_page_has_a_place_for_every_table_and_no_other() -> None:
    assert re.findall(r"<!-- (\w+) -->", PAGE.read_text()) == list(TABLES)


def test_measured_figures_on_the_page_are_those_that_the_arithmetic_is_held_against() -> None:
    page = PAGE.read_text()
    for what, measured, reckoned in MEASURED:
        assert f"| {what} | {measured} | {reckoned} |" in page


# --- held against what was measured: two threads on two shared cores, SmolLM2-135M Q4_1

MEASURED = [
    ("reading 8,044 tokens", "79.4 s", f"{prefill_s(SMOL, TWO_THREADS, 8_044):.1f} s"),
    ("reading 2,300 tokens", "15.1 s", f"{prefill_s(SMOL, TWO_THREADS, 2_300):.1f} s"),
    ("snapshot of 8,044 tokens", "185 MB", f"{snapshot_bytes(SMOL, 8_044) / 1e6:.0f} MB"),
    ("cache of one token", "23,057 bytes", f"{cache_bytes_per_token(SMOL):,.0f} bytes"),
]


@pytest.mark.parametrize(("tokens", "seconds"), [(8_044, 79.4), (2_300, 15.1)])
def test_long_prompts_take_what_they_took(tokens: int, seconds: float) -> None:
    """The rate comes from short prompts; that long ones take longer for each token is the arithmetic's own."""
    assert prefill_s(SMOL, TWO_THREADS, tokens) == pytest.approx(seconds, rel=0.2)


def test_cache_has_the_size_that_it_had() -> None:
    assert snapshot_bytes(SMOL, 8_044) == pytest.approx(185e6, rel=0.01)
    assert cache_bytes_per_token(SMOL) == pytest.approx(23_057, rel=0.01)
    assert cache_bytes_per_token(SMOL, "q8_0") == pytest.approx(12_257, rel=0.01)
    assert cache_bytes_per_token(SMOL, "q4_0") == pytest.approx(6_497, rel=0.01)


def test_rates_that_the_cpu_was_taken_from_come_out_again() -> None:
    assert 1 / prefill_s(SMOL, TWO_THREADS, 1) == pytest.approx(MEASURED_PREFILL, rel=0.01)
    measured_bits = replace(SMOL, active=98e6 * 8 / 4.89)
    assert decode_rate(measured_bits, TWO_THREADS, 0) == pytest.approx(MEASURED_DECODE, rel=0.01)


# --- known sizes: published files of Q4_K_M


@pytest.mark.parametrize(("name", "gigabytes"), [("4B", 2.50), ("8B", 5.03), ("14B", 9.00), ("30B-A3B", 18.56)])
def test_weights_have_about_the_size_of_the_published_files(name: str, gigabytes: float) -> None:
    assert weights_bytes(BY_NAME[name]) / 1e9 == pytest.approx(gigabytes, rel=0.03)


def test_mixture_keeps_all_its_weights_and_reads_a_few() -> None:
    mixture, dense = BY_NAME["30B-A3B"], BY_NAME["14B"]
    assert mixture.is_mixture
    assert not dense.is_mixture
    assert weights_bytes(mixture) > weights_bytes(dense)
    assert decode_rate(mixture, L4, 8_192) > decode_rate(dense, L4, 8_192)
    as_dense = replace(mixture, parameters=mixture.active)
    assert prefill_s(mixture, L4, 8_192) == pytest.approx(2 * prefill_s(as_dense, L4, 8_192))


# --- laws


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_more_takes_longer(shape: Shape, machine: Machine) -> None:
    assert prefill_s(shape, machine, 8_192) > 2 * prefill_s(shape, machine, 4_096)
    assert decode_rate(shape, machine, 8_192) < decode_rate(shape, machine, 4_096)
    assert memory_bytes(shape, 8_192, 2) - memory_bytes(shape, 8_192) == pytest.approx(snapshot_bytes(shape, 8_192))


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_prompt_read_in_two_parts_takes_what_it_takes_in_one(shape: Shape) -> None:
    whole = prefill_s(shape, CPU, 10_000)
    assert prefill_s(shape, CPU, 7_000) + prefill_s(shape, CPU, 10_000, start=7_000) == pytest.approx(whole)


def test_what_does_not_fit_is_not_room() -> None:
    mixture = BY_NAME["30B-A3B"]
    assert is_room(mixture, L4, 32_768)
    assert not is_room(mixture, L4, 131_072)
    assert is_room(mixture, RTX, 131_072)


def test_restoring_a_prefix_is_faster_than_reading_it_on_a_cpu() -> None:
    for shape in SHAPES:
        assert restore_s(shape, 8_192) < prefill_s(shape, CPU, 8_192) / 10


def test_context_to_give_holds_the_request_and_work() -> None:
    assert Load("x", 18_900).context == 28_672
    assert Load("x", 4_096).context == 12_288
    assert Load("x", 4_097).context == 16_384


def test_agents_that_nobody_tried_have_no_figures() -> None:
    names = {load.name for load in loads(AGENTS.values())}
    assert not names & {"Crush", "Goose", "Zed", "LangChain", "Open WebUI"}
    assert {"Qwen Code", "Qwen Code, slim", "Pi"} <= names
