"""Whether several requests of one user get along: two at a time, and one that was given up."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Final

from relight.check.unit import HELLO, Check, Heard, Place
from relight.check.verdict import Outcome, failed, passed, unsure

_LONG: Final = "Count from 1 to 1000, in words, without leaving out any number."
_LONG_TOKENS: Final = 600
_AT_ONCE: Final = 4
_FEWEST, _MOST = 4, 64
_UNTOLD: Final = 16
"""Answers that are left where nobody says how many the server gives at once: slots beyond that are not found out."""
_AGAIN_S: Final = 0.2


async def _together(place: Place) -> Outcome:
    """A long answer and a title, as Claude Code and OpenCode ask for them in the same instant."""
    said = place.question(HELLO)
    heard = await asyncio.gather(*(place.ask(replace(said, max_tokens=limit)) for limit in (48, 16)))
    for one in heard:
        if one.reply.is_busy:
            if "retry-after" not in one.reply.headers:
                return failed(f"status {one.reply.status} without Retry-After", "queue it, or say Retry-After")
            return passed("one is refused with Retry-After, and clients come again")
        if one.problem:
            return failed(one.problem)
    return passed("both are answered")


async def _gone(place: Place) -> Outcome:
    """Begin long answers, as many as there are slots, leave each at its first word; the next request does not wait for them."""
    before = await place.ask(place.question(HELLO, max_tokens=4))
    if before.problem:
        return failed(before.problem)
    patience = place.session.settings.settle_s + (_AT_ONCE + 2) * before.reply.ended_at
    left: list[Heard] = []
    while len(left) < _wanted(place):
        wave = await asyncio.gather(*(_leave(place, patience) for _ in range(_AT_ONCE)))
        begun = [one for one in wave if place.tongue.has_begun(one.reply.chunks)]
        late = next((one for one in wave if one.reply.was_late), None)
        if late is not None and (left or begun):
            return _taken(len(left) + len(begun), patience)
        # How those are refused that come too many is another check.
        broken = next((one for one in wave if one not in begun and (not one.reply.is_busy or not (left or begun))), None)
        if broken is not None:
            return failed(f"a long answer did not begin: {broken.problem or 'not a word came'}")
        left += begun
        if not begun:
            break  # all were refused, which a server may do
    if all(place.tongue.told(one.reply.chunks).finish for one in left):
        return unsure("the answers were over before they could be left")
    return await _next(place, before, len(left), patience)


def _wanted(place: Place) -> int:
    """How many answers to leave: all slots have to have been taken once."""
    slots = place.session.slots
    return _UNTOLD if slots is None else min(max(slots, _FEWEST), _MOST)


async def _next(place: Place, before: Heard, left: int, patience_s: float) -> Outcome:
    after = await _after(place, patience_s)
    if after.reply.was_late or after.reply.is_busy:
        return _taken(left, patience_s)
    if after.problem:
        return failed(after.problem)
    took, usual = after.reply.ended_at, before.reply.ended_at
    slots = place.session.slots
    of = "slots were not told" if slots is None else f"of {slots} slots"
    return passed(f"{left} answers were left ({of}), the next one took {took:.1f} s ({usual:.1f} s before)")


def _taken(left: int, patience_s: float) -> Outcome:
    return failed(f"{left} answers were left, and {patience_s:.0f} s later their slots were still taken")


async def _after(place: Place, patience_s: float) -> Heard:
    """The next answer; a server that is still busy is asked again as long as the patience lasts."""
    clock = place.session.clock
    ends = clock.now() + patience_s
    while True:
        heard = await place.ask(place.question(HELLO, max_tokens=4), within_s=max(ends - clock.now(), _AGAIN_S))
        if not heard.reply.is_busy or clock.now() >= ends:
            return heard
        await clock.sleep(_AGAIN_S)


async def _leave(place: Place, within_s: float) -> Heard:
    said = place.question(_LONG, stream=True, max_tokens=_LONG_TOKENS)
    return await place.ask(said, within_s=within_s, until=place.has_begun)


CHECKS: Final = (
    Check(
        "together", "two at a time", _together, "Claude Code and OpenCode ask for a title beside the first question",
        "queue what cannot be answered at once",
    ),
    Check(
        "gone", "a client that leaves frees its slot", _gone, "every agent that gave up asks again, and waits behind itself",
        "stop generating when the connection closes (a proxy in between may hide that)", needs=("stream",),
    ),
)  # fmt: skip
