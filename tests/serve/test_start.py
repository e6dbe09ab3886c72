"""What an instance does that a platform started: it begins before the question is there."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import relight
from relight.lifecycle.machine import State

CONFIG = """
[service]
default_model = "best"
[models.toy]
engine = "scripted"
[models.other]
engine = "scripted"
[models.cloud]
url = "http://127.0.0.1:9/v1"
[models.best]
fallback = ["toy", "cloud"]
"""


async def states(app: relight.App) -> dict[str, State]:
    """The states of all models once the app is prepared and nothing wakes any more."""
    try:
        await app.prepare()
        async with asyncio.timeout(30):
            while True:
                await asyncio.sleep(0.01)
                found = {name: served.runner.status().state for name, served in app.front.models.items()}
                if State.WAKING not in found.values():
                    return found
    finally:
        await app.stop()


async def test_instance_of_a_platform_wakes_the_model_that_will_be_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K_REVISION", "portfolio-00001")
    (tmp_path / "relight.toml").write_text(CONFIG)
    app = relight.create_app(tmp_path / "relight.toml")
    assert await states(app) == {"toy": State.AWAKE, "other": State.ASLEEP}


async def test_instance_whose_provider_is_asked_first_wakes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K_REVISION", "portfolio-00001")
    (tmp_path / "relight.toml").write_text(CONFIG.replace('["toy", "cloud"]', '["cloud", "toy"]'))
    assert await states(relight.create_app(tmp_path / "relight.toml")) == {"toy": State.ASLEEP, "other": State.ASLEEP}


async def test_server_on_a_desk_waits_until_somebody_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("K_REVISION", raising=False)
    (tmp_path / "relight.toml").write_text(CONFIG)
    app = relight.create_app(tmp_path / "relight.toml")
    assert await states(app) == {"toy": State.ASLEEP, "other": State.ASLEEP}
