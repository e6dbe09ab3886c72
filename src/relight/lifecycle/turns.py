"""Whose turn it is when more requests want an engine than it has slots. Decides only: no clock, no waiting, no I/O.

Small requests (the titles and suggestions that agents ask for beside their main one) go before large ones, keys take turns,
and nobody is overtaken more than a few times. An engine reads the prompts of its slots in their order, so small requests
get the lowest free slot and large ones the highest: a title does not wait until a long prompt has been read, and does not
take the place of its cache.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from typing import Final

from msgspec import Struct

from relight.errors import EngineCrashed, QueueFull, QueueTimeout, RelightError

SMALL_BYTES: Final = 8 * 1024
"""Requests up to this size count as small; agents' titles have about 4 KiB, their main requests 6 to 90."""
_MOST_OVERTAKEN: Final = 4
_MEMORY: Final = 0.2  # weight of the newest measured turn in the mean


class Claim(Struct, frozen=True):
    """What a request wants a turn for: whose it is, and its size in bytes."""

    who: str = ""
    size: int = 0
    prefers: int | None = None
    """The slot that holds the beginning of its prompt, if that is known."""

    @property
    def is_small(self) -> bool:
        """Whether it may pass large ones."""
        return self.size <= SMALL_BYTES


class Grant(Struct, frozen=True):
    """It is the request's turn, in this slot."""

    request: int
    slot: int


class Deny(Struct, frozen=True):
    """The request ends here."""

    request: int
    error: RelightError


Verdict = Grant | Deny


@dataclass(slots=True)
class _Waiting:
    request: int
    claim: Claim
    deadline: float
    overtaken: int = 0


@dataclass(slots=True, eq=False)  # slots are looked through for `None`, and compared with it
class _Running:
    request: int
    claim: Claim
    since: float


class Turns:
    """The slots of one engine and who waits for them. Times are monotonic seconds, given by the caller."""

    def __init__(self, slots: int, *, depth: int, patience_s: float) -> None:
        self._slots: list[_Running | None] = [None] * slots
        self._last: list[Claim | None] = [None] * slots
        self._waiting: list[_Waiting] = []
        self._depth, self._patience_s = depth, patience_s
        self._grants = 0
        # When each key that runs or waits was last given a slot, counted in grants.
        self._last_grant: dict[str, int] = {}
        self._mean_s: float | None = None

    @property
    def running(self) -> int:
        """Requests that have a slot."""
        return sum(slot is not None for slot in self._slots)

    @property
    def waiting(self) -> int:
        """Requests that wait for one."""
        return len(self._waiting)

    @property
    def deadline(self) -> float | None:
        """When `tick` is due; `None` while nobody waits."""
        return self._waiting[0].deadline if self._waiting else None

    def expected_wait_s(self) -> float:
        """What somebody who joins the queue now has to wait, from the measured length of turns; 0 while a slot is free."""
        if any(slot is None for slot in self._slots):
            return 0.0
        return (len(self._waiting) + 1) * (self._mean_s or 1.0) / len(self._slots)

    def ask(self, request: int, claim: Claim, now: float) -> list[Verdict]:
        """A request wants a turn."""
        if not self._waiting and None in self._slots:
            return [self._grant(request, claim, now)]
        if len(self._waiting) >= self._depth:
            return [Deny(request, self._full())]
        self._waiting.append(_Waiting(request, claim, now + self._patience_s))
        return self._fill(now)

    def done(self, request: int, now: float) -> list[Verdict]:
        """A request needs its turn no longer, or never had it."""
        for index, slot in enumerate(self._slots):
            if slot is not None and slot.request == request:
                self._slots[index] = None
                self._measure(now - slot.since)
                break
        else:
            self._waiting = [waiting for waiting in self._waiting if waiting.request != request]
        verdicts = self._fill(now)
        self._forget()
        return verdicts

    def tick(self, now: float) -> list[Verdict]:
        """Time has passed."""
        late = [waiting for waiting in self._waiting if waiting.deadline <= now]
        self._waiting = [waiting for waiting in self._waiting if waiting.deadline > now]
        return [Deny(waiting.request, self._late()) for waiting in late]

    def clear(self) -> list[Verdict]:
        """The engine is gone: no slot is taken any more, and whoever waited must ask again."""
        waiting, self._waiting = self._waiting, []
        self._slots = [None] * len(self._slots)
        self._last = [None] * len(self._slots)
        self._last_grant = {}
        gone = "engine: ended while requests waited for their turn"
        return [Deny(one.request, EngineCrashed(gone)) for one in waiting]

    def _fill(self, now: float) -> list[Verdict]:
        granted: list[Verdict] = []
        while self._waiting and None in self._slots:
            position = self._next()
            for earlier in self._waiting[:position]:
                earlier.overtaken += 1
            chosen = self._waiting.pop(position)
            granted.append(self._grant(chosen.request, chosen.claim, now))
        return granted

    def _next(self) -> int:
        """Position of who is next: whoever was overtaken too often, else the key with the fewest running, the key whose last
        turn is longest ago, small before large, first come first served."""
        at_work = Counter(slot.claim.who for slot in self._slots if slot is not None)

        def rank(position: int) -> tuple[bool, int, int, bool, int]:
            it = self._waiting[position]
            if it.overtaken >= _MOST_OVERTAKEN:
                return (False, 0, 0, False, position)
            who = it.claim.who
            return (True, at_work[who], self._last_grant.get(who, 0), not it.claim.is_small, position)

        return min(range(len(self._waiting)), key=rank)

    def _grant(self, request: int, claim: Claim, now: float) -> Grant:
        slot = self._fitting(claim)
        self._slots[slot] = _Running(request, claim, now)
        self._last[slot] = claim
        self._grants += 1
        self._last_grant[claim.who] = self._grants
        return Grant(request, slot)

    def _fitting(self, claim: Claim) -> int:
        """The slot that is known to hold the beginning of its prompt, when it is free. Else the lowest free slot for a small
        request; for a large one the free slot that most likely holds it: conversations grow, so it is the one whose last request
        came from the same key and was a little smaller; else the highest."""
        if claim.prefers is not None and self._slots[claim.prefers] is None:
            return claim.prefers
        if claim.is_small:
            return self._slots.index(None)
        best, grown = -1, sys.maxsize
        for index, slot in enumerate(self._slots):
            if slot is None:
                last = self._last[index]
                goes_on = last is not None and last.who == claim.who and SMALL_BYTES < last.size <= claim.size
                by = claim.size - last.size if last is not None and goes_on else sys.maxsize
                if by <= grown:
                    best, grown = index, by
        return best

    def _measure(self, seconds: float) -> None:
        self._mean_s = seconds if self._mean_s is None else self._mean_s + _MEMORY * (seconds - self._mean_s)

    def _forget(self) -> None:
        """Keys that neither run nor wait have no claim: thousands may come by in a day."""
        if len(self._last_grant) > len(self._slots) + len(self._waiting):
            here = {slot.claim.who for slot in self._slots if slot is not None} | {it.claim.who for it in self._waiting}
            self._last_grant = {who: at for who, at in self._last_grant.items() if who in here}

    def _full(self) -> QueueFull:
        return QueueFull(
            f"{len(self._waiting)} requests wait for their turn, and no more may",
            hint="try again, or raise models.NAME.queue_depth",
            retry_after_s=max(self.expected_wait_s(), 1.0),
        )

    def _late(self) -> QueueTimeout:
        return QueueTimeout(
            f"the request's turn did not come within {self._patience_s:.0f} s",
            hint="try again, or raise models.NAME.queue_timeout or parallel",
            retry_after_s=max(self.expected_wait_s(), 1.0),
        )
