"""What a model's chat template shows of tools: as llama.cpp says of it, and as its text lets expect. Knows no request.

The text is there before the engine is, so the first prompt, and what is baked of it, can be right already. The engine, which
tries its template out when it loads, has the last word.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from relight.decoding import NOT_JSON
from relight.engines.base import Address
from relight.engines.connection import exchange
from relight.errors import RelightError
from relight.wire.tool_prompt import Shown

_PATIENCE_S: Final = 5.0
_MOST: Final = 1 << 17  # characters of a template that are looked through: the largest known have a fifth of that
# What is quoted within a block may hold what would end it.
_BLOCK: Final = re.compile(r"""\{#.*?#\}|\{[{%]((?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^'"])*?)[}%]\}""", re.DOTALL)
_QUOTED: Final = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)
_TOOLS: Final = re.compile(r"(?<![.\w])tools\b(?!\s*=(?!=))")  # read, not set
_CALLS: Final = re.compile(r"\btool_calls\b")
_WITHOUT_JINJA: Final = frozenset({"--no-jinja", "--use-jinja=false", "--use-jinja=0"})


class _Caps(Struct, frozen=True):
    supports_tools: bool
    supports_tool_calls: bool


class _Props(Struct, frozen=True):
    chat_template_caps: _Caps


@lru_cache(maxsize=64)
def shown_by(template: str) -> Shown:
    """What a template (Jinja) does something with; an empty one stands for the engine's own, which shows messages alone."""
    if len(template) > _MOST:
        return Shown()  # the engine has the last word anyway
    blocks = [block for block in _BLOCK.findall(template) if block]
    return Shown(
        tools=any(_TOOLS.search(_QUOTED.sub("", block)) for block in blocks),
        calls=any(_CALLS.search(block) for block in blocks),
    )


def given(args: Iterable[str]) -> str | None:
    """The template that an engine is given by its arguments, in place of the weights' own; `None`: none that is there."""
    found = None
    for arg in args:
        name, _, value = arg.partition("=")
        if name == "--chat-template":
            found = value
        elif name == "--chat-template-file":
            try:
                found = Path(value).read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue  # the engine's start says so
        elif arg in _WITHOUT_JINJA:
            return ""  # then llama.cpp has an order of its own for messages, and shows nothing else
    return found


async def told(address: Address) -> Shown | None:
    """What a running llama.cpp says of its template; `None` where it says nothing, as older builds do."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            asked = await exchange(address, "GET", "/props")
            try:
                said = await asked.read()
            finally:
                asked.close()
        caps = msgspec.json.decode(said, type=_Props).chat_template_caps
    except (RelightError, TimeoutError, *NOT_JSON, msgspec.ValidationError):
        return None
    return Shown(tools=caps.supports_tools, calls=caps.supports_tool_calls)
