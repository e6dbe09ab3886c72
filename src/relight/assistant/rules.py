"""Words and patterns that decide for a mode by themselves. Pure; knows no classifier.

Python's `re` tries every way to match, and holds the whole process while it does. So a pattern sees the beginning of a message
(the more of its repetitions can share out a text among them, the less: `.*a.*b`), and one that could match a repeated text in
more ways than can be tried in a lifetime is refused at the start.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from re import _parser  # type: ignore[attr-defined]  # in Python 3.11+; sre_parse, its public name, is deprecated
from typing import TYPE_CHECKING

from msgspec import Struct

from relight.assistant.ambiguity import can_explode, seen
from relight.errors import ConfigError

if TYPE_CHECKING:
    from relight.config.assistant import Mode


class Hit(Struct, frozen=True):
    """What of a rule was found: the mode it is for, the rule as written, the words of the message."""

    mode: str
    rule: str
    found: str


class Rules:
    """The rules of all modes."""

    def __init__(self, modes: Mapping[str, Mode]) -> None:
        """Raises `ConfigError` for a pattern that is none, or that could take for ever."""
        self._rules = [
            (name, written, rule, most)
            for name, mode in modes.items()
            for written, rule, most in (*_keywords(mode), *_patterns(name, mode))
        ]

    def hits(self, message: str) -> list[Hit]:
        """Every rule that holds for `message` (a pattern: for its first 1,000 characters at most), in the order of the modes."""
        found = ((name, written, rule.search(message[:most])) for name, written, rule, most in self._rules)
        return [Hit(name, written, match[0]) for name, written, match in found if match]


def decided(hits: list[Hit]) -> str | None:
    """The one mode that all hits are for; None when there is no hit, or when two modes claim the message."""
    modes = {hit.mode for hit in hits}
    return modes.pop() if len(modes) == 1 else None


def _keywords(mode: Mode) -> list[tuple[str, re.Pattern[str], int | None]]:
    found: list[tuple[str, re.Pattern[str], int | None]] = []
    for keyword in mode.keywords:
        if parts := keyword.split():
            # Not \b: a keyword may end in a sign ("c++"), and a space in it stands for any.
            text = r"\s+".join(re.escape(part) for part in parts)
            found.append((keyword, re.compile(rf"(?<!\w){text}(?!\w)", re.IGNORECASE), None))
    return found


def _patterns(name: str, mode: Mode) -> list[tuple[str, re.Pattern[str], int]]:
    found = []
    for number, pattern in enumerate(mode.patterns):
        try:
            parsed = _parser.parse(pattern)
            is_endless = can_explode(parsed, frozenset(), is_repeated=False)
            found.append((pattern, re.compile(pattern, re.IGNORECASE), seen(parsed)))
        except (re.error, RecursionError, OverflowError) as error:
            raise ConfigError(
                f"relight.toml: assistant.modes.{name}.patterns[{number}]: is no regular expression: {error}, got {pattern!r}",
                hint="in TOML, write it between single quotes, so that backslashes stay",
            ) from None
        if is_endless:
            raise ConfigError(
                f"relight.toml: assistant.modes.{name}.patterns[{number}]: may take for ever to match: a repeated group holds "
                f"something optional or repeated that its neighbour could match as well, got {pattern!r}",
                hint="write (a+)+ as a+, and put between two repetitions a sign that neither of them matches",
            )
    return found
