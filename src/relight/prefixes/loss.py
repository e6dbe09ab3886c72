"""What a broken beginning cost, counted on the engine's own tokens. Knows no process and no HTTP."""

from __future__ import annotations

from msgspec import Struct

from relight.prefixes.boundary import common_prefix
from relight.prefixes.make import SlotEngine, shared_tokens
from relight.prefixes.stability import Break


class Loss(Struct, frozen=True):
    """Tokens of a beginning, and how many of them stand behind the place where it parts from the one before."""

    tokens: int
    of: int


async def loss(engine: SlotEngine, broken: Break) -> Loss:
    """Count what stands behind the place, by rendering both beginnings with the engine's own template and vocabulary.

    No tokens at all: they differ in what the template does not show. Takes no slot, but the processor for as long as four
    renderings last. Raises what the engine does.
    """
    before = await shared_tokens(engine, broken.before)
    after = await shared_tokens(engine, broken.after)
    return Loss(len(after) - len(common_prefix(before, after)), len(after))
