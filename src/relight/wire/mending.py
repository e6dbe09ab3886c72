"""What a chat request needs before llama.cpp takes it as its client meant it; must not know who the client is. No I/O.

Each mending is one function and was found with the engine itself: it answers an assistant message without content with 400,
and an image, a tool call without arguments or an id that is no text with 500, which clients ask again and again. Those of the
conversation are in `history`. What it refuses properly is left to it, and so are the legacy `functions` and `function_call`,
which it passes over. A request that needs nothing is not encoded again: it goes out byte for byte.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from relight.decoding import NOT_JSON
from relight.errors import InvalidRequest
from relight.wire.dialect import objects
from relight.wire.history import mend_history
from relight.wire.tool_prompt import TOOLS, Shown, with_calls, with_tools
from relight.wire.translation import Json

Fields = dict[str, msgspec.Raw]
"""The top-level fields of a body in their order, values untouched."""

# Where several are said, the engine takes `max_completion_tokens`.
_LIMITS: Final = ("max_tokens", "max_completion_tokens", "n_predict")
_UNLIMITED: Final = -1
_LOGPROBS: Final = ("top_logprobs", "logprobs", "n_probs")
_WITH_PATTERNS: Final = ("response_format", "json_schema", "tools")
_MOST_LOGPROBS: Final = 20
_MOST_REPEATED: Final = 2000
_REPEATED: Final = re.compile(r"\{(\d{1,9})(?:,(\d{0,9}))?\}")


@dataclass(frozen=True, slots=True)
class Needs:
    """What the model behind the request can, and what is wanted beside the request."""

    context: int | None
    """Tokens one request may use; `None`: a provider, which says itself what it does not take."""
    max_tokens: int | None
    """Longest answer, in tokens, for who does not say; `None`: as the backend likes."""
    model: str | None = None
    """The name to put in; `None` leaves the client's."""
    include_usage: bool = False
    """Ask for usage at the end of every stream."""
    progress: bool = False
    """Ask llama.cpp to tell in a stream how far it has read the prompt."""
    images: bool = False
    """The model reads images."""
    strip: tuple[re.Pattern[str], ...] = ()
    """What is taken out of system messages, because it differs from request to request."""
    pin: Callable[[str], str] | None = None
    """What a system message is read as, so that it begins as others did before."""
    mends: frozenset[str] = frozenset()
    """What is mended in calls and histories, by the names of `config.mendings`."""
    shown: Callable[[], Shown | None] | None = None
    """What the model's template shows of tools, asked where a request has any; `None`: whoever answers sees to it."""


class Mended(msgspec.Struct, frozen=True):
    """What was done to a request."""

    changed: bool
    adds_usage: bool
    """Usage comes although the client did not ask for it: it has to be taken out of its stream."""
    counts: dict[str, int] = {}
    """How often each mending of the history was made, by name."""


def fields(body: bytes) -> Fields:
    """The fields of a request; raises `InvalidRequest` when the body is not a JSON object."""
    try:
        body.decode()  # values that are left untouched are not looked at either
        return msgspec.json.decode(body, type=Fields)
    except msgspec.ValidationError as error:
        raise _no_object() from error
    except NOT_JSON as error:
        raise _no_json(error) from error


def decoded(body: bytes) -> Json:
    """A request with all its values, for who needs more than `fields`; raises `InvalidRequest` for a value that is no JSON."""
    try:
        value = msgspec.json.decode(body)
    except NOT_JSON as error:
        raise _no_json(error) from error
    if not isinstance(value, dict):
        raise _no_object()
    return value


def says(request: Fields, name: str) -> Any:
    """The value of a field, `None` when it is not there; raises `InvalidRequest` when it is no JSON."""
    if (raw := request.get(name)) is None:
        return None
    try:
        return msgspec.json.decode(raw)
    except NOT_JSON as error:
        raise InvalidRequest(f"{name}: is not JSON ({error})") from error


def _said(request: Fields, names: tuple[str, ...]) -> dict[str, Any]:
    """What is said of these fields, `null` left out."""
    return {name: said for name in names if (said := says(request, name)) is not None}


def encode(request: Fields) -> bytes:
    """The body that `fields` was read from, with its changes."""
    return msgspec.json.encode(request)


def mend(request: Fields, needs: Needs) -> Mended:
    """Change `request` so that the engine takes it; raises `InvalidRequest` for what the model cannot do."""
    counts: dict[str, int] = {}
    if needs.context is None:
        changed = name_model(request, needs) | (bool(needs.mends) and mend_messages(request, needs, counts))
        adds_usage = ask_usage(request, needs)
        return Mended(changed=changed or adds_usage, adds_usage=adds_usage, counts=counts)
    check_tools(request)
    check_patterns(request)
    changed = mend_messages(request, needs, counts)
    for step in _STEPS:
        changed |= step(request, needs)
    changed |= tell_tools(request, needs, counts)
    adds_usage = ask_usage(request, needs)
    return Mended(changed=changed or adds_usage, adds_usage=adds_usage, counts=counts)


def is_stream(request: Fields) -> bool:
    """The client wants its answer as it comes."""
    return says(request, "stream") is True


def name_model(request: Fields, needs: Needs) -> bool:
    """Put in the name that the backend knows."""
    return needs.model is not None and _put(request, "model", needs.model)


def cap_answer(request: Fields, needs: Needs) -> bool:
    """No answer without an end: the default where nothing (or "unlimited") is said, the context where more is said."""
    if needs.context is None:
        return False
    default = min(needs.max_tokens or needs.context, needs.context)
    stated = {} if request.keys().isdisjoint(_LIMITS) else _said(request, _LIMITS)
    if not stated:
        for name in _LIMITS[1:]:
            request.pop(name, None)
        return _put(request, "max_tokens", default)
    changed = False
    for name, said in stated.items():
        if isinstance(said, bool) or not isinstance(said, int | float):
            continue  # the engine says so properly
        if said == _UNLIMITED:
            changed |= _put(request, name, default)
        elif said > needs.context:
            changed |= _put(request, name, needs.context)
    return changed


def ask_usage(request: Fields, needs: Needs) -> bool:
    """Ask for usage in a stream; true when the client had not."""
    if not (needs.include_usage and is_stream(request)):
        return False
    said = says(request, "stream_options")
    options = said if isinstance(said, dict) else {}
    return options.get("include_usage") is not True and _put(request, "stream_options", {**options, "include_usage": True})


def ask_progress(request: Fields, needs: Needs) -> bool:
    """Ask for news of a long prompt in a stream, unless the client decided by itself."""
    return (
        needs.progress and is_stream(request) and "return_progress" not in request and _put(request, "return_progress", True)  # noqa: FBT003 - a JSON value
    )


def drop_slot(request: Fields, needs: Needs) -> bool:
    """The slot is the server's to choose: it knows which are free, and gives them in turn."""
    return request.pop("id_slot", None) is not None


def cap_logprobs(request: Fields, needs: Needs) -> bool:
    """At most as many alternatives a token as OpenAI's service gives: with all of the vocabulary an answer has megabytes."""
    if request.keys().isdisjoint(_LOGPROBS):
        return False
    changed = False
    for name, said in _said(request, _LOGPROBS).items():
        if isinstance(said, int) and not isinstance(said, bool) and said > _MOST_LOGPROBS:
            changed |= _put(request, name, _MOST_LOGPROBS)
    return changed


def check_patterns(request: Fields) -> None:
    """Raise `InvalidRequest` for a pattern that repeats repetitions: llama.cpp unfolds them, and never comes back."""
    if request.keys().isdisjoint(_WITH_PATTERNS):
        return
    for name in _WITH_PATTERNS:
        if name in request and b'"pattern"' in bytes(request[name]):
            for pattern in _patterns(says(request, name)):
                if math.prod(int(most or least) or 1 for least, most in _REPEATED.findall(pattern)) > _MOST_REPEATED:
                    raise InvalidRequest(f"{name}: a pattern repeats too often", hint="lower the numbers in braces")


def _patterns(value: object) -> Iterator[str]:
    rest = [value]
    while rest:
        one = rest.pop()
        if isinstance(one, dict):
            if isinstance(pattern := one.get("pattern"), str):
                yield pattern
            rest += one.values()
        elif isinstance(one, list):
            rest += one


def check_tools(request: Fields) -> None:
    """Raise `InvalidRequest` for tools that the engine answers with 500: all that are no functions."""
    tools = says(request, "tools")
    if tools is None:
        return
    if not isinstance(tools, list):
        raise InvalidRequest(f"tools: should be a list, got {json_kind(tools)}")
    for place, tool in enumerate(tools):
        kind = tool.get("type") if isinstance(tool, dict) else None
        if kind != "function":
            raise InvalidRequest(f'tools.{place}: should have the type "function", got {_quoted(kind)}', hint="leave it out")
        _named_function(tool, f"tools.{place}")


def mend_messages(request: Fields, needs: Needs, counts: dict[str, int]) -> bool:
    """The mendings of the history; raises `InvalidRequest` for what is left that nobody can read."""
    messages = says(request, "messages")
    if not isinstance(messages, list):
        return False  # the engine says so properly
    changed = mend_history(messages, needs.mends, counts)
    for place, message in enumerate(messages) if needs.context is not None else ():
        if not isinstance(message, dict):
            continue
        where = f"messages.{place}"
        if not isinstance(message.get("role"), str):
            raise InvalidRequest(f"{where}.role: should be a role, got {_quoted(message.get('role'))}", hint='say "user"')
        check_parts(message, where, needs)
        check_calls(message, where)
    return changed and _put(request, "messages", messages)


def strip_system(request: Fields, needs: Needs) -> bool:
    """Take out of the messages before the first user's what the configuration calls unstable, or have it be as it was."""
    if not (needs.strip or needs.pin) or not isinstance(messages := says(request, "messages"), list):
        return False
    changed = False
    for message in messages:
        if not isinstance(message, dict) or message.get("role") not in ("system", "developer"):
            break
        if isinstance(content := message.get("content"), str):
            kept = _without(content, needs.strip)
            message["content"] = kept if needs.pin is None else needs.pin(kept)
            changed |= message["content"] != content
    return changed and _put(request, "messages", messages)


def tell_tools(request: Fields, needs: Needs, counts: dict[str, int]) -> bool:
    """Tell in words what the model's template does not show: the tools, and the calls of the history with their results.

    Behind `strip_system`: what is stripped or pinned is the client's own text.
    """
    if needs.shown is None or TOOLS not in needs.mends or not _speaks_of_tools(request):
        return False
    shown = needs.shown()
    if shown is None or shown.tools:
        return False
    messages = says(request, "messages")
    if not isinstance(messages, list):
        return False
    told = messages if shown.calls else with_calls(messages)
    if says(request, "tools") and bytes(request.get("tool_choice", b"")) != b'"none"':
        told = with_tools(told, bytes(request["tools"]))
    if changed := told != messages:
        _put(request, "messages", told)
        counts[TOOLS] = 1
    # Nothing is told twice: other builds of the engine have words of their own for such models.
    for name in ("tools", "tool_choice", "parallel_tool_calls"):
        changed |= request.pop(name, None) is not None
    return changed


def _speaks_of_tools(request: Fields) -> bool:
    """Whether there may be tools, or calls of some; told without reading what may be long."""
    return bytes(request.get("tools", b"null")) not in (b"null", b"[]") or b'"tool' in bytes(request.get("messages", b""))


def _without(text: str, patterns: tuple[re.Pattern[str], ...]) -> str:
    for pattern in patterns:
        text = pattern.sub("", text)
    return text


def check_parts(message: Json, where: str, needs: Needs) -> None:
    """Raise `InvalidRequest` for parts that the model cannot read."""
    for place, part in enumerate(objects(message.get("content"))):
        kind = part.get("type")
        if kind == "input_audio" or (kind == "image_url" and not needs.images):
            reads = "text and images" if needs.images else "text"
            raise InvalidRequest(
                f"{where}.content.{place}: this model reads {reads} only, got {_quoted(kind)}",
                hint="send text, or ask another model",
            )
        if kind == "image_url" and not _is_data(part.get("image_url")):
            # The engine would fetch it, from inside our network.
            raise InvalidRequest(f"{where}.content.{place}.image_url: should be a data: URL", hint="send the image itself")


def _is_data(image: object) -> bool:
    url = image.get("url") if isinstance(image, dict) else image
    return isinstance(url, str) and url.startswith("data:")


def check_calls(message: Json, where: str) -> None:
    """Raise `InvalidRequest` for calls that no template can read."""
    calls = message.get("tool_calls")
    if calls is None:
        return
    if not isinstance(calls, list):
        raise InvalidRequest(f"{where}.tool_calls: should be a list, got {json_kind(calls)}")
    for place, call in enumerate(calls):
        _named_function(call, f"{where}.tool_calls.{place}")


def json_kind(value: object) -> str:
    """What a decoded JSON value is, in words: messages do not quote what somebody may have said."""
    kinds = {dict: "an object", list: "a list", str: "text", bool: "a boolean", int: "a number", float: "a number"}
    return kinds.get(type(value), "nothing")


def _named_function(holder: Any, where: str) -> Json:
    function = holder.get("function") if isinstance(holder, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise InvalidRequest(f"{where}.function: should be an object with a name, got {json_kind(function)}")
    return function


def _no_object() -> InvalidRequest:
    return InvalidRequest("request: the body should be a JSON object", hint="send a JSON object")


def _no_json(error: Exception) -> InvalidRequest:
    return InvalidRequest(f"request: the body is not JSON ({error})", hint="send a JSON object")


def _put(request: Fields, name: str, value: object) -> bool:
    """Set a field; true when that changed it."""
    raw = msgspec.json.encode(value)
    if (old := request.get(name)) is not None and bytes(old) == raw:
        return False
    request[name] = msgspec.Raw(raw)
    return True


def _quoted(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else json_kind(value)


_STEPS: Final[tuple[Callable[[Fields, Needs], bool], ...]] = (
    name_model,
    cap_answer,
    strip_system,
    ask_progress,
    drop_slot,
    cap_logprobs,
)
