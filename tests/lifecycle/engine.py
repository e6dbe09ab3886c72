"""A hand-driven engine at the runner's seam: it is ready, or dies, when the test says so."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from relight.errors import EngineFailed


class HandEngine:
    """A started engine without a process."""

    def __init__(self, number: int) -> None:
        self.socket = Path(f"/nowhere/{number}.sock")
        self.is_running = True
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ended: asyncio.Future[EngineFailed] = asyncio.get_running_loop().create_future()

    def become_ready(self) -> None:
        if not self._ready.done():
            self._ready.set_result(None)

    def crash(self, reason: str = "engine exited with code 1") -> None:
        self.is_running = False
        if not self._ready.done():
            self._ready.set_exception(EngineFailed(reason))
        elif not self._ended.done():
            self._ended.set_result(EngineFailed(reason))

    async def ready(self) -> None:
        await asyncio.shield(self._ready)

    async def exited(self) -> EngineFailed:
        return await asyncio.shield(self._ended)

    async def stop(self, grace_s: float) -> None:
        assert grace_s > 0
        await asyncio.sleep(0)
        self.is_running = False
        for future in (self._ready, self._ended):
            future.cancel()


@dataclass
class Hangar:
    """Launches hand-driven engines, remembers them all, and listens."""

    engines: list[HandEngine] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    eta_s: float = 2.0

    async def launch(self) -> HandEngine:
        assert not any(engine.is_running for engine in self.engines), "two engines at once"
        self.engines.append(HandEngine(len(self.engines)))
        return self.engines[-1]

    def expect(self, model: str) -> float:
        assert model
        return self.eta_s

    def woke(self, model: str, seconds: float) -> None:
        self.heard.append(f"{model} woke {seconds:g}")

    def slept(self, model: str) -> None:
        self.heard.append(f"{model} slept")

    def failed(self, model: str, failure: EngineFailed) -> None:
        self.heard.append(f"{model} failed: {failure.message}")
