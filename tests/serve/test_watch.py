"""Clients that are looked after: in whichever loop the app is used, and until their last byte is out."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from relight.serve.watch import Lookout, Watch
from tests.serve.client import front_door
from tests.serve.process import PATIENCE_S


class Noted(Watch):
    """A watch that only notes that it was to begin."""

    def __init__(self) -> None:
        self.is_begun = False

    def begin(self) -> None:
        self.is_begun = True


def test_clients_in_a_second_loop_are_watched_too(monkeypatch: pytest.MonkeyPatch) -> None:
    lookout, first, second = Lookout(), Noted(), Noted()

    async def begin(watch: Watch) -> None:
        lookout.begin(watch)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    monkeypatch.setattr("relight.serve.watch._LOOK_AFTER_S", 1000.0)
    asyncio.run(begin(first))
    monkeypatch.setattr("relight.serve.watch._LOOK_AFTER_S", 0.0)
    asyncio.run(begin(second))
    assert (first.is_begun, second.is_begun) == (False, True)


async def test_client_that_does_not_read_the_last_bytes_is_not_waited_for(tmp_path: Path) -> None:
    async with front_door(tmp_path, server={"write_timeout": "100ms"}) as door:
        call = door.ask("text=hello")
        call.stall()
        async with asyncio.timeout(PATIENCE_S):
            await call.done()
        await door.until_busy(0)
        assert call.sent == []
