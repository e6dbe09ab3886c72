"""The log of a build, read from its bucket as it grows. Knows nothing of how builds are begun or end."""

from __future__ import annotations

import codecs
import re
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from relight.cloud.calls import is_missing
from relight.errors import CloudError

if TYPE_CHECKING:
    from relight.cloud.google import Google

TAIL: Final = 20
"""Lines that are kept, for whoever says why a build failed."""
_MOST: Final = 1 << 20
_NOTHING_THERE: Final = 416
# What a log holds is somebody else's output: colours, progress bars and bells stay out of the terminal.
_ESCAPES: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class BuildLog:
    """The log of one build below `gs://bucket/folder`: each line once, in order."""

    def __init__(self, google: Google, bucket: str, folder: str, build: str) -> None:
        self.tail: deque[str] = deque(maxlen=TAIL)
        self._google = google
        self._blob = google.storage.bucket(bucket).blob(f"{folder}/log-{build}.txt")
        self._at = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._rest = ""

    def more(self) -> Iterator[str]:
        """The lines that came since; none while there is no log yet. Raises `CloudError`, after which it can be asked again."""
        while data := self._read():
            self._at += len(data)
            *lines, self._rest = (self._rest + self._decoder.decode(data)).split("\n")
            yield from self._kept(lines)

    def end(self) -> Iterator[str]:
        """What is left when the build has ended, with a last line that was not finished."""
        yield from self.more()
        rest, self._rest = self._rest, ""
        yield from self._kept([rest] if rest else [])

    def _read(self) -> bytes:
        """The next bytes of the log; none at its end, and while it is not there."""
        try:
            data: bytes = self._google.call(
                "read the log of the build",
                self._blob.download_as_bytes,
                start=self._at,
                end=self._at + _MOST - 1,
                checksum=None,
            )
        except CloudError as error:
            if is_missing(error) or getattr(error.__cause__, "code", None) == _NOTHING_THERE:
                return b""
            raise
        return data

    def _kept(self, lines: list[str]) -> Iterator[str]:
        for line in lines:
            text = _plain(line)
            self.tail.append(text)
            yield text


def _plain(line: str) -> str:
    """The line as a terminal would show it in the end: what a carriage return overwrites is gone."""
    shown = _ESCAPES.sub("", line).rstrip("\r").rpartition("\r")[2]
    return _CONTROLS.sub("", shown)
