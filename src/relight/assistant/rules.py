"""Words and patterns that decide for a mode by themselves. Pure; knows no classifier.

Python's `re` tries every way to match, and holds the whole process while it does. So a pattern sees the beginning of a message,
and one that could match a repeated text in more ways than can be tried in a lifetime is refused at the start.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from re import _compiler, _parser  # type: ignore[attr-defined]  # in Python 3.11+; sre_parse, its public name, is deprecated
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from relight.errors import ConfigError

if TYPE_CHECKING:
    from relight.config.assistant import Mode


_MOST_CHARACTERS: Final = 1000
# Enough signs to tell that two sets of signs overlap; the others are taken for these letters, or for these marks.
_LETTERS, _MARKS = frozenset("Ж中"), frozenset("€🙂")
_SIGNS: Final = frozenset(map(chr, range(1, 256))) | _LETTERS | _MARKS
_OPTIONAL: Final = (_parser.MAX_REPEAT, _parser.MIN_REPEAT)
_LOOKS: Final = (_parser.ASSERT, _parser.ASSERT_NOT)
_NOTHING: Final = (_parser.AT, *_LOOKS)
_ANYTHING: Final = (_parser.GROUPREF, _parser.GROUPREF_EXISTS)


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
            for found, most in ((_keywords(mode), None), (_patterns(name, mode), _MOST_CHARACTERS))
            for written, rule in found
        ]

    def hits(self, message: str) -> list[Hit]:
        """Every rule that holds for `message` (a pattern: for its first 1,000 characters), in the order of the modes."""
        found = ((name, written, rule.search(message[:most])) for name, written, rule, most in self._rules)
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
            can_explode = _can_explode(_parser.parse(pattern), frozenset(), is_repeated=False)
        except (re.error, RecursionError, OverflowError) as error:
            raise ConfigError(
                f"relight.toml: assistant.modes.{name}.patterns[{number}]: is no regular expression: {error}, got {pattern!r}",
                hint="in TOML, write it between single quotes, so that backslashes stay",
            ) from None
        if can_explode:
            raise ConfigError(
                f"relight.toml: assistant.modes.{name}.patterns[{number}]: may take for ever to match: a repeated group holds "
                f"something optional or repeated that its neighbour could match as well, got {pattern!r}",
                hint="write (a+)+ as a+, and put between two repetitions a sign that neither of them matches",
            )
    return found


def _can_explode(items: Iterable[Any], after: frozenset[str], *, is_repeated: bool) -> bool:
    """Whether a text that repeats itself can be matched in exponentially many ways by `items`, which `after` may follow.

    That takes a choice inside a repetition: to go on with an optional part or to leave it, where one sign allows both. Some
    harmless patterns are taken for such (it does not see what `\\b` forbids), and with `(?s)` some are missed. A few repetitions
    one after the other (`.*a.*b`) take long by their number only: the length of what is searched bounds them.
    """
    items = list(items)
    for at, (kind, told) in enumerate(items):
        rest, is_empty = _first(items[at + 1 :])
        if _part_can_explode(kind, told, rest | after if is_empty else rest, is_repeated=is_repeated):
            return True
    return False


def _part_can_explode(kind: Any, told: Any, after: frozenset[str], *, is_repeated: bool) -> bool:
    if kind in _OPTIONAL:
        least, most, inner = told
        begin, _ = _first(inner)
        if is_repeated and least != most and begin & after:
            return True
        again = begin | (after if is_repeated else frozenset()) if most > 1 else after
        return _can_explode(inner, again, is_repeated=is_repeated or most > 1)
    if kind is _parser.BRANCH:
        if is_repeated and _overlap(told[1]):
            return True
        return any(_can_explode(branch, after, is_repeated=is_repeated) for branch in told[1])
    if kind is _parser.SUBPATTERN:
        return _can_explode(told[-1], after, is_repeated=is_repeated)
    return kind in _LOOKS and _can_explode(told[1], frozenset(), is_repeated=False)


def _overlap(branches: list[Any]) -> bool:
    """Whether a branch of one sign is also how another begins: `(.|\\s)*`. Longer ones part sooner or later."""
    firsts = [(_first(branch)[0], branch.getwidth()[1]) for branch in branches]
    return any(
        one & other and 1 in (width, width_) for at, (one, width) in enumerate(firsts) for other, width_ in firsts[at + 1 :]
    )


def _first(items: Iterable[Any]) -> tuple[frozenset[str], bool]:
    """The signs that a match of `items` may begin with, and whether it may be empty."""
    signs: frozenset[str] = frozenset()
    for item in items:
        more, is_empty = _begin(*item)
        signs |= more
        if not is_empty:
            return signs, False
    return signs, True


def _begin(kind: Any, told: Any) -> tuple[frozenset[str], bool]:
    if kind in _NOTHING:
        return frozenset(), True
    if kind in _ANYTHING:
        return _SIGNS, True
    if kind is _parser.BRANCH:
        each = [_first(branch) for branch in told[1]]
        return frozenset().union(*(signs for signs, _ in each)), any(is_empty for _, is_empty in each)
    if kind in (*_OPTIONAL, _parser.POSSESSIVE_REPEAT):
        signs, is_empty = _first(told[2])
        return signs, is_empty or told[0] == 0
    if kind in (_parser.SUBPATTERN, _parser.ATOMIC_GROUP):
        return _first(told[-1] if kind is _parser.SUBPATTERN else told)
    return _signs(kind, told), False


def _signs(kind: Any, told: Any) -> frozenset[str]:
    """Those that one sign of a pattern stands for, as `re` itself sees it."""
    if kind is _parser.LITERAL:
        sign = chr(told)
        seen = {sign.lower(), sign.upper()} & _SIGNS
        return frozenset(seen) or (_LETTERS if sign.isalnum() else _MARKS)
    one = _compiler.compile(_parser.SubPattern(_parser.State(), [(kind, told)]), re.IGNORECASE)
    return frozenset(sign for sign in _SIGNS if one.match(sign))
