"""Whether an endpoint refuses as it should: what is too long, wrong, unknown, or without a key."""

from __future__ import annotations

import re
from typing import Final

from msgspec import structs

from relight.check.http import Auth
from relight.check.question import Question
from relight.check.unit import FEW, HELLO, Check, Heard, Place
from relight.check.verdict import Outcome, Status, failed, passed, shown, skipped, unsure

_WORD: Final = "word "
_MOST_BYTES: Final = 1_500_000
_NO_MODEL: Final = "relight-check-no-such-model"
# The sentences that agents look for; each names both numbers.
_SENTENCES: Final = {
    "chat": re.compile(r"maximum context length is (\d+) tokens.*?(\d+) tokens", re.DOTALL),
    "responses": re.compile(r"maximum context length is (\d+) tokens.*?(\d+) tokens", re.DOTALL),
    "messages": re.compile(r"prompt is too long: (\d+) tokens > (\d+)"),
}
_SAY: Final = {
    "chat": 'say "This model\'s maximum context length is N tokens. However, your messages resulted in M tokens"'
    " with the code context_length_exceeded",
    "messages": 'say "prompt is too long: M tokens > N maximum"',
}


async def _overflow(place: Place) -> Outcome:
    context = place.session.context
    if context is None:
        return skipped("the server does not say how large the context is; name it with --context")
    words = context + context // 10 + 64
    if words * len(_WORD) > _MOST_BYTES:
        return skipped(f"a context of {context} tokens is too large to fill for a test")
    heard = await place.ask(Question((place.user(_WORD * words),), max_tokens=8, stream=place.streams))
    return _judge_overflow(place, heard, context)


def _judge_overflow(place: Place, heard: Heard, context: int) -> Outcome:
    if heard.refusal is None and heard.problem is None:
        kept = heard.answer.prompt_tokens
        cut = f"it was cut to {kept}" if kept else "it was cut"
        return failed(
            f"{context} tokens are the context, more were sent, and an answer came: {cut} without a word",
            "refuse what does not fit: an agent that is not told cannot compact its history",
        )
    if heard.refusal is None:
        return failed(f"it is not refused before the stream begins: {heard.problem}", "count the prompt first, and answer 400")
    if heard.reply.status != 400:
        return failed(f"refused with {heard.reply.status}, not 400: {shown(heard.refusal.message, 80)}")
    sentence = _SENTENCES.get(place.tongue.name)
    if sentence is not None and not sentence.search(heard.refusal.message):
        return failed(
            f"no agent's wording: {shown(heard.refusal.message, 120)!r}",
            _SAY["messages" if place.tongue.name == "messages" else "chat"],
        )
    if place.tongue.name in ("chat", "responses") and heard.refusal.code != "context_length_exceeded":
        return failed(f"the code is {heard.refusal.code!r}", _SAY["chat"])
    return passed(shown(heard.refusal.message, 100))


async def _bad_json(place: Place) -> Outcome:
    return _refused(await place.post(b'{"model": "x", "messages": [', what="half a body"), (400, 422))


async def _bad_type(place: Place) -> Outcome:
    field = "input" if place.tongue.name == "responses" else "messages"
    body = {**place.tongue.body(place.question(HELLO), place.session.model), field: 17}
    return _refused(await place.post(body, what=f"{field} is a number"), (400, 422))


async def _no_model(place: Place) -> Outcome:
    heard = await place.post(place.tongue.body(place.question(HELLO, stream=False), _NO_MODEL), what=f"model {_NO_MODEL}")
    if heard.reply.status == 200:
        return failed("any name of a model is taken", "refuse unknown names: a typing mistake goes to another model unseen")
    return _refused(heard, (404, 400))


async def _wrong_key(place: Place) -> Outcome:
    if not place.session.is_locked:
        return skipped("the server asks for no key")
    for auth in (Auth.NONE, Auth.WRONG_BEARER, Auth.WRONG_HEADER):
        body = place.tongue.body(place.question(HELLO, stream=False), place.session.model)
        heard = await place.post(body, what=auth.value, auth=auth)
        if heard.reply.status == 200:
            return failed(f"{auth.value}: it is answered all the same")
        outcome = _refused(heard, (401, 403))
        if outcome.status is not Status.PASS:
            return structs.replace(outcome, seen=f"{auth.value}: {outcome.seen}")
    return passed("401, in the dialect's own form")


async def _either_key(place: Place) -> Outcome:
    if not place.session.is_locked:
        return skipped("the server asks for no key")
    for auth in (Auth.BEARER, Auth.HEADER):
        body = place.tongue.body(place.question(HELLO, stream=False, max_tokens=FEW), place.session.model)
        heard = await place.post(body, what=f"the key in {auth.value}", auth=auth)
        if heard.reply.status != 200:
            return failed(f"the key is not taken from {auth.value}: {heard.problem}")
    return passed("the key is taken from both headers")


def _refused(heard: Heard, right: tuple[int, ...]) -> Outcome:
    """Judge a refusal that had to come."""
    status = heard.reply.status
    if status is None or heard.reply.broke:
        return failed(heard.problem or "no answer")
    if status == 200:
        return unsure("it was taken")
    if status >= 500:
        return failed(f"status {status} for what the client did wrong", "answer 400: clients ask again and again after 500")
    if status not in right:
        return failed(f"status {status}, should be {right[0]}")
    if heard.refusal is not None and heard.refusal.faults:
        return failed(f"status {status}, but {'; '.join(heard.refusal.faults)}", "wear the dialect's own form of an error")
    return passed(f"{status} {shown(heard.refusal.message if heard.refusal else '', 80)}")


_SHAPE: Final = "a client that cannot read the error shows a stack trace, or asks again"
_OWN: Final = "answer with the dialect's own error body"

CHECKS: Final = (
    Check(
        "overflow", "too long a prompt is refused with numbers", _overflow,
        "Codex, Cline, Continue, Aider and Claude Code compact their history only when they know the sentence",
        "answer 400 before streaming",
    ),
    Check("errors.json", "half a body gets 400", _bad_json, _SHAPE, _OWN, needs=("stream|plain",)),
    Check("errors.type", "a wrong type gets 400", _bad_type, "after 500 every client asks again", _OWN, needs=("stream|plain",)),
    Check("errors.model", "an unknown model gets 404", _no_model, _SHAPE, _OWN, needs=("stream|plain",)),
    Check(
        "errors.key", "a wrong key gets 401", _wrong_key,
        "Claude Code takes other answers for a moment's trouble and tries for minutes",
        _OWN,
    ),
    Check(
        "key.headers", "the key in either header", _either_key, "Claude Code sends x-api-key or Authorization, by its set-up",
        "take both on every path",
    ),
)  # fmt: skip
