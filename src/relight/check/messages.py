"""The messages dialect from the client's side: `/v1/messages`. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from relight.check.events import Chunk, Event, json_object, server_sent
from relight.check.question import Answer, Call, Finish, Json, Question, Refusal, Turn, number, obj, objs, text

_FINISH: Final = {"end_turn": Finish.STOP, "stop_sequence": Finish.STOP, "max_tokens": Finish.LENGTH, "tool_use": Finish.TOOLS}
_CHOICES: Final = {"auto": "auto", "none": "none", "required": "any"}


class Messages:
    """See `Tongue`."""

    name = "messages"
    path = "/v1/messages"
    has_choice = True

    def body(self, question: Question, model: str) -> Json:
        asked: Json = {"model": model, "max_tokens": question.max_tokens or 1024}
        system = [turn.text or "" for turn in question.turns[:1] if turn.role == "system"]
        if system:
            asked["system"] = [{"type": "text", "text": system[0]}] if question.as_parts else system[0]
        asked["messages"] = [_message(turn, as_parts=question.as_parts) for turn in question.turns[len(system) :]]
        if question.stream:
            asked["stream"] = True
        if question.tools:
            asked["tools"] = [
                {"name": tool.name, "description": tool.description, "input_schema": tool.schema} for tool in question.tools
            ]
        if question.choice in _CHOICES:
            asked["tool_choice"] = {"type": _CHOICES[question.choice]}
        elif question.choice:
            asked["tool_choice"] = {"type": "tool", "name": question.choice}
        if question.schema:
            asked["output_config"] = {"format": {"type": "json_schema", "schema": question.schema}}
        return asked | dict(question.more)

    def whole(self, body: Json) -> Answer:
        answer = Answer()
        if body.get("type") != "message":
            answer.faults.append('the type is not "message"')
        if not isinstance(body.get("content"), list):
            answer.faults.append("there is no list of content")
        for block in objs(body.get("content")):
            _block(answer, block)
        _end(answer, body.get("stop_reason"))
        _usage(answer, body.get("usage"))
        return answer

    def told(self, chunks: Sequence[Chunk]) -> Answer:
        reader = _Reader()
        for event in server_sent(chunks):
            if not event.is_comment:
                reader.take(event)
        return reader.end()

    def has_begun(self, chunks: Sequence[Chunk]) -> bool:
        kinds = ("content_block_delta", "message_delta")
        return any(obj(event.json()).get("type") in kinds for event in server_sent(chunks))

    def refusal(self, body: bytes) -> Refusal:
        found = json_object(body) or {}
        error = found.get("error")
        if found.get("type") != "error" or not isinstance(error, dict):
            said = error.get("message") if isinstance(error, dict) else error
            return Refusal(text(said), "", ('the body is not {"type": "error", "error": {…}}',))
        faults = tuple(f"error.{name} is no text" for name in ("message", "type") if not text(error.get(name)))
        code = text(obj(error.get("details")).get("error_code")) or text(error.get("type"))
        return Refusal(text(error.get("message")), code, faults)


class _Reader:
    """Follows the order that the official clients rely on."""

    def __init__(self) -> None:
        self.answer = Answer()
        self._has_begun = self._has_ended = False
        self._open: int | None = None
        self._next = 0
        self._blocks: list[Json] = []

    def take(self, event: Event) -> None:
        said = event.json()
        if said is None:
            self._fault("an event is not a JSON object")
            return
        kind = text(said.get("type"))
        if event.name != kind:
            self._fault(f"an event is named {event.name!r} and of the type {kind!r}")
        if kind == "error":
            self.answer.error = text(obj(said.get("error")).get("message")) or "an error without a message"
        elif kind == "message_start":
            self._begin(obj(said.get("message")))
        elif kind != "ping":
            self._after_start(kind, said)

    def end(self) -> Answer:
        """All that was told."""
        for block in self._blocks:
            _block(self.answer, block)
        if self.answer.error is None:
            if not self._has_ended:
                self._fault("the stream ended without message_stop")
            if self.answer.finish is None:
                self._fault("no message_delta says a stop_reason")
            if self._open is not None:
                self._fault("a content block was never stopped")
        return self.answer

    def _begin(self, message: Json) -> None:
        if self._has_begun:
            self._fault("message_start comes twice")
        self._has_begun = True
        if number(obj(message.get("usage")).get("input_tokens")) is None:
            self.answer.notes.append("message_start says no usage.input_tokens")
        _usage(self.answer, message.get("usage"))

    def _after_start(self, kind: str, said: Json) -> None:
        if not self._has_begun:
            self._fault(f"{kind} comes before message_start")
            self._has_begun = True
        if self._has_ended:
            self._fault(f"{kind} comes after message_stop")
        match kind:
            case "content_block_start":
                self._start(said)
            case "content_block_delta" | "content_block_stop":
                self._inside(kind, said)
            case "message_delta":
                _end(self.answer, obj(said.get("delta")).get("stop_reason"))
                _usage(self.answer, said.get("usage"))
            case "message_stop":
                self._has_ended = True

    def _start(self, said: Json) -> None:
        if self._open is not None:
            self._fault("a content block starts in another")
        if number(said.get("index")) != self._next:
            self._fault(f"content block {self._next} has the index {said.get('index')}")
        self._open, self._next = number(said.get("index")), self._next + 1
        self._blocks.append({**obj(said.get("content_block")), "told": ""})

    def _inside(self, kind: str, said: Json) -> None:
        if self._open is None or number(said.get("index")) != self._open or not self._blocks:
            self._fault(f"{kind} is for a content block that is not open")
            return
        if kind == "content_block_stop":
            self._open = None
            return
        delta, block = obj(said.get("delta")), self._blocks[-1]
        for name in ("text", "partial_json", "thinking"):
            block["told"] += text(delta.get(name))

    def _fault(self, what: str) -> None:
        self.answer.faults.append(what)


def _block(answer: Answer, block: Json) -> None:
    told = block.get("told")
    match block.get("type"):
        case "text":
            answer.text += text(block.get("text")) + text(told)
        case "tool_use":
            arguments = text(told) or msgspec.json.encode(block.get("input", {})).decode()
            answer.calls.append(Call(text(block.get("id")) or None, text(block.get("name")), arguments))
        case "thinking" | "redacted_thinking":
            answer.has_thought = True


def _end(answer: Answer, reason: object) -> None:
    if text(reason):
        answer.finish = _FINISH.get(text(reason), text(reason))


def _usage(answer: Answer, usage: object) -> None:
    said = obj(usage)
    if (fresh := number(said.get("input_tokens"))) is not None:
        cached = (number(said.get(f"cache_{kind}_input_tokens")) or 0 for kind in ("read", "creation"))
        answer.prompt_tokens = fresh + sum(cached)
    if (count := number(said.get("output_tokens"))) is not None:
        answer.completion_tokens = count


def _message(turn: Turn, *, as_parts: bool) -> Json:
    if turn.role == "tool":
        content: object = [{"type": "text", "text": turn.text or ""}] if as_parts else turn.text or ""
        result = {"type": "tool_result", "content": content}
        return {"role": "user", "content": [result if turn.answers is None else {**result, "tool_use_id": turn.answers}]}
    if not (turn.calls or turn.picture or as_parts):
        return {"role": turn.role, "content": turn.text or ""}
    blocks: list[Json] = [{"type": "text", "text": turn.text}] if turn.text is not None else []
    if turn.picture is not None:
        blocks.append({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": turn.picture}})
    return {"role": turn.role, "content": blocks + [_call(call) for call in turn.calls]}


def _call(call: Call) -> Json:
    """A call as it stands in a history: its arguments are an object, come what may."""
    known: Json = {"type": "tool_use"} if call.id is None else {"type": "tool_use", "id": call.id}
    return {**known, "name": call.name, "input": json_object(call.arguments.encode()) or {}}
