"""The responses dialect from the client's side: `/v1/responses`. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from relight.check.chat import openai_refusal
from relight.check.events import Chunk, Event, server_sent
from relight.check.question import Answer, Call, Finish, Json, Question, Refusal, Turn, number, obj, objs, text

_CHOICES: Final = ("auto", "none", "required")
_ENDS: Final = ("response.completed", "response.incomplete", "response.failed")
_SPOKEN: Final = {"output_text.delta", "function_call_arguments.delta", "reasoning_summary_text.delta", "reasoning_text.delta"}


class Responses:
    """See `Tongue`."""

    name = "responses"
    path = "/v1/responses"
    has_choice = True

    def body(self, question: Question, model: str) -> Json:
        asked: Json = {"model": model, "store": False}
        asked["input"] = [item for turn in question.turns for item in _items(turn)]
        if question.max_tokens is not None:
            asked["max_output_tokens"] = question.max_tokens
        if question.stream:
            asked["stream"] = True
        if question.tools:
            asked["tools"] = [
                {"type": "function", "name": tool.name, "description": tool.description, "parameters": tool.schema}
                for tool in question.tools
            ]
        if question.choice in _CHOICES:
            asked["tool_choice"] = question.choice
        elif question.choice:
            asked["tool_choice"] = {"type": "function", "name": question.choice}
        if question.schema:
            asked["text"] = {"format": {"type": "json_schema", "name": "answer", "strict": True, "schema": question.schema}}
        return asked | dict(question.more)

    def whole(self, body: Json) -> Answer:
        answer = Answer()
        if body.get("object") != "response":
            answer.faults.append('the object is not "response"')
        if not isinstance(body.get("output"), list):
            answer.faults.append("there is no list of output")
        _response(answer, body)
        return answer

    def told(self, chunks: Sequence[Chunk]) -> Answer:
        reader = _Reader()
        for event in server_sent(chunks):
            if not event.is_comment and not event.is_done:
                reader.take(event)
        return reader.end()

    def has_begun(self, chunks: Sequence[Chunk]) -> bool:
        kinds = (text(obj(event.json()).get("type")).removeprefix("response.") for event in server_sent(chunks))
        return any(kind in _SPOKEN for kind in kinds)

    def refusal(self, body: bytes) -> Refusal:
        return openai_refusal(body)


class _Reader:
    """Follows the order that the official clients and Codex rely on."""

    def __init__(self) -> None:
        self.answer = Answer()
        self._seen: list[str] = []
        self._number = -1
        self._open: set[int] = set()
        self._told = ""

    def take(self, event: Event) -> None:
        said = event.json()
        if said is None:
            self._fault("an event is not a JSON object")
            return
        kind = text(said.get("type"))
        if event.name and event.name != kind:
            self._fault(f"an event is named {event.name!r} and of the type {kind!r}")
        if kind == "error":
            self.answer.error = text(said.get("message")) or text(obj(said.get("error")).get("message")) or "an error"
        elif kind.startswith("response."):
            self._order(kind, said)
            self._seen.append(kind)

    def end(self) -> Answer:
        """All that was told."""
        if self.answer.error is None and not set(self._seen) & set(_ENDS):
            self._fault("the stream ended without response.completed")
        if self._open:
            self._fault("an output item was added and never done")
        if self.answer.error is None and self._told and self._told != self.answer.text:
            self._fault("the deltas are not the text that the response ends with")
        return self.answer

    def _order(self, kind: str, said: Json) -> None:
        if not self._seen and kind != "response.created":
            self._fault(f"{kind} comes before response.created")
        if set(self._seen) & set(_ENDS):
            self._fault(f"{kind} comes after the end")
        self._count(said)
        match kind.removeprefix("response."):
            case "output_item.added":
                self._open.add(number(said.get("output_index")) or 0)
            case "output_item.done":
                self._close(number(said.get("output_index")) or 0)
            case "output_text.delta":
                self._told += text(said.get("delta"))
                if not self._open:
                    self._fault("words come before their output_item.added")
            case "completed" | "incomplete" | "failed":
                _response(self.answer, obj(said.get("response")))

    def _count(self, said: Json) -> None:
        count = number(said.get("sequence_number"))
        if (count is None or count <= self._number) and not self.answer.notes:
            self.answer.notes.append("sequence_number does not rise")
        self._number = self._number if count is None else count

    def _close(self, index: int) -> None:
        if index not in self._open:
            self._fault("an output item is done that was not added")
        self._open.discard(index)

    def _fault(self, what: str) -> None:
        if what not in self.answer.faults:
            self.answer.faults.append(what)


def _response(answer: Answer, body: Json) -> None:
    for item in objs(body.get("output")):
        match item.get("type"):
            case "message":
                answer.text += "".join(text(part.get("text")) for part in objs(item.get("content")))
            case "function_call":
                answer.calls.append(Call(text(item.get("call_id")) or None, text(item.get("name")), text(item.get("arguments"))))
            case "reasoning":
                answer.has_thought = True
    usage = obj(body.get("usage"))
    answer.prompt_tokens, answer.completion_tokens = number(usage.get("input_tokens")), number(usage.get("output_tokens"))
    status = text(body.get("status"))
    if status == "failed":
        answer.error = text(obj(body.get("error")).get("message")) or "failed without a message"
    elif status == "incomplete":
        reason = text(obj(body.get("incomplete_details")).get("reason"))
        answer.finish = Finish.LENGTH if reason == "max_output_tokens" else reason or "incomplete"
    elif status == "completed":
        answer.finish = Finish.TOOLS if answer.calls else Finish.STOP
    else:
        answer.faults.append(f"the status is {status!r}")


def _items(turn: Turn) -> list[Json]:
    if turn.role == "tool":
        known = {} if turn.answers is None else {"call_id": turn.answers}
        return [{"type": "function_call_output", **known, "output": turn.text or ""}]
    items: list[Json] = []
    if turn.text is not None:
        kind = "output_text" if turn.role == "assistant" else "input_text"
        role = "developer" if turn.role == "system" else turn.role
        parts: list[Json] = [{"type": kind, "text": turn.text}]
        parts += [{"type": "input_image", "image_url": turn.data_url, "detail": "auto"}] if turn.picture is not None else []
        items.append({"type": "message", "role": role, "content": parts})
    for call in turn.calls:
        known = {} if call.id is None else {"call_id": call.id}
        items.append({"type": "function_call", **known, "name": call.name, "arguments": call.arguments})
    return items
