"""Whether several requests of one user get along: two at a time, and one that was given up."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Final

from relight.check.unit import HELLO, Check, Heard, Place
from relight.check.verdict import Outcome, failed, passed, unsure

_LONG: Final = "Count from 1 to 1000, in words, without leaving out any number."
_LONG_TOKENS: Final = 600
_LEFT: Final = 4
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
    """Begin several long answers, leave each at its first word, and see that the next request does not wait for them."""
    before = await place.ask(place.question(HELLO, max_tokens=4))
    if before.problem:
        return failed(before.problem)
    left = await asyncio.gather(*(_leave(place) for _ in range(_LEFT)))
    begun = [one for one in left if not one.reply.is_busy]  # how the others are refused is another check
    if broken := next((one for one in begun or left if one.reply.broke or one.refusal is not None), None):
        return failed(f"a long answer did not begin: {broken.problem}")
    if all(place.tongue.told(one.reply.chunks).finish for one in begun):
        return unsure("the answers were over before they could be left")
    patience = place.session.settings.settle_s + 3 * before.reply.ended_at
    after = await _after(place, patience)
    if after.reply.was_late or after.reply.is_busy:
        return failed(f"{len(begun)} answers were left, and {patience:.0f} s later their slots were still taken")
    if after.problem:
        return failed(after.problem)
    return passed(
        f"{len(begun)} answers were left, the next one took {after.reply.ended_at:.1f} s ({before.reply.ended_at:.1f} s before)"
    )


async def _after(place: Place, patience_s: float) -> Heard:
    """The next answer; a server that is still busy is asked again as long as the patience lasts."""
    clock = place.session.clock
    ends = clock.now() + patience_s
    while True:
        heard = await place.ask(place.question(HELLO, max_tokens=4), within_s=max(ends - clock.now(), _AGAIN_S))
        if not heard.reply.is_busy or clock.now() >= ends:
            return heard
        await clock.sleep(_AGAIN_S)


async def _leave(place: Place) -> Heard:
    return await place.ask(place.question(_LONG, stream=True, max_tokens=_LONG_TOKENS), until=place.has_begun)


CHECKS: Final = (
    Check(
        "together", "two at a time", _together, "Claude Code and OpenCode ask for a title beside the first question",
        "queue what cannot be answered at once", is_essential=True,
    ),
    Check(
        "gone", "a client that leaves frees its slot", _gone, "every agent that gave up asks again, and waits behind itself",
        "stop generating when the connection closes (a proxy in between may hide that)", needs=("stream",), is_essential=True,
    ),
)  # fmt: skip
