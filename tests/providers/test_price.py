"""What an answer cost, by hand-made sums."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.config.schema import Price
from relight.providers.price import cost_usd
from relight.wire.dialect import Usage

FULL = Price(input=0.25, cached=0.025, output=2.0)


@pytest.mark.parametrize(
    ("price", "usage", "usd"),
    [
        (FULL, Usage(prompt=1_000_000, cached=0, completion=0), 0.25),
        (FULL, Usage(prompt=1000, cached=400, completion=200), (600 * 0.25 + 400 * 0.025 + 200 * 2.0) / 1e6),
        (FULL, Usage(prompt=1000, completion=200), (1000 * 0.25 + 200 * 2.0) / 1e6),
        (Price(input=0.25, output=2.0), Usage(prompt=1000, cached=400, completion=200), (1000 * 0.25 + 200 * 2.0) / 1e6),
        (FULL, Usage(prompt=100, cached=900, completion=0), 100 * 0.025 / 1e6),
        (Price(input=0.02), Usage(prompt=500), 500 * 0.02 / 1e6),
        (Price(input=0.0, output=0.0), Usage(prompt=500, completion=5), 0.0),
        (FULL, Usage(prompt=0, completion=0), 0.0),
    ],
)
def test_cost_is_the_sum_of_its_parts(price: Price, usage: Usage, usd: float) -> None:
    assert cost_usd(price, usage) == pytest.approx(usd)


@pytest.mark.parametrize(
    ("price", "usage"),
    [
        (Price(), Usage(prompt=1, completion=1)),
        (Price(), Usage(prompt=0, completion=0)),
        (FULL, Usage()),
        (FULL, Usage(prompt=10)),
        (FULL, Usage(completion=10)),
        (Price(input=1.0), Usage(prompt=10, completion=10)),
        (Price(output=1.0), Usage(prompt=10, completion=10)),
        (Price(cached=1.0, output=1.0), Usage(prompt=10, cached=5, completion=1)),
    ],
)
def test_cost_that_is_not_wholly_known_is_none(price: Price, usage: Usage) -> None:
    assert cost_usd(price, usage) is None


@given(st.integers(0, 10**7), st.integers(0, 10**7), st.integers(0, 10**7))
def test_cached_tokens_never_make_an_answer_dearer(prompt: int, cached: int, completion: int) -> None:
    usage = Usage(prompt=prompt, cached=cached, completion=completion)
    with_cache, without = cost_usd(FULL, usage), cost_usd(FULL, Usage(prompt=prompt, completion=completion))
    assert with_cache is not None
    assert without is not None
    assert 0 <= with_cache <= without + 1e-12
