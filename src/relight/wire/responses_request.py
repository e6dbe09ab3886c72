"""A responses request as a chat request. Knows nothing of engines; what the answer repeats of it is collected here."""

from __future__ import annotations

from typing import Any, Final

from relight.errors import InvalidRequest
from relight.wire.responses_answer import Asked, ResponsesWriter
from relight.wire.responses_input import items, messages
from relight.wire.responses_shape import an_object, number, optional_object, positive, refusal, text, truth
from relight.wire.responses_tools import toolbox
from relight.wire.translation import About, Json, Translated

_STATE: Final = ("previous_response_id", "conversation")
_ECHOED: Final[Json] = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "prompt_cache_key": None,
    "temperature": None,
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
    "truncation": "disabled",
    "user": None,
}


def to_chat(body: dict[str, Any], about: About) -> Translated:
    """Say a responses request as a chat.

    Raises `InvalidRequest` with the place of what does not fit, and for what would need a memory: nothing is kept here.
    """
    _refuse_memory(body)
    given = items(body.get("input"))
    box = toolbox(body.get("tools"), given)
    chat: Json = {"model": about.model, "messages": messages(body.get("instructions"), given, box)}
    choice = None if body.get("tool_choice") is None else box.choice(body["tool_choice"])
    if box.functions:
        chat["tools"] = box.functions
        if choice is not None:
            chat["tool_choice"] = choice
        if body.get("parallel_tool_calls") is not None:
            chat["parallel_tool_calls"] = truth(body["parallel_tool_calls"], "parallel_tool_calls")
    chat |= _format(body) | _sampling(body)
    if body.get("stream") is not None and truth(body["stream"], "stream"):
        chat |= {"stream": True, "stream_options": {"include_usage": True}}
    return Translated(chat, ResponsesWriter(about, Asked(_echo(body), box, _wants_sealed_reasoning(body))))


def _refuse_memory(body: Json) -> None:
    for name in _STATE:
        if body.get(name) is not None:
            raise InvalidRequest(
                f"{name}: responses are not kept here", hint="send the whole history in input, with store set to false"
            )
    if body.get("background"):
        raise InvalidRequest("background: responses are not kept here, so none can be fetched later", hint="stream the answer")
    if body.get("prompt") is not None:
        raise InvalidRequest("prompt: no prompt templates are kept here", hint="send its text as instructions")


def _format(body: Json) -> Json:
    form = optional_object(optional_object(body.get("text"), "text").get("format"), "text.format")
    match form.get("type", "text"):
        case "text":
            return {}
        case "json_object":
            return {"response_format": {"type": "json_object"}}
        case "json_schema":
            schema: Json = {
                "name": text(form.get("name", "answer"), "text.format.name"),
                "schema": an_object(form.get("schema"), "text.format.schema"),
            }
            schema |= {key: form[key] for key in ("description", "strict") if form.get(key) is not None}
            return {"response_format": {"type": "json_schema", "json_schema": schema}}
        case other:
            raise refusal("text.format.type", "text, json_schema or json_object", other)


def _sampling(body: Json) -> Json:
    fields: Json = {name: number(body[name], name) for name in ("temperature", "top_p") if body.get(name) is not None}
    if body.get("max_output_tokens") is not None:
        fields["max_tokens"] = positive(body["max_output_tokens"], "max_output_tokens")
    effort = optional_object(body.get("reasoning"), "reasoning").get("effort")
    if effort is not None:
        fields["reasoning_effort"] = text(effort, "reasoning.effort")
    return fields


def _echo(body: Json) -> Json:
    """What the response object repeats, with what holds where the request says nothing."""
    echo = {name: default if body.get(name) is None else body[name] for name, default in _ECHOED.items()}
    return echo | {
        "background": False,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None} | optional_object(body.get("reasoning"), "reasoning"),
        "store": False,
        "text": {"format": {"type": "text"}}
        | {key: value for key, value in (body.get("text") or {}).items() if value is not None},
    }


def _wants_sealed_reasoning(body: Json) -> bool:
    include = body.get("include")
    return isinstance(include, list) and "reasoning.encrypted_content" in include
