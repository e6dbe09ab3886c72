"""Asking until the service answers: an instance waited for, an identity shown anew. Knows neither HTTP library nor dialect.

Asked again is only what was not begun: no connection came about, or the platform says that it has no instance.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeGuard, TypeVar

from relight.bridge.identity import Identity, Token
from relight.bridge.news import State
from relight.bridge.refusal import Verdict, is_busy, stranger, verdict
from relight.bridge.request import Asked
from relight.bridge.upstream import Answer, Failure, Fault, Outgoing, Upstream
from relight.clock import Clock, seconds_until
from relight.errors import ProviderTimeout, RelightError, WakeTimeout
from relight.values import format_duration

_T = TypeVar("_T")
_STALE_TRIES: Final = 3
_SECONDS: Final = re.compile(r"[0-9]{1,9}")
_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 5.0
_ANYBODY: Final = Outgoing("HEAD", "/", (), b"")
"""A question without a name, a key and anybody's words. Not /livez: the platform answers some paths that end so by itself."""


class Held(Protocol):
    """Whoever waits for an answer."""

    @property
    def is_early(self) -> bool:
        """Whether a status can no longer be told."""
        ...

    async def will_take_long(self) -> None:
        """There is no answer yet, and it is known why."""
        ...


@dataclass(frozen=True, slots=True)
class _Later:
    """Asking again may help: after `pause_s` if the service says so, and `error` is told if there is no time left for it."""

    error: RelightError
    pause_s: float | None = None


@dataclass(slots=True)
class Asking:
    """One request's way to the service; `patience_s` is how long it may take to the answer's head."""

    upstream: Upstream
    identity: Identity
    state: State
    clock: Clock
    patience_s: float
    _looking: asyncio.Task[None] | None = field(default=None, init=False)
    _told: bool | None = field(default=None, init=False)
    """Whether the identity was last said to be shown; None before anything was said."""

    async def close(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait({self._looking})

    async def answer(self, request: Outgoing, asked: Asked, reply: Held) -> Answer:
        """The answer, whatever its status. Raises a `RelightError`: `Unauthorized` or `Forbidden` when the platform lets this
        identity not in, `WakeTimeout` when it had no instance in time, `ProviderUnavailable` or `ProviderTimeout`."""
        ends_at = self.clock.now() + self.patience_s
        tries, is_there = 0, False
        try:
            while True:
                found = await self._within(self._known(request), ends_at - self.clock.now())
                later = found if isinstance(found, _Later) else self._meaning(found, asked, reply)
                if later is None and isinstance(found, Answer):
                    is_there = True
                    return found
                if later is not None:
                    if not tries:
                        self.state.waits(self.clock.now())
                        await reply.will_take_long()
                    tries += 1
                    await self._pause(later, tries, ends_at)
        finally:
            if tries:
                self.state.waits_no_more(self.clock.now(), is_there=is_there)

    async def _known(self, request: Outgoing) -> Answer | _Later:
        """An answer to somebody whom the platform lets in, or why there may be one later."""
        await self._looked()
        token = None if self.identity.is_wanted is False else await self.identity.current()
        self._note(token)
        found = await self._fresh(request, token)
        if _is_stranger(found):
            was_withheld = token is None and self.identity.is_wanted is False
            other = await self._another(token)
            if other is not None:
                found.close()
                self._note(other)
                token, found = other, await self._fresh(request, other)
            if _is_stranger(found):
                found.close()
                # It refuses whoever comes: that is no reason to show it who does from now on.
                if was_withheld:
                    self.identity.is_wanted = False
                raise stranger(found.status, self.upstream.url, _account(token), self.identity.problem)
        if isinstance(found, Answer):
            self._tell(token)
        return found

    async def _another(self, refused: Token | None) -> Token | None:
        """The token to come back with: one that was withheld until somebody asked, or another than that which was refused."""
        if refused is None and self.identity.is_wanted is False and self.identity.has_any:
            self.identity.is_wanted = True
            return await self.identity.current()
        return await self.identity.renewed(refused) if refused is not None else None

    async def _looked(self) -> None:
        """Find out, once for all who come, whether the service asks who they are."""
        if self.identity.is_wanted is None:
            if self._looking is None:
                self._looking = asyncio.create_task(self._look())
            # Whoever leaves takes nothing away from those who wait for the same.
            await asyncio.shield(self._looking)

    async def _look(self) -> None:
        try:
            found = await self.upstream.ask(_ANYBODY, None)
        finally:
            self._looking = None
        if isinstance(found, Answer):
            self.identity.is_wanted = _is_wanted(found)
            found.close()

    def _tell(self, token: Token | None) -> None:
        """Say to whom which identity is shown, or that none is wanted: once, and again when that changes."""
        if not self.identity.has_any or (token is None and self.identity.is_wanted is not False):
            return
        if self._told is (token is not None):
            return
        self._told = token is not None
        if token is None:
            why = f"{self.upstream.url} lets anybody in: no identity is needed there, and none is shown"
            self.state.watch.said("identity", shown=False, to=self.upstream.url, message=why)
            return
        why = f"{self.upstream.url} is shown the identity of {_account(token)}: {token.kind}"
        self.state.watch.said(
            "identity",
            shown=True,
            to=self.upstream.url,
            account=token.account,
            audience=token.audience,
            kind=token.kind,
            message=why,
        )

    async def _fresh(self, request: Outgoing, token: Token | None) -> Answer | _Later:
        """One attempt, begun anew when a kept connection turns out to be closed."""
        for _ in range(_STALE_TRIES):
            found = await self.upstream.ask(request, token)
            if isinstance(found, Answer):
                return found
            if found.fault is not Fault.STALE:
                break
        assert isinstance(found, Failure)  # noqa: S101 - an answer has left
        if found.fault is Fault.UNREACHED:
            return _Later(found.error)
        raise found.error

    def _meaning(self, found: Answer, asked: Asked, reply: Held) -> _Later | None:
        """Why an answer is not passed on, if it is not; it is closed then."""
        pause_s = _seconds(found.headers.get("retry-after"), self.clock.wall())
        is_away = asked.waits and verdict(found.status, found.headers, found.begin) is Verdict.AWAY
        # Its status can no longer be told where the head is out, so what can be mended by waiting is.
        if not is_away and not (reply.is_early and is_busy(found.status, found.headers)):
            return None
        found.close()
        what = f"bridge: {self.upstream.host} had no instance for {format_duration(round(self.patience_s))}"
        return _Later(WakeTimeout(what, hint="look at it: relight status, relight logs", retry_after_s=pause_s or 10.0), pause_s)

    async def _pause(self, later: _Later, tries: int, ends_at: float) -> None:
        pause_s = later.pause_s
        if pause_s is None:
            pause_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** (tries - 1))
        if self.clock.now() + pause_s >= ends_at:
            raise later.error
        await self.clock.sleep(pause_s)

    async def _within(self, work: Awaitable[_T], seconds: float) -> _T:
        """The result of `work`, by the bridge's own clock; raises `ProviderTimeout`."""
        task, limit = asyncio.ensure_future(work), asyncio.ensure_future(self.clock.sleep(max(seconds, 0.0)))
        try:
            await asyncio.wait({task, limit}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
        except asyncio.CancelledError:
            task.add_done_callback(_let_go)
            raise
        finally:
            limit.cancel()
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
        what = f"bridge: {self.upstream.host} did not begin to answer within {format_duration(round(self.patience_s))}"
        raise ProviderTimeout(what, hint="if it is only slow, raise --patience")

    def _note(self, token: Token | None) -> None:
        self.state.account = _account(token)
        self.state.ends_at = token.ends_at if token is not None and token.ends_at else None
        self.state.tell()


def _is_wanted(found: Answer) -> bool | None:
    """Whether an answer to nobody in particular says that somebody is wanted; None where it does not tell."""
    what = verdict(found.status, found.headers, found.begin)
    if what is Verdict.STRANGER:
        return True
    is_there = what is Verdict.PASS and (found.status < 300 or 400 <= found.status < 500)
    return False if is_there else None


def _is_stranger(found: Answer | _Later) -> TypeGuard[Answer]:
    return isinstance(found, Answer) and verdict(found.status, found.headers, found.begin) is Verdict.STRANGER


def _let_go(task: asyncio.Future[Any]) -> None:
    """An answer that came when nobody waited for it any more."""
    if not task.cancelled() and task.exception() is None and isinstance(found := task.result(), Answer):
        found.close()


def _account(token: Token | None) -> str | None:
    return None if token is None else token.account or "this identity"


def _seconds(value: str | None, wall_s: float) -> float | None:
    """What `Retry-After` asks for, in seconds or as a date."""
    if value is None:
        return None
    if _SECONDS.fullmatch(value.strip()):
        return float(value)
    return seconds_until(value.strip(), wall_s)
