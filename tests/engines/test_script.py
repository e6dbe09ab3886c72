"""The script language."""

from __future__ import annotations

import pytest

from relight.engines.script import KEYS, Fault, FaultKind, Script, Step, ToolCall, find_script, has_plan, parse_script
from relight.errors import InvalidRequest


def test_message_without_script_keeps_the_base_and_its_words() -> None:
    base = Script(tokens=3)
    assert find_script("a #scripted word, or a#script", base) == (base, "a #scripted word, or a#script")


def test_script_is_taken_out_of_the_message() -> None:
    script, rest = find_script("hello\n#script tokens=5 delay=10ms\nworld", Script())
    assert script == Script(tokens=5, delay=0.01)
    assert rest == "hello\n\nworld"


def test_script_ends_at_the_first_word_that_is_no_pair() -> None:
    script, rest = find_script("#script tokens=5 tell me tokens=6", Script())
    assert (script.tokens, rest) == (5, "tell me tokens=6")


def test_script_does_not_go_on_in_the_next_line() -> None:
    script, rest = find_script("#script tokens=5\ndelay=1s", Script())
    assert (script, rest) == (Script(tokens=5), "delay=1s")


def test_request_script_wins_over_the_base_key_by_key() -> None:
    script, _ = find_script("#script delay=0s", Script(tokens=3, delay=1.0))
    assert script == Script(tokens=3, delay=0.0)


def test_every_scalar_key_is_read() -> None:
    script = parse_script(
        'tokens=2 text="two words" empty=1 reasoning=hm finish=length cached=4 first=200ms prefill=3s comments=1s '
        "delay=5ms status=429 exit=7 unicode=1 chunk=7"
    )
    assert script == Script(
        tokens=2,
        text="two words",
        empty=True,
        reasoning="hm",
        finish="length",
        cached=4,
        first=0.2,
        prefill=3.0,
        comments=1.0,
        delay=0.005,
        status=429,
        exit=7,
        unicode=True,
        chunk=7,
    )


@pytest.mark.parametrize("kind", list(FaultKind))
def test_fault_is_read_with_its_place(kind: FaultKind) -> None:
    assert parse_script(f"{kind.value}=after:5").fault == Fault(kind, 5)


def test_arguments_are_kept_as_written_with_spaces_and_nesting() -> None:
    script = parse_script('tool=get_weather args={"city": "New York", "days": [1, 2]} delay=1s')
    assert script.tools == (ToolCall("get_weather", '{"city": "New York", "days": [1, 2]}'),)
    assert script.delay == 1.0


def test_arguments_in_a_string_may_be_broken_json() -> None:
    assert parse_script(r'tool=w args="{\"city\": "').tools == (ToolCall("w", '{"city": '),)


def test_several_tools_keep_their_own_arguments() -> None:
    assert parse_script('tool=a tool=b args={"x":1}').tools == (ToolCall("a"), ToolCall("b", '{"x":1}'))


def test_unknown_key_is_refused_with_the_list_of_keys() -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_script("tokns=5")
    assert str(caught.value) == f'#script: unknown key "tokns"; known keys: {", ".join(KEYS)}'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tokens=many", '#script: tokens: should be a whole number, got "many"'),
        ("delay=10", '#script: delay: should be a duration like "10m" or "90s", got "10"'),
        ("stall=5", '#script: stall: should be after:TOKENS like "after:5", got "5"'),
        ("status=200", "#script: status: should be an error status from 400 to 599, got 200"),
        ("exit=256", "#script: exit: should be an exit code from 0 to 255, got 256"),
        ("chunk=0", "#script: chunk: should be at least 1, got 0"),
        ("empty=yes", '#script: empty: should be 0 or 1, got "yes"'),
        ("finish=never", '#script: finish: should be stop, length, tool_calls or content_filter, got "never"'),
        ("args={}", "#script: args: should follow the tool=NAME that it belongs to"),
        ('tool=w args={"city"', "#script: args: should be JSON, got '{\"city\"'"),
        ("tokens=5 and more", '#script: should be key=value pairs, got "and more"'),
    ],
)
def test_wrong_value_is_refused_by_name(text: str, words: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_script(text)
    assert words in str(caught.value)


PLAN = 'delay=1s text=title step=0 tool=write args={"a": 1} step=1 crash=after:3 tool=read step=2 text="done"'


def test_step_keeps_what_holds_for_all_and_has_words_calls_and_fault_of_its_own() -> None:
    script = parse_script(PLAN)
    assert (script.text, script.tools, script.fault) == ("title", (), None)
    assert script.steps == (
        Step(0, Script(delay=1.0, tools=(ToolCall("write", '{"a": 1}'),))),
        Step(1, Script(delay=1.0, tools=(ToolCall("read"),), fault=Fault(FaultKind.CRASH, 3))),
        Step(2, Script(delay=1.0, text="done")),
    )


@pytest.mark.parametrize(("results", "step"), [(0, 0), (1, 1), (2, 2), (5, 2)])
def test_turn_is_the_last_step_that_enough_results_have_come_for(results: int, step: int) -> None:
    plan = parse_script(PLAN)
    assert plan.turn(results, has_tools=True, is_answered=results > 0) == plan.steps[step].script


def test_plan_answers_a_request_without_tools_with_what_stands_before_its_steps() -> None:
    turn = parse_script(PLAN).turn(1, has_tools=False, is_answered=False)
    assert (turn.text, turn.tools, turn.steps) == ("title", (), ())


def test_script_without_steps_calls_its_tools_once() -> None:
    script = Script(tools=(ToolCall("w"),))
    assert script.turn(0, has_tools=True, is_answered=False) == script
    assert script.turn(1, has_tools=True, is_answered=True) == Script()


def test_script_of_a_request_replaces_the_plan_of_the_model() -> None:
    assert parse_script("text=hello", parse_script(PLAN)).steps == ()


def test_plan_is_told_from_a_script() -> None:
    assert has_plan(f"do it #script {PLAN}")
    assert not has_plan("#script text=hello")
    assert not has_plan("step=1")
