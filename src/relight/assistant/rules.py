"""Words and patterns that decide for a mode by themselves. Pure; knows no classifier."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

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
        """Raises `ConfigError` for a pattern that is none."""
        self._rules = [
            (name, written, rule) for name, mode in modes.items() for written, rule in (*_keywords(mode), *_patterns(name, mode))
        ]

    def hits(self, message: str) -> list[Hit]:
        """Every rule that holds for `message`, in the order of the modes."""
        found = ((name, written, rule.search(message)) for name, written, rule in self._rules)
        return [Hit(name, written, match[0]) for name, written, match in found if match]


def decided(hits: list[Hit]) -> str | None:
    """The one mode that all hits are for; None when there is no hit, or when two modes claim the message."""
    modes = {hit.mode for hit in hits}
    return modes.pop() if len(modes) == 1 else None


def _keywords(mode: Mode) -> list[tuple[str, re.Pattern[str]]]:
    found = []
    for keyword in mode.keywords:
        if parts := keyword.split():
            # Not \b: a keyword may end in a sign ("c++"), and a space in it stands for any.
            text = r"\s+".join(re.escape(part) for part in parts)
            found.append((keyword, re.compile(rf"(?<!\w){text}(?!\w)", re.IGNORECASE)))
    return found


def _patterns(name: str, mode: Mode) -> list[tuple[str, re.Pattern[str]]]:
    found = []
    for number, pattern in enumerate(mode.patterns):
        try:
            found.append((pattern, re.compile(pattern, re.IGNORECASE)))
        except (re.error, RecursionError, OverflowError) as error:
            raise ConfigError(
                f"relight.toml: assistant.modes.{name}.patterns[{number}]: is no regular expression: {error}, got {pattern!r}",
                hint="in TOML, write it between single quotes, so that backslashes stay",
            ) from None
    return found
