"""An Anthropic request told as a chat request. Knows both requests' fields; nothing of engines and answers. No I/O."""

from __future__ import annotations

from typing import Any, Final

from relight.errors import InvalidRequest, ThreadUnsupported
from relight.wire.messages_answer import MessagesWriter
from relight.wire.messages_content import expect, number, one_of
from relight.wire.messages_history import history
from relight.wire.translation import About, Translated

Json = dict[str, Any]

_CHOICES: Final = {"auto": "auto", "any": "required", "none": "none"}


def to_chat(body: Json, about: About) -> Translated:
    """The chat request that asks for the same, and who tells its answer.

    Fields that only Anthropic's servers can serve are left out (thinking, effort, context management, hosted tools).
    Raises `InvalidRequest` that names the place of what is wrong, and `ThreadUnsupported`.
    """
    if body.get("thread") is not None:
        raise ThreadUnsupported("thread: threads are not kept here", hint="send all messages with every request, without thread")
    tools = _tools(body.get("tools"))
    chat = {
        "model": about.model,
        "messages": history(body.get("system"), body.get("messages")),
        **_sampling(body),
        **_tooling(body.get("tool_choice"), [tool["name"] for tool in tools]),
        **_format(body),
    }
    if tools:
        chat["tools"] = [_function(tool) for tool in tools]
    if body.get("stream") is not None and expect(body["stream"], bool, "stream"):
        chat |= {"stream": True, "stream_options": {"include_usage": True}}
    eager = frozenset(tool["name"] for tool in tools if tool.get("eager_input_streaming") is True)
    return Translated(chat, MessagesWriter(about, eager=eager))


def _sampling(body: Json) -> Json:
    chat: Json = {key: expect(body[key], int, key) for key in ("max_tokens", "top_k") if body.get(key) is not None}
    chat |= {key: number(body[key], key) for key in ("temperature", "top_p") if body.get(key) is not None}
    if body.get("stop_sequences") is not None:
        stops = expect(body["stop_sequences"], list, "stop_sequences")
        chat |= {"stop": [expect(stop, str, f"stop_sequences.{n}") for n, stop in enumerate(stops)]} if stops else {}
    metadata = body.get("metadata")
    if isinstance(metadata, dict) and isinstance(metadata.get("user_id"), str):
        chat["user"] = metadata["user_id"]
    return chat


# --- tools --------------------------------------------------------------------------------------------------------


def _tools(value: object) -> list[Json]:
    """The tools that the client runs itself. Those of Anthropic's servers come as a type without a schema."""
    tools = [] if value is None else expect(value, list, "tools")
    kept = []
    for n, item in enumerate(tools):
        tool = expect(item, dict, f"tools.{n}")
        if tool.get("type") in (None, "custom") or tool.get("input_schema") is not None:
            expect(tool.get("name"), str, f"tools.{n}.name")
            expect(tool.get("input_schema"), dict, f"tools.{n}.input_schema")
            kept.append(tool)
    return kept


def _function(tool: Json) -> Json:
    function = {"name": tool["name"], "parameters": tool["input_schema"]}
    if isinstance(about := tool.get("description"), str):
        function["description"] = about
    return {"type": "function", "function": function}


def _tooling(value: object, names: list[str]) -> Json:
    """How the model is to choose; a chat without tools takes no choice."""
    if value is None:
        return {}
    choice = expect(value, dict, "tool_choice")
    kind = one_of(choice.get("type"), (*_CHOICES, "tool"), "tool_choice.type")
    if kind in ("any", "tool") and not names:
        raise InvalidRequest("tool_choice: asks for a tool, but none is there that this model can call", hint="send tools")
    if not names:
        return {}
    chat: Json = {"tool_choice": _named(choice, names) if kind == "tool" else _CHOICES[kind]}
    if choice.get("disable_parallel_tool_use") is True:
        chat["parallel_tool_calls"] = False
    return chat


def _named(choice: Json, names: list[str]) -> Json:
    name = one_of(choice.get("name"), tuple(names), "tool_choice.name")
    return {"type": "function", "function": {"name": name}}


# --- the form of the answer -----------------------------------------------------------------------------------------


def _format(body: Json) -> Json:
    """`output_config.format`, or `output_format` as it was called before."""
    config, place = body.get("output_config"), "output_config.format"
    wanted = expect(config, dict, "output_config").get("format") if config is not None else None
    if wanted is None:
        wanted, place = body.get("output_format"), "output_format"
    if wanted is None:
        return {}
    form = expect(wanted, dict, place)
    one_of(form.get("type"), ("json_schema",), f"{place}.type")
    schema = expect(form.get("schema"), dict, f"{place}.schema")
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}}
