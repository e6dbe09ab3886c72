"""The browser of the pages' tests: one a file; and both event loops for tests that name them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.loops import pytest_asyncio_loop_factories
from tests.serve.chromium import Watch, launched

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["browser", "pytest_asyncio_loop_factories", "watch"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as chromium:
        yield chromium


@pytest.fixture
def watch() -> Watch:
    return Watch()
