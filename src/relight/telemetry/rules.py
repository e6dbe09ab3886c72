"""One rule of what is starred: a pattern, and what stands in its place. Knows no pattern."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cached_property


class Rule:
    """Replaces what `pattern` matches by `by`. Only texts that hold one of `words`, in small letters, can match; none: any.

    The pattern is compiled when it is first needed: all of them together are half of what the front door takes to start.
    """

    def __init__(self, pattern: str, by: str | Callable[[re.Match[str]], str], *words: str) -> None:
        self._source = pattern
        self._by = by
        self._words = words

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The pattern, compiled."""
        return re.compile(self._source)

    def concerns(self, low: str) -> bool:
        """Whether a text, here in small letters, may match: a hundred times as fast as trying the pattern at every character."""
        for word in self._words:
            if word in low:
                return True
        return not self._words

    def apply(self, text: str) -> str:
        """`text` with what matches replaced."""
        return self.pattern.sub(self._by, text)
