"""Ollama's dialect from the client's side: `/api/chat`. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from relight.check.events import Chunk, json_object, lines
from relight.check.question import Answer, Call, Finish, Json, Question, Refusal, Turn, number, obj, objs, text

_FINISH: Final = {"stop": Finish.STOP, "length": Finish.LENGTH}


class Ollama:
    """See `Tongue`. Its calls have no ids, and nothing can be demanded."""

    name = "ollama"
    path = "/api/chat"
    has_choice = False

    def body(self, question: Question, model: str) -> Json:
        asked: Json = {"model": model, "messages": [_message(turn) for turn in question.turns], "stream": question.stream}
        if question.max_tokens is not None:
            asked["options"] = {"num_predict": question.max_tokens}
        if question.tools:
            asked["tools"] = [
                {
                    "type": "function",
                    "function": {"name": tool.name, "description": tool.description, "parameters": tool.schema},
                }
                for tool in question.tools
            ]
        if question.schema:
            asked["format"] = question.schema
        return asked | dict(question.more)

    def whole(self, body: Json) -> Answer:
        answer = Answer()
        _take(answer, body)
        if body.get("done") is not True:
            answer.faults.append("done is not true")
        return answer

    def told(self, chunks: Sequence[Chunk]) -> Answer:
        answer, is_done = Answer(), False
        for line in lines(chunks):
            said = line.json()
            if said is None:
                answer.faults.append("a line is not a JSON object")
                continue
            if is_done:
                answer.faults.append("a line follows the one that is done")
            is_done |= said.get("done") is True
            _take(answer, said)
        if not is_done and answer.error is None:
            answer.faults.append("the stream ended without a line that is done")
        return answer

    def has_begun(self, chunks: Sequence[Chunk]) -> bool:
        said = [obj(obj(line.json()).get("message")) for line in lines(chunks)]
        return any(message.get(key) for message in said for key in ("content", "thinking", "tool_calls"))

    def refusal(self, body: bytes) -> Refusal:
        error = (json_object(body) or {}).get("error")
        if isinstance(error, dict):  # servers that answer every dialect's errors in OpenAI's shape
            return Refusal(text(error.get("message")), text(error.get("code")), ("error is no text",))
        return Refusal(text(error), "", () if text(error) else ('the body is not {"error": "…"}',))


def _take(answer: Answer, said: Json) -> None:
    if said.get("error"):
        answer.error = text(said["error"]) or "an error without a message"
        return
    if not isinstance(said.get("message"), dict):
        answer.faults.append("there is no message")
    message = obj(said.get("message"))
    answer.text += text(message.get("content"))
    answer.has_thought |= bool(message.get("thinking"))
    for call in objs(message.get("tool_calls")):
        function = obj(call.get("function"))
        if not isinstance(function.get("arguments"), dict):
            answer.faults.append("the arguments of a tool call are no object")
        arguments = msgspec.json.encode(function.get("arguments")).decode()
        answer.calls.append(Call(None, text(function.get("name")), arguments))
    if said.get("done") is True:
        reason = text(said.get("done_reason"))
        answer.finish = Finish.TOOLS if answer.calls and reason == "stop" else _FINISH.get(reason, reason or None)
        if not reason:
            answer.notes.append("there is no done_reason")
        answer.prompt_tokens, answer.completion_tokens = number(said.get("prompt_eval_count")), number(said.get("eval_count"))


def _message(turn: Turn) -> Json:
    said: Json = {"role": turn.role, "content": turn.text or ""}
    if turn.picture is not None:
        said["images"] = [turn.picture]
    if turn.calls:
        # Arguments are an object here, come what may.
        calls = [{"name": call.name, "arguments": json_object(call.arguments.encode()) or {}} for call in turn.calls]
        said["tool_calls"] = [{"function": call} for call in calls]
    return said
