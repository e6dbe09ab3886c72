"""What is sent to a backend for a request: unchanged where it can be, mended where its engine needs it, or as a chat.

Pure: a request, a path and what the backend speaks in; where to send what, and how its answer is told, out.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct, structs

from relight.config.mendings import CALLS
from relight.serve.counting import in_words
from relight.serve.pipe import Passage, Pipe, Sifted, Untouched, WithoutUsage
from relight.wire.forced import force
from relight.wire.mending import Fields, Needs, decoded, encode, mend, says
from relight.wire.never_empty import NeverEmpty, retry_request
from relight.wire.translation import About, Filter, Json, Translation, Writer

if TYPE_CHECKING:
    from relight.wire.tool_text import TextCalls

CHAT: Final = "/v1/chat/completions"
COMPLETIONS: Final = "/v1/completions"
COUNT_TOKENS: Final = "/v1/messages/count_tokens"
ASSISTANT_CHAT: Final = "/chat"
TEMPLATE_ROLES: Final = "template_roles"
_MOST_YIELDS: Final = 2
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
    mended: dict[str, int] = {}
    """How often each mending was made, by name; what passes through the passage adds to it."""
    yields: int = 0
    """How often the template may still refuse the messages and be given them in another form."""

    def yielding(self, refusal: str) -> Prepared | None:
        """The same in an order that a strict template takes, where `refusal`, the engine's error, says that it has to be."""
        from relight.wire.history_roles import alternating, is_refusal

        if not self.yields or not is_refusal(refusal):
            return None
        chat = decoded(self.body)
        messages = chat.get("messages")
        if not isinstance(messages, list):
            return None
        self.mended[TEMPLATE_ROLES] = 1
        told = alternating(messages, has_system=self.yields == _MOST_YIELDS)
        return structs.replace(self, body=msgspec.json.encode({**chat, "messages": told}), yields=self.yields - 1)

    def again(self) -> Prepared | None:
        """The same once more, so that the answer is not empty; `None` when nothing better can be asked."""
        chat = retry_request(decoded(self.body))
        if chat is None or self.passage is None:
            return None
        return structs.replace(self, body=msgspec.json.encode(chat), passage=self.passage.again())


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
        counted = in_words(question, speech.needs) if question.path == COUNT_TOKENS else None
        return Prepared(question.path, counted or _named(question, speech.needs))
    fields = dict(question.fields)
    done = mend(fields, speech.needs_of_native)
    body = encode(fields) if done.changed else question.body
    passage: Passage | None = None
    calls = text_calls(question.fields, speech.needs, done.counts) if question.path == CHAT else None
    empty = NeverEmpty() if speech.has_grammar and question.path == CHAT else None
    if calls is not None:
        passage = Sifted(calls, empty, adds_usage=done.adds_usage)
    elif done.adds_usage:
        passage = WithoutUsage()
    elif empty is not None:
        passage = Untouched(empty)
    return Prepared(question.path, body, passage, mended=done.counts, yields=_yields(speech))


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
    asked: Fields = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in chat.items()}
    fields = dict(asked)
    done = mend(fields, speech.needs_of_native if writer is None else speech.needs)
    filters: tuple[Filter, ...] = () if forced is None else (forced,)
    calls = text_calls(asked, speech.needs, done.counts) if forced is None else None
    empty = NeverEmpty() if speech.has_grammar else None
    pipe = Pipe(filters, writer, empty, calls)
    return Prepared(CHAT, encode(fields), pipe, writer, mended=done.counts, yields=_yields(speech))


def text_calls(fields: Fields, needs: Needs, counts: dict[str, int]) -> TextCalls | None:
    """What finds calls in the text of the answer; `None` where none may be made, and where the text has a form of its own."""
    wanted = needs.mends.intersection(CALLS)
    if not wanted or bytes(fields.get("tools", b"null")) in (b"null", b"[]"):
        return None
    form = says(fields, "response_format")
    if "grammar" in fields or "json_schema" in fields or (isinstance(form, dict) and form.get("type") != "text"):
        return None
    choice = says(fields, "tool_choice")
    if choice == "none":
        return None

    # Nothing of this is needed for requests without tools.
    from relight.wire.tool_check import Toolset, toolset
    from relight.wire.tool_text import TextCalls

    @cache
    def tools() -> Toolset:
        return toolset(says(fields, "tools"), choice)

    return TextCalls(tools, counts, wanted, is_single=says(fields, "parallel_tool_calls") is False)


def _yields(speech: Speech) -> int:
    return _MOST_YIELDS if speech.has_grammar and TEMPLATE_ROLES in speech.needs.mends else 0


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
