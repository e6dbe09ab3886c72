"""The chat dialect from the client's side: `/v1/chat/completions`. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from relight.check.events import Chunk, json_object, server_sent
from relight.check.question import Answer, Call, Finish, Json, Question, Refusal, Tool, Turn, number, obj, objs, text

_FINISH: Final = {"stop": Finish.STOP, "length": Finish.LENGTH, "tool_calls": Finish.TOOLS}
_CHOICES: Final = ("auto", "none", "required")


class Chat:
    """See `Tongue`."""

    name = "chat"
    path = "/v1/chat/completions"
    has_choice = True

    def body(self, question: Question, model: str) -> Json:
        asked: Json = {"model": model, "messages": [_message(turn, as_parts=question.as_parts) for turn in question.turns]}
        if question.max_tokens is not None:
            asked["max_tokens"] = question.max_tokens
        if question.stream:
            asked |= {"stream": True, "stream_options": {"include_usage": True}}
        if question.tools:
            asked["tools"] = [_tool(tool) for tool in question.tools]
        if question.choice in _CHOICES:
            asked["tool_choice"] = question.choice
        elif question.choice:
            asked["tool_choice"] = {"type": "function", "function": {"name": question.choice}}
        if question.schema:
            form = {"name": "answer", "strict": True, "schema": question.schema}
            asked["response_format"] = {"type": "json_schema", "json_schema": form}
        return asked | dict(question.more)

    def whole(self, body: Json) -> Answer:
        choices = objs(body.get("choices"))
        if not choices:
            return Answer(faults=["there is no choices[0]"])
        message, answer = obj(choices[0].get("message")), Answer()
        if "message" not in choices[0]:
            answer.faults.append("choices[0] has no message")
        answer.text = text(message.get("content"))
        answer.has_thought = bool(message.get("reasoning_content") or message.get("reasoning"))
        for call in objs(message.get("tool_calls")):
            function = obj(call.get("function"))
            answer.calls.append(Call(text(call.get("id")) or None, text(function.get("name")), text(function.get("arguments"))))
        _end(answer, choices[0].get("finish_reason"))
        _usage(answer, body.get("usage"))
        return answer

    def told(self, chunks: Sequence[Chunk]) -> Answer:
        reader = _Reader()
        for event in server_sent(chunks):
            if event.is_comment:
                continue
            if event.is_done:
                reader.is_done = True
            elif reader.is_done:
                reader.answer.faults.append("an event follows [DONE]")
            else:
                reader.take(event.json())
        return reader.end()

    def has_begun(self, chunks: Sequence[Chunk]) -> bool:
        return any(_delta_says(obj(event.json())) for event in server_sent(chunks))

    def refusal(self, body: bytes) -> Refusal:
        return openai_refusal(body)


class _Reader:
    """Puts a stream together as clients do, noting what would trip one."""

    def __init__(self) -> None:
        self.answer = Answer()
        self.is_done = False
        self._calls: dict[int, list[str | None]] = {}
        self._ids: set[str] = set()

    def take(self, chunk: Json | None) -> None:
        answer = self.answer
        if chunk is None:
            answer.faults.append("an event is not a JSON object")
            return
        if chunk.get("error"):
            answer.error = text(obj(chunk["error"]).get("message")) or str(chunk["error"])[:120]
            return
        if not isinstance(chunk.get("choices"), list):
            answer.faults.append("a chunk has no list of choices")
        if chunk.get("choices"):  # what keeps a client waiting has none, and may come from somebody else
            self._ids |= {text(chunk.get("id"))} - {""}
        _usage(answer, chunk.get("usage"))
        for choice in objs(chunk.get("choices"))[:1]:
            self._choice(choice)

    def _choice(self, choice: Json) -> None:
        answer, delta = self.answer, obj(choice.get("delta"))
        says = _delta_says({"choices": [choice]})
        if says and answer.finish is not None:
            answer.faults.append("words come after the finish_reason")
        answer.text += text(delta.get("content"))
        answer.has_thought |= bool(delta.get("reasoning_content") or delta.get("reasoning"))
        for piece in objs(delta.get("tool_calls")):
            self._piece(piece)
        if choice.get("finish_reason") is not None:
            _end(answer, choice["finish_reason"])

    def _piece(self, piece: Json) -> None:
        index, function = number(piece.get("index")), obj(piece.get("function"))
        if index is None:
            self.answer.faults.append("a piece of a tool call has no index")
            index = max(self._calls, default=0)
        if index not in self._calls:
            for name, value in (("id", piece.get("id")), ("name", function.get("name"))):
                if not text(value):
                    self.answer.faults.append(f"the first piece of a tool call has no {name}")
            self._calls[index] = [text(piece.get("id")) or None, text(function.get("name")), ""]
        call = self._calls[index]
        call[2] = text(call[2]) + text(function.get("arguments"))

    def end(self) -> Answer:
        """All that was told."""
        answer = self.answer
        answer.calls = [Call(id_, text(name), text(said)) for _, (id_, name, said) in sorted(self._calls.items())]
        if answer.error is None and answer.finish is None:
            answer.faults.append("the stream ended without a finish_reason")
        if answer.error is None and not self.is_done:
            answer.notes.append("the stream ended without [DONE]")
        if len(self._ids) > 1:
            answer.notes.append("the chunks have different ids")
        return answer


def openai_refusal(body: bytes) -> Refusal:
    """An error body in OpenAI's shape."""
    found = json_object(body)
    error = None if found is None else found.get("error")
    if not isinstance(error, dict):
        return Refusal(text(error), "", ('the body is not {"error": {…}}',))
    faults = [f"error.{name} is no text" for name in ("message", "type") if not text(error.get(name))]
    return Refusal(text(error.get("message")), str(error.get("code") or ""), tuple(faults))


def _delta_says(chunk: Json) -> bool:
    deltas = [obj(choice.get("delta")) for choice in objs(chunk.get("choices"))]
    return any(delta.get(key) for delta in deltas for key in ("content", "reasoning_content", "reasoning", "tool_calls"))


def _end(answer: Answer, reason: object) -> None:
    if not text(reason):
        answer.faults.append("there is no finish_reason")
    else:
        answer.finish = _FINISH.get(text(reason), text(reason))


def _usage(answer: Answer, usage: object) -> None:
    if isinstance(usage, dict):
        answer.prompt_tokens = number(usage.get("prompt_tokens"))
        answer.completion_tokens = number(usage.get("completion_tokens"))


def _tool(tool: Tool) -> Json:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.schema}
    return {"type": "function", "function": function}


def _message(turn: Turn, *, as_parts: bool) -> Json:
    said: Json = {"role": turn.role}
    if as_parts:
        said["content"] = None if turn.text is None else [{"type": "text", "text": turn.text}]
    elif turn.picture is not None:
        said["content"] = [{"type": "text", "text": turn.text}, {"type": "image_url", "image_url": {"url": turn.data_url}}]
    elif turn.text is not None:
        said["content"] = turn.text
    if turn.role == "tool" and turn.answers is not None:
        said["tool_call_id"] = turn.answers
    if turn.calls:
        said["tool_calls"] = [_call(call) for call in turn.calls]
    return said


def _call(call: Call) -> Json:
    known = {} if call.id is None else {"id": call.id}
    return {**known, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
