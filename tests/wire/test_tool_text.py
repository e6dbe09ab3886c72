"""The filter: chunks in, chunks out; what is not called goes on as the very chunk that it came as."""

from __future__ import annotations

import json
from typing import Any

import pytest

from relight.wire.tool_check import toolset
from relight.wire.tool_text import TextCalls
from tests.wire.tool_cases import BARE, CASES, MARKED, TOOLS, Case, J

Json = dict[str, Any]
HERMES = f"<tool_call>{J}</tool_call>"


def chunk(finish: str | None = None, index: int = 0, **delta: Any) -> Json:
    return {"id": "a", "model": "m", "choices": [{"index": index, "delta": delta, "finish_reason": finish}]}


def cut(text: str, size: int) -> list[Json]:
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    return [chunk(role="assistant", content=None), *(chunk(content=one) for one in pieces), chunk("stop")]


def sift(chunks: list[Json], **more: Any) -> tuple[list[Json], dict[str, int]]:
    counts: dict[str, int] = {}
    sieve = TextCalls(lambda: toolset(TOOLS), counts, **more)
    return [told for one in chunks for told in sieve.feed(one)] + sieve.finish(), counts


def joined(chunks: list[Json]) -> Json:
    """The message that a client makes of a stream."""
    message: Json = {"content": "", "calls": {}, "finish": None, "roles": 0}
    for one in chunks:
        for choice in one["choices"]:
            delta = choice["delta"]
            message["content"] += delta.get("content") or ""
            message["roles"] += "role" in delta
            message["finish"] = choice.get("finish_reason") or message["finish"]
            for piece in delta.get("tool_calls", ()):
                call = message["calls"].setdefault(piece["index"], {"id": piece.get("id"), "name": "", "arguments": ""})
                assert piece.get("id", call["id"]) == call["id"]
                call["name"] += piece["function"].get("name", "")
                call["arguments"] += piece["function"]["arguments"]
    return message


def whole(content: str | None, finish: str = "stop", **more: Any) -> Json:
    return {"choices": [{"index": 0, "message": {"role": "assistant", "content": content, **more}, "finish_reason": finish}]}


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_stream_says_and_calls_what_the_corpus_says(case: Case, size: int) -> None:
    chunks = cut(case.text, size)
    if case.is_cut:
        chunks[-1] = chunk("length")
    told, counts = sift(chunks)
    message = joined(told)
    assert [(call["name"], json.loads(call["arguments"])) for call in message["calls"].values()] == list(case.calls)
    assert message["content"] == case.rest
    assert message["roles"] == 1
    assert message["finish"] == ("tool_calls" if case.calls else "length" if case.is_cut else "stop")
    assert sum(number for name, number in counts.items() if name != "refused_calls") == len(case.calls)
    ids = [call["id"] for call in message["calls"].values()]
    assert len(set(ids)) == len(ids)
    assert all(ids)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_whole_answer_says_and_calls_the_same(case: Case) -> None:
    answer = whole(case.text, "length" if case.is_cut else "stop")
    told = TextCalls(lambda: toolset(TOOLS), {}).whole(answer)
    if not case.calls:
        assert told is answer
        return
    message = told["choices"][0]["message"]
    assert [(one["function"]["name"], json.loads(one["function"]["arguments"])) for one in message["tool_calls"]] == list(
        case.calls
    )
    assert all(one["type"] == "function" and one["id"] and "index" not in one for one in message["tool_calls"])
    assert message["content"] == (case.rest if case.rest.strip() else None)
    assert told["choices"][0]["finish_reason"] == "tool_calls"


PLAIN = [case for case in CASES if not case.calls and not case.is_cut and "<" not in case.text and "[T" not in case.text]


@pytest.mark.parametrize("size", [1, 4, 1000])
@pytest.mark.parametrize("case", PLAIN, ids=lambda case: case.name)
def test_chunks_of_an_answer_without_a_call_are_the_very_same(case: Case, size: int) -> None:
    chunks = cut(case.text, size)
    told, _ = sift(chunks)
    assert len(told) == len(chunks)
    assert all(one is other for one, other in zip(told, chunks, strict=True))


def test_call_begins_with_id_and_name_and_goes_on_with_its_arguments() -> None:
    told, counts = sift(cut(f"Now.\n{HERMES}\n{HERMES}", 5))
    pieces = [one["choices"][0]["delta"]["tool_calls"][0] for one in told if "tool_calls" in one["choices"][0]["delta"]]
    assert [set(piece) for piece in pieces] == [{"index", "id", "type", "function"}, {"index", "function"}] * 2
    assert [piece["index"] for piece in pieces] == [0, 0, 1, 1]
    assert pieces[0]["function"] == {"name": "look", "arguments": ""}
    assert counts == {"marked_calls": 2}


NATIVE = {"index": 0, "id": "c", "type": "function", "function": {"name": "rm", "arguments": '{"not": "checked'}}


def test_call_that_comes_as_one_is_never_touched() -> None:
    chunks = [
        chunk(role="assistant", content=None),
        chunk(content="I look. <"),
        chunk(tool_calls=[NATIVE]),
        chunk(tool_calls=[{"index": 0, "function": {"arguments": '"}'}}]),
        chunk(content=HERMES),
        chunk("tool_calls"),
    ]
    told, counts = sift(chunks)
    assert all(one is other for one, other in zip(told, chunks, strict=True))
    assert counts == {}
    answer = whole(HERMES, tool_calls=[NATIVE])
    assert TextCalls(lambda: toolset(TOOLS), {}).whole(answer) is answer


def test_call_that_comes_as_one_behind_a_written_one_is_the_next() -> None:
    told, _ = sift([chunk(content=HERMES), chunk(tool_calls=[NATIVE]), chunk("tool_calls")])
    calls = joined(told)["calls"]
    assert [calls[index]["name"] for index in (0, 1)] == ["look", "rm"]


def test_what_is_held_when_a_call_comes_as_one_is_text() -> None:
    told, counts = sift([chunk(content="so <tool_call>"), chunk(tool_calls=[NATIVE]), chunk("tool_calls")])
    assert (joined(told)["content"], counts) == ("so <tool_call>", {})


def test_stream_that_breaks_off_keeps_its_text() -> None:
    told, _ = sift([chunk(content="so "), chunk(content="<tool_"), chunk(content="call> {")])
    assert joined(told)["content"] == "so <tool_call> {"


def test_chunks_without_text_pass_at_once_also_while_a_call_is_held() -> None:
    sieve = TextCalls(lambda: toolset(TOOLS), {})
    beat: Json = {"id": "a", "choices": []}
    progress = {**chunk(role="assistant", content=None), "prompt_progress": {"total": 9}}
    assert sieve.feed(chunk(content="<tool_call>{")) == []
    assert [sieve.feed(beat), sieve.feed(progress)] == [[beat], [progress]]


def test_role_beside_the_first_text_of_a_call_goes_on() -> None:
    told, _ = sift([chunk(role="assistant", content=HERMES), chunk("stop")])
    assert told[0]["choices"][0]["delta"] == {"role": "assistant"}
    assert joined(told)["calls"]


def test_usage_and_timings_of_the_last_chunk_stay_with_it() -> None:
    last = {**chunk("stop"), "timings": {"predicted_n": 5}}
    told, _ = sift([chunk(content=HERMES), last])
    assert [one.get("timings") for one in told] == [None, None, {"predicted_n": 5}]
    assert told[-1]["choices"][0] == {"index": 0, "delta": {}, "finish_reason": "tool_calls"}


def test_answer_cut_off_behind_a_call_still_says_so() -> None:
    told, _ = sift([chunk(content=f"{HERMES}\nand th"), chunk("length")])
    assert joined(told)["finish"] == "length"
    assert joined(told)["calls"]


def test_only_the_first_call_is_told_where_one_is_allowed() -> None:
    text = f"{HERMES}\n{HERMES}\n{HERMES}"
    told, counts = sift(cut(text, 6), is_single=True)
    assert list(joined(told)["calls"]) == [0]
    assert counts == {"marked_calls": 1, "calls_beyond_one": 2}
    counts = {}
    answer = TextCalls(lambda: toolset(TOOLS), counts, is_single=True).whole(whole(f"[{J}, {J}]"))
    assert len(answer["choices"][0]["message"]["tool_calls"]) == 1
    assert counts == {"bare_calls": 1, "calls_beyond_one": 1}


def test_each_choice_is_read_by_itself() -> None:
    pieces = [HERMES[at : at + 9] for at in range(0, len(HERMES), 9)]
    chunks = [chunk(index=index, content=text) for piece in pieces for index, text in ((0, piece), (1, "w"))]
    told, _ = sift([*chunks, chunk("stop"), chunk("stop", 1)])
    assert {one["choices"][0]["index"] for one in told if "tool_calls" in one["choices"][0]["delta"]} == {0}
    assert "".join(one["choices"][0]["delta"].get("content", "") for one in told) == "w" * len(pieces)


def test_two_choices_in_one_chunk_are_told_apart() -> None:
    both = {"id": "a", "choices": [{"index": n, "delta": {"content": text}} for n, text in ((0, HERMES), (1, "words"))]}
    told, _ = sift([both, chunk("stop"), chunk("stop", 1)])
    assert joined(told)["content"] == "words"
    assert joined(told)["calls"]


@pytest.mark.parametrize("thought", [f"I look.\n{HERMES}", f"{HERMES}\n"])
@pytest.mark.parametrize("is_stream", [False, True])
def test_call_that_ends_the_thoughts_counts_where_nothing_else_is_said(thought: str, is_stream: bool) -> None:
    pieces = [chunk(reasoning_content=thought[at : at + 5]) for at in range(0, len(thought), 5)]
    if is_stream:
        told, counts = sift([*pieces, chunk("stop")])
        assert all(one is other for one, other in zip(told, pieces, strict=False))
        assert joined(told)["calls"][0]["name"] == "look"
    else:
        counts = {}
        answer = TextCalls(lambda: toolset(TOOLS), counts).whole(whole("", reasoning_content=thought))
        assert answer["choices"][0]["message"]["reasoning_content"] == thought
        assert answer["choices"][0]["message"]["tool_calls"]
    assert counts == {"thought_calls": 1}


@pytest.mark.parametrize(
    "chunks",
    [
        [chunk(reasoning_content=HERMES), chunk(content="No."), chunk("stop")],
        [chunk(reasoning_content=f"{HERMES} perhaps"), chunk("stop")],
        [chunk(reasoning_content=J), chunk("stop")],
        [chunk(reasoning_content=HERMES), chunk("length")],
    ],
)
def test_call_in_thoughts_does_not_count_otherwise(chunks: list[Json]) -> None:
    told, counts = sift(chunks)
    assert all(one is other for one, other in zip(told, chunks, strict=True))
    assert counts == {}


@pytest.mark.parametrize("case", [MARKED[0], BARE[0]], ids=lambda case: case.name)
def test_tools_are_not_read_for_words_alone(case: Case) -> None:
    def fail() -> Any:
        raise AssertionError("nobody called")

    chunks = cut("Plain words.\nAnd (more) of them; 5 > 3.", 4)
    sieve = TextCalls(fail, {})
    assert [told for one in chunks for told in sieve.feed(one)] == chunks
    with pytest.raises(AssertionError):
        TextCalls(fail, {}).whole(whole(case.text))


@pytest.mark.parametrize("name", [".".join(["a"] * 400), "a" + "()" * 400])
def test_call_that_python_itself_cannot_read_stays_text(name: str) -> None:
    text = f"<|python_tag|>{name}(x=1)"
    told, _ = sift(cut(text, 40))
    assert joined(told)["content"] == text
