"""The first answer, from asleep if it is: how long it takes, and whether clients are kept patient until then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from relight.check.events import Chunk, lines, server_sent
from relight.check.question import Tongue
from relight.check.unit import HELLO, Heard, Place, Session
from relight.check.verdict import Outcome, failed, passed, unsure
from relight.values import counted

_NO_WAIT: Final = unsure("no word came to wait for")
# `/v1/responses` may have comments alone for so long: its official client wants response.created before any other event.
_COMMENTS_S: Final = {"responses": 120.0}
_BYTES_COUNT: Final = ("messages",)
"""Dialects whose agents take comments for life."""
_SHORTEST_S: Final = 5.0
"""A wait below this tells nothing: models that are awake take as long to read a prompt."""
_RHYTHM: Final = 2 / 3
"""In a shorter wait than the longest silence that is allowed, life that came says that more would: if it parted the wait."""


@dataclass(frozen=True, slots=True)
class Wait:
    """The time before the first word, in seconds: until then, what came and how far apart."""

    word_at: float
    byte_at: float
    """Of the first byte; of the headers, where they came alone."""
    real_gap: float
    """Longest time without an event that counts for every client."""
    any_gap: float
    """Longest time without a byte."""
    comments: int
    events: int


def wait_of(tongue: Tongue, chunks: Sequence[Chunk], head_at: float) -> Wait | None:
    """What a client went through; `None` when no word came."""
    if not tongue.has_begun(chunks):
        return None
    until = next(at for place, (at, _) in enumerate(chunks) if tongue.has_begun(chunks[: place + 1]))
    events = lines(chunks) if tongue.name == "ollama" else server_sent(chunks)
    before = [event for event in events if event.at < until]
    real = [event.at for event in before if not event.is_comment]
    any_at = [head_at, *(at for at, _ in chunks if at < until)]
    return Wait(
        word_at=until,
        byte_at=min(any_at),
        real_gap=_longest([*real, until]),
        any_gap=_longest([*any_at, until]),
        comments=len(before) - len(real),
        events=len(real),
    )


def _longest(times: Sequence[float]) -> float:
    return max(after - before for before, after in zip([0.0, *times], times, strict=False))


async def first_answer(session: Session, tongues: Sequence[Tongue]) -> tuple[Outcome, Outcome]:
    """Have the model answer for the first time, in the first dialect that is there; how that went, and how the wait was."""
    if session.settings.puts_to_sleep:
        path = f"/models/{quote(session.model, safe='')}/sleep"
        await session.line.ask("POST", path, {}, within_s=session.settings.request_s)
        session.line.log.clear()
    for tongue in tongues:
        place = Place(session, tongue, "wake")
        within_s = session.settings.timeout_s
        heard = await place.ask(place.question(HELLO, stream=True), within_s=within_s, until=place.has_begun)
        if not heard.is_missing:
            return await _judged(place, heard)
    said = ", ".join(tongue.path for tongue in tongues)
    return failed(
        f"none of {said} is there", "name the address of an API that agents speak, or another dialect with --dialect"
    ), _NO_WAIT


async def _judged(place: Place, heard: Heard) -> tuple[Outcome, Outcome]:
    session, reply = place.session, heard.reply
    wait = wait_of(place.tongue, reply.chunks, reply.head_at or 0.0) if reply.status == 200 else None
    if wait is None:
        return await _whole(place, heard), _NO_WAIT
    session.is_first_done = True
    retried = " after it was refused with Retry-After" if any(one.is_busy for one in session.line.log) else ""
    return passed(f"first word after {wait.word_at:.1f} s{retried}"), judge(place.tongue.name, wait, session.settings.gap_s)


async def _whole(place: Place, streamed: Heard) -> Outcome:
    """No word came in a stream: perhaps only streams are broken, and the answer comes in one piece."""
    if streamed.reply.broke is None and not streamed.reply.is_busy:
        heard = await place.ask(place.question(HELLO, stream=False))
        if heard.problem is None and not heard.answer.is_empty:
            place.session.is_first_done = True
            return passed(f"after {heard.reply.ended_at:.1f} s, in one piece: a stream gave no word")
    return failed(streamed.problem or "the answer has not a word", "look at the server's log: the model does not answer")


def judge(dialect: str, wait: Wait, gap_s: float) -> Outcome:
    """Whether agents stay through a wait like this that lasts as long as it likes."""
    seen = f"first byte after {wait.byte_at:.1f} s, first word after {wait.word_at:.1f} s"
    if wait.word_at < _SHORTEST_S:
        return unsure(f"{seen}: no wait to be kept alive in (try when it is asleep, or --sleep)")
    if wait.word_at < gap_s:
        return _judge_short(dialect, wait, seen)
    came = f"{seen}; {_life(wait)}"
    if wait.any_gap > gap_s:
        return failed(
            f"{came}; silence of up to {wait.any_gap:.0f} s",
            "send headers and events at once: Qwen Code leaves after 120 s without a byte, most others after 300 s",
        )
    if dialect not in _BYTES_COUNT and wait.real_gap > _COMMENTS_S.get(dialect, gap_s):
        return failed(
            f"{came}; comments alone for up to {wait.real_gap:.0f} s",
            "send real events (chat: a chunk with choices []): comments do not count for Qwen Code (240 s) and Codex (300 s)",
        )
    return passed(f"{came}, never more than {_silence(dialect, wait):.0f} s apart")


def _judge_short(dialect: str, wait: Wait, seen: str) -> Outcome:
    """A wait that ended before anybody would have left: by the longest silence in it, if that tells."""
    silence = _silence(dialect, wait)
    came = f"{seen}; {_life(wait)}, silence of up to {silence:.1f} s"
    if silence <= wait.word_at * _RHYTHM:
        return passed(came)
    return unsure(f"{came}: the wait was too short to tell whether more would have come")


def _life(wait: Wait) -> str:
    return f"{counted(wait.events, 'event')} and {counted(wait.comments, 'comment')} until then"


def _silence(dialect: str, wait: Wait) -> float:
    """The longest time without what the agents of the dialect take for life."""
    return wait.any_gap if dialect in _BYTES_COUNT else wait.real_gap
