"""The OpenAI dialect: chat, completions, embeddings and responses. No I/O."""

from __future__ import annotations

import time
from typing import Any, Final

from relight.errors import Category, ContextOverflow, RelightError
from relight.wire import sse
from relight.wire.dialect import EventStream, Usage, count, envelope, objects, words

_TYPES: Final = {
    Category.INVALID_REQUEST: "invalid_request_error",
    Category.CONTEXT_OVERFLOW: "invalid_request_error",
    Category.UNAUTHORIZED: "authentication_error",
    Category.FORBIDDEN: "permission_error",
    Category.RATE_LIMITED: "rate_limit_error",
    Category.OVER_BUDGET: "insufficient_quota",
}
_FINISH: Final = (b'"finish_reason":"', b'"finish_reason": "')
_COMMON: Final = (b'"usage"', b'"error"')


class Chat(EventStream):
    """`/v1/chat/completions`, `/v1/completions` and `/v1/embeddings`."""

    interesting = (*_COMMON, b'"timings"', *_FINISH)
    ends_with_a_reason = True

    def __init__(self, name: str = "chat", chunk_object: str = "chat.completion.chunk") -> None:
        self.name = name
        self._object = chunk_object

    def error_body(self, error: RelightError) -> dict[str, Any]:
        return error_body(error)

    def error_event(self, error: RelightError) -> bytes:
        body = error_body(error)
        if error.http_status >= 500:
            # The head is out, so the status is told here: agents (Qwen Code, for one) ask again for a number and end at a word.
            body["error"] |= {"code": error.http_status, "reason": error.code}
        return sse.event(body) + b"data: [DONE]\n\n"

    def heartbeat(self, model: str, answer_id: str) -> bytes:
        return sse.event(
            {"id": f"chatcmpl-{answer_id}", "object": self._object, "created": int(time.time()), "model": model, "choices": []}
        )

    def read(self, payload: dict[str, Any], usage: Usage) -> None:
        if isinstance(timings := payload.get("timings"), dict):
            _read_timings(timings, usage)
        if isinstance(tokens := payload.get("usage"), dict):
            usage.prompt = count(tokens.get("prompt_tokens"))
            usage.completion = count(tokens.get("completion_tokens"))
            usage.cached = _cached(tokens.get("prompt_tokens_details"))
        for choice in objects(payload.get("choices")):
            if choice.get("finish_reason"):
                usage.finish = str(choice["finish_reason"])
        usage.error = _error_text(payload) or usage.error

    def text(self, payload: dict[str, Any]) -> str:
        said = (choice.get("delta") or choice.get("message") or choice for choice in objects(payload.get("choices")))
        return "".join(words(one.get("content")) or words(one.get("text")) for one in said if isinstance(one, dict))


class Responses(EventStream):
    """`/v1/responses`."""

    name = "responses"
    # The official client's stream helper wants `response.created` before anything else, so early heartbeats are
    # comments; Codex counts only data events but waits 300 s for one.
    comments_only_s = 100.0
    interesting = (b'"usage"', b"response.completed", b"response.failed", b"response.incomplete", b'"error"')

    def error_body(self, error: RelightError) -> dict[str, Any]:
        return error_body(error)

    def error_event(self, error: RelightError) -> bytes:
        # Whoever has told more of this response knows its id and count, and ends it by `ResponsesWriter.failed`.
        failure = {
            "type": "response.failed",
            "sequence_number": 0,
            "response": {
                "id": "resp_failed",
                "object": "response",
                "created_at": int(time.time()),
                "status": "failed",
                "error": {**envelope(error), "type": _type(error), "param": None},
                "incomplete_details": None,
                "model": "",
                "output": [],
                "parallel_tool_calls": True,
                "tool_choice": "auto",
                "tools": [],
                "usage": None,
            },
        }
        return sse.event(failure, name="response.failed")

    def heartbeat(self, model: str, answer_id: str) -> bytes:
        return sse.event({"type": "keepalive"}, name="keepalive")

    def read(self, payload: dict[str, Any], usage: Usage) -> None:
        response = payload.get("response", payload)
        if not isinstance(response, dict):
            return
        if isinstance(tokens := response.get("usage"), dict):
            usage.prompt = count(tokens.get("input_tokens"))
            usage.completion = count(tokens.get("output_tokens"))
            usage.cached = _cached(tokens.get("input_tokens_details"))
        if response.get("status") in ("completed", "incomplete", "failed"):
            usage.finish = str(response["status"])
        is_error = payload.get("type") == "error"
        usage.error = _error_text({"error": payload} if is_error and "error" not in payload else response) or usage.error

    def text(self, payload: dict[str, Any]) -> str:
        if payload.get("type") == "response.output_text.delta":
            return words(payload.get("delta"))
        parts = [part for item in objects(payload.get("output")) for part in objects(item.get("content"))]
        return "".join(words(part.get("text")) for part in parts if part.get("type") == "output_text")


def error_body(error: RelightError) -> dict[str, Any]:
    """The envelope that OpenAI's clients expect, with `param` always there as they expect it."""
    return {"error": {**envelope(error), "message": _message(error), "type": _type(error), "param": None}}


def _read_timings(timings: dict[str, Any], usage: Usage) -> None:
    """llama.cpp's own: in every last event and whole answer, also where usage was not asked for."""
    fresh, cached = count(timings.get("prompt_n")), count(timings.get("cache_n"))
    usage.prompt = None if fresh is None else fresh + (cached or 0)
    usage.cached = cached
    usage.completion = count(timings.get("predicted_n"))
    if isinstance(decode_ms := timings.get("predicted_ms"), (int, float)):
        usage.decode_s = decode_ms / 1000


def _message(error: RelightError) -> str:
    # Agents recognise an overflow by this very sentence and shorten their history; any other wording they show raw. LangChain
    # looks for the code in the text of an exception, in which OpenAI's client (3.x) shows the message alone.
    if isinstance(error, ContextOverflow) and error.prompt_tokens is not None:
        return (
            f"This model's maximum context length is {error.context_tokens} tokens. However, your messages resulted in "
            f"{error.prompt_tokens} tokens. Please reduce the length of the messages. ({error.code})"
        )
    return error.message


def _type(error: RelightError) -> str:
    if error.category is Category.PROVIDER_REJECTED and error.http_status < 500:
        return "rate_limit_error" if error.http_status == 429 else "invalid_request_error"
    return _TYPES.get(error.category, "server_error")


def _cached(details: object) -> int | None:
    return count(details.get("cached_tokens")) if isinstance(details, dict) else None


def _error_text(payload: dict[str, Any]) -> str | None:
    error = payload.get("error")
    if isinstance(error, dict):
        return str(error.get("message", "unknown error"))
    return None
