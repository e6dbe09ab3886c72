"""The conversation of an Anthropic request as chat messages. Knows turns; nothing of tools on offer or sampling. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from relight.errors import InvalidRequest
from relight.wire.dialect import words
from relight.wire.messages_blocks import call_id
from relight.wire.messages_content import blocks, expect, one_of, parts, text_of, text_only, text_part

Json = dict[str, Any]

_TOLD_AS_ERROR: Final = ("error", "<tool_use_error>")


def history(system: object, messages: object) -> list[Json]:
    """The chat messages that say the same, the system prompt first.

    Consecutive system or user messages become one, as the dialect wants it: many chat templates refuse two in a row.
    Raises `InvalidRequest` that names the place, as `messages.3.content.0.type`.
    """
    turns = expect(messages, list, "messages")
    if not turns:
        raise InvalidRequest("messages: is empty", hint="send at least one message")
    said = _system(system, "system") if system is not None else []
    for n, turn in enumerate(turns):
        message = expect(turn, dict, f"messages.{n}")
        role = one_of(message.get("role"), tuple(_ROLES), f"messages.{n}.role")
        said += _ROLES[role](message.get("content"), f"messages.{n}.content")
    return [_simplified(message) for message in _merged(said)]


def _system(content: object, place: str) -> list[Json]:
    return [{"role": "system", "content": text_only(content, place)}]


def _user(content: object, place: str) -> Iterator[Json]:
    """Results of tools first: a chat wants them right after the calls. What was said beside them, and images, follow."""
    said: list[Json] = []
    results = 0
    for at, block in blocks(content, place):
        if block.get("type") != "tool_result":
            said += parts(block, at, also=("tool_result",))
            continue
        results += 1
        result = _result(block, at)
        yield {"role": "tool", "tool_call_id": _called(block.get("tool_use_id"), f"{at}.tool_use_id"), "content": _told(result)}
        said += [part for part in result if part["type"] != "text"]
    if said or not results:
        yield {"role": "user", "content": said}


def _result(block: Json, place: str) -> list[Json]:
    content = block.get("content")
    said = [] if content is None else [p for at, one in blocks(content, f"{place}.content") for p in parts(one, at)]
    text = text_of(said)
    # A chat has no field for it. Most tools say so themselves.
    if block.get("is_error") is True and not text.lower().startswith(_TOLD_AS_ERROR):
        said.insert(0, text_part("Error:" if text else "Error"))
    return said


def _told(result: list[Json]) -> str:
    """A result as text; an image, which a chat takes from users only, is named where it stood."""
    return text_of([part if part["type"] == "text" else text_part("[image, see below]") for part in result])


def _assistant(content: object, place: str) -> Iterator[Json]:
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[Json] = []
    for at, block in blocks(content, place):
        match block.get("type"):
            case "text":
                texts.append(expect(block.get("text"), str, f"{at}.text"))
            case "thinking":
                thoughts.append(words(block.get("thinking")))
            case "tool_use":
                calls.append(_call(block, at))
            case kind if not _is_hosted(kind):
                one_of(kind, ("text", "thinking", "redacted_thinking", "tool_use"), f"{at}.type")
    message: Json = {"role": "assistant", "content": "".join(texts) or (None if calls else "")}
    if thought := "\n".join(filter(None, thoughts)):
        message["reasoning_content"] = thought
    if calls:
        message["tool_calls"] = calls
    if texts or thought or calls:
        yield message


_ROLES: Final[dict[str, Callable[[object, str], list[Json] | Iterator[Json]]]] = {
    "user": _user,
    "assistant": _assistant,
    "system": _system,
}


def _call(block: Json, place: str) -> Json:
    arguments = msgspec.json.encode(expect(block.get("input"), dict, f"{place}.input")).decode()
    function = {"name": expect(block.get("name"), str, f"{place}.name"), "arguments": arguments}
    return {"id": _called(block.get("id"), f"{place}.id"), "type": "function", "function": function}


def _called(tool_use_id: object, place: str) -> str:
    return call_id(expect(tool_use_id, str, place))


def _is_hosted(kind: object) -> bool:
    """Whether only Anthropic's own servers can make anything of it: what their tools did, what was thought in secret."""
    hosted = ("redacted_thinking", "server_tool_use", "mcp_tool_use")
    return isinstance(kind, str) and (kind in hosted or kind.endswith("_tool_result"))


def _merged(said: list[Json]) -> list[Json]:
    merged: list[Json] = []
    for message in said:
        if merged and message["role"] == merged[-1]["role"] and message["role"] in ("system", "user"):
            merged[-1]["content"].extend(message["content"])  # both lists were made here
        else:
            merged.append(message)
    return merged


def _simplified(message: Json) -> Json:
    """Nothing but text becomes one string. Clients send the same message now as a list and now as a string; a prompt that
    begins as the last one did is read from the cache."""
    content = message["content"]
    if not isinstance(content, list) or any(part["type"] != "text" for part in content):
        return message
    return message | {"content": text_of(content)}
