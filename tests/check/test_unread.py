"""Calls that stand in an answer's text: those that a server should have known, and those that are the model's affair."""

from __future__ import annotations

import pytest

from relight.check.tools import TIME, WEATHER
from relight.check.unread import resembles_call, unread_call

TOOLS = {tool.name: tool for tool in (WEATHER, TIME)}
CALL = '{"name": "weather", "arguments": {"city": "Oslo"}}'


@pytest.mark.parametrize(
    "text",
    [
        f"<tool_call>\n{CALL}\n</tool_call>",
        f"I look it up. <tool_call>{CALL}</tool_call>",
        f"[TOOL_CALLS][{CALL}]",
        '<|python_tag|>{"name": "weather", "parameters": {"city": "Lima"}}',
        '<function=weather>{"city": "Oslo"}</function>',
        CALL,
        f"\n```json\n{CALL}\n```\n",
    ],
)
def test_call_that_is_marked_or_alone_should_have_been_known(text: str) -> None:
    assert unread_call(text, TOOLS)
    assert resembles_call(text, TOOLS)


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "weather", "description": "How the weather is in a city.", "parameters": {"type": "object"}}',
        f"You may write {CALL} for that.",
        '<tool_call>{"name": "weather", "arguments": {"city": "Rome"}}</tool_call>',
        '<tool_call>{"name": "wether", "arguments": {"city": "Oslo"}}</tool_call>',
        '<tool_call>{"name": "weather", "argum',
        '{"name": "weather", "arguments": "Oslo"}',
    ],
)
def test_what_only_looks_like_a_call_is_the_models_affair(text: str) -> None:
    assert unread_call(text, TOOLS) is None


@pytest.mark.parametrize("text", ["It rains in Oslo.", "", "{" * 3000, '{"a": ' * 3000, '{"city": "Oslo"}'])
def test_words_resemble_no_call(text: str) -> None:
    assert unread_call(text, TOOLS) is None
    assert not resembles_call(text, TOOLS)


def test_fence_that_never_ends_is_read_in_one_go() -> None:
    assert unread_call("```" + "\n" * 200_000 + "x", {"weather": WEATHER}) is None
