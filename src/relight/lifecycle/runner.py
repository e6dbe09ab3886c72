"""The one owner of an engine's state: feeds events to the machine and carries out what it decides. Knows no HTTP."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

from msgspec import Struct
from msgspec.structs import replace

from relight.clock import Clock
from relight.engines.base import Address
from relight.errors import EngineCrashed, EngineFailed, RelightError
from relight.lifecycle import machine as m
from relight.lifecycle.timer import Timer
from relight.lifecycle.turns import Claim, Deny, Turns, Verdict


class Started(Protocol):
    """A started engine."""

    @property
    def socket(self) -> Address:
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
    """Those that wait for a wake, and those that wait for their turn."""
    last_error: str | None
    wait_s: float
    """What somebody who asks now should expect to wait for a turn once the engine is awake."""


class Ticket:
    """A place in front of one engine. Use it as a context manager: leaving gives the place back."""

    __slots__ = ("_place", "_request", "_runner")

    def __init__(self, runner: Runner, request: int, place: _Place) -> None:
        self._runner = runner
        self._request = request
        self._place = place

    def __enter__(self) -> Ticket:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.give_back(self._request)

    @property
    def eta_s(self) -> float | None:
        """Expected seconds until the engine is awake; `None` when nothing has to be waited for."""
        return None if self._place.awake.done() else self._runner.remaining_s()

    @property
    def has_turn(self) -> bool:
        """Whether the engine is awake and has a slot for this request, so that nothing has to be waited for."""
        return self._place.turn.done()

    async def awake(self) -> None:
        """Return once the engine is awake. Raises `QueueFull`, `WakeTimeout`, `EngineFailed` or `Stopping`."""
        await self._place.awake

    async def turn(self) -> Turn:
        """Where the engine answers, once it is this request's turn. Raises `QueueFull`, `QueueTimeout` or `EngineCrashed`."""
        await self._place.awake
        slot = await self._place.turn
        return Turn(self._runner.address(), slot)


class Turn(Struct, frozen=True):
    """The engine is this request's: where it answers, and in which slot (`None`: the request needs none)."""

    address: Address
    slot: int | None


class _Place:
    """One request in front of the engine."""

    __slots__ = ("awake", "claim", "turn")

    def __init__(self, claim: Claim | None) -> None:
        loop = asyncio.get_running_loop()
        self.claim = claim
        self.awake: asyncio.Future[None] = loop.create_future()
        self.turn: asyncio.Future[int | None] = loop.create_future()

    def refuse(self, error: RelightError) -> None:
        """Tell whoever waits; a refusal that nobody waits for is not news."""
        for future in (self.awake, self.turn):
            if not future.done():
                future.set_exception(error)
                future.exception()


NOBODY: Final = Claim()
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
        self._turns = Turns(limits.slots, depth=limits.queue_depth, patience_s=limits.queue_timeout_s)
        self._numbers = itertools.count()
        self._places: dict[int, _Place] = {}
        self._engine: Started | None = None
        # The engine's life, and those before it that are still ending: the next one waits until their memory is free.
        self._lives: list[asyncio.Task[None]] = []
        self._timer = Timer(clock, self._tick)
        self._turn_timer = Timer(clock, self._tick_turns)
        self._asleep = asyncio.Event()
        self._asleep.set()

    @property
    def slots(self) -> int:
        """Requests that the engine answers at the same time."""
        return self._limits.slots

    def status(self) -> Status:
        """The state as it is; asking changes nothing."""
        now, it = self._clock.now(), self._machine
        since = it.waking_since
        return Status(
            state=it.state,
            eta_s=it.remaining_s(now),
            waking_for_s=None if since is None else now - since,
            running=len(it.running) - self._turns.waiting,
            waiting=len(it.held) + self._turns.waiting,
            last_error=it.failure.message if it.failure else None,
            wait_s=self._turns.expected_wait_s(),
        )

    def remaining_s(self) -> float:
        """Expected seconds until the engine is awake."""
        return self._machine.remaining_s(self._clock.now())

    def ask(self, claim: Claim | None = NOBODY) -> Ticket:
        """Ask for the engine, and have it count as busy until the ticket is closed. Starts it when it sleeps.

        Without a claim no slot is taken: for what an engine answers beside its generations.
        """
        request = next(self._numbers)
        place = self._places[request] = _Place(claim)
        self._apply(m.Requested(self._clock.now(), request))
        return Ticket(self, request, place)

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
        await self._timer.stop()
        await self._turn_timer.stop()

    # --- for tickets

    def address(self) -> Address:
        """Where the engine answers; raises `EngineCrashed` when it has just ended."""
        if self._engine is None:
            raise EngineCrashed(f'model "{self.model}": engine ended before it could answer')
        return self._engine.socket

    def give_back(self, request: int) -> None:
        """See `Ticket`."""
        del self._places[request]
        now = self._clock.now()
        self._judge(self._turns.done(request, now))
        self._apply(m.Finished(now, request))

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
            match decision:  # the first two are what every request brings
                case m.Admit(request):
                    self._admit(request)
                case m.SetTimer(at):
                    self._timer.set(at)
                case m.Refuse(request, error):
                    self._refuse(request, error)
                case m.Start(generation):
                    self._begin(generation)
                case m.Stop():
                    self._end()
                case m.Hold() | m.Drain():
                    pass
        self._note_rest()

    def _note_rest(self) -> None:
        if self._machine.state in _AT_REST and not self._lives:
            self._asleep.set()

    def _tick(self, at: float) -> None:
        self._apply(m.Tick(at))

    def _admit(self, request: int) -> None:
        place = self._places.get(request)
        if place is None:
            return
        place.awake.set_result(None)
        if place.claim is None:
            place.turn.set_result(None)
        else:
            self._judge(self._turns.ask(request, place.claim, self._clock.now()))

    def _judge(self, verdicts: list[Verdict]) -> None:
        for verdict in verdicts:
            if isinstance(verdict, Deny):
                self._refuse(verdict.request, verdict.error)
            elif not (turn := self._places[verdict.request].turn).done():
                turn.set_result(verdict.slot)
        self._turn_timer.set(self._turns.deadline)

    def _tick_turns(self, at: float) -> None:
        self._judge(self._turns.tick(at))

    def _refuse(self, request: int, error: RelightError) -> None:
        place = self._places.get(request)
        if place is not None:
            place.refuse(error)

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
            if self._engine is not None:
                self._engine = None
                self._judge(self._turns.clear())
            if engine is not None:
                await engine.stop(self._STOP_GRACE_S)
