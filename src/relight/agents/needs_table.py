"""The tables of "Which model for which agent on which machine", as Markdown. Pure: what is reckoned comes from `needs`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from relight.agents.needs import (
    GIB,
    MACHINES,
    SHAPES,
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
from relight.agents.wiring import Agent

WORK: Final = 8_192
"""Tokens of context that an agent works with, beside its first request: files, what tools say, answers."""

TURN: Final = 500
"""Tokens that are new in a turn: a question, or a page of a file."""

FIRST_LIMIT_S: Final = 60.0
TURN_LIMIT_S: Final = 30.0
LEAST_RATE: Final = 5.0
"""Tokens a second, below which nobody waits for an answer."""

_STEP: Final = 4_096


@dataclass(frozen=True, slots=True)
class Load:
    """An agent with one of its profiles, and the tokens of its first request."""

    name: str
    need: int

    @property
    def context(self) -> int:
        """What to give it: the request and room to work, in whole steps."""
        return -(-(self.need + WORK) // _STEP) * _STEP


def loads(agents: Iterable[Agent]) -> Iterator[Load]:
    """Every profile of each agent whose first request is worth a word."""
    for agent in agents:
        if agent.tested and agent.context_need > 1_000:
            yield Load(agent.name, agent.context_need)
            if agent.slim_need:
                yield Load(f"{agent.name}, slim", agent.slim_need)


def models_table() -> str:
    """What each model takes."""
    head = ("model", "weights", "cache of 1,000 tokens", "all, context 16,384", "all, context 32,768")
    return _table(head, [_model_row(shape) for shape in SHAPES])


def _model_row(shape: Shape) -> tuple[str, ...]:
    cache = cache_bytes_per_token(shape) * 1000 / (1 << 20)
    return (
        shape.name,
        _gib(weights_bytes(shape)),
        f"{cache:.0f} MiB",
        *(_gib(memory_bytes(shape, size)) for size in (16_384, 32_768)),
    )


def rates_table() -> str:
    """How fast each machine reads a prompt of 8,192 tokens, and writes behind it."""
    head = ("model", *(f"{machine.name}: reads" for machine in MACHINES), *(f"{machine.name}: writes" for machine in MACHINES))
    return _table(head, [_rate_row(shape) for shape in SHAPES])


def _rate_row(shape: Shape) -> tuple[str, ...]:
    reads = (f"{_round(WORK / prefill_s(shape, machine, WORK))}/s" for machine in MACHINES)
    return (shape.name, *reads, *(f"{_round(decode_rate(shape, machine, WORK))}/s" for machine in MACHINES))


def choices_table(agents: Iterable[Agent]) -> str:
    """The largest model for each agent on each machine whose first request is read in time, without anything baked."""
    head = ("agent", "first request", "context to give", *(machine.name for machine in MACHINES))
    return _table(
        head, [(*_about(load), *(_choice(load, machine, is_baked=False) for machine in MACHINES)) for load in loads(agents)]
    )


def baked_table(agents: Iterable[Agent]) -> str:
    """The same with the first request's snapshot restored; and what such a snapshot of a 4B model takes."""
    head = ("agent", "snapshot (4B)", *(machine.name for machine in MACHINES))
    rows = [
        (load.name, _gib(snapshot_bytes(SHAPES[1], load.need)), *(_choice(load, machine, is_baked=True) for machine in MACHINES))
        for load in loads(agents)
    ]
    return _table(head, rows)


def _about(load: Load) -> tuple[str, ...]:
    return (load.name, f"{load.need:,}", f"{load.context:,}")


def _choice(load: Load, machine: Machine, *, is_baked: bool) -> str:
    fitting = [shape for shape in SHAPES if _is_usable(shape, load, machine, is_baked=is_baked)]
    if not fitting:
        return "–"
    shape = fitting[-1]
    rate = decode_rate(shape, machine, load.need)
    return f"{shape.name}: {_seconds(_wait_s(shape, load, machine, is_baked=is_baked))}, {_round(rate)}/s"


def _is_usable(shape: Shape, load: Load, machine: Machine, *, is_baked: bool) -> bool:
    limit = TURN_LIMIT_S if is_baked else FIRST_LIMIT_S
    return (
        is_room(shape, machine, load.context)
        and _wait_s(shape, load, machine, is_baked=is_baked) <= limit
        and decode_rate(shape, machine, load.need) >= LEAST_RATE
    )


def _wait_s(shape: Shape, load: Load, machine: Machine, *, is_baked: bool) -> float:
    if not is_baked:
        return prefill_s(shape, machine, load.need)
    return restore_s(shape, load.need) + prefill_s(shape, machine, load.need + TURN, start=load.need)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    ruled = ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ruled, *rows))


def _gib(size: float) -> str:
    return f"{size / GIB:.1f} GiB"


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"


def _round(rate: float) -> str:
    """To two digits: the arithmetic promises no more."""
    return f"{float(f'{rate:.2g}'):,.0f}"
