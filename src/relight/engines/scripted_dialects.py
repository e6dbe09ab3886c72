"""An `Answer` in the chat, completion and messages dialects, as llama.cpp's server (b11549) writes it. Pure.

It is one JSON body, or the blocks of a stream: N tokens make N + 1 blocks, each of the first N ends with its token, the
last one closes the stream.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from relight.engines.scripted_answer import Answer, Kind, Section
from relight.engines.scripted_prompt import Reader, read_chat, read_completion

Json = dict[str, Any]


Progress = Callable[[Answer, int, int], bytes]
"""The event that says how many tokens of the prompt are read, after so many milliseconds."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one path's requests are read and its answers written."""

    read: Reader
    body: Callable[[Answer], Json]
    blocks: Callable[[Answer], Iterator[bytes]]
    progress: Progress | None = None


def encode(value: object) -> bytes:
    """JSON as llama.cpp writes it: without spaces, characters as they are."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def cut(data: bytes, size: int | None, *, inside_characters: bool) -> Iterator[bytes]:
    """`data` in parts of `size` bytes and, if asked for, with a cut inside every character of more than one byte."""
    start = 0
    for end in range(1, len(data)):
        if (size is not None and end - start >= size) or (inside_characters and data[end - 1] >= 0xC0):
            yield data[start:end]
            start = end
    if data:
        yield data[start:]


def data_line(value: Json) -> bytes:
    """An event without a name."""
    return b"data: " + encode(value) + b"\n\n"


def event(name: str, **fields: object) -> bytes:
    """An event whose data repeats its name as `type`."""
    return f"event: {name}\n".encode() + data_line({"type": name, **fields})


_DONE: Final = b"data: [DONE]\n\n"


def _openai_usage(answer: Answer) -> Json:
    return {
        "completion_tokens": answer.tokens,
        "prompt_tokens": answer.prompt_tokens,
        "total_tokens": answer.prompt_tokens + answer.tokens,
        "prompt_tokens_details": {"cached_tokens": answer.cached_tokens},
    }


def call_id(answer: Answer, index: int) -> str:
    """Id of a section, as long as llama.cpp's."""
    return f"{answer.stamp.id[:30]}{index:02d}"


def _text(answer: Answer, kind: Kind) -> str:
    return "".join(section.text for section in answer.of(kind))


# --- chat completions ---------------------------------------------------------------------------------------------


def _chat_body(answer: Answer) -> Json:
    text = _text(answer, Kind.TEXT)
    message: Json = {"role": "assistant", "content": text or None if answer.of(Kind.CALL) else text}
    if reasoning := _text(answer, Kind.REASONING):
        message["reasoning_content"] = reasoning
    calls = [
        {"type": "function", "function": {"name": section.name, "arguments": section.text}, "id": call_id(answer, index)}
        for index, section in enumerate(answer.sections)
        if section.kind is Kind.CALL
    ]
    if calls:
        message["tool_calls"] = calls
    return {
        "choices": [{"finish_reason": answer.finish, "index": 0, "message": message}],
        "created": answer.stamp.created,
        "model": answer.stamp.model,
        "system_fingerprint": "scripted",
        "object": "chat.completion",
        "usage": _openai_usage(answer),
        "id": f"chatcmpl-{answer.stamp.id}",
        "timings": answer.timings(),
    }


def _chat_blocks(answer: Answer) -> Iterator[bytes]:
    def chunk(delta: Json, finish: str | None = None, **more: object) -> bytes:
        return data_line(_chat_chunk(answer, [{"finish_reason": finish, "index": 0, "delta": delta}]) | more)

    opening = chunk({"role": "assistant", "content": None})
    for index, section, place, piece in answer.pieces():
        yield opening + chunk(_chat_delta(answer, index, section, place, piece))
        opening = b""
    if not answer.include_usage:
        yield opening + chunk({}, answer.finish, timings=answer.timings()) + _DONE
        return
    usage = data_line(_chat_chunk(answer, []) | {"usage": _openai_usage(answer), "timings": answer.timings()})
    yield opening + chunk({}, answer.finish) + usage + _DONE


def _chat_chunk(answer: Answer, choices: list[Json]) -> Json:
    return {
        "choices": choices,
        "created": answer.stamp.created,
        "id": f"chatcmpl-{answer.stamp.id}",
        "model": answer.stamp.model,
        "system_fingerprint": "scripted",
        "object": "chat.completion.chunk",
    }


def _chat_progress(answer: Answer, processed: int, time_ms: int) -> bytes:
    chunk = _chat_chunk(answer, [{"finish_reason": None, "index": 0, "delta": {"role": "assistant", "content": None}}])
    progress = {"total": answer.prompt_tokens, "cache": answer.cached_tokens, "processed": processed, "time_ms": time_ms}
    return data_line(chunk | {"prompt_progress": progress})


def _chat_delta(answer: Answer, index: int, section: Section, place: int, piece: str) -> Json:
    if section.kind is not Kind.CALL:
        return {"content" if section.kind is Kind.TEXT else "reasoning_content": piece}
    call: Json = {"index": sum(earlier.kind is Kind.CALL for earlier in answer.sections[:index])}
    if place == 0:
        call |= {"id": call_id(answer, index), "type": "function", "function": {"name": section.name, "arguments": piece}}
    else:
        call["function"] = {"arguments": piece}
    return {"tool_calls": [call]}


# --- completions --------------------------------------------------------------------------------------------------


def _completion_body(answer: Answer) -> Json:
    text = _text(answer, Kind.TEXT)
    return {
        "choices": [{"text": text, "index": 0, "logprobs": None, "finish_reason": answer.finish}],
        "created": answer.stamp.created,
        "model": answer.stamp.model,
        "system_fingerprint": "scripted",
        "object": "text_completion",
        "usage": _openai_usage(answer),
        "id": f"chatcmpl-{answer.stamp.id}",
        "timings": answer.timings(),
    }


def _completion_blocks(answer: Answer) -> Iterator[bytes]:
    whole = _completion_body(answer)
    closing = {"usage": whole.pop("usage"), "timings": whole.pop("timings")}

    def chunk(text: str, finish: str | None = None, **more: object) -> bytes:
        choice = {"text": text, "index": 0, "logprobs": None, "finish_reason": finish}
        return data_line(whole | {"choices": [choice]} | more)

    for _, section, _, piece in answer.pieces():
        yield chunk(piece if section.kind is Kind.TEXT else "")
    yield chunk("", answer.finish, **closing) + _DONE


# --- messages -----------------------------------------------------------------------------------------------------

_STOP_REASONS: Final = {"length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}


def _messages_body(answer: Answer) -> Json:
    return {
        "id": f"chatcmpl-{answer.stamp.id}",
        "type": "message",
        "role": "assistant",
        "content": [_messages_content(answer, index, section) for index, section in enumerate(answer.sections)],
        "model": answer.stamp.model,
        "stop_reason": _STOP_REASONS.get(answer.finish, "end_turn"),
        "stop_sequence": answer.stop_word,
        "usage": _messages_usage(answer) | {"output_tokens": answer.tokens},
    }


def _messages_blocks(answer: Answer) -> Iterator[bytes]:
    start = _messages_body(answer) | {"content": [], "stop_reason": None, "stop_sequence": None}
    opening = event("message_start", message=start | {"usage": _messages_usage(answer) | {"output_tokens": 0}})
    for index, section, place, piece in answer.pieces():
        if place == 0:
            opening += event("content_block_start", index=index, content_block=_messages_start(answer, index, section))
        yield opening + event("content_block_delta", index=index, delta=_messages_delta(section, piece))
        opening = b""
    stops = b"".join(_messages_stop(index, section) for index, section in enumerate(answer.sections))
    delta = {"stop_reason": _STOP_REASONS.get(answer.finish, "end_turn"), "stop_sequence": answer.stop_word}
    end = event("message_delta", delta=delta, usage={"output_tokens": answer.tokens})
    yield opening + stops + end + event("message_stop")


def _messages_usage(answer: Answer) -> Json:
    fresh = answer.prompt_tokens - answer.cached_tokens
    return {"cache_read_input_tokens": answer.cached_tokens, "input_tokens": fresh}


def _messages_content(answer: Answer, index: int, section: Section) -> Json:
    if section.kind is Kind.REASONING:
        return {"type": "thinking", "thinking": section.text, "signature": ""}
    if section.kind is Kind.TEXT:
        return {"type": "text", "text": section.text}
    try:
        arguments = json.loads(section.text)
    except json.JSONDecodeError:
        arguments = {}
    return {"type": "tool_use", "id": call_id(answer, index), "name": section.name, "input": arguments}


def _messages_start(answer: Answer, index: int, section: Section) -> Json:
    if section.kind is Kind.REASONING:
        return {"type": "thinking", "thinking": ""}
    if section.kind is Kind.TEXT:
        return {"type": "text", "text": ""}
    return {"type": "tool_use", "id": call_id(answer, index), "name": section.name}


def _messages_delta(section: Section, piece: str) -> Json:
    if section.kind is Kind.REASONING:
        return {"type": "thinking_delta", "thinking": piece}
    if section.kind is Kind.TEXT:
        return {"type": "text_delta", "text": piece}
    return {"type": "input_json_delta", "partial_json": piece}


def _messages_stop(index: int, section: Section) -> bytes:
    stop = event("content_block_stop", index=index)
    if section.kind is not Kind.REASONING:
        return stop
    return event("content_block_delta", index=index, delta={"type": "signature_delta", "signature": ""}) + stop


CHAT: Final = Dialect(read_chat, _chat_body, _chat_blocks, _chat_progress)
COMPLETION: Final = Dialect(read_completion, _completion_body, _completion_blocks)
MESSAGES: Final = Dialect(read_chat, _messages_body, _messages_blocks)
