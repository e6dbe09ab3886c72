"""One real start of an engine and one short answer, timed. Knows no front door: what it measures is the engine alone."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import msgspec

from relight.clock import Clock, SystemClock
from relight.config.load import Loaded
from relight.config.schema import Model, Task
from relight.engines.base import Spec
from relight.engines.connection import Exchange, exchange
from relight.engines.kinds import engine_for, folder_of_weights, spec_for
from relight.engines.process import EngineProcess, start
from relight.errors import EngineFailed
from relight.values import Duration
from relight.weights.fit import POOLING_ADVICE
from relight.weights.wanted import FETCH_THEMSELVES, keeps_weights, require
from relight.wire.dialect import Tap, Usage
from relight.wire.openai import Chat

# The first token is timed by itself; the rest of them tell the rate.
_TOKENS: Final = 16
_STOP_S: Final = 3.0
_WORDS: Final = "Count to ten."
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Trial:
    """`load_s` is from the start to ready, `answer_s` from the request to what came first, which `answer` names.

    `rate` is in tokens a second, `memory` the resident bytes of the engine's processes after the answer; `None` where
    nothing tells.
    """

    load_s: float
    answer_s: float
    answer: str
    rate: float | None
    memory: int | None


@dataclass(frozen=True, slots=True)
class _Reply:
    """What was asked came: what it is, when its first part came, and how many tokens followed that."""

    what: str
    first_at: float
    more_tokens: int = 0


async def try_out(name: str, model: Model, loaded: Loaded, clock: Clock | None = None) -> Trial:
    """Start the engine of `model`, ask once, stop it. Raises a `RelightError`.

    Takes at most twice `wake_timeout`; an engine that may fetch its model itself gets ten minutes for that, or five times
    `wake_timeout`.
    """
    clock = clock or SystemClock()
    patience = _patience(model)
    with TemporaryDirectory(prefix="relight-") as folder:
        began = clock.now()
        spec = spec_for(name, model, _weights(name, model, loaded), Path(folder) / "trial.sock")
        async with running(model, spec, patience, clock) as engine:
            load_s = clock.now() - began
            async with _in_time(engine, model.wake_timeout):
                return await _timed(engine, load_s, clock)


@asynccontextmanager
async def running(model: Model, spec: Spec, patience: Duration, clock: Clock) -> AsyncIterator[EngineProcess]:
    """An engine that answers, stopped at the end of the block. Raises `EngineFailed`, after `patience` at the latest."""
    engine = await start(engine_for(model.engine, model.task), spec, clock)
    try:
        async with _in_time(engine, patience):
            await engine.ready()
        yield engine
    finally:
        await engine.stop(_STOP_S)


@asynccontextmanager
async def _in_time(engine: EngineProcess, patience: Duration) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(patience):
            yield
    except TimeoutError:
        said, name = " / ".join(engine.last_lines()[-3:]) or "it wrote nothing", engine.spec.model
        raise EngineFailed(
            f'model "{name}": engine did not answer within {patience}; last lines: {said}',
            hint=f"raise models.{name}.wake_timeout, or use a smaller model or context",
        ) from None


def _patience(model: Model) -> Duration:
    return Duration(max(600.0, 5 * model.wake_timeout)) if model.engine in FETCH_THEMSELVES else model.wake_timeout


def _weights(name: str, model: Model, loaded: Loaded) -> Path | None:
    if keeps_weights(model):
        return require(name, model, loaded.folder, loaded.config.weights.dir)
    return folder_of_weights(model, loaded.folder)


async def _timed(engine: EngineProcess, load_s: float, clock: Clock) -> Trial:
    began = clock.now()
    reply = await _ASKED[engine.spec.task](engine, clock)
    spent = clock.now() - reply.first_at
    rate = reply.more_tokens / spent if reply.more_tokens > 0 and spent > 0 else None
    return Trial(load_s, reply.first_at - began, reply.what, rate, _resident(engine.pid))


# --- what is asked, by task -------------------------------------------------------------------------------------------


async def _chat(engine: EngineProcess, clock: Clock) -> _Reply:
    messages = [{"role": "user", "content": _WORDS}]
    body = {"messages": messages, "max_tokens": _TOKENS, "stream": True, "stream_options": {"include_usage": True}}
    asked = await _ask(engine, "/v1/chat/completions", body)
    try:
        usage, first_at = await _follow(asked, clock)
    finally:
        asked.close()
    if usage.error or first_at is None:
        raise _odd(engine, usage.error or "answered without a single word")
    return _Reply("first token", first_at, (usage.completion or 1) - 1)


async def _embed(engine: EngineProcess, clock: Clock) -> _Reply:
    (row,) = await _rows(engine, "/v1/embeddings", {"input": [_WORDS], "encoding_format": "float"}, "data")
    return _Reply(f"a vector of {len(row['embedding'])} numbers", clock.now())


async def _rerank(engine: EngineProcess, clock: Clock) -> _Reply:
    body = {"query": "How do I count?", "documents": [_WORDS, "Sing a song."]}
    rows = await _rows(engine, "/v1/rerank", body, "results")
    return _Reply(f"a ranking of {len(rows)} texts", clock.now())


async def _follow(asked: Exchange, clock: Clock) -> tuple[Usage, float | None]:
    """Read the stream to its end: what it said about itself, and when its first word came."""
    tap, first_at = Tap(Chat(), stream=True, keep_text=True), None
    async for chunk in asked.chunks():
        tap.feed(chunk)
        if first_at is None and tap.text:
            first_at = clock.now()
    return tap.finish(), first_at


async def _rows(engine: EngineProcess, path: str, body: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """The list under `key` of an answer that comes in one piece."""
    asked = await _ask(engine, path, body)
    try:
        said = b"".join([chunk async for chunk in asked.chunks()])
    finally:
        asked.close()
    with suppress(msgspec.MsgspecError, KeyError):
        if found := msgspec.json.decode(said, type=dict[str, Any])[key]:
            rows: list[dict[str, Any]] = found
            return rows
    raise _odd(engine, f"answered without {key}: {said[:200].decode(errors='replace')}")


async def _ask(engine: EngineProcess, path: str, body: dict[str, Any]) -> Exchange:
    """The answer to `body`, which begins well; whoever gets it closes it."""
    data = msgspec.json.encode({"model": engine.spec.model, **body})
    asked = await exchange(engine.socket, "POST", path, [(b"content-type", b"application/json")], data)
    try:
        status = (await asked.head()).status
        if status != 200:
            said = (await asked.read(2000)).decode(errors="replace")
            # llama.cpp's own words, which do not tell what to set.
            hint = POOLING_ADVICE.format(engine.spec.model) if "Pooling type 'none'" in said else None
            raise _odd(engine, f"answered with status {status}: {said}", hint=hint)
    except BaseException:
        asked.close()
        raise
    return asked


def _odd(engine: EngineProcess, words: str, *, hint: str | None = None) -> EngineFailed:
    return EngineFailed(f'model "{engine.spec.model}": engine {words}', hint=hint)


_ASKED: Final[dict[Task, Callable[[EngineProcess, Clock], Awaitable[_Reply]]]] = {
    Task.CHAT: _chat,
    Task.EMBED: _embed,
    Task.RERANK: _rerank,
}


# --- memory -----------------------------------------------------------------------------------------------------------


def _resident(pid: int) -> int | None:
    """Bytes of an engine and of the processes it started, which are in its group; `None` where nobody counts them."""
    pages = 0
    for folder in Path("/proc").glob("[0-9]*"):
        # Behind the name, which may hold anything: state, parent, group, …
        with suppress(OSError, ValueError, IndexError):
            if int((folder / "stat").read_text().rpartition(")")[2].split()[2]) == pid:
                pages += int((folder / "statm").read_text().split()[1])
    return pages * _PAGE or None
