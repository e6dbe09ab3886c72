"""Runs the app under uvicorn on a socket that is already bound, and ends it within the platform's patience."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import uvicorn

from relight.serve.door import Door, raise_descriptor_limit

if TYPE_CHECKING:
    from types import FrameType

    from relight.serve.app import App

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_LAST_WAIT_S: Final = 0.5
_COLLECT_AFTER: Final = 20_000  # new objects: some hundred requests


class Server(uvicorn.Server):
    """uvicorn, with one thing more: the engines hear of the end when the signal comes, not when all clients have left."""

    def __init__(self, config: uvicorn.Config, app: App) -> None:
        super().__init__(config)
        self._app = app
        self._asked_to_stop = asyncio.Event()
        self._preparing: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._deadline = 0.0

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals become turns of the loop. Unlike uvicorn's own this raises none again at the end: the exit is a normal one."""
        loop = asyncio.get_running_loop()
        for sig in _SIGNALS:
            loop.add_signal_handler(sig, self.handle_exit, sig, None)
        try:
            yield
        finally:
            for sig in _SIGNALS:
                loop.remove_signal_handler(sig)
                signal.signal(sig, signal.SIG_IGN)  # nothing is left to stop, and the exit code shall say so

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM or SIGINT: no new requests, running answers get the grace; a second one ends them at once."""
        self.should_exit = True
        self._asked_to_stop.set()
        loop = asyncio.get_running_loop()
        if self._stopping is None:
            self._app.announce_stop()
            self._stopping = loop.create_task(self._app.stop())
            self._deadline = loop.time() + (self.config.timeout_graceful_shutdown or 0) + _LAST_WAIT_S
            return
        self.force_exit = True
        self._deadline = loop.time() + _LAST_WAIT_S
        for task in self.server_state.tasks:
            task.cancel()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """uvicorn's own; then, while it serves already, what the first request would have to wait for."""
        await super().startup(sockets)
        self._preparing = asyncio.get_running_loop().create_task(self._app.prepare())

    async def main_loop(self) -> None:
        """Wait for the end; uvicorn's own looks for it ten times a second."""
        await self._asked_to_stop.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """uvicorn's own, then the engines' end. One that does not die in time does so with this process."""
        await super().shutdown(sockets)
        if self._stopping is not None:
            left_s = self._deadline - asyncio.get_running_loop().time()
            await asyncio.wait({self._stopping}, timeout=max(left_s, 0.0))


def _spare_the_collector() -> None:
    """What is imported stays: the collector of cycles need not look at it again and again, nor after every 700 objects."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 20, 50)


def run(app: App, sock: socket.socket, *, grace_s: float, slack_s: float) -> None:
    """Serve until SIGTERM or SIGINT; returns when no engine is left. Answers get `grace_s` seconds to finish."""
    raise_descriptor_limit()
    _spare_the_collector()
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=Door,
        ws="none",
        lifespan="off",  # its end would wait for the engines without a limit; `Server` tells the app itself
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        proxy_headers=False,  # the address that connects is the client's; who else it names is its own word
        timeout_graceful_shutdown=max(1, round(grace_s + slack_s)),
        timeout_keep_alive=75,
        backlog=2048,
    )
    Server(config, app).run(sockets=[sock])
