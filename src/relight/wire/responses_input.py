"""The input items of a responses request as messages of a chat. Knows nothing of the answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import msgspec

from relight.errors import InvalidRequest
from relight.wire.dialect import objects, words
from relight.wire.responses_items import unseal
from relight.wire.responses_shape import object_list, refusal, text
from relight.wire.responses_tools import INPUT, Toolbox
from relight.wire.translation import Json

_ROLES: Final = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
_TEXT_PARTS: Final = {"input_text": "text", "output_text": "text", "text": "text", "refusal": "refusal"}
_BOOKKEEPING: Final = frozenset({"tool_search_output", "additional_tools", "program", "program_output"})


@dataclass(slots=True)
class _Turn:
    """What the assistant did before somebody else spoke: a chat tells it in one message."""

    reasoning: list[str] = field(default_factory=list)
    parts: list[Json] = field(default_factory=list)
    calls: list[Json] = field(default_factory=list)
    has_message: bool = False

    def message(self) -> Json | None:
        """The message, unless there was nothing but reasoning."""
        if not (self.has_message or self.calls):
            return None
        message: Json = {"role": "assistant", "content": _content(self.parts) if self.has_message else None}
        if self.reasoning:
            message["reasoning_content"] = "\n\n".join(self.reasoning)
        if self.calls:
            message["tool_calls"] = self.calls
        return message


class _History:
    """Takes items in order; holds back the assistant's turn until it is over."""

    def __init__(self, toolbox: Toolbox) -> None:
        self._toolbox = toolbox
        self._messages: list[Json] = []
        self._turn = _Turn()

    def add(self, item: Json, place: str) -> None:
        """Take the next item."""
        kind = "message" if item.get("type") is None and "role" in item else text(item.get("type"), f"{place}.type")
        match kind:
            case "message":
                self._message(item, place)
            case "reasoning":
                self._reasoning(item)
            case "function_call":
                self._call(item, place, text(item.get("arguments"), f"{place}.arguments"))
            case "custom_tool_call":
                free = {INPUT: text(item.get("input"), f"{place}.input")}
                self._call(item, place, msgspec.json.encode(free).decode())
            case "function_call_output" | "custom_tool_call_output":
                output = _content(_parts(item.get("output"), f"{place}.output"))
                self._say({"role": "tool", "tool_call_id": text(item.get("call_id"), f"{place}.call_id"), "content": output})
            case "item_reference":
                raise InvalidRequest(
                    f"{place}: nothing is kept between requests, got a reference to an item; send the item itself"
                )
            case _ if not _is_bookkeeping(kind):
                raise refusal(f"{place}.type", "a message, a call, its output or reasoning", kind)

    def finish(self) -> list[Json]:
        """All messages."""
        if message := self._turn.message():
            self._messages.append(message)
        self._turn = _Turn()
        return self._messages

    def _say(self, message: Json) -> None:
        self.finish()
        self._messages.append(message)

    def _message(self, item: Json, place: str) -> None:
        role = _ROLES.get(text(item.get("role"), f"{place}.role"))
        if role is None:
            raise refusal(f"{place}.role", f"one of {', '.join(_ROLES)}", item["role"])
        parts = _parts(item.get("content"), f"{place}.content")
        if role == "assistant":
            self._turn.has_message = True
            self._turn.parts += parts
            return
        if role == "system" and (other := next((part for part in parts if part["type"] != "text"), None)):
            raise refusal(f"{place}.content", f"text only in a message of the {item['role']}", other["type"])
        self._say({"role": role, "content": _content(parts)})

    def _reasoning(self, item: Json) -> None:
        """Its plain words; what another service has encrypted nobody here can read."""
        told = objects(item.get("content")) or objects(item.get("summary"))
        plain = "\n\n".join(words(part.get("text")) for part in told) or unseal(item.get("encrypted_content"))
        if plain:
            self._turn.reasoning.append(plain)

    def _call(self, item: Json, place: str, arguments: str) -> None:
        name, namespace = text(item.get("name"), f"{place}.name"), item.get("namespace")
        if namespace is not None:
            namespace = text(namespace, f"{place}.namespace")
        function = {"name": self._toolbox.offered(name, namespace), "arguments": arguments}
        self._turn.calls.append({"id": text(item.get("call_id"), f"{place}.call_id"), "type": "function", "function": function})


def items(value: object) -> list[Json]:
    """The items of an `input`; a string is what the user says."""
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    if value is None:
        raise refusal("input", "text or a list of items", value)
    return object_list(value, "input")


def messages(instructions: object, given: list[Json], toolbox: Toolbox) -> list[Json]:
    """The messages of the chat: instructions first, then the items.

    What stands before the first word of anybody else is one system message: most chat templates take one, at the start.
    """
    history = _History(toolbox)
    if instructions is not None and text(instructions, "instructions"):
        history.add({"role": "system", "content": instructions}, "instructions")
    for index, item in enumerate(given):
        history.add(item, f"input.{index}")
    told = history.finish()
    if not told:
        raise refusal("input", "a message at least", given)
    leading = next((index for index, message in enumerate(told) if message["role"] != "system"), len(told))
    if leading < 2:
        return told
    return [{"role": "system", "content": "\n\n".join(_plain(message["content"]) for message in told[:leading])}, *told[leading:]]


def _is_bookkeeping(kind: str) -> bool:
    """Whether an item tells of a tool that somebody else's service ran; a chat has no words for it."""
    return kind.endswith(("_call", "_call_output")) or kind.startswith("mcp_") or kind in _BOOKKEEPING


def _plain(content: str | list[Json]) -> str:
    return content if isinstance(content, str) else "\n".join(part["text"] for part in content)


def _content(parts: list[Json]) -> str | list[Json]:
    """Text alone goes as a string: every template takes that."""
    if not parts:
        return ""
    if len(parts) == 1 and parts[0]["type"] == "text":
        return words(parts[0]["text"])
    return parts


def _parts(content: object, place: str) -> list[Json]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if content is None:
        raise refusal(place, "text or a list of parts", content)
    return [_part(part, f"{place}.{index}") for index, part in enumerate(object_list(content, place))]


def _part(part: Json, place: str) -> Json:
    kind = text(part.get("type"), f"{place}.type")
    if key := _TEXT_PARTS.get(kind):
        return {"type": "text", "text": text(part.get(key), f"{place}.{key}")}
    if kind == "input_image":
        if not isinstance(part.get("image_url"), str):
            raise InvalidRequest(f"{place}.image_url: no files are kept here, got no address; send the image as a data: URL")
        detail = {"detail": part["detail"]} if isinstance(part.get("detail"), str) else {}
        return {"type": "image_url", "image_url": {"url": part["image_url"], **detail}}
    raise refusal(f"{place}.type", "input_text, output_text, input_image or refusal", kind)
