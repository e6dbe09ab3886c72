"""The Anthropic dialect: messages and token counts. No I/O."""

from __future__ import annotations

from typing import Any, Final

from relight.errors import Category, ContextOverflow, RelightError, ThreadUnsupported
from relight.wire import sse
from relight.wire.dialect import EventStream, Usage, count, envelope, objects, words

_TYPES: Final = {
    Category.UNAUTHORIZED: "authentication_error",
    Category.FORBIDDEN: "permission_error",
    Category.RATE_LIMITED: "rate_limit_error",
    Category.OVER_BUDGET: "rate_limit_error",
    Category.QUEUE_FULL: "overloaded_error",
    Category.WAKE_TIMEOUT: "overloaded_error",
}


class Messages(EventStream):
    """`/v1/messages` and `/v1/messages/count_tokens`."""

    name = "messages"
    interesting = (b'"usage"', b'"stop_reason"', b'"error"')

    def error_body(self, error: RelightError) -> dict[str, Any]:
        told = {**envelope(error), "type": _type(error), "message": _message(error)}
        if isinstance(error, ThreadUnsupported):
            # By these the official clients know that they have to send the whole history.
            told["details"] = {"error_code": error.code, "unsupported": ["thread"]}
        return {"type": "error", "error": told}

    def error_event(self, error: RelightError) -> bytes:
        return sse.event(self.error_body(error), name="error")

    def heartbeat(self, model: str, answer_id: str) -> bytes:
        return sse.event({"type": "ping"}, name="ping")

    def read(self, payload: dict[str, Any], usage: Usage) -> None:
        message = payload.get("message") if payload.get("type") == "message_start" else payload
        if not isinstance(message, dict):
            return
        if isinstance(tokens := message.get("usage"), dict):
            if (fresh := count(tokens.get("input_tokens"))) is not None:
                cached = count(tokens.get("cache_read_input_tokens"))
                usage.prompt, usage.cached = fresh + (cached or 0), cached
            usage.completion = count(tokens.get("output_tokens"))
        elif "input_tokens" in message:
            usage.prompt = count(message["input_tokens"])
        stop = message.get("stop_reason")
        if stop is None and isinstance(delta := message.get("delta"), dict):
            stop = delta.get("stop_reason")
        usage.finish = str(stop) if stop else usage.finish
        if isinstance(error := payload.get("error"), dict):
            usage.error = str(error.get("message", "unknown error"))

    def text(self, payload: dict[str, Any]) -> str:
        if isinstance(delta := payload.get("delta"), dict):
            return words(delta.get("text"))
        return "".join(words(block.get("text")) for block in objects(payload.get("content")))


def _message(error: RelightError) -> str:
    if isinstance(error, ContextOverflow) and error.prompt_tokens is not None:
        return f"prompt is too long: {error.prompt_tokens} tokens > {error.context_tokens} maximum"
    return error.message


def _type(error: RelightError) -> str:
    if error.category in _TYPES:
        return _TYPES[error.category]
    by_status = {404: "not_found_error", 413: "request_too_large", 429: "rate_limit_error"}
    if error.http_status == 504:
        return "timeout_error"
    if error.http_status < 500 or error.category is Category.INVALID_REQUEST:
        return by_status.get(error.http_status, "invalid_request_error")
    return "overloaded_error" if error.http_status == 503 else "api_error"
