"""Making snapshots with an engine of its own: read, saved, given to an empty slot again, and asked, to see whether it knows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct, structs

from relight.cli.trial import running
from relight.clock import SystemClock
from relight.config.schema import Model
from relight.engines.kinds import spec_for
from relight.engines.slots import Answer, Slots
from relight.errors import RelightError, SnapshotError
from relight.lifecycle.measured import Measured
from relight.prefixes.boundary import shared_part
from relight.prefixes.key import Chain, chain
from relight.prefixes.make import Made, make, shared_tokens
from relight.prefixes.snapshot import About
from relight.prefixes.store import Entry, Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relight.engines.base import Address

_WORDS: Final = "What can you do for me? Answer in one sentence."
_TOKENS: Final = 16
# Prompts that the engine keeps in memory by itself would answer in a snapshot's place.
_WITHOUT_MEMORY: Final = "--cache-ram=0"
_FEW_TOKENS: Final = 64  # too few to measure a rate with
_KNOWS: Final = 0.5
"""Part of a prefix that has to come from the snapshot. A model with a sliding window reads up to a batch of it again."""

_TRIAL: Final = {
    "messages": [
        {"role": "system", "content": " ".join(f"Item {number} lies on shelf {number * 7 % 10}." for number in range(12))},
        {"role": "user", "content": _WORDS},
    ]
}

Progress = Callable[[str, int, int], None]


class Baked(Struct, frozen=True, kw_only=True):
    """One prefix and its snapshot, as `--json` prints it. Sizes in bytes, times in seconds."""

    name: str
    model: str
    state: str
    """`made`, `kept` (it was there already) or `failed`."""
    tokens: int = 0
    size: int = 0
    bake_s: float | None = None
    restore_s: float | None = None
    saves_s: float | None = None
    cached_tokens: int | None = None
    """Tokens that a request took from the snapshot, in an engine's empty slot."""
    same_answer: bool | None = None
    reason: str | None = None
    """Why it failed."""


class Job(Struct, frozen=True):
    """A prefix to be baked: the chat as the engine is asked, and its keys."""

    name: str
    chat: dict[str, Any]
    chain: Chain


async def prove(name: str, model: Model, weights: Path) -> Baked:
    """Whether this model takes its state back, tried with a small prefix that is thrown away. Raises a `RelightError`."""
    with TemporaryDirectory(prefix="relight-") as folder:
        oven = Oven(name, model, weights, Store(Path(folder)), "0" * 64)
        found = chain(msgspec.json.encode(_TRIAL))
        (baked,) = await oven.bake([Job("trial", _TRIAL, found)], lambda *_: None)
        return baked


class Oven:
    """Bakes for one model. `ground` is what its snapshots can be read by; `measured`, which of them an engine ended over."""

    def __init__(  # noqa: PLR0913 - what baking is done with
        self, name: str, model: Model, weights: Path, store: Store, ground: str, *, measured: Measured | None = None
    ) -> None:
        self._name, self._model, self._weights = name, model, weights
        self._store, self._ground = store, ground
        self._measured = Measured() if measured is None else measured
        self._second_a_token = 0.0

    async def bake(self, jobs: Sequence[Job], progress: Progress, *, again: bool = False) -> list[Baked]:
        """A snapshot of each job; those that are there are kept, unless `again`, or an engine ended over one: that is made, and
        proved, anew. What was made stays, whatever comes after."""
        self._measured.load(self._ground)
        there = {} if again else self._usable()
        missing = {job.chain.prefix: job for job in reversed(jobs) if job.chain.prefix not in there}
        made: dict[str | None, Baked] = {}
        if missing:
            async with self.engine() as (address, folder):
                made = {key: await self._bake(job, address, folder, progress) for key, job in reversed(missing.items())}
        return [self._told(job, made, there) for job in jobs]

    def _usable(self) -> dict[str, Entry]:
        found = self._store.entries(self._ground)
        return {key: entry for key, entry in found.items() if not self._measured.is_barred(entry.manifest.payload_sha256)}

    def _told(self, job: Job, made: dict[str | None, Baked], there: dict[str, Entry]) -> Baked:
        """What became of a job; of several with the same prefix, the first is made and the others are there by then."""
        if (entry := there.get(job.chain.prefix or "")) is not None:
            return self._kept(job.name, entry)
        baked = made[job.chain.prefix]
        is_anothers = baked.name != job.name and baked.reason is None
        return structs.replace(baked, name=job.name, state="kept" if is_anothers else baked.state)

    @asynccontextmanager
    async def engine(self) -> AsyncIterator[tuple[Address, Path]]:
        """An engine of its own, ready: where it answers, and the folder of its slots' files."""
        with TemporaryDirectory(prefix="relight-") as folder:
            slots = Path(folder) / "slots"
            slots.mkdir(mode=0o700)
            spec = spec_for(self._name, self._model, self._weights, Path(folder) / "bake.sock")
            spec = replace(spec, snapshots=slots, args=(*spec.args, _WITHOUT_MEMORY))
            async with running(self._model, spec, self._model.wake_timeout, SystemClock()) as engine:
                yield engine.address, slots

    async def _bake(self, job: Job, address: Address, folder: Path, progress: Progress) -> Baked:
        began = Baked(name=job.name, model=self._name, state="failed")
        slots = Slots(address, lambda done, total: progress(job.name, done, total))
        try:
            made = await make(slots, job.chat, 0)  # what it has in common with the one before is not read again
            whole_s = self._whole(made)
            about = About(
                ground=self._ground,
                prefix=job.chain.prefix or "",
                label=job.name,
                tokens=made.tokens,
                prefill_s=whole_s,
                made_at=SystemClock().wall(),
            )
            question = _question(job.chat)
            plain = await slots.answer(question, 0)
            entry = await asyncio.to_thread(self._store.add, folder / made.name, about)
            baked = structs.replace(began, tokens=made.tokens, size=entry.manifest.payload_bytes, bake_s=whole_s)
            try:
                restored, restore_s = await self._take_back(entry, slots, folder)
                after = await slots.answer(question, 0)
                if after.text != plain.text and after.cached != plain.cached:
                    plain = await self._own(job, slots, after.cached)
                proved = _proved(baked, restored, restore_s, after, plain.text)
                await asyncio.to_thread(self._note, entry, made, restore_s)
                return proved
            except BaseException:  # Ctrl-C as well: what was not proved does not stay
                self._store.remove(entry)
                raise
        except RelightError as error:
            return structs.replace(began, reason=str(error))

    def _note(self, entry: Entry, made: Made, restore_s: float) -> None:
        """What was measured on the way holds for whoever serves, too; a snapshot that was proved may be used again."""
        if made.tokens - made.cached >= _FEW_TOKENS:
            self._measured.read(made.seconds / (made.tokens - made.cached))
        if restore_s > 0:
            self._measured.taken(entry.manifest.payload_bytes / restore_s)
        self._measured.absolve(entry.manifest.payload_sha256)
        self._measured.keep()

    def _whole(self, made: Made) -> float:
        """Seconds that reading all of a prefix takes: what the slot knew is put in at the speed that was last measured."""
        if not made.cached and made.tokens:
            self._second_a_token = made.seconds / made.tokens
        return made.seconds + made.cached * self._second_a_token

    async def _take_back(self, entry: Entry, slots: Slots, folder: Path) -> tuple[int, float]:
        """Give the snapshot to an empty slot, as a wake does; how many tokens that is, and the seconds that it took."""
        await slots.erase(0)
        clock = SystemClock()
        began = clock.now()
        file = self._store.open_for_engine(entry, folder)
        try:
            restored = await slots.restore(0, file.name)
        finally:
            file.unlink(missing_ok=True)
        return restored, clock.now() - began

    async def _own(self, job: Job, slots: Slots, depth: int) -> Answer:
        """The answer out of the engine's own memory of the prefix, gone on with at the same token as after taking it back.

        How many tokens llama.cpp reads at once decides over the last bits of its figures, and near a tie over a word. With a
        sliding window it reads some more of them after taking back, so that only this answer can be held against that one.
        """
        await slots.erase(0)
        tokens = await shared_tokens(slots, job.chat)
        await slots.read(tokens, 0)
        another = next(token for token in tokens if tokens[depth : depth + 1] != [token])
        await slots.read([*tokens[:depth], another], 0)
        return await slots.answer(_question(job.chat), 0)

    def _kept(self, name: str, entry: Entry) -> Baked:
        manifest = entry.manifest
        return Baked(
            name=name,
            model=self._name,
            state="kept",
            tokens=manifest.tokens,
            size=manifest.payload_bytes,
            bake_s=manifest.prefill_s,
        )


def _proved(baked: Baked, restored: int, restore_s: float, after: Answer, before: str) -> Baked:
    """What the snapshot is good for, as measured; raises `SnapshotError` when it is good for nothing."""
    if after.cached < _KNOWS * baked.tokens:
        raise SnapshotError(
            f"this model does not take its state back: of {baked.tokens} tokens its slot held {restored} after it, and "
            f"{after.cached} were known to the next request",
            hint="the engine cannot go on from there (some windows and recurrent states, some settings in args); it is served "
            "without snapshots",
        )
    if after.text != before:
        raise SnapshotError("the answer after taking it back differs from the answer before", hint="it was thrown away")
    return structs.replace(
        baked,
        state="made",
        restore_s=restore_s,
        saves_s=max((baked.bake_s or 0.0) - restore_s, 0.0),
        cached_tokens=after.cached,
        same_answer=True,
    )


def _question(chat: dict[str, Any]) -> dict[str, Any]:
    shared = shared_part(chat)
    messages = [*shared["messages"], {"role": "user", "content": _WORDS}]
    said = {name: value for name, value in shared.items() if name not in ("stream", "stream_options", "return_progress")}
    return {**said, "messages": messages, "temperature": 0, "max_tokens": _TOKENS}
