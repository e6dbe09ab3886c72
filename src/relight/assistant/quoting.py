"""Answers in the words of what was found: a grammar that lets a small model choose sentences, and write none of its own.

A model of a hundred million parameters finds the sentence that answers, and invents what it says around it. Held to whole
sentences of the passage, in their order, it cannot say what does not stand there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec

_MOST_OFFERED: Final = 12  # sentences
_LEAST_SAID: Final = 2  # of two the right one is more often among them than the only one
_MOST_SAID: Final = 3
_CODE: Final = re.compile(r"(?ms)^```.*?(?:^```|\Z)")
_MARK: Final = re.compile(r"^(?:[-*+•]|\d+[.)])\s+")


def quoted(sentences: Sequence[str]) -> str:
    """A grammar (GBNF) whose texts are two or three of the first twelve `sentences`, in order; of one or two, all."""
    offered = list(dict.fromkeys(" ".join(sentence.split()) for sentence in sentences))[:_MOST_OFFERED]
    least = min(_LEAST_SAID, len(offered))
    rules = [f"root ::= {_any_of(0, len(offered) - least + 1, 1)}"]
    for number, sentence in enumerate(offered):
        literal = msgspec.json.encode(sentence).decode()
        places = range(1, min(_MOST_SAID, number + 1) + 1)
        rules += [f"s{number}-{said} ::= {literal}{_more(number, said, least, len(offered))}" for said in places]
    return "\n".join(rules)


def _more(number: int, said: int, least: int, end: int) -> str:
    """What may follow, or has to, when `said` sentences are said and the last was `number`."""
    missing = max(0, least - said)
    if said >= _MOST_SAID or number + 1 >= end:
        return ""
    following = f' " " ({_any_of(number + 1, end - max(0, missing - 1), said + 1)})'
    return following if missing else f" ({following.strip()})?"


def sayings(text: str) -> list[str]:
    """The sentences of a passage that can be said by themselves: no headings, no marks of lists, no code."""
    from relight.assistant.cutting import sentences

    said = []
    for paragraph in _CODE.sub("", text).split("\n\n"):
        if not paragraph.lstrip().startswith(("#", "|")):
            said += [_MARK.sub("", sentence) for sentence in sentences(paragraph)]
    return [sentence for sentence in said if sentence]


def _any_of(first: int, end: int, said: int) -> str:
    return " | ".join(f"s{number}-{said}" for number in range(first, end))
