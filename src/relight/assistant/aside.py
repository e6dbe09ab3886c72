"""What goes with one question alone: passages of the knowledge, or the sentences that an answer may be made of. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from relight.assistant.conversation import Conversation
from relight.config.assistant import Assistant

if TYPE_CHECKING:
    from relight.assistant.library import Library


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
    from relight.assistant.quoting import about, quoted, sayings

    message = talk.message if section.subject is None else about(talk.message, section.subject)
    found = library.find(message, [(said.role, said.text) for said in talk.history], section.passages)
    if not can_quote:
        return Aside([as_prompt(found)], sources(found))
    sentences = [sentence for each in found for sentence in sayings(each.passage.text)]
    if not sentences:
        return Aside(reply=section.says.unknown)
    return Aside(["\n".join(sentences)], sources(found), quoted(sentences))
