"""A request of any dialect, read into a `Prompt`. Pure; knows the requests' shapes and nothing of the answers'."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from relight.engines.script import has_plan, has_script
from relight.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Prompt:
    """A request, whatever its dialect."""

    user: str  # the last user message
    tool_result: str | None  # set when the conversation ends in one: the call was made, now comes the text
    tokens: int
    stream: bool
    include_usage: bool
    max_tokens: int | None
    stops: tuple[str, ...]
    progress: bool = False
    slot: int | None = None
    has_tools: bool = False
    tool_tokens: int = 0  # of `tokens`, those of the tools
    results: tuple[str, ...] = ()  # of tools, since the user spoke


Reader = Callable[[dict[str, Any]], Prompt]


def read_chat(body: dict[str, Any]) -> Prompt:
    """`/v1/chat/completions`, and `/v1/messages`, whose tool results are parts of a user message."""
    messages = _items(body, "messages")
    user, rest = _said(messages)
    results = tuple(result for message in rest for result in _tool_results(message))
    return _prompt(body, user, _last(_tool_results(messages[-1])) if messages else None, results)


def read_completion(body: dict[str, Any]) -> Prompt:
    """`/v1/completions`; one prompt, as text or as a list of texts that are read as one."""
    prompt = body.get("prompt")
    if not isinstance(prompt, (str, list)):
        raise InvalidRequest("[json.exception.out_of_range.403] key 'prompt' not found")
    return _prompt(body, prompt if isinstance(prompt, str) else _text(prompt), None)


def read_responses(body: dict[str, Any]) -> Prompt:
    """`/v1/responses`; the input is a text or a list of items."""
    if isinstance(body.get("input"), str):
        return _prompt(body, body["input"], None)
    items = _items(body, "input")
    user, rest = _said(items)
    results = tuple(_text(item.get("output")) for item in rest if item.get("type") == "function_call_output")
    is_result = bool(items) and items[-1].get("type") == "function_call_output"
    return _prompt(body, user, _text(items[-1].get("output")) if is_result else None, results)


def count_words(node: object) -> int:
    """Tokens of a text, or of every text in a tree of contents."""
    return sum(len(text.split()) for text in all_texts(node))


def read_flag(body: dict[str, Any], key: str) -> bool:
    """A boolean of the request; absent and null are false."""
    value = body.get(key)
    if value is not None and not isinstance(value, bool):
        raise InvalidRequest(f"{key}: should be a boolean, got {type(value).__name__}")
    return bool(value)


def _said(items: list[dict[str, Any]]) -> tuple[str, list[dict[str, Any]]]:
    """The user's last words and what comes after them. A plan is kept to, for agents speak as the user in its course."""
    words = [(text, at) for at, item in enumerate(items) if item.get("role") == "user" and (text := _text(item.get("content")))]
    plans = [(text, at) for text, at in words if has_plan(text)]
    if words and plans and not has_script(words[-1][0]):
        words = plans
    return (words[-1][0], items[words[-1][1] + 1 :]) if words else ("", [])


def _prompt(body: dict[str, Any], user: str, tool_result: str | None, results: tuple[str, ...] = ()) -> Prompt:
    stops = body.get("stop") or body.get("stop_sequences") or ()
    tools = [json.dumps(body["tools"])] if body.get("tools") else []
    options = body.get("stream_options")
    return Prompt(
        user=user,
        tool_result=tool_result,
        tokens=count_words([tools, *(body.get(key) for key in ("system", "instructions", "messages", "prompt", "input"))]),
        stream=read_flag(body, "stream"),
        include_usage=isinstance(options, dict) and read_flag(options, "include_usage"),
        max_tokens=_max_tokens(body),
        stops=(stops,) if isinstance(stops, str) else tuple(stop for stop in stops if isinstance(stop, str)),
        progress=read_flag(body, "return_progress"),
        slot=slot if isinstance(slot := body.get("id_slot"), int) else None,
        has_tools=bool(tools),
        tool_tokens=count_words(tools),
        results=results,
    )


def _max_tokens(body: dict[str, Any]) -> int | None:
    for key in ("max_completion_tokens", "max_tokens", "max_output_tokens"):
        value = body.get(key)
        if isinstance(value, int) and value >= 0:
            return value
    return None


def _items(body: dict[str, Any], key: str) -> list[dict[str, Any]]:
    items = body.get(key)
    if items is None:
        raise InvalidRequest(f"'{key}' is required")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise InvalidRequest(f"{key}: should be a list of objects, got {type(items).__name__}")
    return items


def _tool_results(message: dict[str, Any]) -> list[str]:
    content = message.get("content")
    if message.get("role") == "tool":
        return [_text(content)]
    parts = content if isinstance(content, list) else []
    results = [part for part in parts if isinstance(part, dict) and part.get("type") == "tool_result"]
    return [_text(part.get("content")) for part in results]


def _last(results: list[str]) -> str | None:
    return results[-1] if results else None


def _text(content: object) -> str:
    """The text that a person wrote: of a string, or of a list's strings and text parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [part if isinstance(part, str) else part.get("text") for part in parts if isinstance(part, (str, dict))]
    return "\n".join(text for text in texts if isinstance(text, str))


def all_texts(node: object) -> Iterator[str]:
    """Every text in a tree of contents."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, list):
        for child in node:
            yield from all_texts(child)
    elif isinstance(node, dict):
        for key in ("text", "content", "output", "thinking", "arguments"):
            yield from all_texts(node.get(key))
