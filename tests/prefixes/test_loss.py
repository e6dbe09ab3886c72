"""What a break cost, counted on tokens: a letter is a token here, and a template decides what is shown of a chat."""

from __future__ import annotations

from typing import Any

from relight.prefixes.loss import Loss, loss
from relight.prefixes.make import Read
from relight.prefixes.stability import Break, compare

RULES = "Never waste a potato. " * 100


class Letters:
    """An engine whose template shows tools, one setting and messages."""

    async def tokens(self, chat: dict[str, Any]) -> list[int]:
        thinks = chat.get("chat_template_kwargs", {}).get("enable_thinking", "")
        shown = "".join(f"<{said['role']}>{said['content']}" for said in chat["messages"])
        return list(f"{thinks}{chat.get('tools', '')}{shown}".encode())

    async def read(self, tokens: list[int], slot: int) -> Read:
        raise AssertionError((tokens, slot))

    async def save(self, slot: int, name: str) -> int:
        raise AssertionError((slot, name))

    async def restore(self, slot: int, name: str) -> int:
        raise AssertionError((slot, name))


def chat(system: str, **settings: Any) -> dict[str, Any]:
    return {"messages": [{"role": "system", "content": system}, {"role": "user", "content": "Why?"}], **settings}


def broken(before: dict[str, Any], after: dict[str, Any]) -> Break:
    found = compare(before, after)
    assert found is not None
    return found


async def test_tokens_behind_the_place_are_counted() -> None:
    found = broken(chat(f"On day 1, {RULES}"), chat(f"On day 2, {RULES}"))
    whole = len(f"<system>On day 2, {RULES}<user>")
    assert await loss(Letters(), found) == Loss(len(f"2, {RULES}<user>"), whole)


async def test_what_was_added_at_the_end_alone_is_lost() -> None:
    counted = await loss(Letters(), broken(chat(RULES), chat(RULES + "Be kind.")))
    assert counted.tokens == len("Be kind.<user>")


async def test_setting_that_the_template_shows_at_its_start_loses_all_of_it() -> None:
    yes, no = ({"chat_template_kwargs": {"enable_thinking": thinks}} for thinks in ("yes", "no"))
    counted = await loss(Letters(), broken(chat(RULES, **yes), chat(RULES, **no)))
    assert counted.tokens == counted.of == len(f"no<system>{RULES}<user>")


async def test_setting_that_the_template_does_not_show_loses_nothing() -> None:
    found = broken(chat(RULES), chat(RULES, response_format={"type": "json_object"}))
    assert found.lost == 1.0  # its text cannot tell
    assert (await loss(Letters(), found)).tokens == 0
