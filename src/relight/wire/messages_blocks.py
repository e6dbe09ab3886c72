"""The content blocks of an Anthropic message, made of the deltas of a chat answer. Knows blocks and their order. No I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Final

import msgspec

from relight.decoding import NOT_JSON
from relight.wire.dialect import objects, words

Json = dict[str, Any]

_PREFIX: Final = "toolu_"
# Shorter ones are counters ("call_0") that come again with every answer; clients want an id to be the only one in a conversation.
_UNIQUE: Final = re.compile(r"[A-Za-z0-9_-]{9,64}")


def call_id(tool_use_id: str) -> str:
    """The engine's own id of a call, out of the one that the client knows: some chat templates take no other."""
    return tool_use_id.removeprefix(_PREFIX) or tool_use_id


def tool_input(arguments: str) -> Json:
    """The input of a tool, whatever a model wrote.

    Raw line breaks inside strings, the common mistake, are taken as meant. What is no object beyond that becomes `{}`: the
    tool refuses it, and the model is told and tries again; half an object, mended, would be run.
    """
    return _object(arguments) or {}


def _object(text: str) -> Json | None:
    for decode in (msgspec.json.decode, _decode_leniently):
        try:
            value = decode(text)
        except (ValueError, *NOT_JSON):
            continue
        return value if isinstance(value, dict) else None
    return None


def _decode_leniently(text: str) -> Any:
    value = json.loads(text, strict=False)
    msgspec.json.encode(value)  # half a surrogate pair can be read, but not be sent
    return value


class Kind(Enum):
    """What a block is."""

    THINKING = auto()
    TEXT = auto()
    CALL = auto()


@dataclass(slots=True)
class Block:
    """One block, as far as it was told; `pieces` are its text or a call's arguments."""

    kind: Kind
    id: str = ""
    name: str = ""
    pieces: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self.pieces)

    @property
    def may_close(self) -> bool:
        """Whether nothing more can come, now that another block has begun; the arguments of calls may come in turns."""
        return self.kind is not Kind.CALL or (self._ends_like_an_object and _object(self.text) is not None)

    @property
    def may_open(self) -> bool:
        """Whether it is known what it is; a call has to have its name."""
        return self.kind is not Kind.CALL or bool(self.name)

    @property
    def _ends_like_an_object(self) -> bool:
        # Asked for every piece while another call waits; decoding all of it each time would take the square of its length.
        return next((piece for piece in reversed(self.pieces) if piece.strip()), "").rstrip().endswith("}")

    def start(self) -> Json:
        """The block as it begins."""
        match self.kind:
            case Kind.THINKING:
                return {"type": "thinking", "thinking": "", "signature": ""}
            case Kind.TEXT:
                return {"type": "text", "text": ""}
            case Kind.CALL:
                return {"type": "tool_use", "id": self.id, "name": self.name, "input": {}}

    def delta(self, piece: str) -> Json:
        """One more piece of it."""
        match self.kind:
            case Kind.THINKING:
                return {"type": "thinking_delta", "thinking": piece}
            case Kind.TEXT:
                return {"type": "text_delta", "text": piece}
            case Kind.CALL:
                return {"type": "input_json_delta", "partial_json": piece}

    def whole(self) -> Json:
        """The block as it stands in a message in one piece."""
        match self.kind:
            case Kind.THINKING:
                return self.start() | {"thinking": self.text}
            case Kind.TEXT:
                return self.start() | {"text": self.text}
            case Kind.CALL:
                return self.start() | {"input": tool_input(self.text)}


class Blocks:
    """The blocks of one answer, in the order in which they began."""

    def __init__(self, answer_id: str) -> None:
        self._answer_id = answer_id
        self._calls: dict[int, tuple[str, Block]] = {}
        self.all: list[Block] = []

    def feed(self, delta: Json) -> None:
        """Take the next delta, or a whole message. Empty pieces begin no block."""
        self._say(Kind.THINKING, words(delta.get("reasoning_content")) or words(delta.get("reasoning")))
        self._say(Kind.TEXT, words(delta.get("content")) or words(delta.get("refusal")))
        for call in objects(delta.get("tool_calls")):
            self._call(call)

    @property
    def has_calls(self) -> bool:
        """Whether a tool is to be used."""
        return bool(self._calls)

    def _say(self, kind: Kind, piece: str) -> None:
        if not piece:
            return
        if not self.all or self.all[-1].kind is not kind:
            self.all.append(Block(kind))
        self.all[-1].pieces.append(piece)

    def _call(self, call: Json) -> None:
        function = call.get("function")
        function = function if isinstance(function, dict) else {}
        block = self._called(call, words(function.get("name")))
        if piece := words(function.get("arguments")):
            block.pieces.append(piece)

    def _called(self, call: Json, name: str) -> Block:
        """The block that a delta of a call goes on with. A new id and a name begin one, also where the index is not told or
        is always 0; servers that repeat both in every delta repeat the same."""
        index, their_id = call.get("index"), words(call.get("id"))
        index = index if isinstance(index, int) else 0
        known = self._calls.get(index)
        if known and not (name and their_id and their_id != known[0]):
            known[1].name = known[1].name or name
            return known[1]
        block = Block(Kind.CALL, id=self._id(their_id), name=name)
        self._calls[index] = (their_id, block)
        self.all.append(block)
        return block

    def _id(self, their_id: str) -> str:
        count = sum(block.kind is Kind.CALL for block in self.all)
        return _PREFIX + (their_id if _UNIQUE.fullmatch(their_id) else f"{self._answer_id}_{count}")


class Telling:
    """Tells blocks as they grow: one after another, each closed before the next begins."""

    def __init__(self, blocks: Blocks, eager: frozenset[str]) -> None:
        self._blocks = blocks.all
        self._eager = eager
        self._at = 0
        self._is_open = False
        self._sent = 0

    def go_on(self) -> Iterator[Json]:
        """The events that are due now. The last block stays open; a call may keep those after it waiting."""
        while self._at < len(self._blocks):
            block = self._blocks[self._at]
            if not block.may_open:
                return
            yield from self._tell(block)
            if self._at == len(self._blocks) - 1 or not block.may_close:
                return
            yield from self._close(block)

    def end(self) -> Iterator[Json]:
        """The events that close all that is left."""
        while self._at < len(self._blocks):
            block = self._blocks[self._at]
            yield from self._tell(block)
            yield from self._close(block)

    def _tell(self, block: Block) -> Iterator[Json]:
        if not self._is_open:
            self._is_open, self._sent = True, 0
            yield {"type": "content_block_start", "index": self._at, "content_block": block.start()}
        # The input of a tool is sent when it is there and known to be JSON, as the dialect has it: official clients give the
        # whole message up over a bad one. A tool may be declared to want it as it comes.
        if block.kind is Kind.CALL and block.name not in self._eager:
            return
        for piece in block.pieces[self._sent :]:
            yield self._delta(block.delta(piece))
        self._sent = len(block.pieces)

    def _close(self, block: Block) -> Iterator[Json]:
        if block.kind is Kind.CALL and not self._sent:
            yield self._delta(block.delta(msgspec.json.encode(tool_input(block.text)).decode()))
        if block.kind is Kind.THINKING:
            yield self._delta({"type": "signature_delta", "signature": ""})
        yield {"type": "content_block_stop", "index": self._at}
        self._at, self._is_open = self._at + 1, False

    def _delta(self, delta: Json) -> Json:
        return {"type": "content_block_delta", "index": self._at, "delta": delta}
