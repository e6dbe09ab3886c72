"""The runner with a hand-turned clock and hand-driven engines."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relight.clock import ManualClock
from relight.errors import EngineFailed, QueueFull, RelightError, Stopping, WakeTimeout
from relight.lifecycle.machine import Limits, State
from relight.lifecycle.runner import Runner
from tests.lifecycle.engine import Hangar

LIMITS = Limits(
    slots=8, queue_depth=3, wake_timeout_s=10, idle_after_s=60, drain_grace_s=5, backoff_s=1, backoff_max_s=8, start_limit_s=100
)


class Stage:
    """A runner with everything around it in the test's hands."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.clock = ManualClock()
        self.hangar = Hangar()
        self.runner = Runner("smol", limits, self.hangar.launch, self.clock, self.hangar)
        self.outcomes: list[str] = []

    async def request(self, name: str, hold: asyncio.Event) -> None:
        try:
            with self.runner.ask() as ticket:
                await ticket.turn()
                self.outcomes.append(f"{name} admitted")
                await hold.wait()
        except RelightError as error:
            self.outcomes.append(f"{name} {error.code}")

    async def settle(self) -> None:
        await self.clock.advance(0)


@pytest.fixture
def stage() -> Stage:
    return Stage()


def released() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


async def test_concurrent_requests_join_one_wake(stage: Stage) -> None:
    tasks = [asyncio.create_task(stage.request(name, released())) for name in "abc"]
    await stage.settle()
    assert stage.runner.status().state is State.WAKING
    assert stage.runner.status().waiting == 3
    stage.hangar.engines[0].become_ready()
    await asyncio.gather(*tasks)
    assert sorted(stage.outcomes) == ["a admitted", "b admitted", "c admitted"]
    assert len(stage.hangar.engines) == 1


async def test_idle_engine_sleeps_and_a_request_wakes_a_new_one(stage: Stage) -> None:
    task = asyncio.create_task(stage.request("a", released()))
    await stage.settle()
    stage.hangar.engines[0].become_ready()
    await task
    await stage.clock.advance(59)
    assert stage.runner.status().state is State.AWAKE
    await stage.clock.advance(2)
    assert stage.runner.status().state is State.ASLEEP
    assert not stage.hangar.engines[0].is_running
    task = asyncio.create_task(stage.request("b", released()))
    await stage.settle()
    stage.hangar.engines[1].become_ready()
    await task
    assert stage.outcomes == ["a admitted", "b admitted"]


async def test_asking_for_the_status_neither_wakes_nor_keeps_awake(stage: Stage) -> None:
    for _ in range(5):
        assert stage.runner.status().state is State.ASLEEP
    stage.runner.wake()
    await stage.settle()
    stage.hangar.engines[0].become_ready()
    await stage.settle()
    for _ in range(7):
        stage.runner.status()
        await stage.clock.advance(10)
    assert stage.runner.status().state is State.ASLEEP
    assert len(stage.hangar.engines) == 1


async def test_late_wake_refuses_the_request_and_goes_on(stage: Stage) -> None:
    task = asyncio.create_task(stage.request("a", released()))
    await stage.clock.advance(10.5)
    await task
    assert stage.outcomes == [f"a {WakeTimeout.code}"]
    assert stage.runner.status().state is State.WAKING
    stage.hangar.engines[0].become_ready()
    await stage.request("b", released())
    assert stage.outcomes[-1] == "b admitted"


async def test_failed_start_is_told_with_its_reason_and_retried_after_the_back_off(stage: Stage) -> None:
    task = asyncio.create_task(stage.request("a", released()))
    await stage.settle()
    stage.hangar.engines[0].crash("engine exited with code 7")
    await task
    await stage.request("b", released())
    assert stage.outcomes == [f"a {EngineFailed.code}", f"b {EngineFailed.code}"]
    assert stage.runner.status().last_error == "engine exited with code 7"
    assert len(stage.hangar.engines) == 1
    await stage.clock.advance(1.5)
    task = asyncio.create_task(stage.request("c", released()))
    await stage.settle()
    stage.hangar.engines[1].become_ready()
    await task
    assert stage.outcomes[-1] == "c admitted"


async def test_crash_of_an_awake_engine_is_heard_and_the_next_request_wakes_another(stage: Stage) -> None:
    hold = asyncio.Event()
    task = asyncio.create_task(stage.request("a", hold))
    await stage.settle()
    stage.hangar.engines[0].become_ready()
    await stage.settle()
    stage.hangar.engines[0].crash()
    await stage.settle()
    assert stage.runner.status().state is State.ASLEEP
    assert "smol failed: engine exited with code 1" in stage.hangar.heard
    hold.set()
    await task
    task = asyncio.create_task(stage.request("b", released()))
    await stage.settle()
    stage.hangar.engines[1].become_ready()
    await task
    assert stage.outcomes == ["a admitted", "b admitted"]


async def test_sleep_lets_running_requests_finish(stage: Stage) -> None:
    hold = asyncio.Event()
    task = asyncio.create_task(stage.request("a", hold))
    await stage.settle()
    stage.hangar.engines[0].become_ready()
    await stage.settle()
    assert stage.runner.sleep().state is State.DRAINING
    await stage.clock.advance(4)
    assert stage.hangar.engines[0].is_running
    hold.set()
    await task
    await stage.settle()
    assert not stage.hangar.engines[0].is_running


async def test_grace_bounds_the_drain(stage: Stage) -> None:
    hold = asyncio.Event()
    task = asyncio.create_task(stage.request("a", hold))
    await stage.settle()
    stage.hangar.engines[0].become_ready()
    await stage.settle()
    stage.runner.sleep()
    await stage.clock.advance(5.1)
    assert not stage.hangar.engines[0].is_running
    hold.set()
    await task


async def test_stop_while_waking_refuses_and_leaves_nothing(stage: Stage) -> None:
    task = asyncio.create_task(stage.request("a", released()))
    await stage.settle()
    await stage.runner.stop()
    await task
    assert stage.outcomes == [f"a {Stopping.code}"]
    assert not any(engine.is_running for engine in stage.hangar.engines)


async def test_client_that_gives_up_leaves_the_wake_alone(stage: Stage) -> None:
    task = asyncio.create_task(stage.request("a", released()))
    await stage.settle()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert stage.runner.status().waiting == 0
    stage.hangar.engines[0].become_ready()
    await stage.settle()
    assert stage.runner.status().state is State.AWAKE


async def test_more_than_the_queue_holds_is_refused_at_once(stage: Stage) -> None:
    tasks = [asyncio.create_task(stage.request(name, released())) for name in "abcd"]
    await stage.settle()
    assert stage.outcomes == [f"d {QueueFull.code}"]
    stage.hangar.engines[0].become_ready()
    await asyncio.gather(*tasks)


async def test_launch_that_raises_something_unforeseen_is_a_failure_not_a_hang(stage: Stage) -> None:
    async def broken() -> None:
        raise ValueError("boom")

    runner = Runner("smol", LIMITS, broken, stage.clock, stage.hangar)  # type: ignore[arg-type]
    with pytest.raises(EngineFailed, match="boom"), runner.ask() as ticket:
        await ticket.turn()
    assert runner.status().state is State.FAILED


async def test_stop_with_one_held_behind_a_drain_starts_nothing(stage: Stage) -> None:
    hold = asyncio.Event()
    first = asyncio.create_task(stage.request("a", hold))
    await stage.settle()
    stage.hangar.engines[0].become_ready()
    await stage.settle()
    stage.runner.sleep()
    second = asyncio.create_task(stage.request("b", released()))
    await stage.settle()
    stopping = asyncio.create_task(stage.runner.stop())
    await stage.settle()
    hold.set()
    await asyncio.gather(first, second, stopping)
    assert stage.outcomes == ["a admitted", f"b {Stopping.code}"]
    assert len(stage.hangar.engines) == 1


async def test_engine_that_never_answers_is_told_as_a_failure(stage: Stage) -> None:
    stage.runner.wake()
    await stage.clock.advance(101)
    assert stage.runner.status().state is State.ASLEEP  # stopped, failed, and the back-off is over
    assert any("did not answer within 100 s" in line for line in stage.hangar.heard)
    assert not stage.hangar.engines[0].is_running


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["request", "leave", "finish", "ready", "crash", "wake", "sleep", "advance"]), st.integers(0, 7)),
    max_size=25,
)


@settings(max_examples=150, deadline=None)
@given(ACTIONS)
def test_any_interleaving_answers_everybody_and_leaves_nothing(script: list[tuple[str, int]]) -> None:
    asyncio.run(_interleave(script))


class Players:
    """The clients of one stage."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.holds: list[asyncio.Event] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def play(self, action: str, number: int) -> None:
        engines = self.stage.hangar.engines
        match action:
            case "request":
                self.holds.append(asyncio.Event())
                self.tasks.append(asyncio.create_task(self.stage.request(str(len(self.tasks)), self.holds[-1])))
            case "leave" if self.tasks:
                self.tasks[number % len(self.tasks)].cancel()
            case "finish" if self.holds:
                self.holds[number % len(self.holds)].set()
            case "ready" | "crash" if engines:
                {"ready": engines[-1].become_ready, "crash": engines[-1].crash}[action]()
            case "wake" | "sleep":
                {"wake": self.stage.runner.wake, "sleep": self.stage.runner.sleep}[action]()
            case "advance":
                await self.stage.clock.advance((0.1, 1, 3, 6, 11, 30, 61, 120)[number])

    async def go_home(self) -> list[object]:
        for hold in self.holds:
            hold.set()
        await self.stage.clock.advance(200)
        return await asyncio.gather(*self.tasks, return_exceptions=True)


async def _interleave(script: list[tuple[str, int]]) -> None:
    stage = Stage()
    players = Players(stage)
    for action, number in script:
        await players.play(action, number)
        if number % 2:
            await stage.settle()
    results = await players.go_home()
    assert all(result is None or isinstance(result, asyncio.CancelledError) for result in results), results
    await stage.runner.stop()
    assert not any(engine.is_running for engine in stage.hangar.engines)
    status = stage.runner.status()
    assert (status.running, status.waiting) == (0, 0)
    await stage.settle()
    assert asyncio.all_tasks() == {asyncio.current_task()}
