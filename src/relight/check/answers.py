"""Whether plain answers come as they should: whole and streamed, counted, rightly ended, in any script and form of content."""

from __future__ import annotations

from typing import Final

from relight.check.question import Finish, Question, Turn
from relight.check.unit import FEW, HELLO, Check, Heard, Place
from relight.check.verdict import Outcome, failed, passed, shown, unsupported, unsure

_FOREIGN: Final = "Grüße, 世界 🔥"
_SCHEMA: Final = {
    "type": "object",
    "properties": {"answer": {"type": "string", "enum": ["yes", "no"]}},
    "required": ["answer"],
    "additionalProperties": False,
}
_FOREIGN_SCHEMA: Final = {
    "type": "object",
    "properties": {"words": {"type": "string", "enum": [_FOREIGN]}},
    "required": ["words"],
    "additionalProperties": False,
}


async def _plain(place: Place) -> Outcome:
    return await _first(place, stream=False)


async def _stream(place: Place) -> Outcome:
    return await _first(place, stream=True)


async def _first(place: Place, *, stream: bool) -> Outcome:
    limit = 2 * FEW if place.session.settings.is_quick else 6 * FEW
    heard = await place.ask(place.question(HELLO, stream=stream, max_tokens=limit))
    place.session.heard[f"{place.tongue.name}.{place.name}"] = heard
    if heard.is_missing:
        return unsupported(f"{place.tongue.path} is not there (status {heard.reply.status})")
    if heard.problem:
        return failed(heard.problem)
    if heard.answer.is_empty:
        return failed("the answer has not a word")
    place.session.is_first_done = True
    return passed(f"{shown(heard.answer.text, 40)!r} after {heard.reply.ended_at:.1f} s")


def _known(place: Place) -> list[Heard]:
    names = [f"{place.tongue.name}.{name}" for name in ("plain", "stream")]
    return [heard for name in names if (heard := place.session.heard.get(name)) is not None and heard.problem is None]


async def _letter(place: Place) -> Outcome:
    notes = [note for heard in _known(place) for note in heard.answer.notes]
    return failed("; ".join(dict.fromkeys(notes))) if notes else passed("complete")


async def _usage(place: Place) -> Outcome:
    for heard in _known(place):
        form = "a stream" if heard.question.stream else "a whole answer"
        counts = {"prompt": heard.answer.prompt_tokens, "completion": heard.answer.completion_tokens}
        lacking = [name for name, count in counts.items() if not count]
        if lacking:
            return failed(f"{form} tells no {' and no '.join(lacking)} tokens")
    prompt = _known(place)[0].answer.prompt_tokens
    return passed(f"{prompt} tokens of prompt")


async def _finish(place: Place) -> Outcome:
    for heard in _known(place):
        answer, limit = heard.answer, heard.question.max_tokens or 0
        if answer.finish == Finish.LENGTH and answer.completion_tokens is not None and answer.completion_tokens < limit - 1:
            return failed(f"says that it was cut off, at {answer.completion_tokens} of {limit} tokens")
        if answer.finish not in (Finish.STOP, Finish.LENGTH):
            return failed(f"an answer that simply ended gives {answer.finish or 'nothing'!r} as its reason")
    return await _cut(place)


async def _cut(place: Place) -> Outcome:
    heard = await place.ask(place.question("Count from 1 to 50, in digits.", max_tokens=3))
    if heard.problem:
        return failed(heard.problem)
    count = heard.answer.completion_tokens
    if count is not None and count > 8:
        return failed(f"{count} tokens came where 3 were allowed", "keep to max_tokens")
    if heard.answer.finish == Finish.LENGTH:
        return passed("an end is called stop, a cut is called length")
    if heard.answer.finish == Finish.STOP and (count is None or count < 3):
        return unsure("the model ended by itself before it was cut off")
    return failed(f"an answer that was cut off gives {str(heard.answer.finish)!r} as its reason")


async def _parts(place: Place) -> Outcome:
    turns = (Turn("system", "You are brief."), Turn("user", "Hello."), Turn("assistant", "Hello."), place.user(HELLO))
    heard = await place.ask(Question(turns, FEW, stream=place.streams, as_parts=True))
    return failed(heard.problem) if heard.problem else passed("taken")


async def _unicode(place: Place) -> Outcome:
    said = place.question(f"Repeat exactly: {_FOREIGN}", schema=_FOREIGN_SCHEMA, stream=True)
    heard = await place.ask(said)
    if heard.refusal is not None:  # no schemas here: the model is asked to be so kind
        heard = await place.ask(place.question(f"Repeat exactly: {_FOREIGN}", stream=True))
    if (broken := _mojibake(heard.reply.body)) is not None:
        return failed(broken)
    if heard.problem:
        return failed(heard.problem)
    if "\ufffd" in heard.answer.text:
        return failed("a character was replaced by U+FFFD: it was cut in two between events")
    if heard.answer.text.isascii():
        return unsure("the model said nothing but ASCII")
    return passed(f"came whole: {shown(heard.answer.text, 40)!r}")


def _mojibake(body: bytes) -> str | None:
    try:
        body.decode()
    except UnicodeDecodeError as error:
        return f"byte {error.start} is not UTF-8: a character was cut in two between events"
    return None


async def _schema(place: Place) -> Outcome:
    for stream in place.forms:
        heard = await place.ask(place.question("Is water wet?", schema=_SCHEMA, stream=stream))
        if heard.problem:
            return failed(heard.problem)
        said = heard.answer.text.strip()
        if said.replace(" ", "").replace("\n", "") in ('{"answer":"yes"}', '{"answer":"no"}'):
            continue
        if heard.answer.finish == Finish.LENGTH and said.startswith("{"):
            return unsure("the answer was cut off before it could be judged")
        return failed(f"the answer does not fit the schema: {shown(said, 60)!r}")
    return passed("the answer fits")


async def _clamp(place: Place) -> Outcome:
    limit = max(128_000, 4 * (place.session.context or 0))
    heard = await place.ask(place.question(HELLO, max_tokens=limit, stream=True), until=place.has_begun)
    if heard.refusal is not None or heard.reply.broke:
        return failed(heard.problem or "")
    return passed(f"{limit:,} is taken")


async def _no_limit(place: Place) -> Outcome:
    heard = await place.ask(place.question(HELLO, max_tokens=None, stream=True), until=place.has_begun)
    if heard.refusal is not None or heard.reply.broke:
        return failed(heard.problem or "")
    return passed("taken")


async def _newer_limit(place: Place) -> Outcome:
    more = {"max_completion_tokens": 3}
    heard = await place.ask(place.question("Count from 1 to 50, in digits.", max_tokens=None, more=more))
    if heard.problem:
        return failed(heard.problem)
    count = heard.answer.completion_tokens
    return failed(f"{count} tokens came where 3 were allowed") if count is not None and count > 8 else passed("it is kept to")


async def _large(place: Place) -> Outcome:
    padding = {"metadata": {"note": "x" * (1 << 20)}}
    said = place.question(HELLO, max_tokens=FEW)
    body = {**place.tongue.body(said, place.session.model), **padding}
    heard = place.read(said, (await place.post(body, what="1 MiB in a field that no server reads")).reply)
    return failed(heard.problem) if heard.problem else passed("taken")


CHECKS: Final = (
    Check(
        "plain", "whole answer", _plain, "OpenHands, mini-swe-agent and every SDK ask so",
        "look at what came: the status says who failed", needs=(),
    ),
    Check(
        "stream", "streamed answer, events in order", _stream, "all agents but OpenHands stream, and stop at the first fault",
        "send the events in the dialect's order, and an end", needs=(),
    ),
    Check(
        "letter", "nothing of the form is left out", _letter, "no agent that is known breaks on it, but a strict client may",
        "send what is missing",
    ),
    Check(
        "usage", "tokens are counted", _usage, "agents compact their history by these counts",
        "send usage, in streams with include_usage as well",
    ),
    Check(
        "finish", "the end is told from a cut", _finish, "agents go on where an answer was cut off, and stop where it ended",
        "give stop at an end and length at max_tokens",
    ),
    Check(
        "parts", "content as a list of parts", _parts, "Qwen Code, OpenHands and Claude Code send lists",
        "take text and lists of parts from every role",
    ),
    Check(
        "unicode", "no character is cut in two", _unicode, "a broken character spoils a file that an agent writes",
        "hold back the bytes of a character until it is whole", needs=("stream",),
    ),
    Check(
        "schema", "JSON schema is enforced", _schema, "titles of Claude Code, structured output of every SDK",
        "enforce it by a grammar",
    ),
    Check(
        "clamp", "max_tokens beyond the context", _clamp,
        "Qwen Code and Claude Code ask for 32,000, Claude Code Router for 128,000",
        "lower it to what fits, do not refuse it", needs=("stream",),
    ),
    Check(
        "no_limit", "no max_tokens", _no_limit, "OpenHands, Aider, Cline and Codex send none",
        "end answers at a limit of the server's own", needs=("stream",), dialects=("chat", "responses", "ollama"),
    ),
    Check(
        "newer_limit", "max_completion_tokens", _newer_limit, "Pi, and every newer OpenAI client", "read it as max_tokens",
        dialects=("chat",),
    ),
    Check(
        "large", "a body of 1 MiB", _large, "histories with files in them grow to that",
        "raise the limit of the server or its proxy",
    ),
)  # fmt: skip
