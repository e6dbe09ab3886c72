"""The Ollama dialect: chat and generate as lines of JSON, and what its listings say; must not know how a model is run. No I/O.

An event is one line. There are no comments: silence is broken by a line with no words in it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import msgspec

from relight.errors import RelightError
from relight.wire.dialect import Usage, count, envelope, words
from relight.wire.translation import Json

API_VERSION: Final = "0.12.11"
"""The Ollama whose interface this is: clients compare it to know what they may ask (0.12.11: log probabilities)."""


class Shape(Protocol):
    """Where an answer's words stand in a line of this dialect."""

    def said(self, content: str, thinking: str, tool_calls: list[Json]) -> Json:
        """The fields that carry them."""
        ...


class _Ollama:
    comments_only_s = 0.0
    streams_by_default = True
    ends_with_a_reason = False
    stream_type = b"application/x-ndjson"
    interesting = (b'"done":true', b'"done": true', b'"error"')

    def error_body(self, error: RelightError) -> dict[str, Any]:
        told = envelope(error)
        return {"error": told.pop("message"), **told}

    def error_event(self, error: RelightError) -> bytes:
        return line(self.error_body(error))

    def waking(self, model: str, eta_s: float) -> bytes:
        return b""

    def read(self, payload: dict[str, Any], usage: Usage) -> None:
        if "error" in payload:
            usage.error = str(payload["error"])
        if not payload.get("done"):
            return
        usage.prompt = count(payload.get("prompt_eval_count"))
        usage.completion = count(payload.get("eval_count"))
        usage.finish = words(payload.get("done_reason")) or usage.finish
        if (decode_ns := count(payload.get("eval_duration"))) is not None:
            usage.decode_s = decode_ns / 1e9


class OllamaChat(_Ollama):
    """`/api/chat`."""

    name = "ollama-chat"

    def heartbeat(self, model: str, answer_id: str) -> bytes:
        return line(begun(model, time.time(), self.said("", "", [])))

    def said(self, content: str, thinking: str, tool_calls: list[Json]) -> Json:
        message: Json = {"role": "assistant", "content": content}
        if thinking:
            message["thinking"] = thinking
        if tool_calls:
            message["tool_calls"] = tool_calls
        return {"message": message}

    def text(self, payload: dict[str, Any]) -> str:
        message = payload.get("message")
        return words(message.get("content")) if isinstance(message, dict) else ""


class OllamaGenerate(_Ollama):
    """`/api/generate`."""

    name = "ollama-generate"

    def heartbeat(self, model: str, answer_id: str) -> bytes:
        return line(begun(model, time.time(), self.said("", "", [])))

    def said(self, content: str, thinking: str, tool_calls: list[Json]) -> Json:
        return {"response": content, **({"thinking": thinking} if thinking else {})}

    def text(self, payload: dict[str, Any]) -> str:
        return words(payload.get("response"))


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What the listings say of a model; what is not known is left empty."""

    name: str
    context: int
    """Tokens one request may use; 0 where nobody knows."""
    capabilities: tuple[str, ...] = ("completion",)
    """Of `completion`, `tools`, `embedding`, `vision`, `thinking`."""
    size: int = 0
    """Bytes of weights."""
    digest: str = ""
    """SHA-256 of the weights, in hex digits."""
    family: str = ""
    parameter_size: str = ""
    """As people say it: `135M`."""
    quantization: str = ""
    modified: str = "1970-01-01T00:00:00Z"
    """RFC 3339."""
    expires: str | None = None
    """RFC 3339: when an awake model goes to sleep if nobody asks it anything."""


def tags(models: Iterable[ModelFacts]) -> Json:
    """The answer to GET /api/tags: every model that can be asked."""
    return {"models": [{**_listed(facts), "modified_at": facts.modified} for facts in models]}


def ps(awake: Iterable[ModelFacts]) -> Json:
    """The answer to GET /api/ps: the models that are awake; none of them is said to be on a GPU."""
    return {"models": [_running(facts) for facts in awake]}


def version() -> Json:
    """The answer to GET /api/version."""
    return {"version": API_VERSION}


def show(facts: ModelFacts) -> Json:
    """The answer to POST /api/show."""
    architecture = facts.family or "unknown"
    known = {f"{architecture}.context_length": facts.context} if facts.context else {}
    return {
        "modelfile": "",
        "parameters": f"num_ctx {facts.context}" if facts.context else "",
        "template": "",
        "details": _details(facts),
        "model_info": {"general.architecture": architecture, **known},
        "capabilities": list(facts.capabilities),
        "modified_at": facts.modified,
    }


def model_name(name: str) -> str:
    """A name as it is configured: Ollama's clients put `:latest` behind one that has no tag."""
    return name.removesuffix(":latest")


def begun(model: str, created: float, said: Json) -> Json:
    """A line of an answer that goes on."""
    return {"model": model, "created_at": rfc3339(created), **said, "done": False}


def line(value: Json) -> bytes:
    """One event of this dialect."""
    return msgspec.json.encode(value) + b"\n"


def rfc3339(unix_s: float) -> str:
    """A point in time as this dialect writes it."""
    return datetime.fromtimestamp(unix_s, UTC).isoformat().replace("+00:00", "Z")


def _listed(facts: ModelFacts) -> Json:
    return {"name": facts.name, "model": facts.name, "size": facts.size, "digest": facts.digest, "details": _details(facts)}


def _running(facts: ModelFacts) -> Json:
    told = {**_listed(facts), "size_vram": 0, "context_length": facts.context}
    return told if facts.expires is None else {**told, "expires_at": facts.expires}


def _details(facts: ModelFacts) -> Json:
    return {
        "parent_model": "",
        "format": "gguf",
        "family": facts.family,
        "families": [facts.family] if facts.family else [],
        "parameter_size": facts.parameter_size,
        "quantization_level": facts.quantization,
    }
