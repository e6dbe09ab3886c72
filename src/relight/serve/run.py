"""Runs the app under uvicorn on a socket that is already bound, and ends it within the platform's patience."""

from __future__ import annotations

import asyncio
import signal
import socket
from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    from types import FrameType

    from relight.serve.app import App


class Server(uvicorn.Server):
    """uvicorn, with one thing more: the engines hear of the end when the signal comes, not when all clients have left."""

    def __init__(self, config: uvicorn.Config, app: App) -> None:
        super().__init__(config)
        self._app = app
        self._stopping: asyncio.Task[None] | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM or SIGINT: no new requests, running answers get the grace; a second SIGINT ends them."""
        super().handle_exit(sig, frame)
        if self._stopping is None:
            loop = asyncio.get_running_loop()
            self._stopping = loop.create_task(self._app.stop())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """uvicorn's own, then whatever of the engines is left."""
        await super().shutdown(sockets)
        if self._stopping is not None:
            await self._stopping


def run(app: App, sock: socket.socket, *, grace_s: float, slack_s: float) -> None:
    """Serve until SIGTERM or SIGINT; returns when no engine is left. Answers get `grace_s` seconds to finish."""
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=max(1, round(grace_s + slack_s)),
        timeout_keep_alive=75,
        backlog=2048,
    )
    server = Server(config, app)
    # uvicorn raises the signal again once it has shut down; the answer to it is then a normal exit.
    for sig in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sig, lambda *_: None)
    server.run(sockets=[sock])
