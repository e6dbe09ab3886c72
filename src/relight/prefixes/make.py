"""How a snapshot is made: find the shared part on tokens, have a slot read it, save the slot. Knows no process and no HTTP."""

from __future__ import annotations

import hashlib
from typing import Any, Protocol

from msgspec import Struct

from relight.errors import SnapshotError
from relight.prefixes.boundary import common_prefix, variants

# A slot may keep one token less than it was told to read: the last one is computed again with whatever follows.
_MOST_MISSING = 1


class Read(Protocol):
    """What became of reading a prefix."""

    @property
    def cached(self) -> int:
        """Tokens that the slot knew already."""
        ...

    @property
    def seconds(self) -> float:
        """Time that reading the others took."""
        ...


class SlotEngine(Protocol):
    """An engine whose slots can be read into and saved."""

    async def tokens(self, chat: dict[str, Any]) -> list[int]:
        """The tokens of a chat as the engine makes them."""
        ...

    async def read(self, tokens: list[int], slot: int) -> Read:
        """Have a slot hold these tokens."""
        ...

    async def save(self, slot: int, name: str) -> int:
        """Save a slot into a file of the engine's folder; the tokens that it held."""
        ...

    async def restore(self, slot: int, name: str) -> int:
        """Have a slot hold what a file of the engine's folder says; the tokens that it holds then."""
        ...


class Made(Struct, frozen=True):
    """A slot's file in the engine's folder, not yet a snapshot."""

    name: str
    tokens: int
    cached: int
    """Of them, those that the slot knew already, so that they took no time."""
    seconds: float


async def shared_tokens(engine: SlotEngine, chat: dict[str, Any]) -> list[int]:
    """The tokens that this chat has in common with any other that differs from it in the user's words alone."""
    one, two = variants(chat)
    return common_prefix(await engine.tokens(one), await engine.tokens(two))


async def make(engine: SlotEngine, chat: dict[str, Any], slot: int) -> Made:
    """Have `slot` hold the shared part of `chat`, and save it. Raises `SnapshotError` when there is none, or it is not kept."""
    tokens = await shared_tokens(engine, chat)
    if not tokens:
        raise SnapshotError("prefix: nothing of it is shared by two requests", hint="give it a system message or tools")
    reading = await engine.read(tokens, slot)
    name = f"{hashlib.sha256(repr(tokens).encode()).hexdigest()[:32]}.bin"
    saved = await engine.save(slot, name)
    if saved < len(tokens) - _MOST_MISSING:
        raise SnapshotError(f"engine: of {len(tokens)} tokens read, its slot kept {saved}")
    return Made(name, saved, min(reading.cached, saved), reading.seconds)
