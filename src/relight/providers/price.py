"""What an answer of a provider cost. Pure; knows no provider."""

from __future__ import annotations

from typing import Final

from relight.config.schema import Price
from relight.wire.dialect import Usage

_PER: Final = 1_000_000


def cost_usd(price: Price, usage: Usage) -> float | None:
    """What an answer cost, in USD; `None` when a price or a number of tokens that it takes is not known.

    ((prompt - cached) x input + cached x cached price + completion x output) / 1,000,000

    `prompt` includes `cached`, as providers in the OpenAI dialect count; without a price of their own, cached tokens cost as
    others. Where no price of the answer is set, one without completion tokens (an embedding) costs its prompt.
    """
    if price.input is None and price.output is None:
        return None
    if usage.prompt is None or (usage.completion is None and price.output is not None):
        return None
    cached = min(usage.cached or 0, usage.prompt)
    parts = (
        _part(usage.prompt - cached, price.input),
        _part(cached, price.input if price.cached is None else price.cached),
        _part(usage.completion or 0, price.output),
    )
    known = [part for part in parts if part is not None]
    return sum(known) / _PER if len(known) == len(parts) else None


def _part(tokens: int, price: float | None) -> float | None:
    if price is None:
        return None if tokens else 0.0
    return tokens * price
