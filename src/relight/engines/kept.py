"""Connections to engines that are used again. Connecting costs more than all the rest of a short exchange.

Only a connection whose answer came whole is kept; leaving an answer closes it, for that is how a generation is cancelled. One
that the engine closes while nobody uses it is forgotten; one that turns out to be closed when it is used is replaced.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import Final, cast

from relight.engines.base import Address
from relight.engines.connection import Exchange, connected, head
from relight.errors import EngineCrashed

MOST_KEPT: Final = 32
"""Connections that are kept for an address."""


class Connections:
    """The kept connections of one front door, at most `most` of them for an address."""

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._most = most
        self._idle: dict[Address, list[asyncio.Transport]] = {}

    async def post(self, address: Address, path: str, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> Exchange:
        """Send one request and read the head of its answer. Raises `EngineCrashed` or `EngineFailed`.

        A kept connection that ends without a byte had been closed by the engine, which did not see the request: it is sent again.
        """
        request = head(address, f"POST {path}", len(body), headers) + body
        keep = partial(self._keep, address)
        while (transport := self._taken(address)) is not None:
            asked = Exchange(keep)
            transport.set_protocol(asked)
            asked.connection_made(transport)
            try:
                return await _sent(asked, transport, request)
            except EngineCrashed:
                if not asked.is_silent:
                    raise
        transport, asked = await connected(address, keep)
        return await _sent(asked, transport, request)

    def close(self) -> None:
        """Close those that nobody uses; what is in use is closed by whoever uses it."""
        self._most = 0
        for transports in self._idle.values():
            for transport in transports:
                transport.abort()
        self._idle.clear()

    def _taken(self, address: Address) -> asyncio.Transport | None:
        # The one used last: the others grow old, and the engine closes them.
        idle = self._idle.get(address)
        while idle:
            transport = idle.pop()
            if not transport.is_closing():
                return transport
        return None

    def _keep(self, address: Address, transport: asyncio.Transport) -> None:
        idle = self._idle.setdefault(address, [])
        if len(idle) >= self._most or transport.is_closing():
            transport.abort()
            return
        transport.set_protocol(_Idle(idle))
        idle.append(transport)
        cast(_Idle, transport.get_protocol()).transport = transport


class _Idle(asyncio.Protocol):
    """A connection that nobody uses: an engine that says something now, or leaves, has ended it."""

    def __init__(self, idle: list[asyncio.Transport]) -> None:
        self._idle = idle
        self.transport: asyncio.Transport | None = None

    def data_received(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.transport in self._idle:
            self._idle.remove(self.transport)


async def _sent(asked: Exchange, transport: asyncio.Transport, request: bytes) -> Exchange:
    try:
        transport.write(request)
        await asked.head()
    except BaseException:
        asked.close()
        raise
    return asked
