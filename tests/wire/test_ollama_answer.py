"""Chat answers told in Ollama's lines, where the official client's own tests do not look."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from relight.wire.ollama import OllamaChat, OllamaGenerate
from relight.wire.ollama_answer import OllamaWriter
from relight.wire.translation import About

ABOUT = About(model="smol", id="int_1", created=1_795_314_088)


def writer() -> OllamaWriter:
    return OllamaWriter(ABOUT, OllamaChat())


def lines(told: bytes) -> list[dict[str, Any]]:
    assert told == b"" or told.endswith(b"\n")
    return [msgspec.json.decode(one) for one in told.splitlines()]


def chunk(finish: str | None = None, **delta: object) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def call(index: int, name: str, arguments: str) -> dict[str, Any]:
    return {"index": index, "id": f"call_{index}", "type": "function", "function": {"name": name, "arguments": arguments}}


@pytest.mark.parametrize(
    "quiet",
    [
        {"choices": []},
        chunk(role="assistant", content=None),
        {**chunk(role="assistant", content=None), "prompt_progress": {"total": 9, "cache": 0, "processed": 3}},
        chunk(content=""),
        {"choices": [{"index": 0, "delta": None}]},
    ],
    ids=str,
)
def test_chunk_without_words_is_no_line(quiet: dict[str, Any]) -> None:
    assert writer().feed(quiet) == b""


def test_stream_that_ended_without_a_finish_reason_is_closed() -> None:
    told = writer()
    told.feed(chunk(content="hi"))
    [last] = lines(told.finish())
    assert (last["done"], last["done_reason"], last["total_duration"], last["message"]["content"]) == (True, "stop", 0, "")
    assert "eval_count" not in last


def test_calls_are_told_once_when_they_are_complete() -> None:
    told = writer()
    assert told.feed(chunk(tool_calls=[call(0, "a", '{"x"')])) == b""
    assert told.feed(chunk(tool_calls=[{"index": 0, "function": {"arguments": ":1}"}}, call(1, "b", "")])) == b""
    [called] = lines(told.feed(chunk("tool_calls")))
    assert [one["function"] for one in called["message"]["tool_calls"]] == [
        {"index": 0, "name": "a", "arguments": {"x": 1}},
        {"index": 1, "name": "b", "arguments": {}},
    ]
    assert called["done"] is False
    assert "tool_calls" not in lines(told.finish())[0]["message"]


def test_calls_of_a_stream_without_a_finish_reason_are_told_at_its_end() -> None:
    told = writer()
    told.feed(chunk(tool_calls=[call(0, "a", "{}")]))
    called, last = lines(told.finish())
    assert (called["message"]["tool_calls"][0]["function"]["name"], last["done"]) == ("a", True)


@pytest.mark.parametrize("arguments", ['{"a": ', "[1]", "hello"])
def test_arguments_that_are_no_object_are_kept_as_text(arguments: str) -> None:
    message = {"content": None, "tool_calls": [call(0, "a", arguments)]}
    told = writer().whole({"choices": [{"index": 0, "message": message, "finish_reason": "length"}]})
    assert told["message"]["tool_calls"][0]["function"]["arguments"] == {"_raw": arguments}
    assert told["done_reason"] == "length"


def test_usage_counts_where_the_engine_tells_no_times() -> None:
    told = writer().whole({"choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": 2}})
    assert (told["prompt_eval_count"], told["eval_count"], told["total_duration"]) == (4, 2, 0)


def test_times_count_where_the_engine_tells_no_usage() -> None:
    timings = {"prompt_n": 4, "cache_n": 6, "prompt_ms": 1.5, "predicted_n": 2, "predicted_ms": 3}
    told = writer()
    told.feed({**chunk("stop"), "timings": timings})
    [last] = lines(told.finish())
    assert (last["prompt_eval_count"], last["eval_count"], last["total_duration"]) == (10, 2, 4_500_000)


def test_wake_is_told_as_loading() -> None:
    told = writer()
    told.load_s = 0.25
    last = told.whole({"choices": [], "timings": {"predicted_ms": 1.0}})
    assert (last["load_duration"], last["total_duration"]) == (250_000_000, 251_000_000)


def test_log_probabilities_stand_in_the_line_of_their_words() -> None:
    entry = {"id": 5, "token": "hi", "bytes": [104], "logprob": -0.5, "top_logprobs": [{"id": 5, "token": "hi", "logprob": -0.5}]}
    [told] = lines(
        writer().feed(
            {"choices": [{"index": 0, "delta": {"content": "hi"}, "logprobs": {"content": [entry]}, "finish_reason": None}]}
        )
    )
    assert told["logprobs"] == [{"token": "hi", "logprob": -0.5, "top_logprobs": [{"token": "hi", "logprob": -0.5}]}]


@pytest.mark.parametrize(("is_asleep", "reason"), [(False, "load"), (True, "unload")])
def test_request_that_asked_nothing_is_told_what_became_of_the_model(is_asleep: bool, reason: str) -> None:
    told = OllamaWriter(ABOUT, OllamaGenerate()).loaded(is_asleep=is_asleep)
    assert told == {"model": "smol", "created_at": "2026-11-22T02:21:28Z", "response": "", "done": True, "done_reason": reason}
