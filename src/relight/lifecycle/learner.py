"""Quiet moments of an engine: spare slots are given snapshots, and what requests share is read alone and saved. Never in
anybody's way.

What users say is not part of it: a slot that is saved has been told to hold the shared part and nothing else.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from relight.errors import RelightError, SnapshotError
from relight.lifecycle.machine import State
from relight.lifecycle.runner import Runner
from relight.lifecycle.shelf import Means, Shelf
from relight.lifecycle.turns import Claim
from relight.prefixes.boundary import shared_part
from relight.prefixes.key import Chain
from relight.prefixes.loss import Loss, loss
from relight.prefixes.make import Made, make
from relight.prefixes.snapshot import About, reason
from relight.prefixes.stability import Break
from relight.prefixes.store import Entry
from relight.values import format_bytes

_QUIET_S: Final = 1.0
"""An engine that has had nothing to do for this long is asked to read for us."""
_LOOK_S: Final = 0.05  # how soon it is seen that somebody wants the engine
# Worth a file: what two requests shared and took half a second to read, or one that took so long that it is surely an agent's.
_PAYS_AT_ONCE_S: Final = 5.0
_PAYS_TWICE_S: Final = 0.5
_MOST_CANDIDATES: Final = 16
_MOST_FAILED: Final = 64
_MOST_BROKEN: Final = 16
_FEW_TOKENS: Final = 64  # too few to measure a rate with

_T = TypeVar("_T")


class Candidate(Struct):
    """Something that requests share and nobody has saved."""

    chain: Chain
    chat: dict[str, Any]
    share: float
    """Part of a request's text that it is."""
    tokens: float
    """About as many."""
    seen: int = 0


class Answered(Struct, frozen=True, kw_only=True):
    """A request that was answered, and what its answer told."""

    chain: Chain
    body: bytes
    """As the engine was asked."""
    slot: int
    prompt: int | None
    """Tokens."""
    cached: int | None
    """Of them, those that the engine knew."""
    prefill_s: float
    """Time that reading the others took."""
    broken: Break | None = None
    """Where its beginning parts from the client's last one."""
    interaction: str = ""
    """Id of its record."""


class Learner:
    """Watches the requests of one model."""

    def __init__(self, runner: Runner, shelf: Shelf, means: Means, *, learns: bool = True, history: bool = False) -> None:
        self._runner, self._shelf, self._means = runner, shelf, means
        self._learns, self._history = learns, history
        self._conversations: dict[int, Answered] = {}
        self._saved: dict[int, Entry] = {}
        self._candidates: dict[str, Candidate] = {}
        self._broken: deque[Answered] = deque(maxlen=_MOST_BROKEN)
        self._task: asyncio.Task[None] | None = None
        self._failed: deque[str] = deque(maxlen=_MOST_FAILED)  # keys; they would fail again
        self._busy_at = 0.0
        self._is_refused = False
        self._is_stopping = False

    def saw(self, it: Answered) -> None:
        """A request was answered."""
        self._busy_at = self._means.clock.now()
        fresh = (it.prompt or 0) - (it.cached or 0)
        if fresh >= _FEW_TOKENS:
            self._means.measured.read(it.prefill_s / fresh)
            self._shelf.keep_measured()
        if it.chain.prefix is not None and self._is_new(it.chain):
            self._note(it.chain, it.chain.prefix, it.body, it.prompt or 0)
        if self._history and it.chain.links:
            self._conversations[it.slot] = it
        if it.broken is not None:
            self._broken.append(it)
        if not self._is_stopping and self._has_work() and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._work_when_quiet(), name="learn prefixes")

    async def finish(self, within_s: float) -> None:
        """The server stops: save what is worth it, the most valuable first, as long as there is time."""
        self._is_stopping = True
        if self._task is not None:
            await _end(self._task)
        if self._is_quiet() and (self._worth() or self._unsaved() is not None):
            await self._unless(self._means.clock.sleep(within_s), asyncio.create_task(self._save_all(), name="learn prefixes"))

    # --- inside

    def _is_new(self, chain: Chain) -> bool:
        is_hopeless = self._is_refused or chain.prefix in self._failed
        return self._learns and not is_hopeless and not self._shelf.knows(chain)

    def _note(self, chain: Chain, key: str, body: bytes, prompt: int) -> None:
        candidate = self._candidates.pop(key, None)
        if candidate is None:
            chat = shared_part(msgspec.json.decode(body))
            share = len(msgspec.json.encode(chat)) / max(len(body), 1)
            candidate = Candidate(chain, chat, share, 0.0)
            while len(self._candidates) >= _MOST_CANDIDATES:
                self._candidates.pop(next(iter(self._candidates)))
        candidate.seen += 1
        candidate.tokens = candidate.share * prompt
        self._candidates[key] = candidate

    def _has_work(self) -> bool:
        return bool(self._broken or self._shelf.spare(self._runner.slots) or self._worth() or self._unsaved() is not None)

    async def _work_when_quiet(self) -> None:
        while self._has_work():
            busy_at = self._busy_at
            await self._means.clock.sleep(busy_at + _QUIET_S - self._means.clock.now())
            if self._runner.status().state is not State.AWAKE:
                return
            if not self._is_quiet():
                self._busy_at = self._means.clock.now()
            elif self._busy_at == busy_at:
                await self._fill()
                await self._count_losses()
                await self._save_all()
                self._busy_at = self._means.clock.now()

    async def _fill(self) -> None:
        """Have spare slots hold what others will most likely ask for."""
        while self._is_quiet() and (spare := self._shelf.spare(self._runner.slots)) is not None:
            slot, entry = spare
            try:
                with self._runner.ask(Claim(size=1 << 30, prefers=slot)) as ticket:
                    turn = await ticket.turn()
                    if turn.slot != slot or not await self._shelf.fill(slot, entry, turn.address):
                        return
            except RelightError:
                return  # the engine is gone; whoever asks next hears of it

    async def _count_losses(self) -> None:
        """Say what broken beginnings cost: until now it was estimated by their text."""
        while self._broken and self._is_quiet():
            it = self._broken.popleft()
            if not await self._count(it):
                self._broken.appendleft(it)
                return

    async def _count(self, it: Answered) -> bool:
        """Count what one cost; false when somebody came and wanted the engine."""
        if it.broken is None:
            return True
        try:
            with self._runner.ask(None) as ticket:  # no slot: it does not generate
                await ticket.awake()
                slots = self._means.slots(self._runner.address())
                counting = asyncio.create_task(loss(slots, it.broken), name="count a loss")
                counted = await self._unless(self._wanted(), counting)
        except RelightError:
            return True  # the estimate stays
        if counted is not None:
            self._tell(it, it.broken, counted)
        return counted is not None

    def _tell(self, it: Answered, broken: Break, counted: Loss) -> None:
        """Tokens that the engine knew by itself, in another slot, were not read again."""
        fresh = max((it.prompt or 0) - (it.cached or 0), 0)
        tokens = min(counted.tokens, fresh)
        rate = it.prefill_s / fresh if fresh >= _FEW_TOKENS else self._means.measured.seconds_a_token
        seconds = round(tokens * rate, 3)
        fields = {"interaction": it.interaction, "what": broken.what, "where": broken.where}
        self._means.fact(
            f"{broken.what} at {broken.where}: {counted.tokens} of {counted.of} tokens stand behind it, "
            f"{tokens} were read again, {seconds:.1f} s",
            {"prefix_break": {**fields, "tokens": tokens, "seconds": seconds, "by": "tokens"}},
        )

    async def _save_all(self) -> None:
        await self._save_conversations()  # first: to learn something overwrites a slot
        await self._learn_all()

    def _unsaved(self) -> int | None:
        """A slot whose conversation is not saved, and is worth it."""
        if self._is_refused or not self._shelf.ground:
            return None
        paying = (
            slot
            for slot, it in self._conversations.items()
            if (it.prompt or 0) * self._means.measured.seconds_a_token >= _PAYS_TWICE_S
        )
        return next(paying, None)

    async def _save_conversations(self) -> None:
        while self._is_quiet() and (slot := self._unsaved()) is not None:
            chain = self._conversations.pop(slot).chain
            try:
                await self._save(slot, chain)
            except RelightError as error:
                self._means.note("WARNING", f"prefixes: conversation not saved: {error}")
                return

    async def _save(self, slot: int, chain: Chain) -> None:
        """Save what a slot holds as it is, in place of what was saved of the same conversation before."""
        key = chain.links[-1]
        name = f"{key[:32]}.bin"
        with self._runner.ask(Claim(size=1 << 30, prefers=slot)) as ticket:
            turn = await ticket.turn()
            if turn.slot != slot or not self._shelf.has(slot, chain):
                return
            tokens = await self._means.slots(turn.address).save(slot, name)
        entry = await self._keep(
            name, key, f"conversation, {tokens} tokens", tokens, tokens * self._means.measured.seconds_a_token
        )
        before, self._saved[slot] = self._saved.get(slot), entry
        if before is not None and before.manifest.prefix in chain.links[:-1]:
            self._shelf.drop(before)
            await asyncio.to_thread(self._means.store.remove, before)

    async def _learn_all(self) -> None:
        while self._is_quiet() and (worth := self._worth()):
            if not await self._learn(worth[0]):
                return

    def _worth(self) -> list[Candidate]:
        """What pays, the most valuable first."""
        if self._is_refused or not self._shelf.ground:
            return []
        paying = [candidate for candidate in self._candidates.values() if self._pays(candidate)]
        return sorted(paying, key=lambda candidate: candidate.seen * candidate.tokens, reverse=True)

    def _pays(self, candidate: Candidate) -> bool:
        if self._shelf.knows(candidate.chain):
            return False  # somebody else has made it meanwhile
        seconds = candidate.tokens * self._means.measured.seconds_a_token
        return seconds >= (_PAYS_AT_ONCE_S if candidate.seen < 2 else _PAYS_TWICE_S)

    def _is_quiet(self) -> bool:
        status = self._runner.status()
        return status.state is State.AWAKE and not status.running and not status.waiting

    async def _learn(self, candidate: Candidate) -> bool:
        """Save one; false when somebody came and wanted the engine."""
        key = candidate.chain.prefix or ""
        try:
            made = await self._make(candidate)
            if made is None:
                return False
            # Whatever becomes of it: it is not made again while a thread still works on its file.
            self._candidates.pop(key, None)
            seconds = made.seconds if not made.cached else made.tokens * self._means.measured.seconds_a_token
            await self._keep(made.name, key, f"learned, {made.tokens} tokens", made.tokens, seconds)
        except RelightError as error:
            self._candidates.pop(key, None)
            self._failed.append(key)
            self._means.note("WARNING", f"prefixes: not saved: {error}")
        return True

    async def _make(self, candidate: Candidate) -> Made | None:
        """A slot's file; `None` when somebody came and wanted the engine."""
        with self._runner.ask(Claim(size=1 << 30, prefers=self._shelf.slot_of(candidate.chain))) as ticket:
            turn = await ticket.turn()
            slot = turn.slot or 0
            self._shelf.forget(slot)
            making = asyncio.create_task(make(self._means.slots(turn.address), candidate.chat, slot), name="make a snapshot")
            made = await self._unless(self._wanted(), making)
            if made is not None:
                self._shelf.holds(slot, candidate.chain)
            return made

    async def _wanted(self) -> None:
        """Return when somebody else wants the engine, or it shall sleep."""
        while (status := self._runner.status()).state is State.AWAKE and status.running <= 1 and not status.waiting:
            await self._means.clock.sleep(_LOOK_S)

    async def _unless(self, ending: Coroutine[Any, Any, None], task: asyncio.Task[_T]) -> _T | None:
        """What `task` returns or raises; `None`, and it is ended, when `ending` comes first."""
        end = asyncio.create_task(ending, name="end of learning")
        try:
            await asyncio.wait({task, end}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            await _end(end, task)

    async def _keep(self, name: str, key: str, label: str, tokens: int, seconds: float) -> Entry:
        about = About(
            ground=self._shelf.ground,
            prefix=key,
            label=label,
            tokens=tokens,
            prefill_s=seconds,
            made_at=self._means.clock.wall(),
        )
        try:
            payload = self._means.folder() / name
            entry = await asyncio.to_thread(self._means.store.add, payload, about)
        except OSError as error:
            self._is_refused = True
            raise SnapshotError(f"the engine's folder cannot be made: {reason(error)}") from error
        except SnapshotError as error:
            # A folder that takes nothing now will take nothing later; one that has no room for this may have for another.
            self._is_refused = isinstance(error.__cause__, OSError)
            raise
        self._shelf.add(entry)
        size = format_bytes(entry.manifest.payload_bytes)
        self._means.note("INFO", f"saved: {label} ({size}), which take {seconds:.1f} s to read")
        return entry


async def _end(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()
