"""Which awake models should go to sleep so that another one fits into memory. Pure: it knows no engine and no clock."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_HALF_LIFE_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Limit:
    """Memory for all awake engines together; `is_configured` when somebody wrote it down, else it was measured."""

    size_bytes: int
    is_configured: bool = False

    @classmethod
    def of(cls, configured: int | None, total: int) -> Limit:
        """What is `configured`, else nine tenths of `total` bytes: the rest is the front door's, and the system's."""
        return cls(total * 9 // 10) if configured is None else cls(configured, is_configured=True)


@dataclass(frozen=True, slots=True)
class Resident:
    """A model that takes memory. `uses` counts its requests, `wake_s` is what bringing it back should take."""

    name: str
    needs_bytes: int
    is_idle: bool
    last_used: float
    wake_s: float
    uses: int = 1


@dataclass(frozen=True, slots=True)
class Room:
    """How room is made: these go to sleep, in this order. When it does not fit, nobody has to."""

    victims: tuple[str, ...] = ()
    fits: bool = False


def make_room(residents: Iterable[Resident], wanted_bytes: int, limit_bytes: int, now: float) -> Room:
    """Who should sleep so that `wanted_bytes` more fit below the limit: the least useful idle ones, and no more than must.

    A model larger than the limit fits beside nobody. `fits` is false when only those at work could make the room: then the
    wanted model has to wait.
    """
    present = list(residents)
    if wanted_bytes > limit_bytes:
        return _everybody(present)
    missing = sum(resident.needs_bytes for resident in present) + wanted_bytes - limit_bytes
    if missing <= 0:
        return Room(fits=True)
    idle = sorted(
        (resident for resident in present if resident.is_idle), key=lambda resident: (worth(resident, now), resident.name)
    )
    chosen: list[Resident] = []
    while idle and missing > 0:
        chosen.append(idle.pop(0))
        missing -= chosen[-1].needs_bytes
    return Room(_without_needless(chosen, -missing, now), fits=True) if missing <= 0 else Room()


def worth(resident: Resident, now: float) -> float:
    """How much a model earns its place: seconds to bring it back × requests ÷ bytes, halved for every ten idle minutes.

    GreedyDual-Size with frequency (Cao and Irani 1997; Cherkasova 1998), which asks what a miss costs for each byte that it
    frees. Time takes the place of its inflation value: what nobody asks for sinks, however often it was asked for once.
    """
    idle_s = max(now - resident.last_used, 0.0)
    cost_per_byte = resident.wake_s * max(resident.uses, 1) / max(resident.needs_bytes, 1)
    return cost_per_byte * math.exp2(-idle_s / _HALF_LIFE_S)


def _everybody(present: list[Resident]) -> Room:
    if not all(resident.is_idle for resident in present):
        return Room()
    return Room(tuple(resident.name for resident in present), fits=True)


def _without_needless(chosen: list[Resident], spare: int, now: float) -> tuple[str, ...]:
    """Drop from the chosen those without whom there is still room: one that came last may be large enough by itself."""
    kept = list(chosen)
    for resident in sorted(chosen, key=lambda resident: -worth(resident, now) * resident.needs_bytes):
        if resident.needs_bytes <= spare:
            kept.remove(resident)
            spare -= resident.needs_bytes
    return tuple(resident.name for resident in kept)
