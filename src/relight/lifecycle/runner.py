"""The one owner of an engine's state: feeds events to the machine and carries out what it decides. Knows no HTTP."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

from relight.clock import Clock
from relight.errors import EngineCrashed, EngineFailed, RelightError
from relight.lifecycle import machine as m


class Started(Protocol):
    """A started engine."""

    @property
    def socket(self) -> Path:
        """Where it answers."""
        ...

    async def ready(self) -> None:
        """Return when it answers; raises `EngineFailed`."""
        ...

    async def exited(self) -> EngineFailed:
        """Wait for its end."""
        ...

    async def stop(self, grace_s: float) -> None:
        """End it."""
        ...


class Observer(Protocol):
    """Hears what happens to engines, and knows how long a wake takes."""

    def expect(self, model: str) -> float:
        """Seconds that the next wake should take."""
        ...

    def woke(self, model: str, seconds: float) -> None:
        """A wake is complete."""
        ...

    def slept(self, model: str) -> None:
        """The engine's process is gone because it was told to go."""
        ...

    def failed(self, model: str, failure: EngineFailed) -> None:
        """The engine ended by itself, or never came up."""
        ...


@dataclass(frozen=True, slots=True)
class Status:
    """What may be told about an engine without touching it. Times in seconds."""

    state: m.State
    eta_s: float
    waking_for_s: float | None
    running: int
    waiting: int
    last_error: str | None


class Ticket:
    """A place in front of one engine. Use it as a context manager: leaving gives the place back."""

    __slots__ = ("_request", "_runner")

    def __init__(self, runner: Runner, request: int) -> None:
        self._runner = runner
        self._request = request

    def __enter__(self) -> Ticket:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.give_back(self._request)

    @property
    def eta_s(self) -> float | None:
        """Expected seconds until the engine is awake; `None` when nothing has to be waited for."""
        return self._runner.eta_of(self._request)

    async def engine(self) -> Path:
        """The socket of the engine, once it is awake. Raises `QueueFull`, `WakeTimeout`, `EngineFailed` or `Stopping`."""
        return await self._runner.engine_for(self._request)


Launch = Callable[[], Awaitable[Started]]

_AT_REST: Final = (m.State.ASLEEP, m.State.FAILED)


class Runner:
    """Owns the engine of one model: ask for a ticket, never peek."""

    _STOP_GRACE_S = 3.0

    def __init__(self, model: str, limits: m.Limits, launch: Launch, clock: Clock, observer: Observer) -> None:
        self.model = model
        self._limits = limits
        self._launch = launch
        self._clock = clock
        self._observer = observer
        self._machine = m.Machine(eta_s=observer.expect(model))
        self._numbers = itertools.count()
        self._waiters: dict[int, asyncio.Future[None]] = {}
        self._engine: Started | None = None
        # The engine's life, and those before it that are still ending: the next one waits until their memory is free.
        self._lives: list[asyncio.Task[None]] = []
        self._timer: asyncio.Task[None] | None = None
        self._asleep = asyncio.Event()
        self._asleep.set()

    def status(self) -> Status:
        """The state as it is; asking changes nothing."""
        now, it = self._clock.now(), self._machine
        since = it.waking_since
        return Status(
            state=it.state,
            eta_s=it.remaining_s(now),
            waking_for_s=None if since is None else now - since,
            running=len(it.running),
            waiting=len(it.held),
            last_error=it.failure.message if it.failure else None,
        )

    def ask(self) -> Ticket:
        """Ask for the engine, and have it count as busy until the ticket is closed. Starts it when it sleeps."""
        request = next(self._numbers)
        self._waiters[request] = asyncio.get_running_loop().create_future()
        ticket = Ticket(self, request)
        self._apply(m.Requested(self._clock.now(), request))
        return ticket

    def wake(self) -> Status:
        """Start the engine if it sleeps; returns at once."""
        self._apply(m.WakeAsked(self._clock.now()))
        return self.status()

    def sleep(self) -> Status:
        """Let running answers finish within the grace, then stop the engine; returns at once."""
        self._apply(m.StopAsked(self._clock.now()))
        return self.status()

    async def stop(self) -> None:
        """As `sleep`, for good: nothing wakes the engine again. Returns when its process is gone."""
        self._apply(m.StopAsked(self._clock.now(), for_good=True))
        await self._asleep.wait()
        if self._timer is not None:
            self._timer.cancel()
            await asyncio.gather(self._timer, return_exceptions=True)

    # --- for tickets

    def eta_of(self, request: int) -> float | None:
        """See `Ticket.eta_s`."""
        if self._waiters[request].done():
            return None
        return self._machine.remaining_s(self._clock.now())

    async def engine_for(self, request: int) -> Path:
        """See `Ticket.engine`."""
        await self._waiters[request]
        if self._engine is None:
            raise EngineCrashed(f'model "{self.model}": engine ended before it could answer')
        return self._engine.socket

    def give_back(self, request: int) -> None:
        """See `Ticket`."""
        waiter = self._waiters.pop(request)
        if waiter.done() and not waiter.cancelled():
            waiter.exception()  # a refusal that nobody waited for is not news
        self._apply(m.Finished(self._clock.now(), request))

    # --- decisions become effects

    def _apply(self, event: m.Event) -> None:
        if self._machine.state in _AT_REST:
            self._machine = replace(self._machine, eta_s=self._observer.expect(self.model))
        before = self._machine.failure
        self._machine, decisions = m.step(self._machine, event, self._limits)
        failure = self._machine.failure
        if failure is not None and failure is not before and not isinstance(event, m.EngineExited):
            self._observer.failed(self.model, failure)  # an engine that never answered; one that exits says so itself
        for decision in decisions:
            match decision:
                case m.Admit(request):
                    self._settle(request, None)
                case m.Refuse(request, error):
                    self._settle(request, error)
                case m.Start(generation):
                    self._begin(generation)
                case m.Stop():
                    self._end()
                case m.SetTimer(at):
                    self._set_timer(at)
                case m.Hold() | m.Drain():
                    pass
        self._note_rest()

    def _note_rest(self) -> None:
        if self._machine.state in _AT_REST and not self._lives:
            self._asleep.set()

    def _settle(self, request: int, error: RelightError | None) -> None:
        waiter = self._waiters.get(request)
        if waiter is None or waiter.done():
            return
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)

    def _begin(self, generation: int) -> None:
        self._asleep.clear()
        life = asyncio.create_task(self._live(generation, tuple(self._lives)), name=f"engine {self.model} #{generation}")
        self._lives.append(life)
        life.add_done_callback(self._buried)

    def _end(self) -> None:
        if self._lives:
            self._lives[-1].cancel()

    def _buried(self, life: asyncio.Task[None]) -> None:
        # A callback, because a task that is cancelled before its first step never reaches a `finally` of its own.
        self._lives.remove(life)
        self._note_rest()

    def _set_timer(self, at: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if at is None else asyncio.create_task(self._tick_at(at))

    async def _tick_at(self, at: float) -> None:
        await self._clock.sleep(at - self._clock.now())
        # This task is no longer the pending timer: what the tick decides must not cancel it half-way.
        self._timer = None
        # A sleep may end a hair early; a tick that came before its time would decide nothing, and be lost.
        self._apply(m.Tick(max(at, self._clock.now())))

    async def _live(self, generation: int, before: tuple[asyncio.Task[None], ...]) -> None:
        """One engine from start to end, told to the machine when the end was not asked for."""
        try:
            if before:
                await asyncio.wait(before)
            failure = await self._run(generation)
        except asyncio.CancelledError:
            self._observer.slept(self.model)
            raise
        except RelightError as error:
            failure = error if isinstance(error, EngineFailed) else EngineFailed(error.message, hint=error.hint)
        except Exception as error:
            failure = EngineFailed(f'model "{self.model}": engine could not be started: {error!r}')
        self._observer.failed(self.model, failure)
        self._apply(m.EngineExited(self._clock.now(), generation, failure))

    async def _run(self, generation: int) -> EngineFailed:
        engine: Started | None = None
        try:
            engine = await self._launch()
            began = self._clock.now()  # the launch may have had weights to download: that is no wake
            await engine.ready()
            self._engine = engine
            self._observer.woke(self.model, self._clock.now() - began)
            self._apply(m.EngineReady(self._clock.now(), generation))
            return await engine.exited()
        finally:
            self._engine = None
            if engine is not None:
                await engine.stop(self._STOP_GRACE_S)
