"""The prefix snapshots of one model: which of them the next request wants, and whether taking it back is worth it.

It knows what each slot of the engine was given since its start. Everything it does is an attempt: whatever fails is told once,
and the request is read from its beginning as if there were no snapshot.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from relight.clock import Clock
from relight.engines.base import Address
from relight.errors import EngineCrashed, EngineFailed, RelightError, SnapshotError
from relight.lifecycle.measured import Measured
from relight.prefixes.key import Chain
from relight.prefixes.make import SlotEngine
from relight.prefixes.snapshot import Manifest, reason
from relight.prefixes.store import Entry, Store

_LOOK_PATIENCE_S: Final = 5.0
_UNKNOWN: Final = ("",)  # what a slot holds that was used for something else than a chat
_LEAST_GAIN_S: Final = 0.02


def _untold(_text: str, _fields: dict[str, Any]) -> None:
    """Facts that nobody asked for."""


@dataclass(frozen=True, slots=True)
class Means:
    """What snapshots of one model are made and used with."""

    store: Store
    folder: Callable[[], Path]
    """Where its engine finds and leaves files of slots."""
    ground: Callable[[], str]
    """What its snapshots can be read by; blocks."""
    slots: Callable[[Address], SlotEngine]
    clock: Clock
    note: Callable[[str, str], None]
    """Told what happened, after its severity."""
    measured: Measured = field(default_factory=Measured)
    """How fast its engine reads and takes back, and what it must not be given."""
    fact: Callable[[str, dict[str, Any]], None] = _untold
    """Told what the log keeps as fields, after a text for people."""


class Restored(Struct, frozen=True):
    """What was taken back for a request."""

    tokens: int
    seconds: float


@dataclass(slots=True)
class _Opened:
    """A file in the engine's folder, for all who want it at the same time: it goes with the last of them."""

    checking: asyncio.Task[Path]
    wake: int
    users: int = 0


class Shelf:
    """The snapshots of one model, and what its slots hold."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._ground = ""
        self._entries: dict[str, Entry] = {}
        self._held: dict[int, tuple[str, ...]] = {}
        self._seen: set[str] = set()
        # What was made and turned out to be of no use, by its key: this process does not have it made again.
        self._useless: set[str] = set()
        self._opened: dict[str, _Opened] = {}
        self._wake = 0
        self._looking: asyncio.Task[None] | None = None

    @property
    def ground(self) -> str:
        """What they can be read by; empty until the first look is done."""
        return self._ground

    def begin(self) -> None:
        """A new engine starts: its slots are empty. Looks for snapshots while it loads."""
        self._held.clear()
        self._seen.clear()
        # Those opened for a wake before the last one: whoever expected them has left.
        for key in [key for key, opened in self._opened.items() if not opened.users and opened.wake < self._wake]:
            self._close(key)
        self._wake += 1
        self.look()

    def look(self) -> None:
        """Look for snapshots in the background: others may have made some."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(), name="look for snapshots")

    def expect(self, chain: Chain) -> None:
        """A request waits for the engine: check its snapshot while the engine loads, and have it in the page cache."""
        if chain.prefix is None:
            return
        if self._looking is None:
            self.look()
        asyncio.create_task(self._fetch(chain), name="fetch a snapshot").add_done_callback(_heard)

    def knows(self, chain: Chain) -> bool:
        """Whether there is a snapshot of what this request shares with others, or one was made and is of no use."""
        entry = self._entries.get(chain.prefix or "")
        return chain.prefix in self._useless or (entry is not None and self._may_be_used(entry))

    def slot_of(self, chain: Chain) -> int | None:
        """The slot that holds most of this request, if one holds what it shares."""
        if chain.prefix is None:
            return None
        depths = {slot: chain.common(links) for slot, links in self._held.items()}
        best = max(depths, key=depths.__getitem__, default=None)
        return best if best is not None and depths[best] > chain.shared else None

    async def restore(self, chain: Chain, slot: int, address: Address) -> Restored | None:
        """Give `slot` the best snapshot for a request, if that is faster than to read the prompt. Never raises but
        `EngineCrashed`, when the engine is gone."""
        await self._settled()
        entry = self._choose(chain, slot)
        if entry is None:
            return None
        return await self._take(entry, slot, address, chain.links[: chain.links.index(entry.manifest.prefix) + 1])

    def answered(self, chain: Chain, slot: int, cached: int | None) -> None:
        """A request was answered in `slot`, and the engine took `cached` tokens of its prompt from memory."""
        self._held[slot] = chain.links or _UNKNOWN
        if chain.prefix is None:
            return
        entry = self._longest(chain)
        if entry is not None and cached is not None and self._has_forgotten(entry.manifest, cached):
            self._seen.discard(entry.manifest.prefix)  # next time the snapshot is taken
        else:
            self._seen.update(chain.links[: chain.shared + 1])

    def holds(self, slot: int, chain: Chain) -> None:
        """`slot` was told to hold what a request shares, and nothing else."""
        self._held[slot] = chain.links[: chain.shared + 1]

    def add(self, entry: Entry) -> None:
        """A snapshot was made. One with the very bytes that an engine ended over is no better than the one before."""
        if not self._may_be_used(entry):
            self._useless.add(entry.manifest.prefix)
        self._entries[entry.manifest.prefix] = entry

    def drop(self, entry: Entry) -> None:
        """A snapshot is being removed."""
        self._entries.pop(entry.manifest.prefix, None)

    def keep_measured(self) -> None:
        """Have what was measured survive this process, beside whatever is done now."""
        if self._means.measured.has_news:
            asyncio.get_running_loop().run_in_executor(None, self._means.measured.keep)

    def has(self, slot: int, chain: Chain) -> bool:
        """Whether a slot holds this very conversation."""
        return self._held.get(slot) == chain.links

    def forget(self, slot: int) -> None:
        """`slot` is being given something else: nobody knows what it holds until somebody says so."""
        self._held.pop(slot, None)

    def spare(self, slots: int) -> tuple[int, Entry] | None:
        """A slot that nobody was given since the engine started, of `slots`, and the snapshot that is most worth having in it."""
        slot = next((slot for slot in range(slots) if slot not in self._held), None)
        if slot is None:
            return None
        known = self._seen.union(*self._held.values())
        waiting = [entry for key, entry in self._entries.items() if key not in known and self._may_be_used(entry)]
        waiting = [entry for entry in waiting if self._pays(entry.manifest)]
        best = max(waiting, key=lambda entry: entry.manifest.prefill_s, default=None)
        return None if best is None else (slot, best)

    async def fill(self, slot: int, entry: Entry, address: Address) -> bool:
        """Give a snapshot to a spare slot before anybody asks for it; false when it could not be."""
        taken = await self._take(entry, slot, address, (entry.manifest.prefix,))
        if taken is not None:
            self._means.note("INFO", f"slot {slot} knows {taken.tokens} tokens of {entry.manifest.label} before anybody asks")
        return taken is not None

    # --- inside

    async def _take(self, entry: Entry, slot: int, address: Address, links: tuple[str, ...]) -> Restored | None:
        """Give a snapshot to a slot, which holds `links` then; `None`, and it is told why, when it could not be."""
        began = self._means.clock.now()
        key = entry.manifest.prefix
        try:
            async with self._checked(entry) as file:
                tokens = await self._give(entry, slot, file.name, address)
        except (SnapshotError, EngineFailed) as error:
            if self._entries.pop(key, None) is not None:  # of several who tried at once, the first tells
                self._means.note("WARNING", f"snapshot {entry.manifest.label}: not used: {error.message}")
            return None
        spent = self._means.clock.now() - began
        self._measure(entry.manifest, spent)
        # Beside the request: the folder may be a mounted bucket.
        asyncio.get_running_loop().run_in_executor(None, self._means.store.used, entry)
        self.keep_measured()
        self._held[slot] = links
        return Restored(tokens, spent)

    def _longest(self, chain: Chain) -> Entry | None:
        """The longest snapshot that fits."""
        entries = (self._entries[key] for key in reversed(chain.links) if key in self._entries)
        return next((entry for entry in entries if self._may_be_used(entry)), None)

    def _may_be_used(self, entry: Entry) -> bool:
        """Whether no engine refused these very bytes or ended over them: one that was made anew, or proved, is another matter."""
        return not self._means.measured.is_barred(entry.manifest.payload_sha256)

    def _choose(self, chain: Chain, slot: int) -> Entry | None:
        """The longest snapshot that fits, unless the engine knows as much by itself, or reads the prompt as fast."""
        entry = self._longest(chain)
        if entry is None or not self._pays(entry.manifest):
            return None
        key = entry.manifest.prefix
        is_held = key in self._held.get(slot, ())
        return None if is_held or key in self._seen else entry  # `_seen`: in the engine's own memory of prompts

    def _pays(self, manifest: Manifest) -> bool:
        return manifest.prefill_s - manifest.payload_bytes / self._means.measured.bytes_a_second > _LEAST_GAIN_S

    def _has_forgotten(self, manifest: Manifest, cached: int) -> bool:
        """Whether the engine was asked for it before, and read it anew."""
        return manifest.prefix in self._seen and cached < manifest.tokens // 2

    def _measure(self, manifest: Manifest, spent_s: float) -> None:
        if spent_s > 0:
            self._means.measured.taken(manifest.payload_bytes / spent_s)

    async def _settled(self) -> None:
        if self._looking is not None:
            await self._within(self._looking, _LOOK_PATIENCE_S)

    async def _within(self, task: asyncio.Task[Any], seconds: float) -> bool:
        """Whether `task` is done within so many seconds; it goes on otherwise. A bucket that hangs holds nobody."""
        if not task.done():
            patience = asyncio.create_task(self._means.clock.sleep(seconds), name="patience")
            try:
                await asyncio.wait({task, patience}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                patience.cancel()
        return task.done()

    async def _look(self) -> None:
        before = set(self._entries)
        try:
            ground = self._ground or await asyncio.to_thread(self._means.ground)
            await asyncio.to_thread(self._means.measured.load, ground)
            self._ground = ground
            found = await asyncio.to_thread(self._means.store.entries, self._ground)
        except (OSError, RelightError) as error:
            self._means.note("WARNING", f"prefixes: cannot be looked for: {error}")
            return
        added = {key: entry for key, entry in self._entries.items() if key not in before}
        self._entries = found | added

    async def _fetch(self, chain: Chain) -> None:
        await self._settled()
        # By what the snapshot is worth alone: what slots and engine knew is gone with the engine before.
        if (entry := self._longest(chain)) is not None and self._pays(entry.manifest):
            self._open(entry)

    async def _give(self, entry: Entry, slot: int, name: str, address: Address) -> int:
        """Have the engine read the file called `name` into `slot`; how many tokens that is."""
        self.forget(slot)
        try:
            return await self._means.slots(address).restore(slot, name)
        except RelightError as error:
            is_news = self._may_be_used(entry)
            self._useless.add(entry.manifest.prefix)
            self._means.measured.bar(entry.manifest.payload_sha256)
            self.keep_measured()
            if is_news and isinstance(error, EngineCrashed):
                self._means.note("WARNING", f"snapshot {entry.manifest.label}: not used again: {error.message}")
            raise

    @asynccontextmanager
    async def _checked(self, entry: Entry) -> AsyncIterator[Path]:
        """A file that the engine may read, as long as the block lasts."""
        opened = self._open(entry)
        opened.users += 1
        try:
            if not await self._within(opened.checking, entry.manifest.prefill_s):
                raise SnapshotError("checking it takes longer than reading the prompt")
            file = opened.checking.result()
            if not await asyncio.to_thread(file.exists):  # it may have been checked a while ago
                raise SnapshotError("it is gone")
            yield file
        finally:
            opened.users -= 1
            if not opened.users:
                self._close(entry.manifest.prefix)

    def _open(self, entry: Entry) -> _Opened:
        opened = self._opened.get(entry.manifest.prefix)
        if opened is None:
            checking = asyncio.create_task(self._check(entry), name="check a snapshot")
            checking.add_done_callback(_heard)
            opened = self._opened[entry.manifest.prefix] = _Opened(checking, self._wake)
        return opened

    def _close(self, key: str) -> None:
        checking = self._opened.pop(key).checking
        if checking.done():
            _remove(checking)
        else:
            checking.add_done_callback(_remove)  # a thread is not stopped: what it makes goes when it is made

    async def _check(self, entry: Entry) -> Path:
        try:
            folder = self._means.folder()
        except OSError as error:
            raise SnapshotError(f"the engine's folder cannot be made: {reason(error)}") from error
        return await asyncio.to_thread(self._means.store.open_for_engine, entry, folder)


def _remove(checking: asyncio.Task[Path]) -> None:
    if not checking.cancelled() and checking.exception() is None:
        with suppress(OSError):
            checking.result().unlink()


def _heard(task: asyncio.Task[Any]) -> None:
    """Whoever restores hears what was wrong; nobody else has to."""
    if not task.cancelled():
        task.exception()
