"""uvicorn's protocol with bounds on what an unknown client can hold: bytes that lead nowhere, time, and connections."""

from __future__ import annotations

import asyncio
import resource
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_MAX_LOOSE: Final = 256 * 1024
"""Bytes that may come without a request getting any further: heads and trailers have no end of their own."""
_HEAD_S: Final = 20.0
_BODY_S: Final = 60.0
_SPARE: Final = 64
"""Descriptors that stay free for engines, logs and files."""


class Door(HttpToolsProtocol):
    """One connection of a client."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._loose = 0
        self._is_moving = False
        self._deadline: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._unanswered: list[Any] = []

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        if len(self.connections) > resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _SPARE:
            transport.abort()
            return
        self._expect(_HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        # uvicorn tells the last request only; of two that came at once the first would be answered to nobody.
        for cycle in self._unanswered:
            if not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._is_moving = False
        super().data_received(data)
        self._loose = 0 if self._is_moving else self._loose + len(data)
        if self._loose > _MAX_LOOSE:
            self.transport.abort()

    def on_message_begin(self) -> None:
        self._expect(_HEAD_S)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._is_moving = True
        self._expect(_BODY_S)
        super().on_headers_complete()
        self._unanswered = [cycle for cycle in self._unanswered if not cycle.response_complete]
        if self.cycle is not None:
            self._unanswered.append(self.cycle)

    def on_body(self, body: bytes) -> None:
        self._is_moving = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._is_moving = True
        self._expect(None)
        super().on_message_complete()

    def _expect(self, within_s: float | None) -> None:
        """What is awaited next has to come within this time; `None`: nothing is. An idle connection between two requests is
        uvicorn's to close."""
        self._deadline = None if within_s is None else self.loop.time() + within_s
        if self._timer is None and self._deadline is not None:
            self._timer = self.loop.call_at(self._deadline, self._look)

    def _look(self) -> None:
        """One timer serves all requests of a connection: it is not set anew for each, it looks again when it was too early."""
        self._timer = None
        if self._deadline is None:
            return
        if self.loop.time() >= self._deadline:
            self.transport.abort()
        else:
            self._timer = self.loop.call_at(self._deadline, self._look)


def raise_descriptor_limit() -> None:
    """As many open connections as this process may have at all: the usual soft limit is a tenth of it, or less."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else 65536, hard))
