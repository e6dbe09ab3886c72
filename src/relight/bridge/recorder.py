"""A server on this machine's loopback that takes down what an agent asks first, and tells it that all is done. No model answers.

What was asked stays in memory, whole: whoever writes it down leaves out a user's words. Knows no file and no configuration.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import web

from relight.bridge import door
from relight.bridge.answers import PATHS, listing, object_of, told
from relight.bridge.request import read
from relight.clock import Clock, SystemClock
from relight.errors import EngineFailed, PathNotFound, RelightError, UsageError
from relight.values import estimated_tokens, format_duration
from relight.wire.dialect import objects
from relight.wire.translation import Json

LOOPBACK: Final = "127.0.0.1"
QUIET_S: Final = 4.0
"""An agent that has asked its first question, and nothing for so long, asks nothing more that matters here."""
PATIENCE_S: Final = 180.0
_STOP_S: Final = 5.0
_MOST_BODY: Final = 64 << 20
_LAST_WORDS: Final = 2000


@dataclass(frozen=True, slots=True)
class Request:
    """One request of an agent's, as it came."""

    path: str
    body: Json
    size: int
    """Bytes."""
    agent: str
    """Its `User-Agent`."""

    @property
    def tools(self) -> int:
        """How many tools it may call."""
        return len(objects(self.body.get("tools")))

    @property
    def tokens(self) -> int:
        """About; four bytes each."""
        return estimated_tokens(self.size)


@dataclass(frozen=True, slots=True)
class Start:
    """How an agent is started. "{url}" in its arguments and variables becomes the recorder's address, "{v1}" that with /v1."""

    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None


Starter = Callable[[str], Start]
"""Given the recorder's address, sets an agent up for it and says how it is started."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What an agent asked, in order."""

    requests: tuple[Request, ...]

    @property
    def main(self) -> Request:
        """The request whose beginning is worth keeping: of those with tools the largest. Beside it agents ask for titles and the
        like, which are small and have none."""
        return max(self.requests, key=lambda one: (one.tools > 0, one.size))


class Recorder:
    """Takes requests down. `models` are the names that it says it has."""

    def __init__(self, models: tuple[str, ...] = ("model",)) -> None:
        self.requests: list[Request] = []
        self.came = asyncio.Event()
        """Set when a request has come."""
        self._models = models

    @asynccontextmanager
    async def listening(self, port: int = 0) -> AsyncIterator[str]:
        """Its address, while the block lasts. Raises `UsageError` when the port is taken."""
        app = web.Application(client_max_size=_MOST_BODY)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        try:
            try:
                await web.TCPSite(runner, LOOPBACK, port).start()
            except OSError as error:
                why = f"record: cannot listen on port {port}: {error.strerror}"
                raise UsageError(why, hint="stop what listens there, or choose another with --port") from None
            yield f"http://{LOOPBACK}:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        path = request.path
        asked = read(request.method, path, b"")
        try:
            if (refusal := door.refusal(request.headers, request.raw_path)) is not None:
                raise refusal
            return await self._answered(request, path)
        except RelightError as error:
            body = msgspec.json.encode(asked.dialect.error_body(error))
            return web.Response(status=error.http_status, body=body, content_type="application/json")

    async def _answered(self, request: web.Request, path: str) -> web.Response:
        if request.method in {"GET", "HEAD"}:
            return web.json_response(listing(self._models))
        if path == "/v1/messages/count_tokens":
            return web.json_response({"input_tokens": estimated_tokens(len(await request.read()))})
        if path not in PATHS or request.method != "POST":
            raise PathNotFound(f"{path}: there is nothing here while an agent is recorded")
        data = await request.read()
        body = object_of(data)
        self.requests.append(Request(path, body, len(data), request.headers.get("User-Agent", "")))
        self.came.set()
        asked = read("POST", path, data)
        kind = asked.dialect.stream_type.decode() if asked.streams else "application/json"
        answer = told(path, body, len(self.requests), streams=asked.streams)
        return web.Response(body=answer, content_type=kind)


async def record(  # noqa: PLR0913 - what is run, where, and how long it may take
    start: Start | Starter | None,
    *,
    port: int = 0,
    models: tuple[str, ...] = ("model",),
    patience_s: float = PATIENCE_S,
    quiet_s: float = QUIET_S,
    clock: Clock | None = None,
) -> Recording:
    """What an agent asks first. Without `start` somebody else starts it, pointed at `port`.

    Ends when the agent ends, or has asked nothing for `quiet_s` after a request; it is stopped then. Raises `EngineFailed` with
    its last lines when it ended without a question, `UsageError` when none came within `patience_s`.
    """
    clock, recorder = clock or SystemClock(), Recorder(models)
    async with recorder.listening(port) as address, _started(start, address) as agent:
        first = await _first(recorder, agent, patience_s, clock)
        if not first:
            raise UsageError(
                f"record: nothing was asked within {format_duration(patience_s)}", hint="look whether the agent is pointed here"
            )
        while await _again(recorder, agent, quiet_s, clock):
            pass
        return Recording(tuple(recorder.requests))


class _Agent:
    """An agent's process and what it wrote last; None: somebody else's."""

    def __init__(self, process: asyncio.subprocess.Process | None) -> None:
        self._process = process
        self._said = b""
        self._reading = asyncio.create_task(self._read()) if process is not None else None
        self.ended = asyncio.create_task(process.wait() if process is not None else asyncio.Event().wait())

    async def _read(self) -> None:
        assert self._process is not None  # noqa: S101 - else nobody reads
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        while data := await self._process.stdout.read(1 << 16):
            self._said = (self._said + data)[-_LAST_WORDS:]

    async def failure(self) -> EngineFailed:
        """That it ended without a question, in its own last words."""
        if self._reading is not None:
            await asyncio.wait({self._reading}, timeout=1.0)
        code = self._process.returncode if self._process is not None else None
        lines = [line.strip() for line in self._said.decode(errors="replace").splitlines() if line.strip()]
        said = " / ".join(lines[-3:]) or "it wrote nothing"
        return EngineFailed(f"record: the agent ended with code {code} before it asked anything; last lines: {said}")

    async def stop(self) -> None:
        """End it and all that it started."""
        if self._process is not None and self._process.returncode is None:
            _signal(self._process.pid, signal.SIGTERM)
            await asyncio.wait({self.ended}, timeout=_STOP_S)
        if self._process is not None:
            _signal(self._process.pid, signal.SIGKILL)  # what it started may outlive it
            await self._process.wait()
        rest = {task for task in (self.ended, self._reading) if task is not None}
        for task in rest:
            task.cancel()
        await asyncio.wait(rest)


@asynccontextmanager
async def _started(start: Start | Starter | None, address: str) -> AsyncIterator[_Agent]:
    """The agent, in a group of its own, and without a terminal: it is to ask one question and to end."""
    if start is not None and not isinstance(start, Start):
        start = start(address)
    agent = _Agent(None if start is None else await _process(start, address))
    try:
        yield agent
    finally:
        await agent.stop()


async def _process(start: Start, address: str) -> asyncio.subprocess.Process:
    places = {"{url}": address, "{v1}": f"{address}/v1"}
    env = {**os.environ, **{name: _filled(text, places) for name, text in start.env.items()}}
    command = [_filled(word, places) for word in start.command]
    try:
        return await asyncio.create_subprocess_exec(
            *command,
            env=env,
            cwd=start.cwd,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise UsageError(f"record: {command[0]} cannot be started: {error.strerror}", hint="is it installed?") from None


def _filled(text: str, places: Mapping[str, str]) -> str:
    for name, value in places.items():
        text = text.replace(name, value)
    return text


async def _first(recorder: Recorder, agent: _Agent, patience_s: float, clock: Clock) -> bool:
    """Whether anything was asked. Raises `EngineFailed`."""
    if await _again(recorder, agent, patience_s, clock):
        return True
    if agent.ended.done():
        raise await agent.failure()
    return False


async def _again(recorder: Recorder, agent: _Agent, within_s: float, clock: Clock) -> bool:
    """Whether another request came, before the agent ended and within so many seconds."""
    came, late = asyncio.ensure_future(recorder.came.wait()), asyncio.ensure_future(clock.sleep(within_s))
    try:
        await asyncio.wait({came, late, agent.ended}, return_when=asyncio.FIRST_COMPLETED)
        is_new = recorder.came.is_set()
        recorder.came.clear()
        return is_new
    finally:
        came.cancel()
        late.cancel()


def _signal(group: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
