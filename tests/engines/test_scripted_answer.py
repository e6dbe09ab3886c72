"""Answers made of scripts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relight.engines.script import Script, ToolCall
from relight.engines.scripted_answer import Answer, Kind, Stamp, compose
from relight.engines.scripted_prompt import Prompt
from relight.errors import ContextOverflow

PROMPT = Prompt(user="hello there", tool_result=None, tokens=2, stream=False, include_usage=False, max_tokens=None, stops=())
STAMP = Stamp("0" * 32, 1_700_000_000, "scripted")


def answer(script: Script, prompt: Prompt = PROMPT, context: int = 100) -> Answer:
    return compose(prompt, script, STAMP, context)


def text(made: Answer) -> str:
    return "".join(section.text for section in made.of(Kind.TEXT))


def test_answer_without_script_repeats_the_user() -> None:
    made = answer(Script())
    assert (text(made), made.tokens, made.finish) == ("You said: hello there", 4, "stop")


def test_tokens_repeat_the_words_until_there_are_enough() -> None:
    made = answer(Script(text="one two", tokens=5))
    assert (text(made), made.tokens) == ("one two one two one", 5)


def test_tokens_cut_the_words_when_there_are_too_many() -> None:
    assert text(answer(Script(text="one  two\nthree four", tokens=3))) == "one  two\nthree"


def test_text_keeps_its_white_space_exactly() -> None:
    assert text(answer(Script(text=" a\n\n b  c \n"))) == " a\n\n b  c \n"


def test_max_tokens_cuts_and_says_so() -> None:
    made = answer(Script(tokens=9), replace(PROMPT, max_tokens=3))
    assert (made.tokens, made.finish) == (3, "length")


def test_context_that_fills_up_cuts_and_says_so() -> None:
    made = answer(Script(tokens=9), context=6)
    assert (made.tokens, made.finish) == (4, "length")


def test_prompt_as_long_as_the_context_overflows_with_both_numbers() -> None:
    with pytest.raises(ContextOverflow) as caught:
        answer(Script(), replace(PROMPT, tokens=100))
    assert caught.value.message == "request (100 tokens) exceeds the available context size (100 tokens), try increasing it"
    assert (caught.value.prompt_tokens, caught.value.context_tokens) == (100, 100)


def test_stop_word_ends_the_text_and_whatever_would_follow() -> None:
    script = Script(text="one two three", tools=(ToolCall("w"),))
    made = answer(script, replace(PROMPT, stops=("three", "wo")))
    assert (text(made), made.stop_word, made.finish) == ("one t", "wo", "stop")


def test_tool_script_calls_and_says_nothing() -> None:
    made = answer(Script(tools=(ToolCall("w", '{"city":"Paris"}'),)))
    assert [(section.kind, section.name, section.pieces) for section in made.sections] == [
        (Kind.CALL, "w", ('{"', "city", '":"', "Paris", '"}'))
    ]
    assert made.finish == "tool_calls"


def test_text_can_name_the_last_result() -> None:
    made = answer(Script(text="done: {result}"), replace(PROMPT, results=("written", "sunny")))
    assert text(made) == "done: sunny"


def test_tool_result_is_answered_in_words_not_by_the_same_call_again() -> None:
    script = Script(tools=(ToolCall("w"),)).turn(1, has_tools=True, is_answered=True)
    made = answer(script, replace(PROMPT, tool_result="sunny"))
    assert (text(made), made.finish, made.of(Kind.CALL)) == ("The tool answered: sunny", "stop", [])


def test_reasoning_text_and_call_come_in_that_order() -> None:
    made = answer(Script(reasoning="hm so", text="Look", tools=(ToolCall("w"),)))
    assert [section.kind for section in made.sections] == [Kind.REASONING, Kind.TEXT, Kind.CALL]
    assert made.tokens == 4


def test_empty_answer_has_no_tokens() -> None:
    made = answer(Script(empty=True))
    assert (made.tokens, made.finish) == (0, "stop")


def test_timings_come_from_the_script_and_the_counts() -> None:
    made = answer(Script(tokens=4, first=0.1, prefill=0.4, delay=0.01, cached=1))
    timings = made.timings()
    assert (timings["cache_n"], timings["prompt_n"], timings["prompt_ms"]) == (1, 1, 500)
    assert (timings["predicted_n"], timings["predicted_ms"], timings["predicted_per_second"]) == (4, 40, 100)
