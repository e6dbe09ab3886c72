"""The prefix snapshots of one model: which of them the next request wants, and whether taking it back is worth it.

It knows what each slot of the engine was given since its start. Everything it does is an attempt: whatever fails is told once,
and the request is read from its beginning as if there were no snapshot.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from msgspec import Struct

from relight.clock import Clock
from relight.engines.base import Address
from relight.errors import EngineFailed, RelightError, SnapshotError
from relight.prefixes.key import Chain
from relight.prefixes.make import SlotEngine
from relight.prefixes.snapshot import Manifest
from relight.prefixes.store import Entry, Store

# Until it has been measured: a file in the page cache is read faster, one on a network disk more slowly.
_BYTES_A_SECOND: Final = 1e9
_MEMORY: Final = 0.5  # weight of the newest measurement
_LEAST_GAIN_S: Final = 0.02


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


class Restored(Struct, frozen=True):
    """What was taken back for a request."""

    tokens: int
    seconds: float


class Shelf:
    """The snapshots of one model, and what its slots hold."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._ground = ""
        self._entries: dict[str, Entry] = {}
        self._held: dict[int, tuple[str, ...]] = {}
        self._seen: set[str] = set()
        self._opened: dict[str, asyncio.Task[Path]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._rate = _BYTES_A_SECOND

    @property
    def ground(self) -> str:
        """What they can be read by; empty until the first look is done."""
        return self._ground

    def begin(self) -> None:
        """A new engine starts: its slots are empty. Looks for snapshots while it loads."""
        self._held.clear()
        self._seen.clear()
        self.look()

    def look(self) -> None:
        """Look for snapshots in the background: others may have made some."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(), name="look for snapshots")

    def expect(self, chain: Chain) -> None:
        """A request waits for the engine: check its snapshot while the engine loads, and have it in the page cache."""
        if chain.prefix is None or self._held:
            return
        if self._looking is None:
            self.look()
        asyncio.create_task(self._fetch(chain), name="fetch a snapshot").add_done_callback(_done)

    def knows(self, chain: Chain) -> bool:
        """Whether there is a snapshot of what this request shares with others."""
        return chain.prefix in self._entries

    def slot_of(self, chain: Chain) -> int | None:
        """The slot that holds most of this request, if one holds what it shares."""
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
        began = self._means.clock.now()
        key = entry.manifest.prefix
        path: Path | None = None
        try:
            path = await self._open(entry)
            if not path.exists():
                raise SnapshotError("it is gone")
            tokens = await self._means.slots(address).restore(slot, path.name)
        except (SnapshotError, EngineFailed) as error:
            self._means.note("WARNING", f"snapshot {entry.manifest.label}: not used: {error.message}")
            self._entries.pop(key, None)
            return None
        except RelightError:
            # The engine ended over it, so this very file is not tried again.
            self._entries.pop(key, None)
            raise
        finally:
            self._opened.pop(key, None)
            if path is not None:
                path.unlink(missing_ok=True)
        spent = self._means.clock.now() - began
        self._measure(entry.manifest, spent)
        self._means.store.used(entry)
        self._held[slot] = chain.links[: chain.links.index(key) + 1]
        return Restored(tokens, spent)

    def answered(self, chain: Chain, slot: int, cached: int | None) -> None:
        """A request was answered in `slot`, and the engine took `cached` tokens of its prompt from memory."""
        if chain.prefix is None:
            return
        entry = self._entries.get(chain.prefix)
        if entry is not None and chain.prefix in self._seen and (cached or 0) < entry.manifest.tokens // 2:
            self._seen.discard(chain.prefix)  # the engine had forgotten it: next time the snapshot is taken
        else:
            self._seen.add(chain.prefix)
        self._held[slot] = chain.links

    def holds(self, slot: int, chain: Chain) -> None:
        """`slot` was told to hold what a request shares, and nothing else."""
        self._held[slot] = chain.links[: chain.shared + 1]

    def add(self, entry: Entry) -> None:
        """A snapshot was made."""
        self._entries[entry.manifest.prefix] = entry

    def settle(self) -> None:
        """The engine is gone."""
        self._held.clear()
        self._seen.clear()

    # --- inside

    def _choose(self, chain: Chain, slot: int) -> Entry | None:
        """The longest snapshot that fits, unless the engine knows as much by itself."""
        place = next((at for at in reversed(range(len(chain.links))) if chain.links[at] in self._entries), None)
        if place is None:
            return None
        entry = self._entries[chain.links[place]]
        if chain.common(self._held.get(slot, ())) > place or entry.manifest.prefix in self._seen:
            return None  # in the slot, or in the engine's own memory of prompts
        gain = entry.manifest.prefill_s - entry.manifest.payload_bytes / self._rate
        return entry if gain > _LEAST_GAIN_S else None

    def _measure(self, manifest: Manifest, spent_s: float) -> None:
        if spent_s > 0:
            self._rate += _MEMORY * (manifest.payload_bytes / spent_s - self._rate)

    async def _settled(self) -> None:
        if self._looking is not None and not self._looking.done():
            await asyncio.wait({self._looking})

    async def _look(self) -> None:
        try:
            self._ground = self._ground or await asyncio.to_thread(self._means.ground)
            found = await asyncio.to_thread(self._means.store.entries, self._ground)
        except (OSError, RelightError) as error:
            self._means.note("WARNING", f"prefixes: cannot be looked for: {error}")
            return
        self._entries = found

    async def _fetch(self, chain: Chain) -> None:
        await self._settled()
        if (entry := self._choose(chain, 0)) is not None:
            await self._open(entry)

    async def _open(self, entry: Entry) -> Path:
        key = entry.manifest.prefix
        if key not in self._opened:
            opening = asyncio.to_thread(self._means.store.open_for_engine, entry, self._means.folder())
            self._opened[key] = asyncio.create_task(opening, name="check a snapshot")
        return await asyncio.shield(self._opened[key])


def _done(task: asyncio.Task[None]) -> None:
    """Whoever restores hears what was wrong; nobody else has to."""
    if not task.cancelled():
        task.exception()
