"""The tool call that was demanded, made by llama.cpp's grammar; must not know in which dialect it was demanded. No I/O.

The engine passes over `tool_choice` "required" and {function} and answers with plain text, so a demanded call is asked for in
words, enforced as JSON by the grammar, and told as a tool call. The legacy `functions` and `function_call` are left alone.
`response_format` needs nothing of the kind: the engine enforces json_object and json_schema, `$ref`, `anyOf`, null and recursion
included, and refuses a schema that it cannot read with a proper 400.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from relight.errors import InvalidRequest
from relight.wire.dialect import count, objects, words
from relight.wire.translation import Filter, Json

# The beginning of {"name": …, "arguments": …}, up to the arguments.
_HEAD: Final = re.compile(r'\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:\s*(?=\S)')
_NO_PARAMETERS: Final[Json] = {"type": "object", "properties": {}}
# Where strings and brackets begin and end; a backslash takes the next character with it.
_PIECE: Final = re.compile(r'\\.|["{}\[\]]', re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Function:
    name: str
    description: str
    parameters: Json


def force(chat: Json) -> Filter | None:
    """Turn a demanded tool call into an answer that the engine's grammar enforces; `None` when no call is demanded.

    Changes `chat` in place (its messages are replaced, not changed); raises `InvalidRequest` for a function that is not among
    its tools. The answer is always exactly one call.
    """
    offered = _functions(chat.get("tools"))
    names = _demanded(chat.get("tool_choice"), offered)
    if not names:
        return None
    called = [offered[name] for name in names]
    for field in ("tools", "tool_choice", "parallel_tool_calls"):
        chat.pop(field, None)
    chat["messages"] = _with_instruction(chat.get("messages"), _instruction(called))
    chat["response_format"] = {"type": "json_schema", "json_schema": {"name": "call", "strict": True, "schema": _schema(called)}}
    return ForcedCall(called[0].name if len(called) == 1 else None)


class ForcedCall:
    """Tells an answer that is JSON as the tool call that it means; what never becomes a call stays text."""

    __slots__ = ("_calls", "_name")

    def __init__(self, name: str | None) -> None:
        self._name = name
        self._calls: dict[int, _Call] = {}

    def feed(self, chunk: Json) -> list[Json]:
        """See `Filter.feed`."""
        choices = objects(chunk.get("choices"))
        if not choices:
            return [chunk]
        told = [choice for choice in map(self._choice, choices) if choice is not None]
        return [{**chunk, "choices": told}] if told or chunk.get("usage") is not None else []

    def finish(self) -> list[Json]:
        """See `Filter.finish`: nothing is kept past an answer's last chunk."""
        return []

    def whole(self, answer: Json) -> Json:
        """See `Filter.whole`."""
        return {**answer, "choices": [self._whole_choice(choice) for choice in objects(answer.get("choices"))]}

    def _choice(self, choice: Json) -> Json | None:
        delta, finish = dict(choice.get("delta") or {}), choice.get("finish_reason")
        call = self._calls.setdefault(count(choice.get("index")) or 0, _Call(self._name))
        text = delta.pop("content") if isinstance(delta.get("content"), str) else ""
        if "role" in delta:
            delta["content"] = None
        if piece := call.feed(text):
            delta["tool_calls"] = [piece]
        elif finish and call.head:
            delta["content"] = call.head
        if not delta and not finish:
            return None
        return {**choice, "delta": delta, "finish_reason": _finish(finish, call)}

    def _whole_choice(self, choice: Json) -> Json:
        message, call = dict(choice.get("message") or {}), _Call(self._name)
        piece = call.feed(words(message.get("content")))
        if piece is None:
            return choice
        del piece["index"]
        message |= {"content": None, "tool_calls": [piece]}
        return {**choice, "message": message, "finish_reason": _finish(choice.get("finish_reason"), call)}


class _Call:
    """One call on its way out of JSON text."""

    __slots__ = ("_depth", "_has_ended", "_id", "_in_string", "_is_named_by_answer", "_name", "_tail", "head", "is_open")

    def __init__(self, name: str | None) -> None:
        self._id = f"call_{os.urandom(12).hex()}"
        self._name = name
        self._is_named_by_answer = name is None
        self._depth = 0
        self._in_string = self._has_ended = False
        self._tail = ""
        self.head = ""
        """Text of which it is not known yet what it calls."""
        self.is_open = False

    def feed(self, text: str) -> Json | None:
        """The piece of a call that `text` adds."""
        if not text:
            return None
        if self.is_open:
            arguments = self._arguments(text)
            return {"index": 0, "function": {"arguments": arguments}} if arguments else None
        self.head += text
        if self._is_named_by_answer:
            if not (found := _HEAD.match(self.head)):
                return None
            self._name = msgspec.json.decode(found[1], type=str)
            self.head = self.head[found.end() :]
        self.is_open, text, self.head = True, self.head, ""
        return {
            "index": 0,
            "id": self._id,
            "type": "function",
            "function": {"name": self._name, "arguments": self._arguments(text)},
        }

    def _arguments(self, text: str) -> str:
        """The part of `text` that belongs to the arguments: all of it, or up to the bracket that ends them."""
        if not self._is_named_by_answer:
            return text
        if self._has_ended:
            return ""
        scanned, start = self._tail + text, len(self._tail)
        # An escape may be cut in two.
        self._tail = "\\" if _ends_in_escape(scanned) else ""
        for piece in _PIECE.finditer(scanned):
            if (end := self._end(piece)) is not None:
                self._has_ended = True
                return scanned[start:end]
        return scanned[start:]

    def _end(self, piece: re.Match[str]) -> int | None:
        if piece[0] == '"':
            self._in_string = not self._in_string
        elif not self._in_string and piece[0] in "{[":
            self._depth += 1
        elif not self._in_string and piece[0] in "}]":
            self._depth -= 1
            if self._depth <= 0:
                return piece.end() if self._depth == 0 else piece.start()
        return None


def _finish(reason: object, call: _Call) -> object:
    return "tool_calls" if reason == "stop" and call.is_open else reason


def _ends_in_escape(text: str) -> bool:
    return (len(text) - len(text.rstrip("\\"))) % 2 == 1


def _functions(tools: object) -> dict[str, _Function]:
    found: dict[str, _Function] = {}
    for tool in objects(tools):
        function = tool.get("function")
        if tool.get("type", "function") == "function" and isinstance(function, dict) and words(function.get("name")):
            schema = function.get("parameters")
            parameters = schema if isinstance(schema, dict) and schema else _NO_PARAMETERS
            found[function["name"]] = _Function(function["name"], words(function.get("description")), parameters)
    return found


def _demanded(choice: object, offered: dict[str, _Function]) -> list[str]:
    """The functions of which one has to be called; none when that is the model's to decide."""
    if choice == "required":
        return list(offered)
    if not isinstance(choice, dict):
        return []
    if choice.get("type") == "allowed_tools":
        allowed = choice.get("allowed_tools", choice)
        if not isinstance(allowed, dict) or allowed.get("mode") != "required":
            return []
        return [_offered(tool, f"tool_choice.tools.{place}", offered) for place, tool in enumerate(objects(allowed.get("tools")))]
    return [_offered(choice, "tool_choice", offered)] if choice.get("type") == "function" else []


def _offered(choice: Json, where: str, offered: dict[str, _Function]) -> str:
    function = choice.get("function", choice)
    name = function.get("name") if isinstance(function, dict) else None
    if isinstance(name, str) and name in offered:
        return name
    got = f'"{name}"' if isinstance(name, str) else "nothing"
    raise InvalidRequest(f"{where}: should name one of the tools, got {got}", hint="put the function among the tools")


def _schema(called: list[_Function]) -> Json:
    if len(called) == 1:
        return _arguments_schema(called[0])
    return {"anyOf": [_variant(function, place) for place, function in enumerate(called)]}


def _arguments_schema(function: _Function) -> Json:
    # Spelled out, because between the brackets of an empty object a model may write blanks for as long as it likes.
    says_nothing = all(not value for name, value in function.parameters.items() if name != "type")
    return {"const": {}} if "properties" in function.parameters and says_nothing else function.parameters


def _variant(function: _Function, place: int) -> Json:
    arguments = _moved(_arguments_schema(function), f"/anyOf/{place}/properties/arguments")
    return {
        "type": "object",
        "properties": {"name": {"const": function.name}, "arguments": arguments},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


def _moved(schema: Any, place: str) -> Any:
    """A schema that stands somewhere else: its references start at the root of the document."""
    if isinstance(schema, list):
        return [_moved(item, place) for item in schema]
    if not isinstance(schema, dict):
        return schema
    moved = {key: _moved(value, place) for key, value in schema.items()}
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#"):
        moved["$ref"] = f"#{place}{reference[1:]}"
    return moved


def _instruction(called: list[_Function]) -> str:
    listed = "\n".join(_json({"name": one.name, "description": one.description, "parameters": one.parameters}) for one in called)
    if len(called) == 1:
        return (
            f"Call this function now. Answer with its arguments as one JSON object that fits its parameters, "
            f"and with nothing else.\n{listed}"
        )
    return (
        'Call one of these functions now: the one that fits best. Answer with one JSON object {"name": …, "arguments": {…}} '
        f"whose arguments fit the function's parameters, and with nothing else.\n{listed}"
    )


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _with_instruction(messages: object, text: str) -> object:
    if not isinstance(messages, list):
        return messages  # the engine refuses that properly
    for place, message in enumerate(messages):
        if isinstance(message, dict) and message.get("role") in ("system", "developer"):
            return [*messages[:place], {**message, "content": _longer(message.get("content"), text)}, *messages[place + 1 :]]
    return [{"role": "system", "content": text}, *messages]


def _longer(content: object, text: str) -> object:
    if isinstance(content, list):
        return [*content, {"type": "text", "text": text}]
    return f"{content}\n\n{text}" if isinstance(content, str) and content else text
