"""Whether an engine that answers `GET /health` is there yet. Knows no engine by name."""

from __future__ import annotations

import asyncio
from typing import Final

from relight.engines.base import Address, Broken, Loading, Probe, Ready
from relight.engines.connection import exchange
from relight.errors import RelightError

_PATIENCE_S: Final = 1.0


async def ask_status(address: Address, path: str) -> int | None:
    """The status of a GET; `None` when nothing answers within a second."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            asked = await exchange(address, "GET", path)
            try:
                return (await asked.head()).status
            finally:
                asked.close()
    except (RelightError, TimeoutError):
        return None


async def ask_health(address: Address) -> Probe:
    """Ready at 200; loading at 503 or while nothing answers."""
    status = await ask_status(address, "/health")
    if status == 200:
        return Ready()
    return Loading() if status in (None, 503) else Broken(f"engine answers its health check with {status}")
