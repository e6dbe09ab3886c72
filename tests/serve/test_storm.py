"""Many streams at once, clients that leave and engines that crash: afterwards nothing is left over."""

from __future__ import annotations

import asyncio
import http.client
import random
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from relight.clock import SystemClock
from relight.engines.kept import MOST_KEPT
from tests.serve.client import PATHS, Call, Door, front_door
from tests.serve.process import PATIENCE_S, Served, serve, write_config

STREAMS = 200
CODES = {None, "client_gone", "engine_crashed"}


def _script(dice: random.Random) -> str:
    if dice.random() < 0.03:
        return f"tokens=30 delay=1ms crash=after:{dice.randrange(1, 20)}"
    return f"tokens={dice.randrange(1, 60)} delay=1ms prefill={dice.randrange(20)}ms chunk={dice.choice((7, 64, 4096))}"


async def _one(door: Door, dice: random.Random) -> Call:
    call = door.ask(_script(dice), path=dice.choice(PATHS), stream=dice.random() < 0.8)
    if dice.random() < 0.3:
        stay = dice.randrange(1, 12)
        with suppress(AssertionError):  # it was over before
            await call.until(lambda call: len(call.sent) >= stay)
        call.leave()
    return await call.done()


async def test_two_hundred_streams_leave_no_task_no_slot_and_no_open_record(tmp_path: Path) -> None:
    async with front_door(tmp_path, clock=SystemClock(), parallel=16, queue_depth=STREAMS) as door:
        await door.ask("text=warm").done()
        before = _tasks()
        dice = random.Random(20)  # noqa: S311 - for a test that can be repeated
        await asyncio.gather(*(_one(door, random.Random(dice.random())) for _ in range(STREAMS)))  # noqa: S311 - as above
        while (final := await door.ask("text=after").done()).status != 200:
            assert final.status == 502  # an engine that crashed with its last neighbour
        await door.until_busy(0)
        status = door.app.front.models["toy"].runner.status()
        assert (status.running, status.waiting) == (0, 0)
        async with asyncio.timeout(PATIENCE_S):
            while _tasks() > before:  # noqa: ASYNC110 - a task has no event for onlookers
                await asyncio.sleep(0)
        assert door.log.unbalanced() == set()
        assert {line["interaction"].get("error") for line in door.log.records} <= CODES
        assert any("crash" in line["interaction"].get("error", "") for line in door.log.records)
        assert any("gone" in line["interaction"].get("error", "") for line in door.log.records)


def _tasks() -> int:
    """But for timers, of which an engine has two: they sleep on when they are put off."""
    return sum(task.get_name() != "timer" for task in asyncio.all_tasks())


def _client(served: Served, dice: random.Random) -> None:
    with suppress(OSError, http.client.HTTPException), served.stream(_script(dice)) as answer:
        if dice.random() < 0.3:
            for _ in range(dice.randrange(1, 12)):
                answer.readline()
            return
        answer.read()


@pytest.mark.real
def test_server_under_a_storm_leaks_no_descriptor_and_closes_every_record(tmp_path: Path) -> None:
    with serve(write_config(tmp_path, model="parallel = 16\nqueue_depth = 256")) as served:
        served.ask("text=warm")
        before = served.descriptors()
        dice = random.Random(21)  # noqa: S311 - for a test that can be repeated
        clients = [
            threading.Thread(target=_client, args=(served, random.Random(dice.random())))  # noqa: S311 - as above
            for _ in range(STREAMS)
        ]
        for client in clients:
            client.start()
        for client in clients:
            client.join(PATIENCE_S)
            assert not client.is_alive()
        served.until(lambda: len(served.records()) >= STREAMS + 1)
        assert served.ask("text=after")[0] == 200
        served.until(lambda: served.get("/status")["models"]["toy"]["running"] == 0)
        served.until(lambda: served.descriptors() <= before + MOST_KEPT)
        assert served.stop() == 0
        assert served.unbalanced() == set()
        assert {record.get("error") for record in served.records()} <= CODES
        assert not any("Traceback" in line for line in served.errors)
