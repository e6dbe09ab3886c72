"""What a snapshot is found by: what the state depends on, and a chain of digests over what a request says, message by message.

A key is a hint, never a promise: engines compare tokens themselves, and read anew whatever does not fit. So a key that is equal
by mistake costs a file read, and one that differs by mistake costs the prefill that there would have been anyway.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from typing import Final

import msgspec
from msgspec import Struct

# What templates are rendered with beside the messages; llama.cpp also puts schemas into some of them.
SETTINGS: Final = (
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "json_schema",
    "chat_template_kwargs",
    "reasoning_format",
    "reasoning_effort",
)
_FORMAT: Final = 1  # to be raised when the same state would no longer be found, or be read otherwise
_ENCODER: Final = msgspec.json.Encoder(order="deterministic")


class Chain(Struct, frozen=True):
    """The keys of a chat, each of them for all that came before it: settings and tools first, then message by message."""

    links: tuple[str, ...] = ()
    shared: int = 0
    """Place of the link before the first word of a user: what is up to there may be shared by many requests."""
    prefix: str | None = None
    """Key of what may be shared; `None` when there is nothing."""

    def common(self, other: Collection[str]) -> int:
        """How many links this chain begins with that another has, of which the last may be all that is known: a link stands for
        all that came before it."""
        return next((at + 1 for at in reversed(range(len(self.links))) if self.links[at] in other), 0)


def ground(*, weights: str, build: str, context: int, parallel: int, args: Iterable[str]) -> str:
    """What a saved state can be read by, as hexadecimal SHA-256: the weights' fingerprint, the engine's build, tokens of
    context, slots (llama.cpp writes into each how many there are), and all settings that were given to the engine by hand
    (types of the cache and templates among them)."""
    return hashlib.sha256(_ENCODER.encode([_FORMAT, weights, build, context, parallel, sorted(args)])).hexdigest()


def chain(chat: bytes) -> Chain:
    """The keys of a chat request as the engine is asked; `Chain()` for what is no chat."""
    try:
        said = msgspec.json.decode(chat)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Chain()
    messages = said.get("messages") if isinstance(said, dict) else None
    if not isinstance(messages, list):
        return Chain()
    settings = {name: said[name] for name in SETTINGS if said.get(name) is not None}
    digest = hashlib.sha256()
    links = [_link(digest, settings)]
    links += [_link(digest, message) for message in messages]
    shared = leading(messages)
    return Chain(tuple(links), shared, links[shared] if shared or settings.get("tools") else None)


def leading(messages: list[object]) -> int:
    """How many messages stand before the first that is a user's, or an answer to one."""
    for place, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in ("system", "developer"):
            return place
    return len(messages)


def _link(digest: hashlib._Hash, value: object) -> str:
    text = _ENCODER.encode(value)
    digest.update(b"%d:" % len(text))
    digest.update(text)
    return digest.hexdigest()
