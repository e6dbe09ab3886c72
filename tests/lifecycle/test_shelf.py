"""The shelf with a real store, slots driven by hand, and a hand-turned clock."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from relight.clock import ManualClock
from relight.errors import EngineCrashed, EngineFailed, RelightError, SnapshotError
from relight.lifecycle.measured import Measured
from relight.lifecycle.shelf import Means, Shelf
from relight.prefixes.key import Chain
from relight.prefixes.key import chain as chain_of
from relight.prefixes.snapshot import About
from relight.prefixes.store import Entry, Store
from tests.prefixes.samples import GROUND, payload

ENGINE = Path("/nowhere/engine.sock")
RULES, MORE = "You are a ship's cook.", "Never waste a potato."


@dataclass(frozen=True)
class Reading:
    """A prefix that a slot has read."""

    cached: int
    seconds: float


@dataclass
class Gate:
    """Whoever comes waits until it is opened."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)


class HandSlots:
    """The slots of an engine without an engine: a letter is a token, and what a slot holds is what its file says.

    `asked` lists what it was asked, and what was given up. An action waits at its gate, and raises what `fails` has for it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        self.chats: list[dict[str, Any]] = []
        self.texts: list[str] = []
        self.names: list[str] = []
        self.fails: dict[str, list[RelightError]] = {}
        self.cached = 0
        self._gates: dict[str, Gate] = {}
        self._held: dict[int, list[int]] = {}

    def hold(self, action: str) -> Gate:
        """Have `action`, such as "restore 0", wait."""
        self._gates[action] = Gate()
        return self._gates[action]

    async def tokens(self, chat: dict[str, Any]) -> list[int]:
        self.chats.append(chat)
        await self._act("tokens")
        text = str(chat.get("tools", "")) + "".join(f"<{said['role']}>{said['content']}" for said in chat["messages"])
        return list(text.encode())

    async def read(self, tokens: list[int], slot: int) -> Reading:
        self.texts.append(bytes(tokens).decode())
        await self._act(f"read {slot}")
        self._held[slot] = tokens
        return Reading(self.cached, len(tokens) / 100)

    async def save(self, slot: int, name: str) -> int:
        await self._act(f"save {slot}")
        (self.folder / name).write_bytes(bytes(self._held[slot]))
        return len(self._held[slot])

    async def restore(self, slot: int, name: str) -> int:
        self.names.append(name)
        await self._act(f"restore {slot}")
        return len((self.folder / name).read_bytes())  # the engine opens it when it comes to it

    async def _act(self, action: str) -> None:
        self.asked.append(action)
        gate = self._gates.get(action)
        try:
            if gate is not None:
                gate.reached.set()
                await gate.opened.wait()
        except asyncio.CancelledError:
            self.asked.append(f"{action} given up")
            raise
        if failures := self.fails.get(action):
            raise failures.pop(0)


class SlowStore(Store):
    """A store on a disk that takes its time."""

    def __init__(self, folder: Path, clock: ManualClock) -> None:
        super().__init__(folder, clock=clock)
        self.goes = threading.Event()
        self.goes.set()

    def entries(self, ground: str) -> dict[str, Entry]:
        found = super().entries(ground)
        assert self.goes.wait(60)
        return found

    def open_for_engine(self, entry: Entry, folder: Path) -> Path:
        assert self.goes.wait(60)
        return super().open_for_engine(entry, folder)


class Bench:
    """A shelf with everything around it in the test's hands."""

    def __init__(self, folder: Path) -> None:
        self.run = folder / "run"
        self.run.mkdir()
        self.clock = ManualClock()
        self.notes: list[str] = []
        self.store = SlowStore(folder / "snapshots", self.clock)
        self.engine = HandSlots(self.run)
        self.shelf = self.another()

    def another(
        self,
        *,
        folder: Callable[[], Path] | None = None,
        ground: Callable[[], str] = lambda: GROUND,
        measured: Measured | None = None,
    ) -> Shelf:
        """A shelf whose engine has another folder, or another ground, or of which something was measured before."""
        slots, measured = folder or (lambda: self.run), Measured() if measured is None else measured
        return Shelf(Means(self.store, slots, ground, lambda _: self.engine, self.clock, self._note, measured=measured))

    def bake(self, chain: Chain, name: str = "cook", *, data: bytes = b"state", prefill_s: float = 2.0) -> Entry:
        """Have a snapshot in the store."""
        assert chain.prefix is not None
        about = About(ground=GROUND, prefix=chain.prefix, label=name, tokens=300, prefill_s=prefill_s, made_at=1.0)
        return self.store.add(payload(self.run / "made.bin", data), about)

    def begin(self, chain: Chain | None = None) -> Chain:
        """With a snapshot of the chain, by default that of the rules and a question, a new engine starts."""
        chain = chat() if chain is None else chain
        self.bake(chain)
        self.shelf.begin()
        return chain

    async def restore(self, chain: Chain, slot: int = 0) -> int | None:
        """How many tokens were taken back."""
        restored = await self.shelf.restore(chain, slot, ENGINE)
        return None if restored is None else restored.tokens

    def files(self) -> list[str]:
        """What lies in the engine's folder."""
        return sorted(path.name for path in self.run.iterdir())

    def _note(self, severity: str, text: str) -> None:
        self.notes.append(f"{severity}: {text}")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def body(*system: str, said: str = "What is for dinner?", **settings: Any) -> bytes:
    """A chat request."""
    messages = [{"role": "system", "content": text} for text in system] + [{"role": "user", "content": said}]
    return msgspec.json.encode({**settings, "messages": messages})


def chat(*system: str, said: str = "What is for dinner?", **settings: Any) -> Chain:
    """The keys of a chat, by default one with rules."""
    return chain_of(body(*(system or (RULES,)), said=said, **settings))


def flip(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])


async def looked() -> None:
    """Return when nothing looks for snapshots, fetches or checks one."""
    while tasks := {task for task in asyncio.all_tasks() if "snapshot" in task.get_name()}:
        await asyncio.wait(tasks)


# --- which one


async def test_nothing_known_gives_nothing(bench: Bench) -> None:
    assert await bench.restore(chat()) is None  # nobody has looked
    bench.shelf.begin()
    assert await bench.restore(chat()) is None
    assert (bench.engine.asked, bench.notes, bench.files()) == ([], [], [])
    assert not bench.shelf.knows(chat())


async def test_snapshot_is_given_to_the_slot_and_its_file_is_gone_afterwards(bench: Bench) -> None:
    chain = bench.begin()
    restored = await bench.restore(chain, 1)
    assert restored is not None
    assert bench.engine.asked == ["restore 1"]
    assert bench.files() == []
    assert bench.shelf.knows(chain)
    assert bench.shelf.ground == GROUND


async def test_longest_snapshot_that_fits_is_chosen(bench: Bench) -> None:
    bench.bake(chat(RULES), data=b"short")
    bench.bake(chat(RULES, MORE), data=b"long" * 100)
    bench.shelf.begin()
    long, short = await bench.restore(chat(RULES, MORE, said="Soup?")), await bench.restore(chat(RULES, "Be brief."), 1)
    assert long is not None
    assert short is not None
    assert long > 400 > short


async def test_snapshot_of_other_words_or_other_tools_does_not_fit(bench: Bench) -> None:
    bench.begin(chat(RULES))
    assert await bench.restore(chat(MORE)) is None
    assert await bench.restore(chat(RULES, tools=[{"type": "function"}])) is None
    assert bench.engine.asked == []


async def test_snapshot_of_tools_alone_fits_whatever_is_said(bench: Bench) -> None:
    tools = [{"type": "function", "function": {"name": "look"}}]
    bench.begin(chain_of(body(tools=tools)))
    assert await bench.restore(chat(RULES, tools=tools)) is not None


async def test_restored_snapshot_counts_as_used(bench: Bench) -> None:
    entry = bench.bake(chat())
    bench.shelf.begin()
    await bench.restore(chat())
    await asyncio.get_running_loop().shutdown_default_executor()  # it is noted beside the request
    assert entry.path.stat().st_mtime == bench.clock.wall()


# --- whether it is worth it


async def test_slot_that_holds_it_is_left_alone(bench: Bench) -> None:
    chain = bench.begin()
    assert await bench.restore(chain, 0) is not None
    assert await bench.restore(chain, 0) is None
    assert await bench.restore(chat(said="And for tea?"), 0) is None
    assert await bench.restore(chain, 1) is not None  # another slot holds nothing
    bench.shelf.holds(2, chain)
    assert await bench.restore(chain, 2) is None


async def test_slot_told_to_hold_something_else_is_restored(bench: Bench) -> None:
    chain = bench.begin()
    await bench.restore(chain, 0)
    bench.shelf.holds(0, chat(MORE))
    assert await bench.restore(chain, 0) is not None
    bench.shelf.forget(0)
    assert await bench.restore(chain, 0) is not None


async def test_what_the_engine_was_asked_since_its_start_is_left_to_its_memory(bench: Bench) -> None:
    chain = bench.begin()
    bench.shelf.answered(chain, 0, 0)
    bench.shelf.answered(chat(MORE), 0, 0)  # the slot holds something else now, the engine's memory still has it
    assert await bench.restore(chain, 0) is None
    assert await bench.restore(chain, 1) is None
    assert bench.engine.asked == []


async def test_engine_that_was_asked_for_more_remembers_the_shorter_one_too(bench: Bench) -> None:
    bench.begin(chat(RULES))
    bench.shelf.answered(chat(RULES, MORE), 0, 0)
    assert await bench.restore(chat(RULES, MORE), 1) is None
    assert await bench.restore(chat(RULES), 1) is None


@pytest.mark.parametrize(("cached", "is_forgotten"), [(0, True), (149, True), (150, False), (300, False), (None, False)])
async def test_answer_shows_that_the_engine_has_forgotten(bench: Bench, cached: int | None, is_forgotten: bool) -> None:
    chain = bench.begin()
    await bench.restore(chain, 0)
    bench.shelf.answered(chain, 0, 299)
    bench.shelf.answered(chain, 1, cached)
    assert (await bench.restore(chain, 2) is not None) is is_forgotten


async def test_restored_again_is_remembered_again(bench: Bench) -> None:
    chain = bench.begin()
    await bench.restore(chain, 0)
    for cached in (299, 0, 299):
        bench.shelf.answered(chain, 0, cached)
    assert await bench.restore(chain, 1) is None


async def test_prompt_that_is_read_as_fast_is_not_restored(bench: Bench) -> None:
    bench.bake(chat(), prefill_s=0.01)
    bench.shelf.begin()
    assert await bench.restore(chat()) is None
    assert bench.shelf.knows(chat())


async def test_measured_slowness_is_weighed_against_reading(bench: Bench) -> None:
    """One megabyte at 1 GB a second leaves a gain of 20.5 ms; after one slow restore half that speed is expected."""
    chain = chat()
    bench.bake(chain, data=bytes(10**6), prefill_s=0.0215)
    bench.shelf.begin()
    assert await bench.restore(chain, 0) is not None
    gate = bench.engine.hold("restore 1")
    slow = asyncio.create_task(bench.restore(chain, 1))
    await gate.reached.wait()
    await bench.clock.advance(3)
    gate.opened.set()
    assert await slow is not None
    assert await bench.restore(chain, 2) is None


async def test_time_of_a_restore_is_told(bench: Bench) -> None:
    chain = bench.begin()
    gate = bench.engine.hold("restore 0")
    restoring = asyncio.create_task(bench.shelf.restore(chain, 0, ENGINE))
    await gate.reached.wait()
    await bench.clock.advance(0.25)
    gate.opened.set()
    restored = await restoring
    assert restored is not None
    assert restored.seconds == 0.25


# --- what goes wrong


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


DAMAGES = pytest.mark.parametrize("damage", [flip, cut, Path.unlink], ids=["flipped", "cut", "gone"])


@DAMAGES
async def test_damaged_snapshot_is_told_once_and_not_used(bench: Bench, damage: Callable[[Path], None]) -> None:
    entry = bench.bake(chat())
    bench.shelf.begin()
    await looked()
    damage(entry.path)
    for _ in range(2):
        assert await bench.restore(chat()) is None
    bench.shelf.begin()
    assert await bench.restore(chat()) is None
    assert len(bench.notes) == 1
    assert bench.notes[0].startswith("WARNING: snapshot cook: not used: ")
    assert (bench.engine.asked, bench.files()) == ([], [])


@pytest.mark.parametrize("damage", [flip, cut], ids=["flipped", "cut"])
async def test_snapshot_made_anew_after_damage_is_used(bench: Bench, damage: Callable[[Path], None]) -> None:
    entry = bench.bake(chat())
    bench.shelf.begin()
    await looked()
    damage(entry.path)
    assert await bench.restore(chat()) is None
    bench.shelf.add(bench.bake(chat()))
    assert await bench.restore(chat()) is not None


async def test_damaged_snapshot_is_told_once_to_several_who_wait(bench: Bench) -> None:
    entry = bench.bake(chat())
    bench.shelf.begin()
    await looked()
    flip(entry.path)
    assert await asyncio.gather(*(bench.restore(chat(), slot) for slot in range(3))) == [None, None, None]
    assert len(bench.notes) == 1
    assert bench.files() == []


async def test_snapshot_that_vanishes_after_it_was_checked_is_told(bench: Bench) -> None:
    entry = bench.bake(chat())
    bench.shelf.expect(chat())
    await looked()
    entry.path.unlink()
    bench.shelf.begin()
    await looked()
    bench.shelf.add(entry)  # as a listing that was made before
    assert await bench.restore(chat()) is None
    assert bench.notes == ["WARNING: snapshot cook: not used: it is gone"]
    assert (bench.engine.asked, bench.files()) == ([], [])


@pytest.mark.parametrize("error", [SnapshotError("engine: no"), EngineFailed("engine: no")], ids=["snapshot", "engine"])
async def test_snapshot_that_an_engine_refuses_is_told_once_and_never_tried_again(bench: Bench, error: RelightError) -> None:
    chain = bench.begin()
    bench.engine.fails["restore 0"] = [error]
    for _ in range(3):
        assert await bench.restore(chain) is None
        bench.shelf.begin()
    assert bench.notes == ["WARNING: snapshot cook: not used: engine: no"]
    assert (bench.engine.asked, bench.files()) == (["restore 0"], [])
    assert bench.shelf.knows(chain)  # so that nobody makes it again


async def test_snapshot_that_an_engine_ends_over_is_not_given_to_the_next(bench: Bench) -> None:
    chain = bench.begin()
    bench.engine.fails["restore 0"] = [EngineCrashed("engine: gone")]
    with pytest.raises(EngineCrashed, match="gone"):
        await bench.restore(chain)
    assert bench.files() == []
    bench.shelf.begin()
    assert await bench.restore(chain) is None
    bench.shelf.expect(chain)
    await looked()
    assert (bench.engine.asked, bench.files()) == (["restore 0"], [])
    assert bench.notes == ["WARNING: snapshot cook: not used again: engine: gone"]


class Written(Measured):
    """Says when it has been written."""

    def __init__(self, file: Path) -> None:
        super().__init__(file)
        self.written = threading.Event()

    def keep(self) -> None:
        super().keep()
        self.written.set()


async def after_a_crash(bench: Bench, file: Path, chain: Chain) -> None:
    """An engine ended over the snapshot of `chain`, and so did the process that had started it."""
    measured = Written(file)
    shelf = bench.another(measured=measured)
    shelf.begin()
    bench.engine.fails["restore 0"] = [EngineCrashed("engine: gone")]
    with pytest.raises(EngineCrashed):
        await shelf.restore(chain, 0, ENGINE)
    assert await asyncio.to_thread(measured.written.wait, 60)  # beside the request
    bench.engine.asked.clear()


async def test_snapshot_that_an_engine_ended_over_is_not_tried_by_the_next_process(bench: Bench, tmp_path: Path) -> None:
    chain = bench.begin()
    await after_a_crash(bench, tmp_path / "m.json", chain)
    shelf = bench.another(measured=Measured(tmp_path / "m.json"))
    shelf.begin()
    assert await shelf.restore(chain, 0, ENGINE) is None
    assert (bench.engine.asked, shelf.spare(1)) == ([], None)
    assert not shelf.knows(chain)  # what is made anew may be sound


async def test_snapshot_that_was_made_anew_is_tried_whatever_became_of_the_one_before(bench: Bench, tmp_path: Path) -> None:
    chain = bench.begin()
    await after_a_crash(bench, tmp_path / "m.json", chain)
    bench.bake(chain, data=b"another state")
    shelf = bench.another(measured=Measured(tmp_path / "m.json"))
    shelf.begin()
    assert await shelf.restore(chain, 0, ENGINE) is not None
    assert shelf.knows(chain)


async def test_same_bytes_made_anew_are_no_better_and_not_made_a_third_time(bench: Bench, tmp_path: Path) -> None:
    chain = bench.begin()
    await after_a_crash(bench, tmp_path / "m.json", chain)
    shelf = bench.another(measured=Measured(tmp_path / "m.json"))
    shelf.begin()
    await looked()
    shelf.add(bench.bake(chain))
    assert await shelf.restore(chain, 0, ENGINE) is None
    assert shelf.knows(chain)


async def test_snapshot_that_was_proved_is_tried_again(bench: Bench, tmp_path: Path) -> None:
    chain = bench.begin()
    await after_a_crash(bench, tmp_path / "m.json", chain)
    proof = Measured(tmp_path / "m.json")
    proof.load(GROUND)
    for entry in bench.store.all():
        proof.absolve(entry.manifest.payload_sha256)
    proof.keep()
    shelf = bench.another(measured=Measured(tmp_path / "m.json"))
    shelf.begin()
    assert await shelf.restore(chain, 0, ENGINE) is not None


async def test_slowness_that_was_measured_before_the_restart_is_known_after_it(bench: Bench, tmp_path: Path) -> None:
    slow = Measured(tmp_path / "m.json")
    slow.load(GROUND)
    for _ in range(60):
        slow.taken(1.0)  # a byte a second, as a folder may be that is far away
    slow.keep()
    chain = chat()
    bench.bake(chain, data=b"state" * 100, prefill_s=2.0)
    for measured, is_taken in ((Measured(tmp_path / "m.json"), False), (None, True)):
        shelf = bench.another(measured=measured)
        shelf.begin()
        assert (await shelf.restore(chain, 0, ENGINE) is not None) is is_taken


async def test_shorter_snapshot_takes_the_place_of_one_that_an_engine_ended_over(bench: Bench) -> None:
    bench.bake(chat(RULES), "short", data=b"short")
    bench.begin(chat(RULES, MORE))
    bench.engine.fails["restore 0"] = [EngineCrashed("engine: gone")]
    with pytest.raises(EngineCrashed):
        await bench.restore(chat(RULES, MORE))
    bench.shelf.begin()
    assert await bench.restore(chat(RULES, MORE)) is not None


async def test_slot_holds_nothing_known_after_a_refusal(bench: Bench) -> None:
    chain = bench.begin()
    bench.shelf.holds(0, chat(MORE))
    bench.engine.fails["restore 0"] = [SnapshotError("engine: no")]
    await bench.restore(chain)
    assert bench.shelf.slot_of(chat(MORE)) is None


async def test_engine_folder_that_cannot_be_made_is_told(bench: Bench) -> None:
    def folder() -> Path:
        raise PermissionError(13, "Permission denied")

    bench.bake(chat())
    shelf = bench.another(folder=folder)
    shelf.begin()
    shelf.expect(chat())
    assert await shelf.restore(chat(), 0, ENGINE) is None
    assert bench.notes == ["WARNING: snapshot cook: not used: the engine's folder cannot be made: Permission denied"]


async def test_ground_that_cannot_be_known_is_told_and_looked_for_again(bench: Bench) -> None:
    answers: list[OSError | str] = [OSError("disk is away"), GROUND]

    def ground() -> str:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    bench.bake(chat())
    shelf = bench.another(ground=ground)
    shelf.begin()
    assert await shelf.restore(chat(), 0, ENGINE) is None
    assert bench.notes == ["WARNING: prefixes: cannot be looked for: disk is away"]
    assert shelf.ground == ""
    shelf.begin()
    assert await shelf.restore(chat(), 0, ENGINE) is not None


# --- before the engine is there


async def test_expected_snapshot_is_checked_once_while_the_engine_loads(bench: Bench) -> None:
    entry = bench.bake(chat())
    bench.shelf.expect(chat())
    bench.shelf.begin()
    bench.shelf.expect(chat(said="And for tea?"))  # a second request that waits
    await looked()
    assert len(bench.files()) == 1
    (checked,) = bench.files()
    flip(entry.path)  # a second check would see it
    assert await bench.restore(chat()) is not None
    assert (bench.engine.names, bench.files(), bench.notes) == ([checked], [], [])


async def test_second_wake_expects_as_the_first(bench: Bench) -> None:
    chain = bench.begin()
    await bench.restore(chain)
    bench.shelf.answered(chain, 0, 299)
    bench.shelf.expect(chain)  # the engine has gone meanwhile; the next one is not there
    await looked()
    (checked,) = bench.files()
    bench.shelf.begin()
    assert await bench.restore(chain) is not None
    assert bench.engine.names[1] == checked


async def test_expectation_of_nothing_or_of_what_does_not_pay_opens_nothing(bench: Bench) -> None:
    bench.bake(chat(), prefill_s=0.01)
    for chain in (Chain(), chat(MORE), chat()):
        bench.shelf.expect(chain)
    await looked()
    assert (bench.files(), bench.notes) == ([], [])


async def test_damage_found_while_the_engine_loads_is_told_by_who_restores(bench: Bench) -> None:
    entry = bench.bake(chat())
    bench.shelf.begin()
    await looked()
    flip(entry.path)
    bench.shelf.expect(chat())
    await looked()
    assert bench.notes == []
    assert await bench.restore(chat()) is None
    assert len(bench.notes) == 1


async def test_file_that_nobody_came_for_goes_with_the_wake_after_the_next(bench: Bench) -> None:
    bench.bake(chat())
    bench.shelf.expect(chat())
    await looked()
    bench.shelf.begin()
    await looked()
    assert len(bench.files()) == 1
    bench.shelf.begin()
    await looked()
    assert bench.files() == []
    assert await bench.restore(chat()) is not None


# --- several, and those who leave


async def test_two_requests_restore_the_same_snapshot_into_two_slots(bench: Bench) -> None:
    chain = bench.begin()
    gates = [bench.engine.hold(f"restore {slot}") for slot in range(2)]
    tasks = [asyncio.create_task(bench.restore(chain, slot)) for slot in range(2)]
    for gate in gates:
        await gate.reached.wait()
    gates[0].opened.set()
    assert await tasks[0] is not None
    assert len(bench.files()) == 1, "taken away from the other, whose engine has not opened it yet"
    gates[1].opened.set()
    assert await tasks[1] is not None
    assert (bench.files(), bench.notes) == ([], [])
    assert len(set(bench.engine.names)) == 1  # checked once


async def test_client_that_leaves_while_the_engine_restores_leaves_nothing(bench: Bench) -> None:
    chain = bench.begin()
    bench.shelf.holds(0, chat(MORE))
    gate = bench.engine.hold("restore 0")
    task = asyncio.create_task(bench.restore(chain))
    await gate.reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (bench.files(), bench.notes) == ([], [])
    assert bench.shelf.slot_of(chain) is None
    assert bench.shelf.slot_of(chat(MORE)) is None  # what the slot held may be gone
    gate.opened.set()
    assert await bench.restore(chain) is not None


async def test_client_that_leaves_while_the_file_is_checked_leaves_nothing(bench: Bench) -> None:
    chain = bench.begin()
    await looked()
    bench.store.goes.clear()
    task = asyncio.create_task(bench.restore(chain))
    await bench.clock.advance(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    bench.store.goes.set()
    await looked()
    await bench.clock.advance(0)
    assert (bench.files(), bench.engine.asked) == ([], [])
    assert await bench.restore(chain) is not None


async def test_one_of_two_leaves_and_the_other_has_its_snapshot(bench: Bench) -> None:
    chain = bench.begin()
    gates = [bench.engine.hold(f"restore {slot}") for slot in range(2)]
    leaving, staying = (asyncio.create_task(bench.restore(chain, slot)) for slot in range(2))
    for gate in gates:
        await gate.reached.wait()
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    gates[1].opened.set()
    assert await staying is not None
    assert bench.files() == []


# --- slots, and what is made meanwhile


async def test_new_engine_holds_nothing(bench: Bench) -> None:
    chain = bench.begin()
    await bench.restore(chain)
    bench.shelf.answered(chain, 0, 299)
    assert bench.shelf.slot_of(chain) == 0
    bench.shelf.begin()
    assert bench.shelf.slot_of(chain) is None
    assert await bench.restore(chain) is not None


def test_slot_that_holds_most_of_a_request_is_known(bench: Bench) -> None:
    conversation = chain_of(
        msgspec.json.encode(
            {
                "messages": [
                    {"role": "system", "content": RULES},
                    {"role": "user", "content": "What is for dinner?"},
                    {"role": "assistant", "content": "Potatoes."},
                    {"role": "user", "content": "Again?"},
                ]
            }
        )
    )
    assert bench.shelf.slot_of(conversation) is None
    bench.shelf.answered(chat(MORE), 0, None)
    assert bench.shelf.slot_of(conversation) is None
    bench.shelf.holds(1, chat(said="Something else"))
    assert bench.shelf.slot_of(conversation) == 1
    bench.shelf.answered(chat(), 2, None)
    assert bench.shelf.slot_of(conversation) == 2


def test_request_that_shares_nothing_has_no_slot(bench: Bench) -> None:
    bench.shelf.answered(chat(), 0, None)
    assert bench.shelf.slot_of(chain_of(body(said="Hello"))) is None
    assert bench.shelf.slot_of(Chain()) is None


async def test_request_that_shares_nothing_takes_no_slots_knowledge(bench: Bench) -> None:
    chain = bench.begin()
    await bench.restore(chain)
    bench.shelf.answered(chain_of(body(said="Hello")), 1, 0)
    assert bench.shelf.slot_of(chain) == 0


async def test_snapshot_made_while_others_are_looked_for_is_kept(bench: Bench) -> None:
    bench.shelf.begin()
    await looked()
    bench.store.goes.clear()
    bench.shelf.begin()
    await bench.clock.advance(0)
    bench.shelf.add(bench.bake(chat()))
    bench.store.goes.set()
    await looked()
    assert bench.shelf.knows(chat())
    assert await bench.restore(chat()) is not None


async def test_snapshot_that_another_instance_made_is_found_at_the_next_wake(bench: Bench) -> None:
    bench.shelf.begin()
    assert await bench.restore(chat()) is None
    bench.begin()
    assert await bench.restore(chat()) is not None


# --- spare slots


async def test_spare_slot_is_offered_what_takes_longest_to_read_and_nobody_has(bench: Bench) -> None:
    small, large = chat(), chat(MORE)
    bench.bake(small, "small", prefill_s=1.0)
    bench.bake(large, "large", prefill_s=9.0)
    bench.shelf.begin()
    assert await bench.restore(small) is not None
    spare = bench.shelf.spare(2)
    assert spare is not None
    assert (spare[0], spare[1].manifest.label) == (1, "large")
    assert await bench.shelf.fill(*spare, ENGINE)
    assert bench.shelf.slot_of(large) == 1
    assert bench.shelf.spare(2) is None
    assert bench.shelf.spare(3) is None  # nothing is left that a slot does not hold
    assert await bench.restore(large, 1) is None


async def test_slot_that_was_used_for_anything_is_not_spare(bench: Bench) -> None:
    bench.begin(chat(MORE))
    await bench.shelf.restore(Chain(), 0, ENGINE)
    bench.shelf.answered(Chain(), 0, None)
    assert bench.shelf.spare(1) is None
    assert bench.shelf.spare(2) is not None


async def test_spare_slot_that_could_not_be_filled_is_told_and_not_offered_the_same_again(bench: Bench) -> None:
    bench.begin(chat(MORE))
    await bench.shelf.restore(Chain(), 0, ENGINE)
    bench.engine.fails["restore 0"] = [EngineFailed("engine: no")]
    spare = bench.shelf.spare(1)
    assert spare is not None
    assert not await bench.shelf.fill(*spare, ENGINE)
    assert len(bench.notes) == 1
    assert bench.shelf.spare(1) is None


# --- a folder that hangs


async def test_request_does_not_wait_for_a_folder_that_hangs(bench: Bench) -> None:
    asked = bench.begin()
    bench.store.goes.clear()
    bench.shelf = bench.another()
    bench.shelf.begin()
    waiting = asyncio.create_task(bench.restore(asked))
    await bench.clock.advance(5)
    assert await waiting is None
    bench.store.goes.set()


async def test_snapshot_that_is_checked_longer_than_reading_takes_is_left(bench: Bench) -> None:
    asked = bench.begin()
    await bench.shelf.restore(Chain(), 0, ENGINE)
    bench.store.goes.clear()
    waiting = asyncio.create_task(bench.restore(asked))
    await bench.clock.advance(0)
    await bench.clock.advance(2)
    assert await waiting is None
    assert "takes longer" in bench.notes[0]
    bench.store.goes.set()
