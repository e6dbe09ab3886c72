"""The learner with a real runner, shelf and store, engines and slots driven by hand, and a hand-turned clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from relight.clock import ManualClock
from relight.errors import EngineCrashed, EngineFailed, RelightError, SnapshotError
from relight.lifecycle.learner import Answered, Learner
from relight.lifecycle.machine import Limits, State
from relight.lifecycle.runner import Runner
from relight.lifecycle.shelf import Means, Shelf
from relight.lifecycle.turns import Claim
from relight.prefixes.key import chain as chain_of
from relight.prefixes.stability import Break, compare
from relight.prefixes.store import Entry, Store
from tests.lifecycle.engine import HandEngine, Hangar
from tests.lifecycle.test_shelf import HandSlots, body, chat
from tests.prefixes.samples import GROUND

SECRET = "my landlord's name is Oswald"
RULES = "Never waste a potato. " * 100
SECONDS_A_TOKEN = 0.001


class Stage:
    """A learner with everything around it in the test's hands. A letter is a token."""

    def __init__(self, folder: Path, *, slots: int = 1, max_bytes: int | None = None) -> None:
        self.run = folder / "run"
        self.run.mkdir()
        self.folder = folder / "snapshots"
        self.clock = ManualClock()
        self.hangar = Hangar()
        self.slots = HandSlots(self.run)
        self.notes: list[str] = []
        self.facts: list[dict[str, Any]] = []
        self._news = asyncio.Event()
        self.store = Store(self.folder, max_bytes=max_bytes, clock=self.clock)
        self.means = Means(
            self.store, lambda: self.run, lambda: GROUND, lambda _: self.slots, self.clock, self._note, fact=self._fact
        )
        self.shelf = Shelf(self.means)
        limits = Limits(slots=slots, idle_after_s=600, drain_grace_s=30)
        self.runner = Runner("smol", limits, self._launch, self.clock, self.hangar)
        self.learner = Learner(self.runner, self.shelf, self.means)

    async def wake(self) -> None:
        """Have an engine awake that has looked for its snapshots."""
        self.runner.wake()
        await self.clock.advance(0)
        self.hangar.engines[-1].become_ready()
        await self.clock.advance(0)
        with self.runner.ask(Claim()) as ticket:
            await self.shelf.restore(chat(), 0, (await ticket.turn()).address)

    async def broken(self, before: bytes, after: bytes, *, cached: int = 0) -> Break:
        """A request whose beginning is not that of the one before, answered."""
        broken = compare(msgspec.json.decode(before), msgspec.json.decode(after))
        assert broken is not None
        await self.answer(after, cached=cached, broken=broken)
        return broken

    async def answer(
        self,
        asked: bytes,
        *,
        cached: int = 0,
        takes_s: float = 0.0,
        reads_s: float | None = None,
        broken: Break | None = None,
    ) -> int | None:
        """A request and its answer; how many tokens were taken back for it."""
        chain = chain_of(asked)
        with self.runner.ask(Claim(size=len(asked))) as ticket:
            turn = await ticket.turn()
            assert turn.slot is not None
            restored = await self.shelf.restore(chain, turn.slot, turn.address)
            await self.clock.advance(takes_s)
            self.shelf.answered(chain, turn.slot, cached)
            spent = (len(asked) - cached) * SECONDS_A_TOKEN if reads_s is None else reads_s
            answered = Answered(
                chain=chain,
                body=asked,
                slot=turn.slot,
                prompt=len(asked),
                cached=cached,
                prefill_s=spent,
                broken=broken,
                interaction="i1",
            )
            self.learner.saw(answered)
        return None if restored is None else restored.tokens

    async def twice(self, *rules: str) -> None:
        """Two requests that share their rules."""
        for said in (SECRET, "What is for dinner?"):
            await self.answer(body(*(rules or (RULES,)), said=said))

    async def told(self, count: int) -> list[str]:
        """What was noted, once it is so much."""
        while len(self.notes) < count:
            self._news.clear()
            await self._news.wait()
        return self.notes

    async def learned(self, count: int = 1) -> list[Entry]:
        """The snapshots, once so many things were told in a quiet moment."""
        await self.clock.advance(1)
        await self.told(count)
        await self.clock.advance(0)
        return self.store.all()

    @property
    def reads(self) -> int:
        """How often a slot was asked to read."""
        return sum(asked.startswith("read") and not asked.endswith("given up") for asked in self.slots.asked)

    async def _launch(self) -> HandEngine:
        self.shelf.begin()
        return await self.hangar.launch()

    def _fact(self, _text: str, fields: dict[str, Any]) -> None:
        self.facts.append(fields)

    def _note(self, severity: str, text: str) -> None:
        self.notes.append(f"{severity}: {text}")
        self._news.set()


Make = Callable[..., Stage]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    """Makes the stage; at the end the server stops, and nothing is left."""
    stages: list[Stage] = []

    def one(*, slots: int = 1, max_bytes: int | None = None) -> Stage:
        stages.append(Stage(tmp_path, slots=slots, max_bytes=max_bytes))
        return stages[-1]

    before = asyncio.all_tasks()
    yield one
    for stage in stages:
        stage.runner.sleep()
        await stage.learner.finish(0)
        await stage.runner.stop()
        await stage.clock.advance(0)
    assert {task.get_name() for task in asyncio.all_tasks() - before - {asyncio.current_task()}} == set()


@pytest.fixture
async def stage(make: Make) -> Stage:
    stage = make()
    await stage.wake()
    return stage


def rules(letters: int, name: str = "a") -> str:
    """A system prompt of its own."""
    return name * letters


def left() -> set[str]:
    """The tasks of the learner."""
    names = {"learn prefixes", "make a snapshot", "count a loss", "end of learning"}
    return names & {task.get_name() for task in asyncio.all_tasks()}


# --- what is learned


async def test_single_cheap_request_teaches_nothing(stage: Stage) -> None:
    await stage.answer(body(RULES))
    await stage.clock.advance(60)
    assert (stage.slots.asked, stage.notes, left()) == ([], [], set())


async def test_what_two_requests_share_is_learned_in_a_quiet_moment(stage: Stage) -> None:
    await stage.twice()
    moment = stage.clock.wall() + 1
    await stage.clock.advance(0.9)
    assert stage.slots.asked == []
    (entry,) = await stage.learned()
    assert stage.slots.asked == ["tokens", "tokens", "read 0", "save 0"]
    assert stage.notes[0].startswith("INFO: saved: learned, ")
    assert entry.manifest.prefix == chat(RULES).prefix
    assert entry.manifest.ground == GROUND
    assert entry.manifest.tokens == len(f"<system>{RULES}<user>")
    assert entry.manifest.prefill_s == entry.manifest.tokens / 100
    assert entry.manifest.made_at == moment
    assert list(stage.run.iterdir()) == []
    assert left() == set()


async def test_long_prefix_is_learned_at_once(stage: Stage) -> None:
    await stage.answer(body(rules(6000)))
    assert len(await stage.learned()) == 1


@pytest.mark.parametrize("letters", [100, 300])
async def test_short_prefix_is_not_worth_a_file_however_often_it_comes(stage: Stage, letters: int) -> None:
    for _ in range(5):
        await stage.answer(body(rules(letters)))
    await stage.clock.advance(60)
    assert stage.slots.asked == []


async def test_requests_that_share_nothing_teach_nothing(stage: Stage) -> None:
    for _ in range(3):
        await stage.answer(body(said=SECRET * 500))
    await stage.clock.advance(60)
    assert stage.slots.asked == []


async def test_nothing_is_learned_before_a_rate_was_measured(stage: Stage) -> None:
    """An answer from memory says nothing of how long reading takes."""
    for _ in range(3):
        await stage.answer(body(RULES), cached=len(body(RULES)) - 10, reads_s=9.0)
    await stage.clock.advance(60)
    assert stage.slots.asked == []


async def test_no_words_of_a_user_are_read_or_saved(stage: Stage) -> None:
    await stage.twice()
    (entry,) = await stage.learned()
    assert stage.slots.texts == [f"<system>{RULES}<user>"]
    assert not any(SECRET in str(asked) for asked in stage.slots.chats)
    assert SECRET.encode() not in entry.path.read_bytes()


async def test_most_valuable_is_learned_first(stage: Stage) -> None:
    for letters, name in ((1000, "a"), (3000, "b"), (2000, "c")):
        await stage.twice(rules(letters, name))
    assert len(await stage.learned(3)) == 3
    assert [text[8] for text in stage.slots.texts] == ["b", "c", "a"]


async def test_often_used_is_more_valuable_than_long(stage: Stage) -> None:
    await stage.twice(rules(2000, "a"))
    for _ in range(3):
        await stage.twice(rules(1000, "b"))
    await stage.learned(2)
    assert [text[8] for text in stage.slots.texts] == ["b", "a"]


@pytest.mark.parametrize(("others", "is_remembered"), [(15, True), (16, False)])
async def test_candidates_are_bounded_and_the_oldest_goes(stage: Stage, others: int, is_remembered: bool) -> None:
    await stage.answer(body(rules(2000, "f")))
    for number in range(others):
        await stage.answer(body(f"Rule {number}: be brief."))
    await stage.answer(body(rules(2000, "f")))
    await stage.clock.advance(1)
    assert bool(stage.slots.asked) is is_remembered
    if is_remembered:
        await stage.told(1)


async def test_time_of_what_the_slot_knew_already_is_reckoned(stage: Stage) -> None:
    stage.slots.cached = 1000
    await stage.twice()
    (entry,) = await stage.learned()
    assert entry.manifest.prefill_s == pytest.approx(entry.manifest.tokens * SECONDS_A_TOKEN)


async def test_learned_is_known_and_restored_by_the_next_engine(stage: Stage) -> None:
    await stage.twice()
    await stage.learned()
    assert stage.shelf.knows(chat(RULES))
    assert stage.shelf.slot_of(chat(RULES)) == 0
    assert await stage.answer(body(RULES)) is None  # this engine has it in its slot
    stage.runner.sleep()
    await stage.clock.advance(1)
    await stage.wake()
    restored = await stage.answer(body(RULES))
    assert restored is not None
    assert restored > len(RULES)
    await stage.twice()
    await stage.clock.advance(60)
    assert stage.reads == 1


async def test_known_prefix_is_not_learned_again(stage: Stage) -> None:
    await stage.twice()
    (entry,) = await stage.learned()
    stage.slots.asked.clear()
    await stage.twice()
    await stage.clock.advance(60)
    assert stage.slots.asked == []
    assert stage.store.all() == [entry]


async def test_prefix_that_another_has_made_meanwhile_is_not_made_again(stage: Stage) -> None:
    await stage.twice()
    (entry,) = await stage.learned()
    stage.shelf._entries.clear()
    await stage.twice()
    stage.shelf.add(entry)
    await stage.clock.advance(60)
    assert stage.reads == 1
    assert left() == set()


async def test_rate_of_the_process_before_says_what_pays(make: Make) -> None:
    stage = make()
    stage.means.measured.read(SECONDS_A_TOKEN)
    await stage.wake()
    for _ in range(2):  # answers from memory measure nothing
        await stage.answer(body(RULES), cached=len(body(RULES)) - 10)
    assert len(await stage.learned()) == 1


# --- what broken beginnings cost


YESTERDAY, TODAY = (body(f"Today is {day}. {RULES}") for day in ("2026-11-21", "2026-11-22"))


async def test_tokens_that_a_break_cost_are_counted_in_a_quiet_moment(stage: Stage) -> None:
    await stage.broken(YESTERDAY, TODAY)
    await stage.clock.advance(0.9)
    assert stage.slots.asked == []
    await stage.clock.advance(0.1)
    assert stage.slots.asked == ["tokens"] * 4
    assert not any(asked["messages"][-1]["content"] == "What is for dinner?" for asked in stage.slots.chats)
    tokens = len(f"2. {RULES}<user>")
    (told,) = (fact["prefix_break"] for fact in stage.facts)
    assert told == {
        "interaction": "i1",
        "what": "a date",
        "where": "messages.0, line 1",
        "tokens": tokens,
        "seconds": pytest.approx(tokens * SECONDS_A_TOKEN, abs=1e-3),
        "by": "tokens",
    }
    assert left() == set()


async def test_tokens_that_the_engine_knew_all_the_same_cost_nothing(stage: Stage) -> None:
    await stage.broken(YESTERDAY, TODAY, cached=len(TODAY) - 40)
    await stage.clock.advance(1)
    (told,) = (fact["prefix_break"] for fact in stage.facts)
    assert told["tokens"] == 40


async def test_request_that_comes_while_a_loss_is_counted_does_not_wait(stage: Stage) -> None:
    await stage.broken(YESTERDAY, TODAY)
    gate = stage.slots.hold("tokens")
    await stage.clock.advance(1)
    await gate.reached.wait()
    await stage.answer(body(said="Hello"), takes_s=0.1)
    assert stage.slots.asked == ["tokens", "tokens given up"]
    gate.opened.set()
    await stage.clock.advance(1)
    assert [fact["prefix_break"]["by"] for fact in stage.facts] == ["tokens"]


@pytest.mark.parametrize("error", [EngineFailed("engine: no"), EngineCrashed("engine: gone")])
async def test_loss_that_cannot_be_counted_stays_an_estimate(stage: Stage, error: RelightError) -> None:
    stage.slots.fails["tokens"] = [error]
    await stage.broken(YESTERDAY, TODAY)
    await stage.clock.advance(60)
    assert (stage.slots.asked, stage.facts, left()) == (["tokens"], [], set())


async def test_sleeping_engine_counts_nothing_until_it_is_awake_again(stage: Stage) -> None:
    await stage.broken(YESTERDAY, TODAY)
    stage.runner.sleep()
    await stage.clock.advance(60)
    assert (stage.slots.asked, len(stage.hangar.engines)) == ([], 1)
    await stage.wake()
    await stage.answer(body("Be brief."))
    await stage.clock.advance(1)
    assert len(stage.facts) == 1


# --- in nobody's way


async def test_nothing_is_learned_while_a_request_runs(stage: Stage) -> None:
    await stage.twice()
    await stage.answer(body(said="Hello"), takes_s=60)
    assert stage.slots.asked == []
    assert len(await stage.learned()) == 1


async def test_quiet_moment_begins_with_the_last_answer(stage: Stage) -> None:
    await stage.twice()
    await stage.clock.advance(0.9)
    await stage.answer(body("Be brief."))
    await stage.clock.advance(0.9)
    assert stage.slots.asked == []
    await stage.clock.advance(0.1)
    assert stage.slots.asked[0] == "tokens"
    await stage.told(1)


async def test_sleeping_engine_learns_nothing(stage: Stage) -> None:
    await stage.twice()
    stage.runner.sleep()
    await stage.clock.advance(60)
    assert (stage.slots.asked, left()) == ([], set())
    assert len(stage.hangar.engines) == 1


async def test_what_was_not_learned_before_the_sleep_is_learned_after_it(stage: Stage) -> None:
    await stage.twice()
    stage.runner.sleep()
    await stage.clock.advance(60)
    await stage.wake()
    await stage.answer(body("Be brief."))
    assert len(await stage.learned()) == 1


@pytest.mark.parametrize("slots", [1, 2])
async def test_request_that_comes_while_it_reads_has_its_turn(make: Make, slots: int) -> None:
    """With one slot it waits for that; with two it has one at once, and shares the engine's time with the learner."""
    stage = make(slots=slots)
    await stage.wake()
    await stage.twice()
    gate = stage.slots.hold("read 0")
    await stage.clock.advance(1)
    await gate.reached.wait()
    assert stage.runner.status().running == 1
    asked, done = body("Be brief."), asyncio.Event()

    async def request() -> None:
        with stage.runner.ask(Claim(size=len(asked))) as ticket:
            await ticket.turn()
            await done.wait()

    task = asyncio.create_task(request())
    await stage.clock.advance(0.05)
    assert stage.slots.asked[-1] == "read 0 given up"
    status = stage.runner.status()
    assert (status.running, status.waiting) == (1, 0)
    await stage.clock.advance(30)
    assert (stage.reads, stage.notes) == (1, [])
    done.set()
    await task
    gate.opened.set()
    assert len(await stage.learned()) == 1
    assert stage.reads == 2


async def test_slot_holds_nothing_known_after_a_reading_was_given_up(stage: Stage) -> None:
    await stage.twice("Be brief.")
    await stage.twice()
    gate = stage.slots.hold("read 0")
    stage.shelf.holds(0, chat("Be brief."))
    await stage.clock.advance(1)
    await gate.reached.wait()
    assert stage.shelf.slot_of(chat("Be brief.")) is None
    request = asyncio.create_task(stage.answer(body(said="Hello")))
    await stage.clock.advance(0.05)
    await request
    assert stage.slots.asked[-1] == "read 0 given up"
    assert stage.shelf.slot_of(chat(RULES)) is None


async def test_model_that_shall_sleep_does_not_wait_for_the_learner(stage: Stage) -> None:
    await stage.twice()
    gate = stage.slots.hold("read 0")
    await stage.clock.advance(1)
    await gate.reached.wait()
    assert stage.runner.sleep().state is State.DRAINING
    await stage.clock.advance(0.05)
    assert stage.slots.asked[-1] == "read 0 given up"
    assert stage.runner.status().state is State.ASLEEP
    assert not stage.hangar.engines[0].is_running


# --- what goes wrong


async def test_store_that_takes_nothing_is_told_once_and_left_alone(stage: Stage) -> None:
    stage.folder.write_text("a file, where a folder should be")
    await stage.twice(rules(3000, "a"))
    await stage.twice(rules(2000, "b"))
    await stage.learned()
    await stage.twice(rules(4000, "c"))
    await stage.clock.advance(60)
    assert stage.reads == 1
    assert len(stage.notes) == 1
    assert stage.notes[0].startswith("WARNING: prefixes: not saved: ")
    assert (list(stage.run.iterdir()), left()) == ([], set())


async def test_prefix_too_large_for_the_store_is_told_once_and_others_are_learned(make: Make) -> None:
    stage = make(max_bytes=2500)
    await stage.wake()
    await stage.twice(rules(3000, "a"))
    await stage.twice(rules(1500, "b"))
    (entry,) = await stage.learned(2)
    assert entry.manifest.prefix == chat(rules(1500, "b")).prefix
    await stage.twice(rules(3000, "a"))
    await stage.clock.advance(60)
    assert (stage.reads, len(stage.notes)) == (2, 2)
    assert stage.notes[0].startswith("WARNING: prefixes: not saved: ")


@pytest.mark.parametrize("error", [EngineFailed("engine: no"), SnapshotError("engine: no")], ids=["engine", "snapshot"])
@pytest.mark.parametrize("action", ["tokens", "read 0", "save 0"])
async def test_prefix_that_the_engine_refuses_is_dropped_and_others_are_learned(
    stage: Stage, action: str, error: RelightError
) -> None:
    stage.slots.fails[action] = [error]
    await stage.twice(rules(3000, "a"))
    await stage.twice(rules(1500, "b"))
    (entry,) = await stage.learned(2)
    assert entry.manifest.prefix == chat(rules(1500, "b")).prefix
    assert stage.notes[0] == "WARNING: prefixes: not saved: engine: no"
    before = list(stage.slots.asked)
    await stage.twice(rules(3000, "a"))
    await stage.clock.advance(60)
    assert stage.slots.asked == before  # it would be refused again


async def test_engine_that_ends_over_a_prefix_is_not_started_for_another(stage: Stage) -> None:
    stage.slots.fails["read 0"] = [EngineCrashed("engine: gone")]
    gate = stage.slots.hold("read 0")
    await stage.twice(rules(3000, "a"))
    await stage.twice(rules(1500, "b"))
    await stage.clock.advance(1)
    await gate.reached.wait()
    stage.hangar.engines[0].crash()
    gate.opened.set()
    await stage.told(1)
    await stage.clock.advance(60)
    assert stage.notes == ["WARNING: prefixes: not saved: engine: gone"]
    assert (stage.reads, len(stage.hangar.engines), left()) == (1, 1, set())


# --- the server stops


async def test_last_moment_saves_what_pays(stage: Stage) -> None:
    await stage.twice(rules(1000, "a"))
    await stage.twice(rules(2000, "b"))
    await stage.answer(body(rules(1000, "c")))
    await stage.learner.finish(4)
    assert len(stage.store.all()) == 2
    assert [text[8] for text in stage.slots.texts] == ["b", "a"]
    assert left() == set()


async def test_last_moment_ends_in_time_when_the_engine_is_slow(stage: Stage) -> None:
    await stage.twice()
    gate = stage.slots.hold("read 0")
    finishing = asyncio.create_task(stage.learner.finish(4))
    await gate.reached.wait()
    await stage.clock.advance(3.9)
    assert not finishing.done()
    await stage.clock.advance(0.1)
    await finishing
    assert stage.slots.asked[-1] == "read 0 given up"
    assert (stage.store.all(), left(), stage.runner.status().running) == ([], set(), 0)


async def test_last_moment_keeps_what_was_saved_before_its_time_was_over(stage: Stage) -> None:
    await stage.twice(rules(2000, "a"))
    await stage.twice(rules(1000, "b"))
    finishing = asyncio.create_task(stage.learner.finish(4))
    await stage.told(1)
    gate = stage.slots.hold("save 0")
    await gate.reached.wait()
    await stage.clock.advance(4)
    await finishing
    assert [entry.manifest.prefix for entry in stage.store.all()] == [chat(rules(2000, "a")).prefix]
    assert left() == set()


async def test_last_moment_goes_on_with_what_was_being_read(stage: Stage) -> None:
    await stage.twice()
    gate = stage.slots.hold("read 0")
    await stage.clock.advance(1)
    await gate.reached.wait()
    gate.opened.set()
    await stage.learner.finish(4)
    assert len(stage.store.all()) == 1
    assert left() == set()


async def test_last_moment_gives_way_to_a_request(stage: Stage) -> None:
    await stage.twice()
    gate = stage.slots.hold("read 0")
    finishing = asyncio.create_task(stage.learner.finish(4))
    await gate.reached.wait()
    request = asyncio.create_task(stage.answer(body(said="Hello")))
    await stage.clock.advance(0.1)
    await asyncio.gather(request, finishing)
    assert stage.store.all() == []


async def test_last_moment_of_a_sleeping_or_busy_engine_does_nothing(stage: Stage) -> None:
    await stage.twice()
    with stage.runner.ask(Claim()) as ticket:
        await ticket.turn()
        await stage.learner.finish(4)
    stage.runner.sleep()
    await stage.clock.advance(0)
    await stage.learner.finish(4)
    assert (stage.slots.asked, left(), len(stage.hangar.engines)) == ([], set(), 1)


async def test_nothing_new_is_begun_after_the_last_moment(stage: Stage) -> None:
    await stage.learner.finish(4)
    await stage.twice()
    assert left() == set()
    await stage.clock.advance(60)
    assert stage.slots.asked == []


# --- conversations


async def test_conversation_is_not_saved_unless_it_may_be(make: Make) -> None:
    stage = make()
    await stage.wake()
    await stage.answer(body(rules(2000), said=SECRET), reads_s=4.0)
    await stage.clock.advance(2)
    assert stage.store.all() == []


async def test_conversation_is_saved_as_its_slot_holds_it_in_a_quiet_moment(make: Make) -> None:
    stage = make()
    stage.learner = Learner(stage.runner, stage.shelf, stage.means, learns=False, history=True)
    await stage.wake()
    asked = body(rules(2000), said=SECRET)
    await stage.slots.read(list(asked), 0)
    await stage.answer(asked, reads_s=4.0)
    (entry,) = await stage.learned()
    assert entry.manifest.prefix == chain_of(asked).links[-1]
    assert entry.manifest.tokens == len(asked)


async def test_conversation_that_went_on_takes_the_place_of_what_was_saved_before(make: Make) -> None:
    stage = make()
    stage.learner = Learner(stage.runner, stage.shelf, stage.means, learns=False, history=True)
    await stage.wake()
    first = [{"role": "system", "content": rules(2000)}, {"role": "user", "content": "One?"}]
    for count, messages in enumerate(
        (first, [*first, {"role": "assistant", "content": "1"}, {"role": "user", "content": "Two?"}]), 1
    ):
        asked = msgspec.json.encode({"messages": messages})
        await stage.slots.read(list(asked), 0)
        await stage.answer(asked, reads_s=4.0)
        await stage.learned(count)
    await stage.clock.advance(0)
    assert [entry.manifest.prefix for entry in stage.store.all()] == [chain_of(asked).links[-1]]
