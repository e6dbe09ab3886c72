"""A stream as it came, cut into events that know when they came: server-sent events, or one JSON object a line. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from relight.decoding import NOT_JSON

Chunk = tuple[float, bytes]
"""Bytes, and when they came, in seconds since the request was sent."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `data` is None for a comment; `at` is when its last byte came."""

    at: float
    name: str
    data: bytes | None

    @property
    def is_comment(self) -> bool:
        """Whether clients that count events count this."""
        return self.data is None

    @property
    def is_done(self) -> bool:
        """OpenAI's last word."""
        return self.data == b"[DONE]"

    def json(self) -> dict[str, Any] | None:
        """The object in it; `None` when it is something else."""
        return json_object(self.data or b"")


def json_object(text: bytes) -> dict[str, Any] | None:
    """`text` as a JSON object; `None` when it is not one."""
    try:
        value = msgspec.json.decode(text)
    except NOT_JSON:
        return None
    return value if isinstance(value, dict) else None


def server_sent(chunks: Sequence[Chunk]) -> list[Event]:
    """The events of a `text/event-stream`; what stands behind the last blank line is no event."""
    return [event for at, block in _blocks(chunks) if (event := _event(at, block)) is not None]


def lines(chunks: Sequence[Chunk]) -> list[Event]:
    """The objects of a stream of JSON lines."""
    found, tail = [], b""
    for at, data in chunks:
        *whole, tail = (tail + data).split(b"\n")
        found += [Event(at, "", line) for line in whole if line.strip()]
    if tail.strip():
        found.append(Event(chunks[-1][0], "", tail))
    return found


def _blocks(chunks: Sequence[Chunk]) -> Iterator[Chunk]:
    """What stands between blank lines. A line ends in LF, CR LF, or CR alone is not used by anybody."""
    tail = b""
    for at, data in chunks:
        *whole, tail = (tail + data).replace(b"\r\n", b"\n").split(b"\n\n")
        yield from ((at, block) for block in whole)


def _event(at: float, block: bytes) -> Event | None:
    name, data, has_comment = "", [], False
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if not field and b":" in line:
            has_comment = True
        elif field == b"data":
            data.append(value)
        elif field == b"event":
            name = value.decode(errors="replace")
    if data:
        return Event(at, name, b"\n".join(data))
    return Event(at, name, None) if has_comment else None
