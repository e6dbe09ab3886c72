"""What is sent to a backend for a request: unchanged where it can be, mended where its engine needs it, or as a chat.

Pure: a request, a path and what the backend speaks in; where to send what, and how its answer is told, out.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

import msgspec
from msgspec import Struct, structs

from relight.serve.pipe import Passage, Pipe, Untouched, WithoutUsage
from relight.wire.forced import force
from relight.wire.mending import Fields, Needs, decoded, encode, mend
from relight.wire.never_empty import NeverEmpty, retry_request
from relight.wire.translation import About, Filter, Json, Translation, Writer

CHAT: Final = "/v1/chat/completions"
COMPLETIONS: Final = "/v1/completions"
ASSISTANT_CHAT: Final = "/chat"
_UNBOUNDED: Final = 1 << 31  # tokens: a provider says itself what it does not take


@dataclass(frozen=True, slots=True)
class Speech:
    """What a backend speaks, and what has to be done for it."""

    paths: frozenset[str]
    """What it answers natively."""
    needs: Needs
    has_grammar: bool = False
    """It takes a grammar, and needs one to keep to a forced tool choice and never to say nothing."""
    needs_of_native: Needs = field(init=False)
    """For requests whose answers pass as they are: nobody would read the news of the prompt."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "needs_of_native", replace(self.needs, progress=False))


class Question(Struct, frozen=True):
    """A request as it came."""

    path: str
    body: bytes
    fields: Fields
    about: About
    translation: Translation | None = None


class Prepared(Struct, frozen=True):
    """What is sent, and what its answer goes through."""

    path: str
    body: bytes
    passage: Passage | None = None
    """What the answer goes through; `None`: it passes as it is."""
    writer: Writer | None = None
    """Who tells the answer, if that is not the backend itself."""
    sleeps: bool | None = None
    """Nothing is asked: the model shall only wake, or sleep."""
    sleeps_after: bool = False
    """The client wants the model to sleep after its answer."""

    def again(self) -> Prepared | None:
        """The same once more, so that the answer is not empty; `None` when nothing better can be asked."""
        chat = retry_request(decoded(self.body))
        if chat is None or self.passage is None:
            return None
        return Prepared(self.path, msgspec.json.encode(chat), self.passage.again(), self.writer)


def can_answer(question: Question, speech: Speech) -> bool:
    """Whether a backend that speaks so can answer at all."""
    return question.path in speech.paths or (question.translation is not None and question.translation.path in speech.paths)


def prepare(question: Question, speech: Speech) -> Prepared:
    """What to send; raises `InvalidRequest` for what this backend cannot do."""
    if question.path not in speech.paths and question.translation is not None:
        return _translated(question, question.translation, speech)
    if question.path == CHAT and speech.has_grammar and _is_forced(question.fields):
        return _as_chat(decoded(question.body), speech, None)
    if question.path not in (CHAT, COMPLETIONS):
        return Prepared(question.path, _named(question, speech.needs))
    fields = dict(question.fields)
    done = mend(fields, speech.needs_of_native)
    body = encode(fields) if done.changed else question.body
    passage: Passage | None = None
    if done.adds_usage:
        passage = WithoutUsage()
    elif speech.has_grammar and question.path == CHAT:
        passage = Untouched(NeverEmpty())
    return Prepared(question.path, body, passage)


def _translated(question: Question, translation: Translation, speech: Speech) -> Prepared:
    told = translation.translate(
        decoded(question.body), structs.replace(question.about, context=speech.needs.context or _UNBOUNDED)
    )
    if told.asks_nothing:
        return Prepared("", b"", writer=told.writer, sleeps=told.keep_alive_s == 0)
    if translation.path == CHAT:
        is_last = told.keep_alive_s == 0
        return structs.replace(_as_chat(told.chat, speech, told.writer), sleeps_after=is_last)
    asked = {**told.chat, "model": speech.needs.model or told.chat["model"]}
    return Prepared(translation.path, msgspec.json.encode(asked), Pipe((), told.writer), told.writer)


def _as_chat(chat: Json, speech: Speech, writer: Writer | None) -> Prepared:
    forced = force(chat) if speech.has_grammar else None
    fields: Fields = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in chat.items()}
    mend(fields, speech.needs_of_native if writer is None else speech.needs)
    filters: tuple[Filter, ...] = () if forced is None else (forced,)
    empty = NeverEmpty() if speech.has_grammar else None
    return Prepared(CHAT, encode(fields), Pipe(filters, writer, empty), writer)


def _is_forced(fields: Fields) -> bool:
    choice = bytes(fields.get("tool_choice", b"null"))
    return "tools" in fields and choice not in (b"null", b'"auto"', b'"none"')


def _named(question: Question, needs: Needs) -> bytes:
    """The body with the name that the backend knows its model by."""
    if needs.model is None:
        return question.body
    fields = dict(question.fields)
    fields["model"] = msgspec.Raw(msgspec.json.encode(needs.model))
    return encode(fields)
