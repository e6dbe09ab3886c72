"""How a bridge is doing: what it counts, and who is told when that changes. Holds no token, no key and nothing that was said."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from relight.values import counted, format_duration


class Watch(Protocol):
    """Whoever looks at a bridge."""

    def changed(self, state: State) -> None:
        """Something is other than before."""
        ...

    def said(self, event: str, **facts: object) -> None:
        """Something happened that is worth a line: `waiting`, `answering`, `answered`, `failed`, `refused`, `ended`."""
        ...


class Nobody:
    """Looks at nothing."""

    def changed(self, state: State) -> None:
        """See `Watch`."""

    def said(self, event: str, **facts: object) -> None:
        """See `Watch`."""


@dataclass(slots=True)
class State:
    """Counts of requests; `waiting_since` in seconds of the bridge's clock while the platform has no instance; `ends_at` of the
    token in seconds since the Unix epoch."""

    watch: Watch = field(default_factory=Nobody)
    done: int = 0
    open: int = 0
    failed: int = 0
    waiting: int = 0
    waiting_since: float | None = None
    account: str | None = None
    ends_at: float | None = None

    def tell(self) -> None:
        """Say that something changed."""
        self.watch.changed(self)

    def entered(self) -> None:
        self.open += 1
        self.tell()

    def left(self, *, has_failed: bool) -> None:
        self.open -= 1
        self.done += 1
        self.failed += has_failed
        self.tell()

    def waits(self, now: float) -> None:
        """One more request waits for an instance."""
        self.waiting += 1
        if self.waiting_since is None:
            self.waiting_since = now
            self.watch.said("waiting")
        self.tell()

    def waits_no_more(self, now: float, *, is_there: bool) -> None:
        """One less does; `is_there`: for the service has answered it."""
        self.waiting -= 1
        if self.waiting_since is not None and (is_there or not self.waiting):
            if is_there:
                self.watch.said("answering", after_s=round(now - self.waiting_since, 1))
            self.waiting_since = None
        self.tell()

    def line(self, now: float, wall: float) -> str:
        """All of it in a line for people; `now` by the bridge's clock, `wall` in seconds since the Unix epoch."""
        parts = [counted(self.done, "request")]
        if self.failed:
            parts[0] += f" ({self.failed} failed)"
        if self.open:
            parts.append(f"{self.open} open")
        if self.waiting_since is not None:
            parts.append(f"the service is starting, {format_duration(int(now - self.waiting_since))} so far")
        if self.account is not None:
            parts.append(f"as {self.account}")
        if self.ends_at is not None:
            left = self.ends_at - wall
            parts.append(f"token good for {format_duration(int(left / 60) * 60)}" if left >= 60 else "token is renewed")
        return " · ".join(parts)
