"""The engine that translations and mendings were made for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from bench.wake import bare_engine

from relight.errors import WeightsError


@pytest.fixture(scope="module")
def engine() -> Iterator[str]:
    """The socket of a real engine with two slots and no front door."""
    try:
        with bare_engine(2) as socket:
            yield socket
    except WeightsError as error:
        pytest.skip(error.message)
