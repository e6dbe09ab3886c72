"""How often and how long a server is asked again. Knows neither what is asked nor how."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from relight.errors import NetworkError
from relight.weights.progress import Phase, Report, Update

_T = TypeVar("_T")


class Busy(NetworkError):
    """The attempt failed in a way that another one may not; `retry_after_s` is what the server asked for."""

    code = "network_busy"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to try. `attempts` counts failures in a row without a single new byte; times are in seconds."""

    attempts: int = 6
    first_wait_s: float = 1.0
    longest_wait_s: float = 120.0
    connect_timeout_s: float = 15.0
    read_timeout_s: float = 60.0
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = field(default=random.SystemRandom().random)

    def wait_s(self, failures: int, asked_s: float | None) -> float:
        """How long to wait after the `failures`-th failure: doubling, spread over its upper half; never less than asked for."""
        backoff = min(self.first_wait_s * 2.0 ** (failures - 1), self.longest_wait_s)
        return max(backoff * (0.5 + self.jitter() / 2), asked_s or 0.0)


def persistently(attempt: Callable[[], _T], *, patience: Patience, report: Report, mark: Callable[[], int] = lambda: 0) -> _T:
    """Call `attempt` until it succeeds.

    Raises `NetworkError` after too many `Busy` in a row; a growing `mark()` starts the count anew.
    """
    failures, before = 0, mark()
    while True:
        try:
            return attempt()
        except Busy as error:
            now = mark()
            failures = 1 if now > before else failures + 1
            before = now
            wait = patience.wait_s(failures, error.retry_after_s)
            if failures >= patience.attempts or wait > patience.longest_wait_s:
                raise _given_up(error, failures, patience) from error
            report(Update(Phase.WAIT, note=f"{error.message}; trying again in {wait:.0f} s"))
            patience.sleep(wait)


def _given_up(error: Busy, failures: int, patience: Patience) -> NetworkError:
    if error.retry_after_s is not None and error.retry_after_s > patience.longest_wait_s:
        hint = f"the server asks to come back in {error.retry_after_s:.0f} s; run the same command again then"
    else:
        hint = f"gave up after {failures} failures; run the same command again to go on from here"
    return NetworkError(error.message, hint=hint, retry_after_s=error.retry_after_s)
