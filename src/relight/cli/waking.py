"""Timing wakes: an engine from its start to the first token, its prompt read or its beginning taken back from a snapshot."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

import msgspec
from msgspec import Struct

from relight.cli.baking import Job, Oven
from relight.cli.bars import TokenBar
from relight.clock import SystemClock
from relight.config.schema import Model
from relight.engines.slots import Slots
from relight.errors import SnapshotError, UsageError
from relight.prefixes.key import chain
from relight.prefixes.store import Entry, Store

_TOKENS_A_RULE: Final = 25  # about, of the texts below, whatever the vocabulary
_GROUND: Final = "0" * 64
_ROOM: Final = 128  # tokens of the question, of its template and of the answer
_QUESTIONS: Final = ("What is a lamp?", "Who are you?", "Name a colour.", "How many days has a week?")


class Woken(Struct, frozen=True, kw_only=True):
    """The middle of several wakes, as `--json` prints it; times in seconds, the first token's from the start of the engine."""

    tokens: int
    """Of the shared prefix."""
    snapshot: bool
    wake_s: float
    restore_s: float
    prefill_s: float
    first_token_s: float
    runs: int


class _Times(Struct, frozen=True):
    wake_s: float
    restore_s: float
    prefill_s: float
    first_token_s: float


class Bench:
    """Times the wakes of one model, with files in the page cache."""

    def __init__(self, name: str, model: Model, weights: Path, bar: TokenBar) -> None:
        self._name, self._model, self._weights, self._bar = name, model, weights, bar
        self._clock = SystemClock()

    async def wakes(self, tokens: int, runs: int) -> list[Woken]:
        """Wakes that read a prefix of about so many tokens, and wakes that take it back. Raises a `RelightError`."""
        if tokens + _ROOM > self._model.context:
            raise UsageError(f"bench: {tokens} tokens do not fit", hint=f"models.{self._name}.context is {self._model.context}")
        with TemporaryDirectory(prefix="relight-") as folder:
            oven = Oven(self._name, self._model, self._weights, store := Store(Path(folder)), _GROUND)
            entry = await self._baked(oven, store, tokens) if tokens else None
            exact = 0 if entry is None else entry.manifest.tokens
            plain = [await self._wake(oven, tokens, run, None, store) for run in range(runs)]
            found = [_middle(exact, plain, snapshot=False)]
            if entry is not None:
                taken = [await self._wake(oven, tokens, run, entry, store) for run in range(runs)]
                found.append(_middle(exact, taken, snapshot=True))
            return found

    async def _baked(self, oven: Oven, store: Store, tokens: int) -> Entry:
        asked = _chat(tokens, _QUESTIONS[0])
        keys = chain(msgspec.json.encode(asked))
        (baked,) = await oven.bake([Job(f"{tokens} tokens", asked, keys)], self._bar.show)
        if baked.reason is not None:
            raise SnapshotError(baked.reason)
        return store.entries(_GROUND)[keys.prefix or ""]

    async def _wake(self, oven: Oven, tokens: int, run: int, entry: Entry | None, store: Store) -> _Times:
        began = self._clock.now()
        async with oven.engine() as (address, folder):
            woken = self._clock.now()
            slots = Slots(address)
            if entry is not None:
                file = store.open_for_engine(entry, folder)
                await slots.restore(0, file.name)
            restored = self._clock.now()
            await slots.answer(_chat(tokens, _QUESTIONS[(run + 1) % len(_QUESTIONS)]), 0)
            first = self._clock.now()
        how = "taken back" if entry else "read"
        self._bar.say(f"{tokens} tokens {how}: first token after {first - began:.2f} s")
        return _Times(woken - began, restored - woken if entry else 0.0, first - restored, first - began)


def _middle(tokens: int, times: list[_Times], *, snapshot: bool) -> Woken:
    return Woken(
        tokens=tokens,
        snapshot=snapshot,
        wake_s=median(one.wake_s for one in times),
        restore_s=median(one.restore_s for one in times),
        prefill_s=median(one.prefill_s for one in times),
        first_token_s=median(one.first_token_s for one in times),
        runs=len(times),
    )


def _chat(tokens: int, question: str) -> dict[str, Any]:
    user = {"role": "user", "content": question}
    rules = max(tokens // _TOKENS_A_RULE, 1)
    text = "\n".join(
        f"Rule {n + 1}: when somebody asks about item {n * 7 % 100}, say what it is for, and stop there." for n in range(rules)
    )
    system = [{"role": "system", "content": text}] if tokens else []
    return {"messages": [*system, user], "max_tokens": 1, "temperature": 0}
