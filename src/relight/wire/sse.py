"""Server-sent events as bytes: framing, and where one event ends. Knows no dialect."""

from __future__ import annotations

import msgspec

_MAX_TAIL = 1 << 20


def event(data: object, *, name: str | None = None) -> bytes:
    """One event: `data` as compact JSON, with an `event:` line when it has a name."""
    head = f"event: {name}\n".encode() if name else b""
    return head + b"data: " + msgspec.json.encode(data) + b"\n\n"


def comment(text: str) -> bytes:
    """A comment: proxies count it as life, some clients do not."""
    return b": " + " ".join(text.splitlines()).encode() + b"\n\n"


class Boundary:
    """Follows a byte stream and says whether it stands between two events, where another event may be put in."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last = b"\n\n"

    def feed(self, chunk: bytes) -> None:
        """Note the end of what was sent."""
        self._last = (self._last + chunk[-4:])[-4:]

    @property
    def is_between_events(self) -> bool:
        """True at the start, and after a blank line."""
        return self._last.endswith((b"\n\n", b"\n\r\n"))


class Events:
    """Cuts a byte stream into whole events without holding any byte back from whoever forwards it.

    What is kept is the unfinished tail of one event, at most 1 MiB; a longer event is let go unread.
    """

    __slots__ = ("_tail",)

    def __init__(self) -> None:
        self._tail = b""

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes; return the whole events that they complete, still as bytes."""
        if not self._tail and chunk.endswith(b"\n\n"):  # as engines write: one event at a time
            return chunk
        buffered = self._tail + chunk if self._tail else chunk
        end = max(buffered.rfind(b"\n\n") + 2, buffered.rfind(b"\n\r\n") + 3)
        if end <= 2:  # neither was found
            # Of an event that is let go, the last bytes stay: its end may begin in them, and no line of its rest starts a chunk.
            self._tail = buffered if len(buffered) <= _MAX_TAIL else buffered[-2:]
            return b""
        self._tail = buffered[end:]
        return buffered[:end]

    def rest(self) -> bytes:
        """What is left of an event that never ended; it is let go."""
        tail, self._tail = self._tail, b""
        return tail


def bounds(events: bytes, at: int) -> tuple[int, int]:
    """Where the event that has `at` inside begins and ends in whole `events`."""
    # Lines end one way or the other, seldom both: the second is looked for only as far as the first was found.
    start = events.rfind(b"\n\n", 0, at) + 2
    start = max(start, events.rfind(b"\n\r\n", max(start - 2, 0), at) + 3)
    end = events.find(b"\n\n", at)
    crlf = events.find(b"\n\r\n", at, len(events) if end < 0 else end + 2)
    if crlf >= 0:
        end = crlf + 1
    return start if start > 2 else 0, len(events) if end < 0 else end + 2


def payloads(events: bytes) -> list[bytes]:
    """The `data:` payloads of whole events, in order."""
    return [line[5:].strip() for line in events.splitlines() if line.startswith(b"data:")]
