"""The output items of a responses answer and the events that tell how each grows. Knows no chat and no response around them.

An item is opened at its place, grows and is closed; every step returns its events, without their sequence number.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import msgspec

from relight.decoding import NOT_JSON
from relight.wire.responses_tools import INPUT, Callee
from relight.wire.translation import Json

_SEAL: Final = "relight:"
IN_PROGRESS: Final = "in_progress"


@dataclass(frozen=True, slots=True)
class Place:
    """Where an item stands in the answer."""

    answer_id: str
    index: int

    def name(self, prefix: str) -> str:
        """An id that no other item of any answer has."""
        return f"{prefix}_{self.answer_id}_{self.index}"


class Kind(Enum):
    """What a text is: prefix of ids, the events that carry it, the type of its only part."""

    MESSAGE = ("msg", "response.output_text", "output_text")
    REASONING = ("rs", "response.reasoning_text", "reasoning_text")


class Text:
    """A message or a piece of reasoning."""

    def __init__(self, kind: Kind, place: Place, *, is_sealed: bool = False) -> None:
        self.kind = kind
        self.status = IN_PROGRESS
        self._prefix, self._event, self._part_type = kind.value
        self._place = place
        self._id = place.name(self._prefix)
        self._is_sealed = is_sealed
        self._words: list[str] = []

    def open(self) -> list[Json]:
        """The events that announce it."""
        added = _added(self._place, self.shape() | {"content": []})
        return [added, self._about_part("response.content_part.added", part=self._part())]

    def add(self, words: str) -> list[Json]:
        """The events of more words."""
        self._words.append(words)
        return [self._about_part(f"{self._event}.delta", delta=words, **self._logprobs())]

    def close(self, status: str) -> list[Json]:
        """The events of its end."""
        self.status = status
        return [
            self._about_part(f"{self._event}.done", text="".join(self._words), **self._logprobs()),
            self._about_part("response.content_part.done", part=self._part()),
            _done(self._place, self.shape()),
        ]

    def shape(self) -> Json:
        """The item as far as it is known."""
        item: Json = {"id": self._id, "status": self.status, "content": [self._part()]}
        if self.kind is Kind.MESSAGE:
            return {"type": "message", "role": "assistant", **item}
        if self._is_sealed and self.status != IN_PROGRESS:
            item["encrypted_content"] = seal("".join(self._words))
        return {"type": "reasoning", "summary": [], **item}

    def _part(self) -> Json:
        lists: Json = {"annotations": [], "logprobs": []} if self.kind is Kind.MESSAGE else {}
        return {"type": self._part_type, "text": "".join(self._words), **lists}

    def _logprobs(self) -> Json:
        return {"logprobs": []} if self.kind is Kind.MESSAGE else {}

    def _about_part(self, event: str, **fields: Any) -> Json:
        return {"type": event, "item_id": self._id, "output_index": self._place.index, "content_index": 0, **fields}


class Call:
    """A call of a function, or of a tool with free input."""

    def __init__(self, callee: Callee, call_id: str, place: Place) -> None:
        self.status = IN_PROGRESS
        self._callee = callee
        self._place = place
        self._id = place.name("ctc" if callee.is_custom else "fc")
        self._call_id = call_id or place.name("call")
        self._arguments: list[str] = []

    def open(self) -> list[Json]:
        """The event that announces it."""
        return [_added(self._place, self.shape())]

    def add(self, arguments: str) -> list[Json]:
        """The events of more arguments. Free input is told when it is whole: until then it is a piece of JSON."""
        if not arguments:
            return []
        self._arguments.append(arguments)
        return [] if self._callee.is_custom else [self._about("response.function_call_arguments.delta", delta=arguments)]

    def close(self, status: str) -> list[Json]:
        """The events of its end."""
        told: list[Json] = []
        if not self._arguments and not self._callee.is_custom:
            told = self.add("{}")  # clients decode the arguments, and nothing at all is not JSON
        self.status = status
        if self._callee.is_custom:
            free = self._input()
            told.append(self._about("response.custom_tool_call_input.delta", delta=free))
            told.append(self._about("response.custom_tool_call_input.done", input=free))
        else:
            name, arguments = self._callee.name, "".join(self._arguments)
            told.append(self._about("response.function_call_arguments.done", name=name, arguments=arguments))
        return [*told, _done(self._place, self.shape())]

    def shape(self) -> Json:
        """The item as far as it is known."""
        item: Json = {"id": self._id, "status": self.status, "call_id": self._call_id, "name": self._callee.name}
        if self._callee.namespace is not None:
            item["namespace"] = self._callee.namespace
        if self._callee.is_custom:
            return {"type": "custom_tool_call", **item, "input": "" if self.status == IN_PROGRESS else self._input()}
        return {"type": "function_call", **item, "arguments": "".join(self._arguments)}

    def _input(self) -> str:
        """The free input; what the model wrote, where it is not the one argument that was asked for."""
        written = "".join(self._arguments)
        try:
            value = msgspec.json.decode(written)
        except NOT_JSON:
            return written
        if isinstance(value, dict) and isinstance(free := value.get(INPUT), str):
            return free
        return value if isinstance(value, str) else written

    def _about(self, event: str, **fields: Any) -> Json:
        return {"type": event, "item_id": self._id, "output_index": self._place.index, **fields}


Item = Text | Call


def seal(words: str) -> str:
    """Reasoning for a client that gives back only what it cannot read. It is no secret: the item tells the same in the clear."""
    return _SEAL + base64.b64encode(words.encode()).decode()


def unseal(value: object) -> str:
    """Reasoning that `seal` has wrapped; empty for what others have."""
    if not isinstance(value, str) or not value.startswith(_SEAL):
        return ""
    try:
        return base64.b64decode(value.removeprefix(_SEAL), validate=True).decode()
    except ValueError:
        return ""


def _added(place: Place, item: Json) -> Json:
    return {"type": "response.output_item.added", "output_index": place.index, "item": item}


def _done(place: Place, item: Json) -> Json:
    return {"type": "response.output_item.done", "output_index": place.index, "item": item}
