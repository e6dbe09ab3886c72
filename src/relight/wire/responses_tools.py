"""The tools of a responses request as functions of a chat, and back. Knows neither items nor events.

A chat has plain functions only: members of a namespace and tools with free input are offered as functions, and what the
model calls is told under the name, namespace and kind that the client knows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from relight.errors import InvalidRequest
from relight.wire.responses_shape import an_object, object_list, refusal, text
from relight.wire.translation import Json

INPUT: Final = "input"
"""The one argument that a tool with free input has in the chat."""
_NO_PARAMETERS: Final = {"type": "object", "properties": {}}
_MODES: Final = ("none", "auto", "required")


@dataclass(frozen=True, slots=True)
class Callee:
    """What the client calls a function of the chat."""

    name: str
    namespace: str | None = None
    is_custom: bool = False
    """Takes free input in place of arguments."""


class Toolbox:
    """The tools of one request."""

    def __init__(self) -> None:
        self._functions: dict[str, Json] = {}
        self._callees: dict[str, Callee] = {}
        self._offered: dict[tuple[str | None, str], str] = {}

    @property
    def functions(self) -> list[Json]:
        """The `tools` of the chat."""
        return list(self._functions.values())

    def add(self, tools: object, place: str) -> None:
        """Take the tools of a list; hosted ones (web search …) are passed over: they cannot be served."""
        for index, tool in enumerate(object_list(tools, place)):
            self._add(tool, f"{place}.{index}")

    def offered(self, name: str, namespace: str | None) -> str:
        """What the model knows a tool as; histories name tools that are gone, or never were."""
        return self._offered.get((namespace, name), name)

    def callee(self, offered: str) -> Callee:
        """Whom the model called; it may have made up a name."""
        return self._callees.get(offered) or Callee(offered)

    def choice(self, value: object) -> object:
        """`tool_choice` in the chat's words, `None` where there is nothing to choose from."""
        if isinstance(value, dict):
            chosen = self._chosen(value)
        elif value in _MODES:
            chosen = value
        else:
            raise refusal("tool_choice", f"an object or one of {', '.join(_MODES)}", value)
        if self._functions:
            return chosen
        if chosen == "required":
            raise InvalidRequest("tool_choice: a call is required, but there is no tool that can be served; send function tools")
        return None

    def _add(self, tool: Json, place: str) -> None:
        match text(tool.get("type"), f"{place}.type"):
            case "function" | "custom":
                self._offer(tool, place, None)
            case "namespace":
                for index, member in enumerate(object_list(tool.get("tools"), f"{place}.tools")):
                    self._offer({"description": tool.get("description")} | member, f"{place}.tools.{index}", _name(tool, place))

    def _offer(self, tool: Json, place: str, namespace: str | None) -> None:
        kind = text(tool.get("type"), f"{place}.type")
        if kind not in ("function", "custom"):
            return
        name = _name(tool, place)
        if (namespace, name) in self._offered:
            return
        # Short names are easier for a small model: the namespace is told only where two members share a name.
        offered = name
        while offered in self._functions:
            offered = f"{namespace}__{offered}" if namespace else f"{offered}_"
        function: Json = {"name": offered}
        if tool.get("description") is not None:
            function["description"] = text(tool["description"], f"{place}.description")
        function |= _free_input(tool, place) if kind == "custom" else _parameters(tool, place)
        self._functions[offered] = {"type": "function", "function": function}
        self._callees[offered] = Callee(name, namespace, kind == "custom")
        self._offered[namespace, name] = offered

    def _chosen(self, choice: Json) -> object:
        kind = text(choice.get("type"), "tool_choice.type")
        if kind in ("function", "custom"):
            return {"type": "function", "function": {"name": self._find(choice, "tool_choice")}}
        if kind == "allowed_tools":
            return self._allow(choice)
        raise refusal("tool_choice.type", "function, custom or allowed_tools (hosted tools cannot be served)", kind)

    def _allow(self, choice: Json) -> object:
        allowed = object_list(choice.get("tools"), "tool_choice.tools")
        names = {
            self._find(tool, f"tool_choice.tools.{index}")
            for index, tool in enumerate(allowed)
            if tool.get("type") in ("function", "custom")
        }
        self._functions = {name: function for name, function in self._functions.items() if name in names}
        mode = choice.get("mode", "auto")
        if mode not in _MODES:
            raise refusal("tool_choice.mode", f"one of {', '.join(_MODES)}", mode)
        return mode

    def _find(self, tool: Json, place: str) -> str:
        """The function that a choice names; it need not tell the namespace."""
        name = _name(tool, place)
        if offered := self._offered.get((tool.get("namespace"), name)):
            return offered
        members = (offered for (_, member), offered in self._offered.items() if member == name)
        if offered := next(members, None):
            return offered
        raise refusal(f"{place}.name", "a tool of this request", name)


def toolbox(tools: object, items: Iterable[Json]) -> Toolbox:
    """The tools of a request: those of its `tools` and those that its items add."""
    box = Toolbox()
    box.add(tools, "tools")
    for index, item in enumerate(items):
        if item.get("type") in ("additional_tools", "tool_search_output"):
            box.add(item.get("tools"), f"input.{index}.tools")
    return box


def _name(tool: Json, place: str) -> str:
    return text(tool.get("name"), f"{place}.name")


def _parameters(tool: Json, place: str) -> Json:
    parameters = tool.get("parameters")
    fields: Json = {"parameters": _NO_PARAMETERS if parameters is None else an_object(parameters, f"{place}.parameters")}
    if tool.get("strict") is not None:
        fields["strict"] = tool["strict"]
    return fields


def _free_input(tool: Json, place: str) -> Json:
    about = "The whole input of the tool, as one string."
    form = tool.get("format")
    if form is not None and an_object(form, f"{place}.format").get("type") == "grammar":
        # No engine enforces it inside an argument; a model that reads it does better.
        about += f" It has to match this {form.get('syntax')} grammar:\n{form.get('definition')}"
    argument = {"type": "string", "description": about}
    return {"parameters": {"type": "object", "properties": {INPUT: argument}, "required": [INPUT], "additionalProperties": False}}
