"""The lifecycle table of the design page, row by row, and what must hold for every sequence of events."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from relight.errors import EngineFailed, QueueFull, Stopping, WakeTimeout
from relight.lifecycle.machine import (
    Admit,
    Decision,
    Drain,
    EngineExited,
    EngineReady,
    Event,
    Finished,
    Held,
    Hold,
    Limits,
    Machine,
    Refuse,
    Requested,
    SetTimer,
    Start,
    State,
    Stop,
    StopAsked,
    Tick,
    WakeAsked,
    next_tick,
    step,
)

LIMITS = Limits(
    queue_depth=2, wake_timeout_s=10, idle_after_s=60, drain_grace_s=5, backoff_s=1, backoff_max_s=4, start_limit_s=100
)
CRASH = EngineFailed("engine exited with code 1")

ASLEEP = Machine(eta_s=2.0)
WAKING = Machine(state=State.WAKING, generation=1, waking_since=0.0, timer=100.0, held=(Held(1, 10.0),), eta_s=2.0)
AWAKE = Machine(state=State.AWAKE, generation=1, timer=60.0)
BUSY = Machine(state=State.AWAKE, generation=1, running=frozenset({1}))
DRAINING = Machine(state=State.DRAINING, generation=1, running=frozenset({1}), timer=5.0)
FAILED = Machine(state=State.FAILED, generation=1, failure=CRASH, failures=1, timer=1.0)


def run(machine: Machine, *events: Event) -> tuple[Machine, list[Decision]]:
    decisions: list[Decision] = []
    for event in events:
        machine, more = step(machine, event, LIMITS)
        decisions += more
    return machine, decisions


class TestAsleep:
    def test_request_starts_the_engine_and_is_held_with_the_expected_time(self) -> None:
        after, decisions = run(ASLEEP, Requested(0.0, 7))
        assert after.state is State.WAKING
        assert decisions == [Start(1), Hold(7, 2.0), SetTimer(10.0)]

    def test_wake_asked_starts_the_engine_with_nobody_held(self) -> None:
        after, decisions = run(ASLEEP, WakeAsked(0.0))
        assert (after.state, after.held) == (State.WAKING, ())
        assert decisions == [Start(1), SetTimer(100.0)]

    def test_ready_exit_tick_and_stop_change_nothing(self) -> None:
        events = (EngineReady(1.0, 0), EngineExited(1.0, 0, CRASH), Tick(1.0), StopAsked(1.0), Finished(1.0, 3))
        assert run(ASLEEP, *events) == (ASLEEP, [])


class TestWaking:
    def test_request_joins_the_wake(self) -> None:
        after, decisions = run(WAKING, Requested(0.5, 2))
        assert [held.request for held in after.held] == [1, 2]
        assert decisions == [Hold(2, 1.5)]

    def test_full_queue_is_refused_at_once(self) -> None:
        after, decisions = run(WAKING, Requested(0.5, 2), Requested(0.5, 3))
        assert len(after.held) == 2
        assert isinstance(decisions[-1], Refuse)
        assert isinstance(decisions[-1].error, QueueFull)
        assert decisions[-1].error.retry_after_s == 1.5

    def test_ready_admits_all_held_in_order(self) -> None:
        after, decisions = run(WAKING, Requested(0.5, 2), EngineReady(2.0, 1))
        assert after.state is State.AWAKE
        assert after.running == {1, 2}
        assert [item for item in decisions if isinstance(item, Admit)] == [Admit(1), Admit(2)]
        assert next_tick(after) is None

    def test_ready_with_nobody_held_goes_idle_at_once(self) -> None:
        after, decisions = run(WAKING, Finished(1.0, 1), EngineReady(2.0, 1))
        assert after.state is State.AWAKE
        assert decisions[-1] == SetTimer(62.0)

    def test_client_that_left_does_not_abandon_the_wake(self) -> None:
        after, decisions = run(WAKING, Finished(1.0, 1))
        assert (after.state, after.held) == (State.WAKING, ())
        assert decisions == [SetTimer(100.0)]

    def test_exit_refuses_all_held_and_backs_off(self) -> None:
        after, decisions = run(WAKING, Requested(0.5, 2), EngineExited(2.0, 1, CRASH))
        assert after.state is State.FAILED
        assert [item.request for item in decisions if isinstance(item, Refuse)] == [1, 2]
        assert decisions[-1] == SetTimer(3.0)

    def test_deadline_refuses_that_one_and_the_wake_goes_on(self) -> None:
        after, decisions = run(WAKING, Requested(5.0, 2), Tick(10.0))
        refusals = [item for item in decisions if isinstance(item, Refuse)]
        assert [item.request for item in refusals] == [1]
        assert isinstance(refusals[0].error, WakeTimeout)
        assert refusals[0].error.retry_after_s == 1.0
        assert (after.state, [held.request for held in after.held]) == (State.WAKING, [2])
        assert decisions[-1] == SetTimer(15.0)

    def test_engine_that_never_answers_is_stopped_and_counts_as_failed(self) -> None:
        after, decisions = run(replace(WAKING, held=()), Tick(100.0))
        assert after.state is State.FAILED
        assert Stop(1) in decisions
        assert after.failure is not None
        assert "did not answer within 100 s" in after.failure.message

    def test_stop_refuses_held_and_stops(self) -> None:
        after, decisions = run(WAKING, StopAsked(1.0))
        assert after.state is State.ASLEEP
        assert isinstance(decisions[0], Refuse)
        assert isinstance(decisions[0].error, Stopping)
        assert decisions[1:] == [Stop(1), SetTimer(None)]


class TestAwake:
    def test_request_is_admitted_and_the_idle_timer_ends(self) -> None:
        after, decisions = run(AWAKE, Requested(3.0, 7))
        assert after.running == {7}
        assert decisions == [Admit(7), SetTimer(None)]

    def test_last_request_done_sets_the_idle_timer(self) -> None:
        after, decisions = run(BUSY, Requested(1.0, 2), Finished(2.0, 1), Finished(3.0, 2))
        assert after.state is State.AWAKE
        assert decisions == [Admit(2), SetTimer(63.0)]

    def test_idle_drains_and_stops(self) -> None:
        after, decisions = run(AWAKE, Tick(60.0))
        assert after.state is State.ASLEEP
        assert decisions == [Drain(), Stop(1), SetTimer(None)]

    def test_early_tick_changes_nothing(self) -> None:
        assert run(AWAKE, Tick(59.9)) == (AWAKE, [])

    def test_exit_sleeps_and_the_next_request_starts_a_new_engine(self) -> None:
        after, decisions = run(BUSY, EngineExited(5.0, 1, CRASH), Finished(5.1, 1), Requested(6.0, 2))
        assert after.state is State.WAKING
        assert Start(2) in decisions

    def test_stop_with_running_requests_drains_within_the_grace(self) -> None:
        after, decisions = run(BUSY, StopAsked(1.0))
        assert after.state is State.DRAINING
        assert decisions == [Drain(), SetTimer(6.0)]

    def test_stop_when_idle_stops_at_once(self) -> None:
        after, decisions = run(AWAKE, StopAsked(1.0))
        assert after.state is State.ASLEEP
        assert decisions == [Stop(1), SetTimer(None)]

    def test_wake_asked_prolongs_the_idle_time_but_never_of_a_busy_engine(self) -> None:
        assert run(AWAKE, WakeAsked(30.0))[1] == [SetTimer(90.0)]
        assert run(BUSY, WakeAsked(30.0)) == (BUSY, [])


class TestDraining:
    def test_request_is_held_for_the_next_wake(self) -> None:
        after, decisions = run(DRAINING, Requested(1.0, 2))
        assert after.state is State.DRAINING
        assert isinstance(decisions[0], Hold)

    def test_last_request_done_stops(self) -> None:
        after, decisions = run(DRAINING, Finished(1.0, 1))
        assert after.state is State.ASLEEP
        assert decisions == [Stop(1), SetTimer(None)]

    def test_last_request_done_with_one_held_stops_and_starts_the_next_engine(self) -> None:
        after, decisions = run(DRAINING, Requested(1.0, 2), Finished(2.0, 1))
        assert after.state is State.WAKING
        assert decisions.index(Stop(1)) < decisions.index(Start(2))

    def test_grace_over_stops(self) -> None:
        after, decisions = run(DRAINING, Tick(5.0))
        assert (after.state, after.running) == (State.ASLEEP, frozenset())
        assert Stop(1) in decisions

    def test_exit_ends_it(self) -> None:
        assert run(DRAINING, EngineExited(1.0, 1, CRASH))[0].state is State.ASLEEP


class TestClosed:
    """The server stops: whatever comes, nothing wakes the engine again."""

    def test_draining_for_good_refuses_who_is_held_for_the_next_wake(self) -> None:
        after, decisions = run(DRAINING, Requested(1.0, 2), StopAsked(2.0, for_good=True), Finished(3.0, 1))
        assert after.state is State.ASLEEP
        assert [item.request for item in decisions if isinstance(item, Refuse)] == [2]
        assert not any(isinstance(item, Start) for item in decisions)

    def test_nothing_starts_afterwards(self) -> None:
        after, decisions = run(AWAKE, StopAsked(1.0, for_good=True), WakeAsked(2.0), Requested(3.0, 7))
        assert after.state is State.ASLEEP
        assert not any(isinstance(item, Start) for item in decisions)
        assert isinstance(decisions[-1], Refuse)
        assert isinstance(decisions[-1].error, Stopping)

    def test_sleep_alone_closes_nothing(self) -> None:
        assert run(AWAKE, StopAsked(1.0), Requested(2.0, 7))[0].state is State.WAKING


class TestFailed:
    def test_wake_asked_within_the_back_off_does_not_restart_a_broken_engine(self) -> None:
        assert run(FAILED, WakeAsked(0.5)) == (FAILED, [])

    def test_request_within_the_back_off_hears_the_reason_and_when_to_come_again(self) -> None:
        after, decisions = run(FAILED, Requested(0.25, 2))
        assert after.state is State.FAILED
        assert isinstance(decisions[0], Refuse)
        assert decisions[0].error.message == CRASH.message
        assert decisions[0].error.retry_after_s == 0.75

    def test_request_after_the_back_off_starts_again(self) -> None:
        after, decisions = run(FAILED, Requested(1.0, 2))
        assert after.state is State.WAKING
        assert decisions[:1] == [Start(2)]

    def test_back_off_over_is_asleep(self) -> None:
        assert run(FAILED, Tick(1.0))[0].state is State.ASLEEP

    def test_stop_is_asleep(self) -> None:
        assert run(FAILED, StopAsked(0.1))[0].state is State.ASLEEP

    def test_back_off_doubles_up_to_its_bound_and_a_good_wake_resets_it(self) -> None:
        machine, now, waits = ASLEEP, 0.0, []
        for generation in range(1, 6):
            machine, _ = run(machine, Requested(now, generation), EngineExited(now, generation, CRASH))
            waits.append((machine.timer or 0.0) - now)
            now = machine.timer or now
        assert waits == [1, 2, 4, 4, 4]
        machine, _ = run(machine, Requested(now, 9), EngineReady(now, 6))
        assert machine.failures == 0


def test_news_of_an_older_engine_is_ignored() -> None:
    second = replace(WAKING, generation=2)
    assert run(second, EngineReady(1.0, 1), EngineExited(1.0, 1, CRASH)) == (second, [])


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["request", "finish", "wake", "ready", "exit", "tick", "stop"]),
        st.integers(0, 5),
        st.floats(0, 30),
    ),
    max_size=60,
)


class Witness:
    """Follows one machine and notes what was promised to whom."""

    def __init__(self) -> None:
        self.machine = Machine(eta_s=1.0)
        self.open: set[int] = set()
        self.answered: dict[int, str] = {}
        self.alive: set[int] = set()
        self._number = 0

    def event(self, kind: str, pick: int, now: float) -> Event | None:
        """The event, or `None` when nobody is there to send it."""
        chosen = sorted(self.open)[pick % len(self.open)] if self.open else -1
        generation = self.machine.generation
        match kind:
            case "request":
                self._number += 1
                self.open.add(self._number)
                return Requested(now, self._number)
            case "finish":
                self.open.discard(chosen)
                return Finished(now, chosen)
            case "ready":
                return EngineReady(now, generation) if self.alive else None
            case "exit":
                self.alive.clear()
                return EngineExited(now, generation, CRASH)
        bare: dict[str, type[WakeAsked | Tick | StopAsked]] = {"wake": WakeAsked, "tick": Tick, "stop": StopAsked}
        return bare[kind](now)

    def note(self, decision: Decision) -> None:
        match decision:
            case Start(generation):
                assert not self.alive, "two engines at once"
                self.alive.add(generation)
            case Stop(generation):
                self.alive.discard(generation)
            case Admit(request):
                assert self.machine.state is State.AWAKE
                assert self.answered.setdefault(request, "admitted") == "admitted"
            case Refuse(request, _):
                assert request not in self.answered
                self.answered[request] = "refused"
                self.open.discard(request)

    def check(self) -> None:
        machine, held = self.machine, {item.request for item in self.machine.held}
        assert len(held) <= LIMITS.queue_depth
        assert held | machine.running <= self.open
        assert bool(self.alive) == (machine.state in (State.WAKING, State.AWAKE, State.DRAINING))
        assert all(request in self.answered or request in held for request in self.open)
        if held or machine.state in (State.WAKING, State.DRAINING, State.FAILED):
            assert next_tick(machine) is not None, "somebody waits for a time that never comes"


@given(EVENTS)
def test_every_sequence_keeps_the_promises(script: list[tuple[str, int, float]]) -> None:
    witness, now = Witness(), 0.0
    for kind, pick, passed in script:
        now += passed
        if kind == "exit" and not witness.alive:
            continue
        event = witness.event(kind, pick, now)
        if event is None:
            continue
        witness.machine, decisions = step(witness.machine, event, LIMITS)
        for decision in decisions:
            witness.note(decision)
        witness.check()
