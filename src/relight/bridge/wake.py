"""Waking the service before the first question: its container by asking whether it is ready, its engine by name.

Nobody waits for it, and nothing fails by it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import msgspec

from relight.bridge.asking import Asking
from relight.bridge.request import read
from relight.bridge.upstream import Outgoing
from relight.clock import Clock
from relight.decoding import NOT_JSON
from relight.errors import RelightError
from relight.wire.dialect import objects

IDLE_S: Final = 120.0
"""After so long without a request, the next one says that an agent has begun to work again."""
_KEYS: Final = ("authorization", "x-api-key")


class _Silent:
    """Nobody waits for these answers."""

    is_early = False

    async def will_take_long(self) -> None:
        """See `Reply`."""


@dataclass(slots=True)
class Waker:
    """Fires a wake when the bridge starts, and when somebody comes after a while in which nobody did."""

    asking: Asking
    clock: Clock
    key: str | None = None
    """An API key for when no client has shown one yet."""
    _last: float | None = None
    _task: asyncio.Task[None] | None = None

    def came(self, headers: Iterable[tuple[str, str]] = (), *, asks: bool = False) -> None:
        """Somebody came, with these headers: wakes the service if they are the first for a while, and do not themselves by
        what they ask."""
        now, last = self.clock.now(), self._last
        self._last = now
        if asks or (last is not None and now - last < IDLE_S):
            return
        if self._task is None or self._task.done():
            shown = tuple((name, text) for name, text in headers if name.lower() in _KEYS)
            if not shown and self.key is not None:
                shown = (("Authorization", f"Bearer {self.key}"),)
            self._task = asyncio.create_task(self._wake(shown))

    async def close(self) -> None:
        """Stop waking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _wake(self, key: tuple[tuple[str, str], ...]) -> None:
        try:
            if await self._get("GET", "/readyz", ()) is None:
                return
            name = asleep(await self._get("GET", "/v1/models", key) or b"")
            if name is not None:
                await self._get("POST", f"/models/{quote(name, safe='')}/wake", key)
        except RelightError as error:
            self.asking.state.watch.said("failed", code=error.code, message=error.message, hint=error.hint)

    async def _get(self, method: str, path: str, headers: tuple[tuple[str, str], ...]) -> bytes | None:
        """The body of a success."""
        # As if it were to be waited for: a container that has to start is what this is about.
        asked = read(method, "/", b"")
        answer = await self.asking.answer(Outgoing(method, path, headers, b""), asked, _Silent())
        try:
            return await answer.excerpt() if answer.status < 300 else None
        finally:
            answer.close()


def asleep(listing: bytes) -> str | None:
    """The default model of a listing of ours, if it is asleep; None for any other listing."""
    try:
        said = msgspec.json.decode(listing, type=dict[str, Any])
    except (*NOT_JSON, msgspec.ValidationError):
        return None
    for model in objects(said.get("data")):
        facts = model.get("relight")
        if isinstance(facts, dict) and facts.get("default") and facts.get("state") == "asleep":
            name = facts.get("model", model.get("id"))
            return name if isinstance(name, str) else None
    return None
