"""The names of `models.NAME.mend`: what is mended in calls, prompts and histories, and which of it a model wants; no request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

CALLS: Final = {
    "marked_calls": "calls that a model wrote as text, in its own tags",
    "bare_calls": "calls that a model wrote as plain JSON or Python, alone or in a fence",
    "thought_calls": "calls that a model's thoughts end with, where it said nothing else",
}
PROMPT: Final = {
    "tools_in_prompt": "tools that the model's template does not show: they are told in the system message",
}
HISTORY: Final = {
    "content_shapes": "content that is neither text nor parts",
    "empty_content": "messages without content",
    "call_shapes": "calls without a name, a type or a list around them",
    "call_arguments": "arguments that are no JSON object",
    "call_ids": "calls and results without an id, or with the same",
    "lone_results": "results of calls that are not there, or stand elsewhere",
    "call_results": "calls without a result",
    "last_answers": "two answers at the end, which the engine refuses",
    "template_roles": "an order of roles that the model's template refuses",
}
# Tools that are told in words are called in words: who wants the one wants the other.
_GROUPS: Final = {"all": (*CALLS, *PROMPT, *HISTORY), "calls": (*CALLS, *PROMPT), "history": tuple(HISTORY)}
NAMES: Final = (*_GROUPS, *CALLS, *PROMPT, *HISTORY)


def chosen(mend: tuple[str, ...] | None, *, by_default: bool) -> frozenset[str]:
    """The mendings that a list stands for; `None` are all or none. A list of exceptions alone begins with all."""
    if mend is None:
        return frozenset(_GROUPS["all"] if by_default else ())
    found: set[str] = set(_GROUPS["all"]) if mend and all(one.startswith("-") for one in mend) else set()
    for one in mend:
        name = one.removeprefix("-")
        members = _GROUPS.get(name, (name,))
        found = found.difference(members) if one.startswith("-") else found.union(members)
    return frozenset(found)


def faults(mend: tuple[str, ...] | None) -> Iterator[str]:
    """What is wrong with a list."""
    from relight.config.suggest import instead

    for one in mend or ():
        if one.removeprefix("-") not in NAMES:
            yield f'has no mending "{one}"; {instead(one.removeprefix("-"), list(NAMES))}'


__all__ = ["CALLS", "HISTORY", "NAMES", "PROMPT", "chosen", "faults"]
