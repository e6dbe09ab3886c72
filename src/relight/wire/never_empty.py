"""The answer with nothing in it, noticed and asked for again; must not know who asks. No I/O."""

from __future__ import annotations

from typing import Final

from relight.wire.dialect import count, objects, words
from relight.wire.translation import Filter, Json

# Any text whose first character is seen; GBNF, llama.cpp's grammar language.
_SOME_TEXT: Final = "root ::= [^ \\n\\t\\r] [^\\x00]*"


class NeverEmpty:
    """Notices an answer without a word and without a call: agents end their run on one.

    Its last chunks and usage are held back, so that the request can be asked again once (`retry_request`); the chunks of the
    second answer then go through `second()`. If that fails, `finish` gives back what was held. Thoughts alone are no answer, and
    an answer that was cut off by its length is not empty: asking again would end the same way.
    """

    __slots__ = ("_held", "_is_said", "is_empty")

    def __init__(self) -> None:
        self._held: list[Json] = []
        self._is_said = False
        self.is_empty = False
        """The answer has ended, and there was nothing in it."""

    def feed(self, chunk: Json) -> list[Json]:
        """See `Filter.feed`."""
        if self._is_said:
            return [chunk]
        self._is_said, ends = _look(chunk)
        if self._is_said:
            self.is_empty = False
            return [*self.finish(), chunk]
        self.is_empty = self.is_empty or ends
        if not self.is_empty:
            return [chunk]
        self._held.append(chunk)
        return []

    def finish(self) -> list[Json]:
        """See `Filter.finish`."""
        held, self._held = self._held, []
        return held

    def whole(self, answer: Json) -> Json:
        """See `Filter.whole`: the answer as it is; `is_empty` tells whether to ask again."""
        self._is_said, ends = _look(answer)
        self.is_empty = ends and not self._is_said
        self._held = [answer]
        return answer

    def second(self) -> Filter:
        """What makes the second answer go on where the first one ended."""
        return _Second(self._held)


def retry_request(chat: Json) -> Json | None:
    """The same request with a grammar that begins with a word; `None` when the client has a grammar or a format of its own.

    The engine takes no grammar beside tools that may be called. They stay in the prompt, which it has read already.
    """
    wanted = chat.get("response_format")
    if chat.get("grammar") or (isinstance(wanted, dict) and wanted.get("type") != "text"):
        return None
    return {**chat, "grammar": _SOME_TEXT, **({"tool_choice": "none"} if chat.get("tools") else {})}


class _Second:
    """Joins a second answer to the chunks that went out of an empty first one."""

    __slots__ = ("_id", "_spent")

    def __init__(self, held: list[Json]) -> None:
        self._id = held[0].get("id") if held else None
        usage = next((usage for chunk in held if isinstance(usage := chunk.get("usage"), dict)), {})
        self._spent = count(usage.get("completion_tokens")) or 0

    def feed(self, chunk: Json) -> list[Json]:
        joined = self.whole(chunk)
        if not objects(chunk.get("choices")):
            return [joined]
        joined["choices"] = [_without_role(choice) for choice in objects(chunk["choices"])]
        empty = all(not choice["delta"] and not choice.get("finish_reason") for choice in joined["choices"])
        return [] if empty and "prompt_progress" not in chunk else [joined]

    def finish(self) -> list[Json]:
        return []

    def whole(self, answer: Json) -> Json:
        joined = {**answer, "id": self._id} if self._id is not None else dict(answer)
        if isinstance(usage := answer.get("usage"), dict):
            added = {name: (count(usage.get(name)) or 0) + self._spent for name in ("completion_tokens", "total_tokens")}
            joined["usage"] = {**usage, **added}
        return joined


def _look(answer: Json) -> tuple[bool, bool]:
    """Whether a chunk or a whole answer says anything, or has an ending that explains itself; and whether it ends."""
    choices = objects(answer.get("choices"))
    said = [one for choice in choices if isinstance(one := choice.get("delta") or choice.get("message"), dict)]
    says = any(words(one.get("content")).strip() or one.get("tool_calls") or one.get("refusal") for one in said)
    finishes = [choice.get("finish_reason") for choice in choices]
    return says or any(finish not in (None, "stop") for finish in finishes), "stop" in finishes


def _without_role(choice: Json) -> Json:
    delta = dict(choice.get("delta") or {})
    if delta.pop("role", None) and delta.get("content", "") in (None, ""):
        delta.pop("content", None)
    return {**choice, "delta": delta}
