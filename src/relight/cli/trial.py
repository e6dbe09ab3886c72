"""One real start of an engine and one short answer, timed. Knows no front door: what it measures is the engine alone."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import msgspec

from relight.clock import Clock, SystemClock
from relight.config.load import Loaded
from relight.config.schema import Model
from relight.engines.connection import Exchange, exchange
from relight.engines.kinds import engine_for, spec_for
from relight.engines.process import EngineProcess, start
from relight.errors import EngineFailed
from relight.weights.wanted import require
from relight.wire.dialect import Tap, Usage
from relight.wire.openai import Chat

_PATH: Final = "/v1/chat/completions"
# The first token is timed by itself; the rest of them tell the rate.
_TOKENS: Final = 16
_STOP_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class Trial:
    """Seconds from the start to ready, and from the request to its first token; the rest is `None` where nothing tells.

    `rate` is in tokens a second, `memory` the resident bytes of the engine's process after the answer.
    """

    load_s: float
    first_token_s: float
    rate: float | None
    memory: int | None


async def try_out(name: str, model: Model, loaded: Loaded, clock: Clock | None = None) -> Trial:
    """Start the engine of `model`, ask once, stop it. Takes at most twice `wake_timeout`; raises a `RelightError`."""
    clock = clock or SystemClock()
    with TemporaryDirectory(prefix="relight-") as folder:
        began = clock.now()
        weights = require(name, model, loaded.folder, loaded.config.weights.dir) if model.source else None
        spec = spec_for(name, model, weights, Path(folder) / "trial.sock")
        engine = await start(engine_for(model.engine), spec, clock)
        try:
            async with asyncio.timeout(model.wake_timeout):
                await engine.ready()
                load_s = clock.now() - began
            async with asyncio.timeout(model.wake_timeout):
                return await _ask(engine, load_s, clock)
        except TimeoutError:
            said = " / ".join(engine.last_lines()[-3:]) or "it wrote nothing"
            raise EngineFailed(
                f'model "{name}": engine did not answer within {model.wake_timeout}; last lines: {said}',
                hint=f"raise models.{name}.wake_timeout, or use a smaller model or context",
            ) from None
        finally:
            await engine.stop(_STOP_S)


async def _ask(engine: EngineProcess, load_s: float, clock: Clock) -> Trial:
    body = {
        "model": engine.spec.model,
        "messages": [{"role": "user", "content": "Count to ten."}],
        "max_tokens": _TOKENS,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    began = clock.now()
    asked = await exchange(engine.socket, "POST", _PATH, [(b"content-type", b"application/json")], msgspec.json.encode(body))
    try:
        status = (await asked.head()).status
        if status != 200:
            words = (await asked.read(2000)).decode(errors="replace")
            raise EngineFailed(f'model "{engine.spec.model}": engine answered with status {status}: {words}')
        usage, first_at = await _follow(asked, clock)
    finally:
        asked.close()
    if usage.error or first_at is None:
        raise EngineFailed(f'model "{engine.spec.model}": engine: {usage.error or "answered without a single word"}')
    spent, tokens = clock.now() - first_at, (usage.completion or 1) - 1
    return Trial(load_s, first_at - began, tokens / spent if tokens > 0 and spent > 0 else None, _resident(engine.pid))


async def _follow(asked: Exchange, clock: Clock) -> tuple[Usage, float | None]:
    """Read the stream to its end: what it said about itself, and when its first word came."""
    tap, first_at = Tap(Chat(), stream=True, keep_text=True), None
    async for chunk in asked.chunks():
        tap.feed(chunk)
        if first_at is None and tap.text:
            first_at = clock.now()
    return tap.finish(), first_at


def _resident(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None
