"""When an engine starts and stops, as a pure function: state and event in, state and decisions out.

It never looks at a clock (events carry `now`, in monotonic seconds), starts nothing and waits for nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from relight.errors import EngineFailed, QueueFull, RelightError, Stopping, WakeTimeout


class State(StrEnum):
    """Where an engine is."""

    ASLEEP = "asleep"
    WAKING = "waking"
    AWAKE = "awake"
    DRAINING = "draining"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one model; times in seconds."""

    slots: int = 1
    """Requests that the engine answers at the same time."""
    queue_depth: int = 64
    queue_timeout_s: float = 300.0
    wake_timeout_s: float = 120.0
    idle_after_s: float = 300.0
    drain_grace_s: float = 8.0
    backoff_s: float = 1.0
    backoff_max_s: float = 60.0
    start_limit_s: float = 600.0
    """An engine that has said nothing for this long will not: it is stopped."""


class Held(Struct, frozen=True):
    """A request that waits for a wake, until `deadline`."""

    request: int
    deadline: float


class Machine(Struct, frozen=True):
    """Everything that decisions depend on. `generation` counts engine starts: news of an older engine is ignored."""

    state: State = State.ASLEEP
    generation: int = 0
    held: tuple[Held, ...] = ()
    running: frozenset[int] = frozenset()
    waking_since: float | None = None
    timer: float | None = None
    """When the next `Tick` is due for the state as such (idle, grace, back-off, start limit)."""
    failures: int = 0
    failure: EngineFailed | None = None
    eta_s: float = 0.0
    """Expected length of a wake."""
    is_closed: bool = False
    """The server stops: there will be no other wake."""

    def remaining_s(self, now: float) -> float:
        """Expected seconds until the engine is awake; never negative."""
        if self.state is State.AWAKE:
            return 0.0
        since = self.waking_since if self.waking_since is not None else now
        return max(self.eta_s - (now - since), 0.0)


# --- events
# Structs, not dataclasses: every request makes half a dozen of these, and a frozen dataclass takes ten times as long to make.


class Requested(Struct, frozen=True):
    """A request wants the engine."""

    now: float
    request: int


class Finished(Struct, frozen=True):
    """A request is done with the engine, or its client left before it had it."""

    now: float
    request: int


class WakeAsked(Struct, frozen=True):
    """Somebody wants the engine awake without a request of their own."""

    now: float


class EngineReady(Struct, frozen=True):
    """The engine answers."""

    now: float
    generation: int


class EngineExited(Struct, frozen=True):
    """The engine's process ended, or could not be started."""

    now: float
    generation: int
    failure: EngineFailed


class Tick(Struct, frozen=True):
    """Time has passed."""

    now: float


class StopAsked(Struct, frozen=True):
    """The engine shall go to sleep; with `for_good` the server stops, and nothing wakes it again."""

    now: float
    for_good: bool = False


Event = Requested | Finished | WakeAsked | EngineReady | EngineExited | Tick | StopAsked

# --- decisions


class Start(Struct, frozen=True):
    """Start the engine as this generation."""

    generation: int


class Admit(Struct, frozen=True):
    """The request may use the engine."""

    request: int


class Hold(Struct, frozen=True):
    """The request waits; the engine is expected in `eta_s` seconds."""

    request: int
    eta_s: float


class Refuse(Struct, frozen=True):
    """The request ends here."""

    request: int
    error: RelightError


class Drain(Struct, frozen=True):
    """No new work; what runs may finish."""


class Stop(Struct, frozen=True):
    """End the engine of this generation."""

    generation: int


class SetTimer(Struct, frozen=True):
    """Send a `Tick` at this time; `None` cancels it."""

    at: float | None


Decision = Start | Admit | Hold | Refuse | Drain | Stop | SetTimer
Step = tuple[Machine, list[Decision]]


def step(machine: Machine, event: Event, limits: Limits) -> Step:
    """What `event` makes of `machine`, and what is to be done about it, in order.

    The last decision is always the `SetTimer` that the new state needs, when it differs from the old one.
    """
    after, decisions = _HANDLERS[type(event)](machine, event, limits)
    due = next_tick(after)
    if due != next_tick(machine):
        decisions.append(SetTimer(due))
    return after, decisions


def next_tick(machine: Machine) -> float | None:
    """When the machine must be told the time again; `None`: not before something happens."""
    if not machine.held:
        return machine.timer
    times = [held.deadline for held in machine.held]
    if machine.timer is not None:
        times.append(machine.timer)
    return min(times)


# --- one handler an event


def _requested(machine: Machine, event: Requested, limits: Limits) -> Step:
    now, request = event.now, event.request
    if machine.is_closed:
        return machine, [Refuse(request, Stopping("the server is stopping", retry_after_s=1.0))]
    match machine.state:
        case State.AWAKE:
            return replace(machine, running=machine.running | {request}, timer=None), [Admit(request)]
        case State.FAILED if machine.timer is not None and now < machine.timer:
            return machine, [Refuse(request, _still_failed(machine, now))]
        case State.ASLEEP | State.FAILED:
            waking, decisions = _begin_wake(machine, now, limits)
            held, more = _hold(waking, now, request, limits)
            return held, decisions + more
        case _:
            return _hold(machine, now, request, limits)


def _finished(machine: Machine, event: Finished, limits: Limits) -> Step:
    held = machine.held and tuple(item for item in machine.held if item.request != event.request)
    running = machine.running - {event.request}
    was_last = bool(machine.running) and not running
    after = replace(machine, held=held, running=running)
    if not was_last:
        return after, []
    if machine.state is State.DRAINING:
        return _stop(after, event.now, limits)
    if machine.state is State.AWAKE:
        return replace(after, timer=event.now + limits.idle_after_s), []
    return after, []


def _wake_asked(machine: Machine, event: WakeAsked, limits: Limits) -> Step:
    is_backing_off = machine.state is State.FAILED and machine.timer is not None and event.now < machine.timer
    match machine.state:
        case _ if machine.is_closed or is_backing_off:
            return machine, []
        case State.ASLEEP | State.FAILED:
            return _begin_wake(machine, event.now, limits)
        case State.AWAKE if not machine.running:
            return replace(machine, timer=event.now + limits.idle_after_s), []
        case _:
            return machine, []


def _engine_ready(machine: Machine, event: EngineReady, limits: Limits) -> Step:
    if machine.state is not State.WAKING or event.generation != machine.generation:
        return machine, []
    admitted = [Admit(held.request) for held in machine.held]
    running = frozenset(held.request for held in machine.held)
    awake = replace(
        machine,
        state=State.AWAKE,
        held=(),
        running=running,
        waking_since=None,
        failures=0,
        failure=None,
        timer=None if running else event.now + limits.idle_after_s,
    )
    return awake, list(admitted)


def _engine_exited(machine: Machine, event: EngineExited, limits: Limits) -> Step:
    if event.generation != machine.generation:
        return machine, []
    match machine.state:
        case State.WAKING:
            return _fail(machine, event.now, event.failure, limits)
        case State.AWAKE:
            # Requests in flight see their connection close; nothing is left to tell them here.
            return replace(machine, state=State.ASLEEP, running=frozenset(), timer=None, failure=event.failure), []
        case State.DRAINING:
            return _asleep(replace(machine, running=frozenset()), event.now, limits)
        case _:
            return machine, []


def _tick(machine: Machine, event: Tick, limits: Limits) -> Step:
    now = event.now
    late = [held for held in machine.held if held.deadline <= now]
    refusals: list[Decision] = [Refuse(held.request, _timed_out(machine, now, limits)) for held in late]
    after = replace(machine, held=tuple(held for held in machine.held if held.deadline > now))
    if after.timer is None or now < after.timer:
        return after, refusals
    after = replace(after, timer=None)
    match after.state:
        case State.WAKING:
            silent = EngineFailed(f"engine did not answer within {limits.start_limit_s:.0f} s of its start; it was stopped")
            failed, decisions = _fail(after, now, silent, limits)
            return failed, [*refusals, Stop(after.generation), *decisions]
        case State.AWAKE if not after.running:
            asleep, decisions = _stop(after, now, limits)
            return asleep, [*refusals, Drain(), *decisions]
        case State.DRAINING:
            stopped, decisions = _stop(replace(after, running=frozenset()), now, limits)
            return stopped, refusals + decisions
        case State.FAILED:
            return replace(after, state=State.ASLEEP), refusals
        case _:
            return after, refusals


def _stop_asked(machine: Machine, event: StopAsked, limits: Limits) -> Step:
    machine = replace(machine, is_closed=machine.is_closed or event.for_good)
    refusals: list[Decision] = [
        Refuse(held.request, Stopping("the model was put to sleep while it was waking", retry_after_s=1.0))
        for held in machine.held
    ]
    match machine.state:
        case State.WAKING:
            after = replace(machine, state=State.ASLEEP, held=(), waking_since=None, timer=None)
            return after, [*refusals, Stop(machine.generation)]
        case State.DRAINING if machine.is_closed:
            return replace(machine, held=()), refusals
        case State.AWAKE if machine.running:
            return replace(machine, state=State.DRAINING, timer=event.now + limits.drain_grace_s), [Drain()]
        case State.AWAKE:
            return _stop(machine, event.now, limits)
        case State.FAILED:
            return replace(machine, state=State.ASLEEP, timer=None), []
        case _:
            return machine, []


_HANDLERS: Final[dict[type, Callable[..., Step]]] = {
    Requested: _requested,
    Finished: _finished,
    WakeAsked: _wake_asked,
    EngineReady: _engine_ready,
    EngineExited: _engine_exited,
    Tick: _tick,
    StopAsked: _stop_asked,
}

# --- pieces of transitions


def _begin_wake(machine: Machine, now: float, limits: Limits) -> Step:
    generation = machine.generation + 1
    waking = replace(
        machine,
        state=State.WAKING,
        generation=generation,
        waking_since=now,
        timer=now + limits.start_limit_s,
        running=frozenset(),
    )
    return waking, [Start(generation)]


def _hold(machine: Machine, now: float, request: int, limits: Limits) -> Step:
    if len(machine.held) >= limits.queue_depth:
        full = QueueFull(
            f"{len(machine.held)} requests wait for the model to wake, and no more may",
            hint="try again, or raise models.NAME.queue_depth",
            retry_after_s=max(machine.remaining_s(now), 1.0),
        )
        return machine, [Refuse(request, full)]
    held = Held(request, now + limits.wake_timeout_s)
    return replace(machine, held=(*machine.held, held)), [Hold(request, machine.remaining_s(now))]


def _fail(machine: Machine, now: float, failure: EngineFailed, limits: Limits) -> Step:
    wait_s = min(limits.backoff_s * 2**machine.failures, limits.backoff_max_s)
    failure.retry_after_s = wait_s
    failed = replace(
        machine,
        state=State.FAILED,
        held=(),
        waking_since=None,
        failures=machine.failures + 1,
        failure=failure,
        timer=now + wait_s,
    )
    return failed, [Refuse(held.request, failure) for held in machine.held]


def _stop(machine: Machine, now: float, limits: Limits) -> Step:
    asleep, decisions = _asleep(machine, now, limits)
    return asleep, [Stop(machine.generation), *decisions]


def _asleep(machine: Machine, now: float, limits: Limits) -> Step:
    """Asleep, unless somebody already waits for the next wake."""
    asleep = replace(machine, state=State.ASLEEP, timer=None, waking_since=None)
    return _begin_wake(asleep, now, limits) if asleep.held else (asleep, [])


def _still_failed(machine: Machine, now: float) -> EngineFailed:
    reason = machine.failure.message if machine.failure else "engine failed"
    wait_s = (machine.timer or now) - now
    return EngineFailed(reason, hint=machine.failure.hint if machine.failure else None, retry_after_s=wait_s)


def _timed_out(machine: Machine, now: float, limits: Limits) -> WakeTimeout:
    left = max(machine.remaining_s(now), 1.0)
    return WakeTimeout(
        f"the model did not wake within {limits.wake_timeout_s:g} s; it goes on waking",
        hint="try again, or raise models.NAME.wake_timeout",
        retry_after_s=left,
    )
