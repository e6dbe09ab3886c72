"""Tools told in words, to a model whose chat template does not show them; must not know which model or client it is. No I/O.

llama.cpp takes `tools` for any model, and where the template does nothing with them it answers as if there were none. Here they
are told in the system message, and calls and results of the history in the same form: that of Qwen and Hermes, the most common
one among models that were trained on any, which `tool_forms` reads in the answer. The same tools are told in the same words each
time: a prompt that begins as the last one did is read from the cache.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import Struct

from relight.decoding import NOT_JSON
from relight.wire.dialect import objects, words
from relight.wire.history import joined
from relight.wire.translation import Json

TOOLS: Final = "tools_in_prompt"
"""What this mending is called."""

_LEAD: Final = (
    "You have tools. Each line between <tools> and </tools> describes one of them as JSON: its name, what it does, and the JSON "
    "schema of its arguments."
)
_HOW: Final = (
    "To call a tool, answer with its name and its arguments as JSON between <tool_call> and </tool_call>, in this form:\n"
    '<tool_call>\n{"name": "NAME", "arguments": {"ARGUMENT": "VALUE"}}\n</tool_call>\n'
    "What the tool gives back stands between <tool_response> and </tool_response> in the message that follows."
)
_MARKS: Final = re.compile(r"<(/?)(tools|tool_call|tool_response)>")
_SAID: Final = ("name", "description", "parameters")
_MOST_KEPT: Final = 1 << 18  # bytes of tools whose words are remembered


class Shown(Struct, frozen=True):
    """What a model's chat template shows of tools."""

    tools: bool = True
    """The tools that a request offers."""
    calls: bool = True
    """The calls in its history."""


def with_tools(messages: list[Any], tools: bytes) -> list[Any]:
    """The same, and the tools (JSON, as chat requests list them) in the system message, before what it says."""
    text = (_described if len(tools) <= _MOST_KEPT else _described.__wrapped__)(tools)
    first = messages[0] if messages else None
    if isinstance(first, dict) and first.get("role") in ("system", "developer"):
        return [{**first, "content": joined(text, first.get("content"))}, *messages[1:]]
    return [{"role": "system", "content": text}, *messages]


@lru_cache(maxsize=8)
def _described(tools: bytes) -> str:
    functions = [tool.get("function") for tool in objects(msgspec.json.decode(tools))]
    lines = [_json({key: one[key] for key in _SAID if key in one}) for one in functions if isinstance(one, dict)]
    return "\n".join((_LEAD, "<tools>", *lines, "</tools>", _HOW))


def with_calls(messages: list[Any]) -> list[Any]:
    """The same, with calls in the words of the answer that they belonged to, and results in words that a user gives back.

    A user's own words behind results are told with them: templates that know no tools often want user and assistant in turn.
    """
    told: list[Any] = []
    given_back: list[object] = []  # joined once: a history may hold thousands
    for message in messages:
        role = message.get("role") if isinstance(message, dict) else None
        if role == "tool":
            given_back.append(_given_back(message.get("content")))
            continue
        if given_back:
            is_users = role == "user"
            told.append(_by_user([*given_back, message.get("content")] if is_users else given_back))
            given_back = []
            if is_users:
                continue
        told.append(_called(message) if role == "assistant" else message)
    return [*told, _by_user(given_back)] if given_back else told


def _by_user(contents: list[object]) -> Json:
    return {"role": "user", "content": joined(*contents)}


def _called(message: Json) -> Json:
    calls = [_written(call.get("function")) for call in objects(message.get("tool_calls"))]
    if not calls:
        return message
    content = message.get("content")
    text = "\n".join(calls)
    if isinstance(content, str) and content:
        text = f"{content}\n{text}"
    told = {key: said for key, said in message.items() if key != "tool_calls"}
    return {**told, "content": joined(content, text) if isinstance(content, list) else text}


def _written(function: object) -> str:
    """A call as a model would write it."""
    said: Json = function if isinstance(function, dict) else {}
    arguments = said.get("arguments")
    try:
        value = msgspec.json.decode(arguments) if isinstance(arguments, str) else arguments
    except NOT_JSON:
        value = arguments
    return f"<tool_call>\n{_json({'name': words(said.get('name')), 'arguments': value})}\n</tool_call>"


def _given_back(content: object) -> object:
    if isinstance(content, str | None):
        return f"<tool_response>\n{_unmarked(content or '')}\n</tool_response>"
    return joined("<tool_response>", _parts_unmarked(content), "</tool_response>")


def _parts_unmarked(content: object) -> object:
    """The same parts, the text in them without marks."""
    if not isinstance(content, list):
        return content
    return [
        {**part, "text": _unmarked(part["text"])} if isinstance(part, dict) and isinstance(part.get("text"), str) else part
        for part in content
    ]


def _unmarked(text: str) -> str:
    """What a tool gives back cannot end its place and go on in a user's name."""
    return _MARKS.sub(r"<\1 \2>", text)


def _json(value: object) -> str:
    """On one line, with the blanks that models were shown, and write. No text in it can end the block that it stands in."""
    return msgspec.json.format(msgspec.json.encode(value), indent=0).decode().replace("</tool", "<\\/tool")
