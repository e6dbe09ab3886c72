"""The keeper of the memory with hand-driven engines and a hand-turned clock."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.clock import ManualClock
from relight.errors import EngineFailed
from relight.lifecycle.budget import Limit
from relight.lifecycle.keeper import Facts, Keeper
from relight.lifecycle.machine import Limits, State
from relight.lifecycle.runner import Runner
from tests.lifecycle.engine import HandEngine, Hangar


@dataclass
class Town:
    """Models whose engines start at once, work when told, and take a moment to go."""

    needs: dict[str, int]
    limit: Limit = field(default_factory=lambda: Limit(10))
    clock: ManualClock = field(default_factory=ManualClock)
    slept: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    alive: set[str] = field(default_factory=set)
    working: set[str] = field(default_factory=set)
    most: int = 0

    def __post_init__(self) -> None:
        self.keeper = Keeper(self.limit, self, self.clock, self.warnings.append)
        self.lives: dict[str, asyncio.Task[None]] = {}
        self.told: dict[str, asyncio.Event] = {}

    # --- House

    def facts(self, model: str) -> Facts:
        idle = model in self.alive and model not in self.working and not self.told[model].is_set()
        return Facts(self.needs[model], idle, 1.0)

    def sleep(self, model: str) -> None:
        assert model in self.alive
        assert model not in self.working
        self.slept.append(model)
        self.told[model].set()

    # --- by hand

    def wake(self, model: str) -> None:
        self.told[model] = asyncio.Event()
        self.lives[model] = asyncio.create_task(self._live(model))

    async def _live(self, model: str) -> None:
        async def launch() -> HandEngine:
            assert model not in self.alive
            self.alive.add(model)
            self._check()
            return HandEngine(0)

        kept = await self.keeper.keep(model, launch)
        await self.told[model].wait()
        await asyncio.sleep(0)  # a process takes a moment to end
        self.alive.discard(model)
        await kept.stop(1)

    def _check(self) -> None:
        self.most = sum(self.needs[name] for name in self.alive)
        assert self.most <= self.limit.size_bytes or len(self.alive) == 1

    async def settle(self, seconds: float = 0) -> None:
        await self.clock.advance(seconds)

    async def end(self) -> None:
        """Everything finishes its work and goes; what waited gets in before that, or something is lost."""
        self.working.clear()
        for _ in range(len(self.needs) + 1):
            await self.settle(1)
        assert all(model in self.alive or life.done() for model, life in self.lives.items())
        for model, life in self.lives.items():
            self.told[model].set()
            await asyncio.gather(life, return_exceptions=True)
        assert self.keeper.held_bytes == 0


async def test_models_that_fit_together_are_let_in_at_once() -> None:
    town = Town({"a": 4, "b": 6})
    town.wake("a")
    town.wake("b")
    await town.settle()
    assert (town.alive, town.keeper.held_bytes) == ({"a", "b"}, 10)
    await town.end()


async def test_idle_model_makes_room_and_is_gone_before_the_other_starts() -> None:
    town = Town({"a": 6, "b": 6})
    town.wake("a")
    await town.settle()
    town.wake("b")
    await town.settle()
    assert (town.slept, town.alive) == (["a"], {"b"})
    await town.end()


async def test_model_that_is_used_more_stays() -> None:
    town = Town({"a": 4, "b": 4, "c": 4})
    for model in "ab":
        town.wake(model)
        await town.settle()
    for model in "baa":
        town.keeper.used(model)
    town.wake("c")
    await town.settle()
    assert (town.slept, town.alive) == (["b"], {"a", "c"})
    await town.end()


async def test_model_that_was_used_last_stays() -> None:
    town = Town({"a": 4, "b": 4, "c": 4})
    for model in "ab":
        town.wake(model)
        await town.settle()
    town.keeper.used("b")
    await town.settle(600)
    town.keeper.used("a")
    town.wake("c")
    await town.settle()
    assert town.slept == ["b"]
    await town.end()


async def test_model_waits_for_one_that_works_until_it_is_idle() -> None:
    town = Town({"a": 6, "b": 6})
    town.wake("a")
    await town.settle()
    town.working.add("a")
    town.wake("b")
    await town.settle(60)
    assert (town.slept, town.alive) == ([], {"a"})
    town.working.clear()
    await town.settle(0.25)
    assert town.alive == {"b"}
    await town.end()


async def test_waiting_model_is_let_in_at_once_when_told_to_look() -> None:
    town = Town({"a": 6, "b": 6})
    town.wake("a")
    await town.settle()
    town.working.add("a")
    town.wake("b")
    await town.settle()
    town.working.clear()
    town.keeper.look()
    await town.settle()
    assert town.alive == {"b"}
    await town.end()


async def test_first_in_the_queue_is_not_overtaken_by_one_that_would_fit() -> None:
    town = Town({"a": 6, "large": 8, "small": 2})
    town.wake("a")
    await town.settle()
    town.working.add("a")
    town.wake("large")
    town.wake("small")
    await town.settle(5)
    assert town.alive == {"a"}
    town.working.clear()
    await town.settle(1)
    assert town.alive == {"large", "small"}
    await town.end()


async def test_one_that_gives_up_waiting_lets_the_next_one_pass() -> None:
    town = Town({"a": 6, "large": 8, "small": 2})
    town.wake("a")
    await town.settle()
    town.working.add("a")
    town.wake("large")
    town.wake("small")
    await town.settle()
    town.lives["large"].cancel()
    await town.settle()
    assert town.alive == {"a", "small"}
    await town.end()


async def test_launch_that_fails_gives_its_room_back() -> None:
    town = Town({"a": 6})

    async def launch() -> HandEngine:
        raise EngineFailed("engine x does not start")

    with pytest.raises(EngineFailed, match="does not start"):
        await town.keeper.keep("a", launch)
    assert town.keeper.held_bytes == 0


async def test_kept_engine_is_the_one_that_was_started_and_gives_back_once() -> None:
    town = Town({"a": 6})
    engine = HandEngine(3)

    async def launch() -> HandEngine:
        return engine

    kept = await town.keeper.keep("a", launch)
    assert kept.socket == engine.socket
    engine.become_ready()
    await kept.ready()
    engine.crash("engine exited with code 4")
    assert (await kept.exited()).message == "engine exited with code 4"
    await kept.stop(1)
    await town.keeper.reserve("a")
    await kept.stop(1)
    assert town.keeper.held_bytes == 6
    town.keeper.release("a")


async def test_model_larger_than_what_was_measured_is_let_in_alone_with_a_warning() -> None:
    town = Town({"a": 2, "huge": 3 * 2**30}, Limit(2**30))
    town.wake("a")
    await town.settle()
    town.wake("huge")
    await town.settle()
    assert town.alive == {"huge"}
    assert town.warnings == ['model "huge": needs about 3GiB of memory awake, there are 1GiB; it is started alone']
    town.wake("a")
    await town.settle()
    assert (town.slept, town.alive) == (["a", "huge"], {"a"})
    await town.end()


async def test_model_larger_than_what_was_configured_is_refused_with_both_numbers() -> None:
    town = Town({"huge": 3 * 2**30}, Limit(2**30, is_configured=True))
    with pytest.raises(EngineFailed) as caught:
        await town.keeper.reserve("huge")
    assert caught.value.message == 'model "huge": needs about 3GiB of memory awake, server.memory is 1GiB'
    assert caught.value.hint == "raise server.memory, or lower models.huge.context or parallel"
    assert (town.keeper.held_bytes, town.warnings) == (0, [])


NAMES = ["a", "b", "c", "d", "e"]
STEPS = st.lists(
    st.tuples(st.sampled_from(["wake", "work", "rest", "cancel", "stop", "wait"]), st.sampled_from(NAMES)), max_size=40
)


@given(st.lists(st.integers(0, 13), min_size=5, max_size=5), STEPS)
def test_whatever_happens_the_limit_holds_and_all_who_wait_get_in(needs: list[int], steps: list[tuple[str, str]]) -> None:
    async def play() -> None:
        town = Town(dict(zip(NAMES, needs, strict=True)))
        for what, model in steps:
            life = town.lives.get(model)
            is_over = life is None or life.done()
            match what:
                case "wake" if is_over:
                    town.keeper.used(model)
                    town.wake(model)
                case "work" if town.facts(model).is_idle if model in town.told else False:
                    town.working.add(model)
                case "rest":
                    town.working.discard(model)
                case "cancel" if life is not None and model not in town.alive:
                    life.cancel()
                case "stop" if model in town.alive and model not in town.working:
                    town.told[model].set()
                case "wait":
                    await town.settle(1)
            await asyncio.sleep(0)
        await town.end()

    asyncio.run(play())


async def test_runners_share_the_memory() -> None:
    clock, hangars = ManualClock(), {name: Hangar() for name in "ab"}
    runners: dict[str, Runner] = {}

    class House:
        def facts(self, model: str) -> Facts:
            status = runners[model].status()
            return Facts(6, status.state is State.AWAKE and not status.running and not status.waiting, 1.0)

        def sleep(self, model: str) -> None:
            runners[model].sleep()

    keeper = Keeper(Limit(10), House(), clock, lambda text: None)
    for name, hangar in hangars.items():
        runners[name] = Runner(name, Limits(), partial(keeper.keep, name, hangar.launch), clock, hangar)
    runners["a"].wake()
    await clock.advance(0)
    hangars["a"].engines[0].become_ready()
    await clock.advance(0)
    runners["b"].wake()
    await clock.advance(0)
    assert [runners[name].status().state for name in "ab"] == [State.ASLEEP, State.WAKING]
    assert (hangars["a"].engines[0].is_running, len(hangars["b"].engines)) == (False, 1)
    for runner in runners.values():
        await runner.stop()
    assert keeper.held_bytes == 0
