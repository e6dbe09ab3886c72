"""What `relight bake` and `relight doctor` measure, with a recurrent model that a test can make. Real engine."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from bench.gemma import NotHad, gemma
from msgspec import structs

from relight.cli.baking import Baked, Job, Oven, prove
from relight.config.schema import Model
from relight.engines.slots import Answer, Slots
from relight.lifecycle.measured import Measured
from relight.prefixes.key import chain
from relight.prefixes.store import Store
from tests.prefixes.recurrent import mamba
from tests.serve.process import serve
from tests.serve.test_snapshots import post, record, relight

pytestmark = pytest.mark.real

GROUND = "0" * 64
COOK, THIEF = "You are a cook. " * 20, "You are a thief. " * 20


def asked(system: str) -> dict[str, Any]:
    messages = [{"role": "system", "content": system}, {"role": "user", "content": "Who are you?"}]
    return {"messages": messages, "temperature": 0, "max_tokens": 16}


def model(weights: Path, *args: str) -> Model:
    return Model(source=f"file:{weights}", context=2048, parallel=1, args=args)


async def test_recurrent_model_takes_its_state_back(tmp_path: Path) -> None:
    weights = mamba(tmp_path / "mamba.gguf")
    baked = await prove("toy", model(weights), weights)
    assert (baked.state, baked.reason) == ("made", None)
    assert baked.cached_tokens == baked.tokens > 400
    assert baked.same_answer


async def test_state_of_a_recurrent_model_has_one_size_however_long_its_prompt_is(tmp_path: Path) -> None:
    weights = mamba(tmp_path / "mamba.gguf")
    oven = Oven("toy", model(weights, "--n-ctx-checkpoints=0"), weights, Store(tmp_path / "snapshots"), GROUND)
    short, long = await oven.bake([job("short", COOK), job("long", COOK * 4)], lambda *_: None)
    assert long.tokens > 3 * short.tokens
    assert long.size - short.size < 8 * (long.tokens - short.tokens)  # the tokens themselves, and nothing of what they are


async def test_model_that_does_not_take_its_state_back_is_told_with_what_was_seen(tmp_path: Path) -> None:
    weights = mamba(tmp_path / "mamba.gguf")
    baked = await prove("toy", model(weights, "--cache-prompt=false"), weights)
    assert baked.state == "failed"
    assert baked.reason is not None
    assert "does not take its state back: of 450 tokens its slot held 450 after it, and 0 were known" in baked.reason


def test_recurrent_model_answers_as_it_does_without_snapshots(tmp_path: Path) -> None:
    mamba(tmp_path / "mamba.gguf")
    file = tmp_path / "relight.toml"
    file.write_text(
        '[models.smol]\nsource = "file:mamba.gguf"\ncontext = 2048\nparallel = 1\n'
        '[prefixes]\ndir = "snapshots"\nlearn = false\n[weights]\ndir = "weights"\n'
    )
    cook, thief = COOK * 3, THIEF * 3  # read in so little time, a shorter one would not be worth taking back
    plain = []
    with serve(file, "--port", "0") as served:
        for system in (cook, thief):
            plain.append(post(served, "/v1/chat/completions", asked(system))["choices"][0]["message"])
            assert "restored_tokens" not in record(served, len(plain))
    assert plain[0] != plain[1]  # what it says hangs on what it was told
    for name, system in (("cook", cook), ("thief", thief)):
        (tmp_path / f"{name}.json").write_text(json.dumps(asked(system)))
    assert [one["state"] for one in relight(tmp_path, "bake", "cook.json", "thief.json", "--json")] == ["made", "made"]
    with serve(file, "--port", "0") as served:
        for number, system in enumerate((cook, thief)):
            assert post(served, "/v1/chat/completions", asked(system))["choices"][0]["message"] == plain[number]
            told = record(served, number + 1)
            assert told["restored_tokens"] > 300
            assert told["tokens"]["cached"] >= told["restored_tokens"] - 1


async def test_snapshot_that_an_engine_ended_over_is_made_and_proved_anew(tmp_path: Path) -> None:
    weights = mamba(tmp_path / "mamba.gguf")
    store = Store(tmp_path / "snapshots")

    async def bake() -> Baked:
        measured = Measured(tmp_path / "measured.json")
        oven = Oven("toy", model(weights), weights, store, GROUND, measured=measured)
        (baked,) = await oven.bake([job("cook", COOK)], lambda *_: None)
        return baked

    assert [(await bake()).state, (await bake()).state] == ["made", "kept"]
    (entry,) = store.entries(GROUND).values()
    measured = Measured(tmp_path / "measured.json")
    await asyncio.to_thread(measured.load, GROUND)
    assert measured.seconds_a_token > 0  # baking has measured it
    measured.bar(entry.manifest.payload_sha256)
    measured.keep()
    assert [(await bake()).state, (await bake()).state] == ["made", "kept"]
    (entry,) = store.entries(GROUND).values()
    measured = Measured(tmp_path / "measured.json")
    measured.load(GROUND)
    assert not measured.is_barred(entry.manifest.payload_sha256)


@pytest.fixture
def windowed() -> Path:
    """Weights with a sliding window: some tokens are read again after taking back."""
    try:
        return gemma()
    except NotHad as error:
        pytest.skip(str(error))


def changed_at(monkeypatch: pytest.MonkeyPatch, place: int) -> list[Answer]:
    """All that the engine answers from now on; the text of one of them is told otherwise."""
    heard: list[Answer] = []
    answer = Slots.answer

    async def hear(self: Slots, chat: dict[str, Any], slot: int) -> Answer:
        heard.append(await answer(self, chat, slot))
        return structs.replace(heard[-1], text="otherwise") if len(heard) == place + 1 else heard[-1]

    monkeypatch.setattr(Slots, "answer", hear)
    return heard


async def test_answer_after_taking_back_is_held_against_one_from_the_same_token(
    windowed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = changed_at(monkeypatch, 0)  # as near a tie: a batch of another size, another word
    (baked,) = await Oven("gemma", model(windowed), windowed, Store(tmp_path), GROUND).bake(
        [job("cook", COOK * 6)], lambda *_: None
    )
    assert (baked.state, baked.same_answer, baked.reason) == ("made", True, None)
    whole, restored, own = (one.cached for one in heard)
    assert whole > restored == own


async def test_answer_that_still_differs_leaves_no_snapshot(
    windowed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = changed_at(monkeypatch, 1)
    store = Store(tmp_path)
    (baked,) = await Oven("gemma", model(windowed), windowed, store, GROUND).bake([job("cook", COOK * 6)], lambda *_: None)
    assert baked.reason is not None
    assert "differs from the answer before" in baked.reason
    assert (baked.state, store.all(), len(heard)) == ("failed", [], 3)


async def test_baking_that_is_broken_off_leaves_nothing_unproved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights, store = mamba(tmp_path / "mamba.gguf"), Store(tmp_path / "snapshots")

    async def broken_off(_self: Slots, _slot: int, _name: str) -> int:
        assert store.all()
        raise asyncio.CancelledError

    monkeypatch.setattr(Slots, "restore", broken_off)
    with pytest.raises(asyncio.CancelledError):
        await Oven("toy", model(weights), weights, store, GROUND).bake([job("cook", COOK)], lambda *_: None)
    assert store.all() == []


def job(name: str, system: str) -> Job:
    return Job(name, asked(system), chain(json.dumps(asked(system)).encode()))
