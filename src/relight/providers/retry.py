"""Whether a provider is asked again, and when. Pure: knows neither a connection nor a clock.

Asking again is safe only where the provider cannot have begun to generate, for what it generates is paid for:

- No connection came about: nothing was sent. Again.
- 408: the request did not arrive whole. 429, 503, 529: refused for now. 500, 502: failed, and failures are not charged.
  521, 522, 523: a proxy in front could not reach the provider. Again.
- 504, 524: a proxy in front lost its patience; the answer may be generated, and charged, behind it. Not again.
- The connection broke after the request was sent, or nothing came in time: the same. Not again.
- A kept connection that breaks as soon as it is used again had been closed by the provider while it was idle. That is not
  the provider's failure at all, and is not decided here.
- A certificate that is not trusted will not be the next time. Not again.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from relight.clock import seconds_until

AGAIN: Final = frozenset({408, 429, 500, 502, 503, 521, 522, 523, 529})
"""Statuses after which asking again is safe and may help."""

_SPREAD_S: Final = 0.25
_SECONDS = re.compile(r"\d{1,9}(?:\.\d{1,9})?")


class Fault(Enum):
    """What went wrong before the first byte of an answer."""

    UNREACHABLE = "unreachable"
    UNTRUSTED = "untrusted"
    STALE = "stale"
    BROKEN = "broken"
    SLOW = "slow"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended. `status` and `retry_after_s` belong to `Fault.REFUSED`; `is_final` when the provider says that
    waiting does not help; `left_s` is what is left of the time that everything together may take."""

    fault: Fault
    status: int | None = None
    retry_after_s: float | None = None
    is_final: bool = False
    left_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Policy:
    """`retries` is how often at most; waits double from `first_s` up to `longest_s`; a provider that asks for more than
    `patience_s` is taken at its word, and its client is told instead."""

    retries: int = 2
    first_s: float = 0.5
    longest_s: float = 8.0
    patience_s: float = 30.0


def decide(outcome: Outcome, attempt: int, policy: Policy, random: Callable[[], float]) -> float | None:
    """Seconds to wait before asking again, or `None` to give up. `attempt` counts from 0; `random` gives [0, 1).

    Full jitter: anything between nothing and the back-off, so that clients that failed together do not come back together.
    What the provider asks for is never cut short.
    """
    if attempt >= policy.retries or not _may_ask_again(outcome):
        return None
    asked_s = outcome.retry_after_s
    if asked_s is None:
        wait_s = random() * min(policy.longest_s, policy.first_s * 2.0**attempt)
    elif asked_s > policy.patience_s:
        return None
    else:
        wait_s = asked_s + random() * _SPREAD_S
    return wait_s if wait_s < outcome.left_s else None


def _may_ask_again(outcome: Outcome) -> bool:
    if outcome.fault is Fault.REFUSED:
        return outcome.status in AGAIN and not outcome.is_final
    return outcome.fault is Fault.UNREACHABLE


def retry_after_s(value: str | None, wall_s: float, *, millis: str | None = None) -> float | None:
    """Seconds that `Retry-After` asks for, written as seconds or as a date; `millis` is `retry-after-ms`, which is more exact."""
    if millis is not None and _SECONDS.fullmatch(millis.strip()):
        return float(millis) / 1000
    if value is None:
        return None
    if _SECONDS.fullmatch(value.strip()):
        return float(value)
    return seconds_until(value.strip(), wall_s)
