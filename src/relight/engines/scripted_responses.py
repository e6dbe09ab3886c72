"""An `Answer` in the responses dialect, as llama.cpp's server (b11549) writes it: leaner than OpenAI's own. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from relight.engines.scripted_answer import Answer, Kind, Section
from relight.engines.scripted_dialects import Dialect, Json, call_id, event
from relight.engines.scripted_prompt import read_responses


def _body(answer: Answer) -> Json:
    return {
        "completed_at": answer.stamp.created,
        "created_at": answer.stamp.created,
        "id": f"resp_{answer.stamp.id}",
        "model": answer.stamp.model,
        "object": "response",
        "output": _output(answer),
        "status": "completed",
        "usage": {
            "input_tokens": answer.prompt_tokens,
            "output_tokens": answer.tokens,
            "total_tokens": answer.prompt_tokens + answer.tokens,
            "input_tokens_details": {"cached_tokens": answer.cached_tokens},
        },
    }


def _blocks(answer: Answer) -> Iterator[bytes]:
    begun = {"id": f"resp_{answer.stamp.id}", "object": "response", "status": "in_progress"}
    opening = event("response.created", response=begun) + event("response.in_progress", response=begun)
    for index, section, place, piece in answer.pieces():
        if place == 0:
            opening += _start(answer, index, section)
        name = _DELTAS[section.kind]
        yield opening + event(name, item_id=_item_id(answer, index, section), delta=piece)
        opening = b""
    ends = b"".join(_end(answer, index, section) for index, section in enumerate(answer.sections))
    done = _body(answer)
    del done["completed_at"]
    yield opening + ends + event("response.completed", response=done, timings=answer.timings())


_DELTAS: Final = {
    Kind.REASONING: "response.reasoning_text.delta",
    Kind.TEXT: "response.output_text.delta",
    Kind.CALL: "response.function_call_arguments.delta",
}


def _item_id(answer: Answer, index: int, section: Section) -> str:
    prefix = {Kind.REASONING: "rs", Kind.TEXT: "msg", Kind.CALL: "fc"}[section.kind]
    return f"{prefix}_{call_id(answer, index)}"


def _output(answer: Answer) -> list[Json]:
    return [_item(answer, index, section) for index, section in enumerate(answer.sections)]


def _item(answer: Answer, index: int, section: Section) -> Json:
    item: Json = {"id": _item_id(answer, index, section), "status": "completed"}
    if section.kind is Kind.REASONING:
        content = [{"text": section.text, "type": "reasoning_text"}]
        return item | {"type": "reasoning", "summary": [], "content": content, "encrypted_content": ""}
    if section.kind is Kind.TEXT:
        return item | {"type": "message", "role": "assistant", "content": [_part(section.text)]}
    call = {"arguments": section.text, "call_id": f"call_{call_id(answer, index)}", "name": section.name}
    return item | {"type": "function_call"} | call


def _part(text: str) -> Json:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def _start(answer: Answer, index: int, section: Section) -> bytes:
    item = _item(answer, index, section) | {"status": "in_progress"}
    item["arguments" if section.kind is Kind.CALL else "content"] = "" if section.kind is Kind.CALL else []
    added = event("response.output_item.added", item=item)
    if section.kind is not Kind.TEXT:
        return added
    part = {"type": "output_text", "text": ""}
    return added + event("response.content_part.added", item_id=_item_id(answer, index, section), part=part)


def _end(answer: Answer, index: int, section: Section) -> bytes:
    item_id = _item_id(answer, index, section)
    done = event("response.output_item.done", item=_item(answer, index, section))
    if section.kind is not Kind.TEXT:
        return done
    text = event("response.output_text.done", item_id=item_id, text=section.text)
    return text + event("response.content_part.done", item_id=item_id, part=_part(section.text)) + done


RESPONSES: Final = Dialect(read_responses, _body, _blocks)
