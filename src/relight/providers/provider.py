"""A model of somebody else: asked, and asked again where that is safe. Knows no client, no route and no dialect."""

from __future__ import annotations

import asyncio
import importlib
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

from relight.clock import Clock
from relight.errors import Stopping
from relight.providers.answer import Answer
from relight.providers.attempt import Attempt, Request, open_session
from relight.providers.failure import Failure
from relight.providers.retry import Fault, Policy, decide
from relight.providers.target import Target

if TYPE_CHECKING:
    from aiohttp import ClientSession

_STALE_TRIES: Final = 3


class Provider:
    """One target, its connections kept between requests. `close()` it when the server stops."""

    def __init__(self, target: Target, clock: Clock, random: Callable[[], float] = random.random) -> None:
        self._target = target
        self._clock = clock
        self._random = random
        self._policy = Policy(retries=target.retries)
        self._session: ClientSession | None = None
        self._answers: WeakSet[Answer] = WeakSet()
        self._is_closed = False

    async def prepare(self) -> None:
        """Load the HTTP library, some 0.2 s in the background; the first request does it otherwise."""
        await self._opened()

    async def ask(self, path: str, body: bytes, *, stream: bool) -> Answer:
        """Send `body` to the provider's `path` (written as our own: "/v1/chat/completions") and return its answer.

        The answer is a success; `stream` ones have their first byte. Raises `ProviderTimeout`, `ProviderUnavailable`,
        `ProviderRejected`, `ContentFiltered` or `ContextOverflow`; `Stopping` once closed.
        """
        ends_at = self._clock.now() + self._target.timeout_s
        request = Request(path, body, stream)
        retries = 0
        while True:
            tried = await self._try(request, ends_at)
            if isinstance(tried, Answer):
                tried.retries = retries
                self._answers.add(tried)
                return tried
            wait_s = decide(tried.outcome, retries, self._policy, self._random)
            if wait_s is None:
                raise tried.error
            await self._clock.sleep(wait_s)
            retries += 1

    async def close(self) -> None:
        """Close all connections; answers still running break off."""
        self._is_closed = True
        # By themselves first: a reader is not told when the session closes its connection.
        for answer in list(self._answers):
            answer.close()
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _try(self, request: Request, ends_at: float) -> Answer | Failure:
        """One attempt, begun anew when a kept connection turns out to be closed: the provider never saw the request."""
        attempt = Attempt(self._target, self._clock, await self._opened())
        for _ in range(_STALE_TRIES):
            tried = await attempt.make(request, ends_at - self._clock.now())
            if isinstance(tried, Answer) or tried.outcome.fault is not Fault.STALE:
                break
        return tried if isinstance(tried, Answer) else tried.with_left(ends_at - self._clock.now())

    async def _opened(self) -> ClientSession:
        if self._session is None:
            # In a thread: streams of others go on meanwhile.
            await asyncio.to_thread(importlib.import_module, "aiohttp")
        if self._is_closed:
            raise Stopping("the server is stopping", retry_after_s=1.0)
        if self._session is None:
            self._session = open_session(self._clock)
        return self._session
