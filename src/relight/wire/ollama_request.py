"""A request in Ollama's words as a chat request; must not know which engine answers. No I/O.

Nothing that was asked for is dropped in silence: an option that means nothing here (threads, GPUs, memory) is refused by name.
`think` becomes the chat template's `enable_thinking` (and `reasoning_effort`, where a level is named), which a model without
thoughts passes over.
"""

from __future__ import annotations

import math
import re
from collections import deque
from typing import Any, Final

import msgspec

from relight.errors import InvalidRequest
from relight.wire.mending import json_kind
from relight.wire.ollama import OllamaChat, OllamaGenerate
from relight.wire.ollama_answer import OllamaWriter
from relight.wire.translation import About, Json, Translated

# What llama.cpp calls by the same name.
_NUMBERS: Final = frozenset(
    (
        *("temperature", "top_p", "top_k", "min_p", "typical_p", "seed", "mirostat", "mirostat_tau", "mirostat_eta"),
        *("repeat_penalty", "repeat_last_n", "presence_penalty", "frequency_penalty"),
    )
)
_RENAMED: Final = {"num_keep": "n_keep"}
_ELSEWHERE: Final = frozenset(
    (
        *("numa", "num_batch", "num_gpu", "main_gpu", "low_vram", "f16_kv", "num_thread", "use_mmap", "use_mlock"),
        *("logits_all", "vocab_only", "embedding_only", "tfs_z", "penalize_newline"),
    )
)
_KNOWN: Final = _NUMBERS | set(_RENAMED) | _ELSEWHERE | {"num_ctx", "num_predict", "stop"}
_UNSERVED: Final = ("raw", "suffix", "template", "context", "width", "height", "steps")
_FILL_CONTEXT: Final = -2
_UNITS_S: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_LONGEST_DURATION: Final = 40  # characters
_IMAGE_KINDS: Final = (("iVBOR", "png"), ("/9j/", "jpeg"), ("R0lGOD", "gif"), ("UklGR", "webp"))


def chat_request(request: Json, about: About, context: int) -> Translated:
    """A request to /api/chat; `context` is the model's, in tokens. Raises `InvalidRequest`."""
    messages = _messages(request.get("messages"))
    chat: Json = {"model": about.model, "messages": messages}
    if tools := _list(request.get("tools"), "tools"):
        chat["tools"] = [{"type": "function", **_object(tool, f"tools.{place}")} for place, tool in enumerate(tools)]
    return _asked(chat, request, OllamaWriter(about, OllamaChat()), context)


def generate_request(request: Json, about: About, context: int) -> Translated:
    """A request to /api/generate; `context` is the model's, in tokens. Raises `InvalidRequest`."""
    for name in _UNSERVED:
        if request.get(name):
            raise InvalidRequest(f"{name}: is not served here", hint="use /api/chat, or /v1/completions for a raw prompt")
    prompt = _text(request.get("prompt"), "prompt")
    images = _list(request.get("images"), "images")
    messages: list[Json] = []
    if prompt or images:
        if system := _text(request.get("system"), "system"):
            messages.append({"role": "system", "content": system})
        messages.append({"role": "user", "content": _content(prompt, images, "images")})
    return _asked({"model": about.model, "messages": messages}, request, OllamaWriter(about, OllamaGenerate()), context)


def embed_request(request: Json, about: About, context: int) -> Json:
    """A request to /api/embed as an OpenAI embeddings request.

    `truncate` is accepted, but a text that does not fit is refused by the engine either way.
    """
    _options(request.get("options"), context)
    given = request.get("input")
    if not isinstance(given, str):
        given = [_text(text, f"input.{place}") for place, text in enumerate(_list(given, "input"))]
    asked: Json = {"model": about.model, "input": given, "encoding_format": "float"}
    if (dimensions := request.get("dimensions")) is not None:
        asked["dimensions"] = dimensions
    return asked


def embedding_request(request: Json, about: About, context: int) -> Json:
    """The same for the older /api/embeddings, which takes one `prompt`."""
    return embed_request({**request, "input": _text(request.get("prompt"), "prompt")}, about, context)


def _asked(chat: Json, request: Json, writer: OllamaWriter, context: int) -> Translated:
    streams = request.get("stream")
    if not isinstance(streams, bool | None):
        raise InvalidRequest(f"stream: should be true or false, got {_shown(streams)}")
    chat["stream"] = streams is not False  # this dialect streams unless told not to
    if chat["stream"]:
        chat["stream_options"] = {"include_usage": True}
    chat |= _options(request.get("options"), context) | _format(request.get("format")) | _thinking(request.get("think"))
    chat |= {name: request[name] for name in ("logprobs", "top_logprobs") if request.get(name)}
    return Translated(
        chat=chat,
        writer=writer,
        keep_alive_s=_keep_alive_s(request.get("keep_alive")),
        asks_nothing=not chat["messages"],
    )


# --- messages


def _messages(given: object) -> list[Json]:
    open_calls = _OpenCalls()
    return [_message(item, place, open_calls) for place, item in enumerate(_list(given, "messages"))]


def _message(item: object, place: int, open_calls: _OpenCalls) -> Json:
    where = f"messages.{place}"
    message = _object(item, where)
    if not (role := _text(message.get("role"), f"{where}.role")):
        raise InvalidRequest(f"{where}.role: should be a role, got nothing", hint='say "user"')
    text, images = _text(message.get("content"), f"{where}.content"), _list(message.get("images"), f"{where}.images")
    told: Json = {"role": role, "content": _content(text, images, f"{where}.images")}
    if thinking := _text(message.get("thinking"), f"{where}.thinking"):
        told["reasoning_content"] = thinking
    if calls := _list(message.get("tool_calls"), f"{where}.tool_calls"):
        told["tool_calls"] = [_call(call, place, index) for index, call in enumerate(calls)]
        for call in told["tool_calls"]:
            open_calls.add(call["function"]["name"], call["id"])
    if role == "tool":
        told["tool_call_id"] = open_calls.answer(message.get("tool_name"))
    return told


def _call(call: object, place: int, index: int) -> Json:
    where = f"messages.{place}.tool_calls.{index}"
    function = _object(_object(call, where).get("function"), f"{where}.function")
    arguments = function.get("arguments")
    said = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments or {}).decode()
    name = _text(function.get("name"), f"{where}.function.name")
    return {"id": f"call_{place}_{index}", "type": "function", "function": {"name": name, "arguments": said}}


class _OpenCalls:
    """Calls that no message of a tool has answered yet, the oldest first. Each is looked at once, however many there are."""

    def __init__(self) -> None:
        self._all: deque[str] = deque()
        self._by_name: dict[str, deque[str]] = {}
        self._answered: set[str] = set()

    def add(self, name: str, call: str) -> None:
        self._all.append(call)
        self._by_name.setdefault(name, deque()).append(call)

    def answer(self, wanted: object) -> str:
        """The call that a tool's message answers: this dialect names the tool at most, else it is the oldest one open."""
        name = wanted if isinstance(wanted, str) and wanted else None
        waiting = self._all if name is None else self._by_name.get(name, deque())
        while waiting:
            call = waiting.popleft()
            if call not in self._answered:
                self._answered.add(call)
                return call
        return f"call_{name or 'unknown'}"


def _content(text: str, images: list[Any], where: str) -> str | list[Json]:
    if not images:
        return text
    parts: list[Json] = [{"type": "text", "text": text}] if text else []
    return parts + [{"type": "image_url", "image_url": {"url": _data_url(_text(image, where))}} for image in images]


def _data_url(image: str) -> str:
    if image.startswith("data:"):
        return image
    kind = next((kind for start, kind in _IMAGE_KINDS if image.startswith(start)), "png")
    return f"data:image/{kind};base64,{image}"


# --- settings


def _options(given: object, context: int) -> Json:
    """Sampling settings in llama.cpp's names."""
    said = {name: value for name, value in _object(given or {}, "options").items() if value is not None}
    if meaningless := sorted(_ELSEWHERE & set(said)):
        raise InvalidRequest(
            f"options: {', '.join(meaningless)} cannot be set by a request",
            hint="leave them out; the service decides how a model runs",
        )
    chat: Json = {}
    for name, value in said.items():
        if name not in _KNOWN:
            raise InvalidRequest(f"options.{name}: there is no such option", hint=_nearest(name))
        if name == "stop":
            chat["stop"] = _stop(value)
        else:
            chat |= _number(name, value, context)
    return chat


def _number(name: str, value: object, context: int) -> Json:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidRequest(f"options.{name}: should be a number, got {_shown(value)}")
    if name == "num_ctx":
        if value > context:
            raise InvalidRequest(
                f"options.num_ctx: this model is served with a context of {context} tokens, got {value}",
                hint="leave num_ctx out, or raise models.NAME.context in relight.toml",
            )
        return {}
    if name == "num_predict":
        return {"max_tokens": context if value == _FILL_CONTEXT else value}
    return {_RENAMED.get(name, name): value}


def _stop(value: object) -> list[str]:
    stops = [value] if isinstance(value, str) else _list(value, "options.stop")
    return [_text(stop, "options.stop") for stop in stops]


def _nearest(name: str) -> str:
    import difflib

    found = difflib.get_close_matches(name.lower(), _KNOWN - _ELSEWHERE, n=1)
    return f'did you mean "{found[0]}"?' if found else f"known here: {', '.join(sorted(_KNOWN - _ELSEWHERE))}"


def _format(given: object) -> Json:
    if given is None or given == "":
        return {}
    if given == "json":
        return {"response_format": {"type": "json_object"}}
    if isinstance(given, dict):
        return {"response_format": {"type": "json_schema", "json_schema": {"name": "format", "strict": True, "schema": given}}}
    raise InvalidRequest(f'format: should be "json" or a JSON schema, got {_shown(given)}')


def _thinking(given: object) -> Json:
    if given is None or given == "":
        return {}
    if isinstance(given, bool):
        return {"chat_template_kwargs": {"enable_thinking": given}}
    if given in ("low", "medium", "high", "max"):
        return {"chat_template_kwargs": {"enable_thinking": True, "reasoning_effort": given}}
    raise InvalidRequest(f'think: should be true, false, "low", "medium", "high" or "max", got {_shown(given)}')


def _keep_alive_s(given: object) -> float | None:
    if given is None or given == "":
        return None
    if isinstance(given, int | float) and not isinstance(given, bool):
        return math.inf if given < 0 else float(given)
    if isinstance(given, str) and len(given) <= _LONGEST_DURATION:
        negative, text = given.startswith("-"), given.lstrip("-")
        parts = _DURATION.findall(text)
        if text.isdecimal():
            parts = [(text, "s")]
        if parts and "".join(number + unit for number, unit in parts) in (text, f"{text}s"):
            return math.inf if negative else sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    raise InvalidRequest(f'keep_alive: should be seconds or a duration like "5m", got {_shown(given)}')


# --- values


def _object(value: object, where: str) -> Json:
    if isinstance(value, dict):
        return value
    raise InvalidRequest(f"{where}: should be an object, got {json_kind(value)}")


def _list(value: object, where: str) -> list[Any]:
    """A list; nothing is an empty one."""
    if value is None:
        return []
    if isinstance(value, list):
        return value
    raise InvalidRequest(f"{where}: should be a list, got {json_kind(value)}")


def _text(value: object, where: str) -> str:
    """Text; nothing is an empty one."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    raise InvalidRequest(f"{where}: should be text, got {json_kind(value)}")


def _shown(value: object) -> str:
    """A setting in a message, short. What somebody may have said is not quoted: messages are logged."""
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 40 else f"{text[:40]}…"
