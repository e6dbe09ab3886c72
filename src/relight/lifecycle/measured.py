"""What was measured of a model's engine and holds after a restart as well: how fast it reads and takes back, and which snapshots
it ended over. Kept in a small file beside the weights, by what snapshots can be read by; knows no engine."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import Annotated, Final

from msgspec import Meta, Struct

from relight.lifecycle import smallfile

# Until it has been measured: a file in the page cache is read faster, one on a network disk more slowly.
_BYTES_A_SECOND: Final = 1e9
_OF_READING: Final = 0.3  # weight of the newest measurement
_OF_TAKING: Final = 0.5
_NEWS: Final = 0.1  # a rate that differs less from what is kept is not written again
_MOST_GROUNDS: Final = 64
_MOST_BARRED: Final = 64
_AT_ONCE: Final = threading.Lock()  # several models of one process keep theirs in one file

_Rate = Annotated[float, Meta(ge=0)]


class _Kept(Struct):
    """What the file says of one ground; nought is not known."""

    seconds_a_token: _Rate = 0.0
    bytes_a_second: _Rate = 0.0
    barred: list[str] = []


class Measured:
    """The rates of one model's engine, and the snapshots that it must not be given. Without a `file`, for as long as it lives.

    A file that cannot be read or written is no reason to fail. Of two processes that write at once the later one counts.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._ground = ""
        self._kept = _Kept()
        self._seconds_a_token = 0.0
        self._bytes_a_second = 0.0
        self._barred: dict[str, None] = {}

    @property
    def seconds_a_token(self) -> float:
        """Seconds that reading one token of a prompt takes; nought until it was measured."""
        return self._seconds_a_token

    @property
    def bytes_a_second(self) -> float:
        """Bytes of a snapshot that are taken back in a second, checking included where it had to be waited for."""
        return self._bytes_a_second or _BYTES_A_SECOND

    def load(self, ground: str) -> None:
        """Remember what the file says of `ground`; what was measured meanwhile is not forgotten. Blocks."""
        if ground == self._ground:
            return
        self._ground = ground
        self._kept = kept = _read(self._file).get(ground, _Kept())
        self._seconds_a_token = self._seconds_a_token or kept.seconds_a_token
        self._bytes_a_second = self._bytes_a_second or kept.bytes_a_second
        self._barred |= dict.fromkeys(kept.barred)

    def read(self, seconds_a_token: float) -> None:
        """A prompt was read at this rate."""
        self._seconds_a_token = _mixed(self._seconds_a_token, seconds_a_token, _OF_READING)

    def taken(self, bytes_a_second: float) -> None:
        """A snapshot was taken back at this rate."""
        self._bytes_a_second = _mixed(self.bytes_a_second, bytes_a_second, _OF_TAKING)

    def is_barred(self, digest: str) -> bool:
        """Whether the engine refused, or ended over, the payload of this digest."""
        return digest in self._barred

    def bar(self, digest: str) -> None:
        """The engine refused this payload or ended over it: it would do the same again."""
        self._barred[digest] = None
        while len(self._barred) > _MOST_BARRED:
            del self._barred[next(iter(self._barred))]

    def absolve(self, digest: str) -> None:
        """This payload was proved: given to an engine that lives, and knew it."""
        self._barred.pop(digest, None)

    @property
    def has_news(self) -> bool:
        """Whether `keep` has something to write."""
        kept = self._kept
        return bool(self._ground) and (
            list(self._barred) != kept.barred
            or _differ(self._seconds_a_token, kept.seconds_a_token)
            or _differ(self._bytes_a_second, kept.bytes_a_second)
        )

    def keep(self) -> None:
        """Write what is news. Blocks for the time of a small file."""
        if self._file is None or not self.has_news:
            return
        kept = _Kept(self._seconds_a_token, self._bytes_a_second, list(self._barred))
        with _AT_ONCE, contextlib.suppress(OSError):
            everything = _read(self._file)
            everything.pop(self._ground, None)
            everything[self._ground] = kept  # the last to be forgotten
            smallfile.replace(self._file, dict(list(everything.items())[-_MOST_GROUNDS:]))
        self._kept = kept


def _read(file: Path | None) -> dict[str, _Kept]:
    return {} if file is None else smallfile.read(file, dict[str, _Kept]) or {}


def _mixed(before: float, newest: float, weight: float) -> float:
    return before + (newest - before) * (weight if before else 1.0)


def _differ(one: float, two: float) -> bool:
    return abs(one - two) > _NEWS * two
