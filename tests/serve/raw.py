"""An engine at the runner's seam that writes the bytes it was given, whatever they are, and closes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from relight.errors import EngineFailed
from relight.lifecycle.machine import Limits
from relight.lifecycle.runner import Runner
from relight.serve.front import Served
from tests.serve.client import Door, front_door


class Raw:
    """Takes each request's head and answers `answer`, in one piece."""

    def __init__(self, socket: Path, answer: bytes) -> None:
        self.socket = socket
        self._answer = answer
        self._server: asyncio.Server | None = None

    async def ready(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self.socket)

    async def exited(self) -> EngineFailed:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")

    async def stop(self, grace_s: float) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(self._answer)
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def raw_door(folder: Path, answer: bytes) -> AsyncIterator[Door]:
    """A front door whose model `toy` is such an engine."""
    async with front_door(folder) as door:
        old = door.app.front.models["toy"]

        async def launch() -> Raw:
            return Raw(folder / "raw.sock", answer)

        runner = Runner("toy", Limits(), launch, door.clock, old.runner._observer)
        served = Served("toy", runner, old.capabilities, old.context, "raw", old.speech)
        door.app.front.models = {"toy": served}
        yield door
