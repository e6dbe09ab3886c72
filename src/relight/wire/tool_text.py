"""Calls that a model wrote as text, told as calls; must not know who asked, nor in which dialect. No I/O.

A chunk that needs no change goes on as the very object that it came as, so that whoever forwards bytes can forward its own.
Calls that come as calls are never touched, and once one has come, nothing more is looked for.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from typing import Final

from relight.wire.dialect import count, objects, words
from relight.wire.tool_check import Call, Calls, Toolset
from relight.wire.tool_stream import BARE, MARKED, THOUGHT, Out, Reader, ending_calls
from relight.wire.translation import Json

Counts = dict[str, int]
"""How often each mending was made, by its name; shared with the record."""

_MOST_THOUGHT: Final = 1 << 16
_CUT: Final = ("length", "content_filter")
CALLS: Final = frozenset((MARKED, BARE, THOUGHT))
"""The kinds of calls that are found; each is a mending, and can be left out."""
_REFUSED, _BEYOND_ONE = "refused_calls", "calls_beyond_one"


class TextCalls:
    """Finds calls in the text of an answer; see `Filter`. `tools` is asked when the first text comes that might be one.

    Where only one call is allowed (`is_single`), the first is told and what follows it is left out.
    """

    def __init__(
        self, tools: Callable[[], Toolset], counts: Counts, wanted: frozenset[str] = CALLS, *, is_single: bool = False
    ) -> None:
        self._tools, self._counts, self._wanted, self._is_single = tools, counts, wanted, is_single
        self._answers: dict[int, _Answer] = {}

    def again(self) -> TextCalls:
        """The same for another answer."""
        return TextCalls(self._tools, self._counts, self._wanted, is_single=self._is_single)

    def feed(self, chunk: Json) -> list[Json]:
        """See `Filter.feed`."""
        choices = objects(chunk.get("choices"))
        if not choices:
            return [chunk]
        if len(choices) == 1:
            return self._of(choices[0]).feed(chunk, choices[0])
        return [told for choice in choices for told in self._of(choice).feed({**chunk, "choices": [choice]}, choice)]

    def finish(self) -> list[Json]:
        """See `Filter.finish`: an answer that ended without a reason keeps its text."""
        return [told for answer in self._answers.values() for told in answer.give_up()]

    def whole(self, answer: Json) -> Json:
        """See `Filter.whole`."""
        choices = objects(answer.get("choices"))
        told = [self._of(choice).whole(choice) for choice in choices]
        return answer if all(map(_is, told, choices)) else {**answer, "choices": told}

    def _of(self, choice: Json) -> _Answer:
        index = count(choice.get("index")) or 0
        if index not in self._answers:
            self._answers[index] = _Answer(self._tools, self._counts, self._wanted, is_single=self._is_single)
        return self._answers[index]


class _Answer:
    """One choice on its way."""

    def __init__(self, tools: Callable[[], Toolset], counts: Counts, wanted: frozenset[str], *, is_single: bool) -> None:
        self._tools, self._counts, self._wanted, self._is_single = tools, counts, wanted, is_single
        self._reader = Reader(tools, self._refused, wanted)
        # Chunks of which not all text may go out yet; `None` where some of it has gone out, or was called.
        self._held: deque[tuple[Json | None, str]] = deque()
        self._owed = ""  # text that may go out, at the beginning of the first that is held
        self._thought = ""
        self._like: Json = {}  # the last chunk, in whose manner others are made
        self._told = 0
        self._is_said = self._is_native = False

    def feed(self, chunk: Json, choice: Json) -> list[Json]:
        delta, finish = choice.get("delta") or {}, choice.get("finish_reason")
        if self._is_native or delta.get("tool_calls"):
            return self._native(chunk, choice, delta)
        self._thought = (self._thought + words(delta.get("reasoning_content")))[-_MOST_THOUGHT:]
        text = words(delta.get("content"))
        if not text and not finish:
            return [chunk]
        outs = self._reader.feed(text)
        if finish:
            outs += self._end(finish)
        self._like = chunk
        self._held.append((chunk, text))
        is_broken = self._reader.is_in_call or self._held[0][0] is None or any(isinstance(out, Calls) for out in outs)
        if is_broken or self._told:
            return self._rewritten(chunk, outs, finish)
        return self._as_they_came(outs)

    def give_up(self) -> list[Json]:
        """What is held, as text."""
        held, self._held = self._held, deque()
        chunks = [chunk for chunk, _ in held if chunk is not None]
        return chunks if len(chunks) == len(held) else [_chunk(self._like, content=self._reader.pending)]

    def whole(self, choice: Json) -> Json:
        """The choice of an answer in one piece."""
        message, finish = choice.get("message"), choice.get("finish_reason")
        if not isinstance(message, dict) or message.get("tool_calls"):
            return choice
        self._thought = words(message.get("reasoning_content"))
        outs = self._reader.feed(words(message.get("content"))) + self._end(finish)
        calls = [call for out in outs if isinstance(out, Calls) for call in self._counted(out)]
        if not calls:
            return choice
        text = "".join(out for out in outs if isinstance(out, str))
        told = [{key: said for key, said in call.items() if key != "index"} for call in calls]
        message = {**message, "content": text if text.strip() else None, "tool_calls": told}
        return {**choice, "message": message, "finish_reason": _finish(finish)}

    # --- what is called

    def _end(self, finish: object) -> list[Out]:
        """The last of an answer. Where nothing was said, a call that ends its thoughts is what it says."""
        is_cut = finish in _CUT
        outs = self._reader.finish(is_cut=is_cut)
        is_said = self._is_said or any(isinstance(out, Calls) or out.strip() for out in outs)
        if is_said or is_cut or not self._thought or THOUGHT not in self._wanted:
            return outs
        calls = ending_calls(self._thought, self._tools)
        return [*outs, Calls(THOUGHT, calls)] if calls else outs

    def _counted(self, found: Calls) -> list[Json]:
        """The calls as they are told, each with its id."""
        kept = found.calls[: max(0, 1 - self._told)] if self._is_single else found.calls
        if len(kept) < len(found.calls):
            self._count(_BEYOND_ONE, len(found.calls) - len(kept))
        if kept:
            self._count(found.kind, len(kept))
        return [self._call(call) for call in kept]

    def _refused(self) -> None:
        self._count(_REFUSED, 1)

    def _count(self, name: str, number: int) -> None:
        self._counts[name] = self._counts.get(name, 0) + number

    def _call(self, call: Call) -> Json:
        told: Json = {"index": self._told, "id": f"call_{os.urandom(12).hex()}", "type": "function"}
        self._told += 1
        return told | {"function": {"name": call.name, "arguments": call.arguments}}

    # --- what goes on

    def _as_they_came(self, outs: list[Out]) -> list[Json]:
        """The held chunks whose text may go out."""
        self._owed += "".join(out for out in outs if isinstance(out, str))
        self._is_said = self._is_said or not self._owed.isspace()
        told = []
        while self._held and len(self._held[0][1]) <= len(self._owed):
            chunk, text = self._held.popleft()
            self._owed = self._owed[len(text) :]
            told += [] if chunk is None else [chunk]
        return told

    def _rewritten(self, chunk: Json, outs: list[Out], finish: object) -> list[Json]:
        """Chunks of our own for what was decided: of the text that came, some is called, or will be."""
        pieces: list[Out] = [self._owed, *outs]
        beside = self._beside()
        self._owed = ""
        self._held = deque([(None, pending)] if (pending := self._reader.pending) else [])
        told = [_chunk(chunk, **beside)] if beside else []
        for piece in pieces:
            if isinstance(piece, Calls):
                self._is_said = True
                told += [_chunk(chunk, tool_calls=[part]) for call in self._counted(piece) for part in _parts(call)]
            elif piece:
                self._is_said = self._is_said or not piece.isspace()
                told.append(_chunk(chunk, content=piece))
        return [*told, _last(chunk, _finish(finish) if self._told else finish)] if finish else told

    def _beside(self) -> Json:
        """What stood beside the text of held chunks, such as the role."""
        deltas = [objects(chunk["choices"])[0].get("delta") or {} for chunk, _ in self._held if chunk is not None]
        return {key: said for delta in deltas for key, said in delta.items() if key != "content" and said is not None}

    def _native(self, chunk: Json, choice: Json, delta: Json) -> list[Json]:
        """A call that is one: what was held before it is text, and nothing is looked for any more."""
        before = [] if self._is_native else self.give_up()
        self._is_native = True
        if not self._told or not delta.get("tool_calls"):
            return [*before, chunk]
        moved = [{**call, "index": (count(call.get("index")) or 0) + self._told} for call in objects(delta["tool_calls"])]
        return [*before, {**chunk, "choices": [{**choice, "delta": {**delta, "tool_calls": moved}}]}]


def _chunk(like: Json, **delta: object) -> Json:
    """A chunk of our own in the manner of another."""
    choice = {**objects(like["choices"])[0], "delta": delta, "finish_reason": None}
    choice.pop("logprobs", None)
    return {**{key: said for key, said in like.items() if key not in ("usage", "timings")}, "choices": [choice]}


def _last(chunk: Json, finish: object) -> Json:
    return {**chunk, "choices": [{**objects(chunk["choices"])[0], "delta": {}, "finish_reason": finish}]}


def _parts(call: Json) -> tuple[Json, Json]:
    """A call in two pieces, as engines stream one: who is called, then with what."""
    function = call["function"]
    head = {**call, "function": {"name": function["name"], "arguments": ""}}
    return head, {"index": call["index"], "function": {"arguments": function["arguments"]}}


def _finish(reason: object) -> object:
    return "tool_calls" if reason in ("stop", None) else reason


def _is(one: object, other: object) -> bool:
    return one is other
