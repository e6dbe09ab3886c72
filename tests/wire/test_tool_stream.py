"""Calls in text: what is found in the corpus, and that it does not matter where the text is cut."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relight.config.mendings import CALLS
from relight.wire.tool_check import Calls, Toolset, toolset
from relight.wire.tool_stream import MOST_HELD, Reader
from tests.wire.tool_cases import BARE, CASES, MARKED, NEAR, THOUGHTS, TOOLS, Case, J

ALL = frozenset(CALLS)


@cache
def tools() -> Toolset:
    return toolset(TOOLS)


def read(
    pieces: Iterable[str], *, is_cut: bool = False, wanted: frozenset[str] = ALL
) -> list[str | tuple[str, list[tuple[str, Any]]]]:
    """Text and calls in their order, neighbours joined."""
    reader = Reader(tools, lambda: None, wanted)
    outs = [out for piece in pieces for out in reader.feed(piece)] + reader.finish(is_cut=is_cut)
    told: list[Any] = []
    for out in outs:
        if isinstance(out, str) and told and isinstance(told[-1], str):
            told[-1] += out
        elif isinstance(out, Calls):
            told += [(out.kind, [(call.name, json.loads(call.arguments)) for call in out.calls])]
        else:
            told.append(out)
    return told


def calls(told: list[Any]) -> list[tuple[str, Any]]:
    return [call for one in told if not isinstance(one, str) for call in one[1]]


def said(told: list[Any]) -> str:
    return "".join(one for one in told if isinstance(one, str))


def test_corpus_is_as_large_as_it_should_be() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 120


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_text_is_parted_into_what_is_said_and_what_is_called(case: Case) -> None:
    told = read([case.text], is_cut=case.is_cut)
    assert calls(told) == list(case.calls)
    assert said(told) == case.rest


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_does_not_matter_where_the_text_is_cut(case: Case) -> None:
    whole = read([case.text], is_cut=case.is_cut)
    assert read(case.text, is_cut=case.is_cut) == whole
    for at in range(1, len(case.text)):
        assert read([case.text[:at], case.text[at:]], is_cut=case.is_cut) == whole, at


FRAGMENTS = st.sampled_from(
    [
        *"{}[]`<>\"':, \n",
        "```",
        "```json\n",
        "\n```\n",
        "<think>",
        "</think>",
        "<tool_call>",
        "</tool_call>",
        "word ",
        J,
        "look",
        "[TOOL_CALLS]",
    ]
    + [
        "For example:\n",
        '{"name": "',
        '"arguments": ',
        "<function=look>",
        "<parameter=q>",
        "</parameter>",
        "</function>",
        "é🔥",
        "; ",
    ]
    + [case.text for case in (*MARKED[:8], *BARE[:6], *NEAR[:6])]
)


@given(st.lists(FRAGMENTS, max_size=12), st.data())
@settings(max_examples=300, deadline=None)
def test_any_text_cut_anywhere_reads_the_same(fragments: list[str], data: st.DataObject) -> None:
    text = "".join(fragments)
    whole = read([text])
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[begin:end] for begin, end in zip([0, *places], [*places, len(text)], strict=True)]
    assert read(pieces) == whole
    assert read(text) == whole
    if not calls(whole):
        assert said(whole) == text


@pytest.mark.parametrize("text", ["Some words, and more of them.", "Two lines:\nthe second.\n", "x = 5; y > 3, (a)"])
def test_prose_is_passed_character_by_character(text: str) -> None:
    reader = Reader(tools, lambda: None, ALL)
    assert [reader.feed(one) for one in text] == [[one] for one in text]


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("a < b", 1),  # it is known with the next character
        ("see <tool shed>", 7),
        ('{"answer": 42}', 3),
        ('{"name": "Ada", "age": 5}', 12),
        ("```python\nx = 1\n", 5),
        ("[1] a note", 3),
        ("[link](x)", 3),
    ],
)
def test_what_cannot_become_a_call_is_let_go_at_once(text: str, after: int) -> None:
    reader = Reader(tools, lambda: None, ALL)
    longest = 0
    for one in text:
        reader.feed(one)
        longest = max(longest, len(reader.pending))
    assert 0 < longest <= after


@pytest.mark.parametrize("lead", ["`", "word ", "\n", ""])
def test_long_lines_read_the_same_wherever_they_are_cut(lead: str) -> None:
    text = f"{lead}{'x' * 300}<tool_call>{J}</tool_call>\n{' ' * 300}{J}"
    whole = read([text])
    assert all(read([text[:at], text[at:]]) == whole for at in range(1, len(text), 7))
    assert read(text) == whole


def test_call_that_never_ends_is_let_go() -> None:
    text = f'<tool_call>{{"name": "look", "arguments": {{"q": "{"x" * (MOST_HELD + 1000)}'
    reader = Reader(tools, lambda: None, ALL)
    out = [one for at in range(0, len(text), 5000) for one in reader.feed(text[at : at + 5000])]
    assert len(reader.pending) < MOST_HELD
    assert "".join(map(str, out + reader.finish())) == text
    assert read([text + '"}}</tool_call>']) == read([text, '"}}</tool_call>'])


@pytest.mark.parametrize(
    ("case", "kind"),
    [(MARKED[0], "marked_calls"), (BARE[0], "bare_calls"), (BARE[20], "bare_calls"), (THOUGHTS[3], "thought_calls")],
)
def test_kind_that_is_not_wanted_stays_text(case: Case, kind: str) -> None:
    assert [one[0] for one in read([case.text]) if not isinstance(one, str)] == [kind]
    assert read([case.text], wanted=ALL - {kind}) == [case.text]
    assert read(case.text, wanted=ALL - {kind}) == [case.text]


@pytest.mark.parametrize(
    ("text", "times"),
    [('<tool_call>{"name": "rm"}</tool_call>', 1), ('{"name": "look", "arguments": {}}', 1), ('{"answer": 42}', 0), (J, 0)],
)
def test_text_that_was_meant_as_a_call_is_counted(text: str, times: int) -> None:
    refused: list[None] = []
    reader = Reader(tools, lambda: refused.append(None), ALL)
    reader.feed(text)
    reader.finish()
    assert len(refused) == times
