from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.prefixes.key import chain
from relight.prefixes.stability import Break, Watcher, compare

RULES = "\n".join(f"Rule {name}: be kind to whoever asks about {name}s." for name in ("lamp", "kettle", "ladder") * 30)


def chat(system: str = RULES, tools: list[str] | None = None, user: str = "Why?") -> dict[str, Any]:
    said: dict[str, Any] = {"messages": [{"role": "system", "content": system}, {"role": "user", "content": user}]}
    if tools is not None:
        said["tools"] = [{"type": "function", "function": {"name": name, "description": name * 20}} for name in tools]
    return said


def test_same_beginning_is_no_break_whatever_the_user_says() -> None:
    assert compare(chat(user="One"), chat(user="Two")) is None


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        ("Today is 2026-11-21.", "Today is 2026-11-22.", "a date"),
        ("Today is Saturday, November 21.", "Today is Sunday, November 22.", "a date"),
        ("It is 10:59 now.", "It is 11:00 now.", "a time of day"),
        ("x-some-billing-header: cch=ab12;", "x-some-billing-header: cch=cd34;", "an attribution header"),
        ("session 0af7651916cd43dd", "session b7ad6b7169203331", "an id"),
        ("Work in /srv/ada/project", "Work in /srv/bob/project", "a path"),
        ("You have 5 files", "You have 6 files", "a number"),
        ("Be brief", "Be verbose", "words"),
    ],
)  # fmt: skip
def test_what_differs_is_named_with_its_place(before: str, after: str, what: str) -> None:
    found = compare(chat(f"You help.\n{before}\n{RULES}"), chat(f"You help.\n{after}\n{RULES}"))
    assert found is not None
    assert (found.what, found.where) == (what, "messages.0, line 2")
    assert 0.9 < found.lost < 1


def test_what_stands_behind_the_place_is_what_is_lost() -> None:
    found = compare(chat(RULES + "\nToday is 2026-11-21."), chat(RULES + "\nToday is 2026-11-22."))
    assert found is not None
    assert found.lost < 0.01


@pytest.mark.parametrize(
    ("tools", "what"),
    [
        (["look", "find", "read"], "tools in another order"),
        (["find", "look", "read", "write"], "more tools: write"),
        (["find", "look"], "fewer tools: read"),
    ],
)
def test_tools_are_told_apart(tools: list[str], what: str) -> None:
    found = compare(chat(tools=["find", "look", "read"]), chat(tools=tools))
    assert found is not None
    assert found.what == what


def test_tool_whose_keys_changed_places_is_another_text_with_the_same_key() -> None:
    watcher, said = Watcher(), chat(tools=["look", "find"])
    turned = {**said, "tools": [{"function": tool["function"], "type": "function"} for tool in said["tools"]]}
    assert chain(json.dumps(said).encode()).prefix == chain(json.dumps(turned).encode()).prefix
    assert see(watcher, said) is None
    found = see(watcher, turned)
    assert found is not None
    assert (found.what, found.where) == ("a tool with its keys in another order", "tools")
    assert see(watcher, said) is None  # both are known by now


@pytest.mark.parametrize(
    ("before", "after", "what", "where"),
    [
        (
            {"chat_template_kwargs": {"enable_thinking": True, "style": "a"}},
            {"chat_template_kwargs": {"enable_thinking": False, "style": "a"}},
            "a setting with another value",
            "chat_template_kwargs.enable_thinking",
        ),
        ({}, {"reasoning_effort": "low"}, "a setting more", "reasoning_effort"),
        ({"response_format": {"type": "json_object"}}, {}, "a setting less", "response_format"),
    ],
)
def test_settings_that_templates_are_rendered_with_are_seen(
    before: dict[str, Any], after: dict[str, Any], what: str, where: str
) -> None:
    watcher = Watcher()
    assert see(watcher, {**chat(), **before}) is None
    found = see(watcher, {**chat(), **after})
    assert found is not None
    assert (found.what, found.where, found.lost) == (what, where, 1.0)


def test_settings_that_no_template_sees_break_nothing() -> None:
    watcher = Watcher()
    assert see(watcher, {**chat(), "temperature": 0.1}) is None
    assert see(watcher, {**chat(), "temperature": 0.9, "max_tokens": 7}) is None


def test_break_holds_both_beginnings_and_no_words_of_users() -> None:
    found = compare(
        chat("Today is 2026-11-21.\n" + RULES, user="My secret"), chat("Today is 2026-11-22.\n" + RULES, user="Another")
    )
    assert found is not None
    assert [len(one["messages"]) for one in (found.before, found.after)] == [1, 1]
    assert found.before["messages"][0]["content"].startswith("Today is 2026-11-21.")
    assert found.after["messages"][0]["content"].startswith("Today is 2026-11-22.")


def test_another_prompt_is_not_a_broken_one() -> None:
    assert compare(chat(), chat("Make a title of five words. " * 100)) is None


def test_short_prompts_are_not_worth_a_word() -> None:
    assert compare(chat("Today is 2026-11-21."), chat("Today is 2026-11-22.")) is None


def test_client_that_sends_two_prompts_in_turn_breaks_neither() -> None:
    watcher, title = Watcher(), chat("Make a title of five words. " * 100)
    for _ in range(5):
        for one in (chat(), title):
            assert see(watcher, one) is None


def test_each_client_is_compared_with_itself() -> None:
    watcher = Watcher()
    assert see(watcher, chat("Today is 2026-11-21.\n" + RULES), "a") is None
    assert see(watcher, chat("Today is 2026-11-22.\n" + RULES), "b") is None
    assert see(watcher, chat("Today is 2026-11-22.\n" + RULES), "a") is not None


def test_many_clients_and_prompts_are_forgotten_again() -> None:
    watcher = Watcher()
    for number in range(1000):
        see(watcher, chat(f"Number {number}.\n" + RULES), str(number % 500))
    assert len(watcher._last) <= 64
    assert all(len(known) <= 4 for known in watcher._last.values())


@given(st.text(), st.text(), st.lists(st.text(max_size=5), max_size=4), st.lists(st.text(max_size=5), max_size=4))
def test_any_two_prompts_can_be_compared(one: str, two: str, tools: list[str], others: list[str]) -> None:
    found = compare(chat(one + RULES, tools), chat(two + RULES, others))
    assert found is None or 0 <= found.lost <= 1


@pytest.mark.parametrize(
    "odd", [{"messages": None}, {"messages": [5]}, {"tools": [5], "messages": [{"role": "system", "content": [RULES]}]}]
)
def test_odd_requests_are_compared_without_an_error(odd: dict[str, Any]) -> None:
    assert compare(odd, odd) is None


def see(watcher: Watcher, said: dict[str, Any], client: str = "me") -> Break | None:
    body = json.dumps(said).encode()
    return watcher.compare(("smol", client), chain(body).prefix or "", body)
