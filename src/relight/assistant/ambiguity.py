"""How many ways a pattern has to match a text: what decides how long Python's `re`, which tries them all, may take. Pure.

Two questions: whether the ways multiply with every sign of a text (`can_explode`), and where they do not, how much of a text a
pattern can be shown (`seen`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from functools import cache
from re import _compiler, _parser  # type: ignore[attr-defined]  # in Python 3.11+; sre_parse, its public name, is deprecated
from typing import Any, Final

from msgspec import Struct

MOST_CHARACTERS: Final = 1000
_MOST_STEPS: Final = 1_000_000  # of matching: some hundredths of a second
_FEW: Final = 8  # a part that repeats this often at most is written out, as it were: its ways to match are few
_COPIES: Final = 3
# Enough signs to tell that two sets of signs overlap; the others are taken for these letters, or for these marks.
_LETTERS, _MARKS = frozenset("Ж中"), frozenset("€🙂")
_SIGNS: Final = frozenset(map(chr, range(1, 256))) | _LETTERS | _MARKS
_OPTIONAL: Final = (_parser.MAX_REPEAT, _parser.MIN_REPEAT)
_LOOKS: Final = (_parser.ASSERT, _parser.ASSERT_NOT)
_NOTHING: Final = (_parser.AT, *_LOOKS)
_ANYTHING: Final = (_parser.GROUPREF, _parser.GROUPREF_EXISTS)


def can_explode(items: Iterable[Any], after: frozenset[str], *, is_repeated: bool) -> bool:
    """Whether a text that repeats itself can be matched in exponentially many ways by `items`, which `after` may follow.

    That takes a choice inside a repetition: to go on with an optional part or to leave it, where one sign allows both. Some
    harmless patterns are taken for such (it does not see what `\\b` forbids), and with `(?s)` some are missed. A few repetitions
    one after the other (`.*a.*b`) take long by their number only: `seen` bounds what they search.
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
        return can_explode(inner, again, is_repeated=is_repeated or most > 1)
    if kind is _parser.BRANCH:
        if is_repeated and _overlap(told[1]):
            return True
        return any(can_explode(branch, after, is_repeated=is_repeated) for branch in told[1])
    if kind is _parser.SUBPATTERN:
        return can_explode(told[-1], after, is_repeated=is_repeated)
    return kind in _LOOKS and can_explode(told[1], frozenset(), is_repeated=False)


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
    return _found(kind, tuple(told) if isinstance(told, list) else told)


@cache
def _found(kind: Any, told: Any) -> frozenset[str]:
    if kind is _parser.LITERAL:
        sign = chr(told)
        same = {sign.lower(), sign.upper()} & _SIGNS
        return frozenset(same) or (_LETTERS if sign.isalnum() else _MARKS)
    item = (kind, list(told) if isinstance(told, tuple) else told)
    one = _compiler.compile(_parser.SubPattern(_parser.State(), [item]), re.IGNORECASE)
    return frozenset(sign for sign in _SIGNS if one.match(sign))


class _Atom(Struct, frozen=True, kw_only=True):
    """A part of a pattern, as far as it takes signs: whether it repeats as often as it likes, and whether it may be left out."""

    signs: frozenset[str]
    repeats: bool = False
    may_be_left_out: bool = False


def seen(items: Iterable[Any]) -> int:
    """How many characters to show a parsed pattern, so that it ends after a million steps.

    Where k repetitions can share out a text, n characters are shared out in about n^k / k! ways, from each of n beginnings.
    """
    degree = 1 + max(map(_sharing, _paths(items)))
    return min(MOST_CHARACTERS, int((_MOST_STEPS * math.factorial(degree)) ** (1 / degree)))


def _sharing(atoms: list[_Atom]) -> int:
    """The longest row of repetitions of which each can give signs to the next, over all that must stand between them."""
    longest: list[int] = []
    for at, atom in enumerate(atoms):
        before = [longest[other] for other in range(at) if atom.repeats and _gives(atoms[other], atom, atoms[other + 1 : at])]
        longest.append(int(atom.repeats) + max(before, default=0))
    # What may be empty at the end always matches: nothing comes back to it for another try.
    needed = next((at for at in reversed(range(len(atoms))) if not atoms[at].may_be_left_out), -1)
    return max(longest[: needed + 1], default=0)


def _gives(one: _Atom, other: _Atom, between: list[_Atom]) -> bool:
    if not one.repeats or not one.signs & other.signs:
        return False
    return all(atom.may_be_left_out or atom.signs & one.signs for atom in between)


def _paths(items: Iterable[Any]) -> Iterator[list[_Atom]]:
    """The atoms of a pattern in order; before, those inside each of its looks by themselves."""
    atoms: list[_Atom] = []
    for kind, told in items:
        if kind in _LOOKS:
            yield from _paths(told[1])
        elif kind is _parser.AT:
            # An end of the text is something to fail at; like what can not be left out, it makes a search go back.
            atoms.append(_Atom(signs=_SIGNS))
        else:
            atoms += _atoms(kind, told)
    yield atoms


def _inside(items: Iterable[Any]) -> list[_Atom]:
    return [atom for path in _paths(items) for atom in path]


def _atoms(kind: Any, told: Any) -> Iterator[_Atom]:
    if kind in (*_OPTIONAL, _parser.POSSESSIVE_REPEAT):
        yield from _repeated(kind, *told)
    elif kind is _parser.BRANCH:
        yield from _either([_inside(branch) for branch in told[1]])
    elif kind is _parser.SUBPATTERN:
        yield from _inside(told[-1])
    elif kind is _parser.ATOMIC_GROUP:
        yield from (_Atom(signs=atom.signs, may_be_left_out=atom.may_be_left_out) for atom in _inside(told))
    else:
        yield _Atom(signs=_SIGNS if kind in _ANYTHING else _signs(kind, told))


def _repeated(kind: Any, least: int, most: int, inner: Iterable[Any]) -> Iterator[_Atom]:
    parts = _inside(inner)
    if most > _FEW:
        signs = frozenset[str]().union(*(atom.signs for atom in parts))
        yield _Atom(signs=signs, repeats=kind in _OPTIONAL, may_be_left_out=least == 0)
        return
    for _ in range(min(most, _COPIES)):
        for atom in parts:
            yield _Atom(signs=atom.signs, repeats=atom.repeats, may_be_left_out=atom.may_be_left_out or least == 0)


def _either(branches: list[list[_Atom]]) -> Iterator[_Atom]:
    """All that repeats in one of the branches, as if one stood after another; then what at least one of them needs."""
    for atom in (atom for branch in branches for atom in branch if atom.repeats):
        yield _Atom(signs=atom.signs, repeats=True, may_be_left_out=True)
    needed = [[atom.signs for atom in branch if not atom.may_be_left_out] for branch in branches]
    signs = frozenset[str]().union(*(one for branch in needed for one in branch))
    yield _Atom(signs=signs, may_be_left_out=not all(needed))
