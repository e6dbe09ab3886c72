"""Which event loops a test runs on: asyncio's own, and the one that serves where it asks for both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

Factory = Callable[[], asyncio.AbstractEventLoop]


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Factory]:
    """asyncio's for all; uvloop's as well where `mark.asyncio(loop_factories=…)` asks for it."""
    marker = item.get_closest_marker("asyncio")
    asks = marker is not None and "loop_factories" in marker.kwargs
    own: dict[str, Factory] = {"asyncio": asyncio.new_event_loop}
    return own | {"uvloop": uvloop.new_event_loop} if asks else own
