"""Keeping what changes in system prompts as it was seen first, so that what stands behind it stays known. No I/O.

A system prompt is cut at what the patterns match. What remains is its frame; of two prompts with the same frame, the later one is
read as the one that was seen first. So a model sees an old date, or an old id: whoever pins accepts that.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import Struct

from relight.clock import Clock

_FRAMES: Final = 256
_MOST_PLACES: Final = 1000
"""A text with more of them is no prompt with a date in it, and what stands there would be kept."""
_MONTH: Final = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
OFFENDERS: Final = {
    "date": r"(?i)\b(?:(?:mon|tues|wednes|thurs|fri|satur|sun)day,? +)?(?:"
    r"\d{4}-\d{2}-\d{2}|\d{4}/\d{1,2}/\d{1,2}|\d{1,2}[./]\d{1,2}[./]\d{2,4}"
    rf"|{_MONTH} +\d{{1,2}}(?:st|nd|rd|th)?,? +\d{{4}}|\d{{1,2}}\.? +{_MONTH},? +\d{{4}})(?!\d)",
    "time": r"(?i)(?<![\d:])\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?: ?[ap]m\b)?(?:Z\b| ?[+-]\d{2}:?\d{2}\b)?",
}
"""What may be named in place of a regular expression: what changes by itself in many system prompts."""


class _Seen(Struct, frozen=True):
    """What stood in a frame, and until when that counts."""

    values: tuple[str, ...]
    until: float


class Pins:
    """The first-seen values of one model's system prompts, each kept for `keep_s` seconds after it was first seen.

    They are the process's own: another instance, or the same after a restart, sees its own first. One frame has one value for
    everybody who asks, so nothing should be pinned that tells one client from another.
    """

    def __init__(self, patterns: Iterable[re.Pattern[str]], clock: Clock, keep_s: float) -> None:
        self._patterns = tuple(patterns)
        self._clock, self._keep_s = clock, keep_s
        self._seen: OrderedDict[bytes, _Seen] = OrderedDict()

    def __call__(self, text: str) -> str:
        """`text`, with what the patterns match as it was first seen."""
        spans = list(_spans(text, self._patterns))
        if not spans or len(spans) > _MOST_PLACES:
            return text
        frame = _frame(text, spans)
        key = hashlib.sha256(repr(frame).encode()).digest()
        seen = self._seen.get(key)
        now = self._clock.now()
        if seen is None or seen.until <= now:
            seen = self._seen[key] = _Seen(tuple(text[start:end] for start, end in spans), now + self._keep_s)
            if len(self._seen) > _FRAMES:
                self._seen.popitem(last=False)
        self._seen.move_to_end(key)
        return frame[0] + "".join(value + rest for value, rest in zip(seen.values, frame[1:], strict=True))


def patterns(texts: Iterable[str]) -> tuple[re.Pattern[str], ...]:
    """Expressions from a configuration, where `date` and `time` stand for their own. Raises `re.error`."""
    return tuple(re.compile(OFFENDERS.get(text, text)) for text in texts)


def _spans(text: str, patterns: Iterable[re.Pattern[str]]) -> Iterator[tuple[int, int]]:
    """Where something matches, in order; what overlaps or touches is one."""
    found = sorted(match.span() for pattern in patterns for match in pattern.finditer(text) if match.group())
    begun: tuple[int, int] | None = None
    for start, end in found:
        if begun is None or start > begun[1]:
            if begun is not None:
                yield begun
            begun = start, end
        else:
            begun = begun[0], max(begun[1], end)
    if begun is not None:
        yield begun


def _frame(text: str, spans: list[tuple[int, int]]) -> list[str]:
    """What stands before, between and behind the places."""
    edges = [0, *(edge for span in spans for edge in span), len(text)]
    return [text[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True)]
