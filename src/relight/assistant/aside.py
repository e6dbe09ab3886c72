"""What goes with one question alone: passages of the knowledge, or the sentences that an answer may be made of. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from relight.assistant.conversation import Conversation
from relight.assistant.fence import inert
from relight.config.assistant import Assistant

if TYPE_CHECKING:
    from relight.assistant.library import Library

_CONSIDERED: Final = 4


class Aside(Struct, frozen=True):
    """What goes with one question alone."""

    texts: list[str] = []
    sources: list[dict[str, Any]] = []
    grammar: str | None = None
    """What the answer keeps to."""
    reply: str | None = None
    """The answer, where no model has to be asked."""


def look_up(library: Library, talk: Conversation, section: Assistant, *, can_quote: bool) -> Aside:
    """What the knowledge says to a message; blocks for some milliseconds. With `can_quote` its sentences are the answer."""
    from relight.assistant.passages import as_prompt, sources
    from relight.assistant.quoting import quoted, sayings

    history = [(said.role, said.text) for said in talk.history]
    if not can_quote:
        found = library.find(talk.message, history, section.passages)
        return Aside([as_prompt(found)], sources(found))
    found = library.find(talk.message, history, _CONSIDERED)
    # Words alone bring in what shares a word with the question; of two paragraphs, a small model quotes the wrong one.
    found = tuple(sorted(found, key=lambda each: each.cosine or 0.0, reverse=True))[:1]
    # On one line before it is made inert: two halves of a control token must not find each other afterwards.
    sentences = [inert(" ".join(sentence.split())) for each in found for sentence in sayings(each.passage.text)]
    if not sentences:
        return Aside(reply=section.says.unknown)
    return Aside(["\n".join(sentences)], sources(found), quoted(sentences))
