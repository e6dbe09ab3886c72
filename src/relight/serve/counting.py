"""A request whose tokens are to be counted, as it would be asked: where tools are told in words, the words count. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import structs

from relight.wire.mending import Fields, Needs, decoded, says, tell_tools

if TYPE_CHECKING:
    from relight.serve.prepare import Question

_FEW: Final = 1  # tokens of an answer that nobody asks for; the dialect wants a number


def in_words(question: Question, needs: Needs) -> bytes | None:
    """The body that is counted in place of the client's, in the same dialect; `None` where that is its own.

    Raises `InvalidRequest` for what is no request of this dialect.
    """
    shown = needs.shown() if needs.shown is not None and b'"tool' in question.body else None
    if shown is None or shown.tools:
        return None
    from relight.wire.messages_request import to_chat

    about = structs.replace(question.about, context=needs.context or 0)
    chat = to_chat({"max_tokens": _FEW, **decoded(question.body)}, about).chat
    fields: Fields = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in chat.items()}
    if not tell_tools(fields, needs, {}):
        return None
    system, *messages = says(fields, "messages")
    if system.get("role") != "system":
        return msgspec.json.encode({"model": question.about.model, "messages": [system, *messages]})
    return msgspec.json.encode({"model": question.about.model, "system": system.get("content"), "messages": messages})
