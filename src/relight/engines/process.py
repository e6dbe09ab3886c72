"""A started engine: its process, its last words, and when it answers. Knows no lifecycle: it does what it is told."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from relight.clock import Clock
from relight.decoding import NOT_JSON
from relight.engines.base import Address, Broken, Command, Engine, Ready, Spec
from relight.errors import EngineFailed

_LAST_LINES: Final = 40
_LINES_IN_MESSAGE: Final = 8
_MAX_LINE: Final = 400  # characters
_LAST_WORDS_S: Final = 0.5
_PROBE_EVERY_S: Final = (0.01, 0.02, 0.05, 0.1)
_LAUNCHER: Final = Path(__file__).with_name("launch.py")


class _News(msgspec.Struct, frozen=True):
    """A line on the ready descriptor."""

    event: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Child:
    """A process that was just started, and the ways to it. It leads a process group of its own."""

    process: asyncio.subprocess.Process
    output_fd: int
    """Our own pipe: asyncio's `wait` would wait for all who can write to the one that it makes."""
    ready_fd: int | None
    address: Address


class EngineProcess:
    """One engine process. Make it with `start`; end it with `stop`, which is safe to call more than once."""

    def __init__(self, engine: Engine, spec: Spec, child: _Child, clock: Clock) -> None:
        self.spec = spec
        self.address = child.address
        self._engine = engine
        self._process = child.process
        self._clock = clock
        self._started_at = clock.now()
        self._ready_fd = child.ready_fd
        self._tells = child.ready_fd is not None
        self._is_buried = False
        self._lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._reader = asyncio.create_task(self._read_output(child.output_fd))

    @property
    def pid(self) -> int:
        """Process id, for those who want to look at it."""
        return self._process.pid

    @property
    def socket(self) -> Address:
        """Where it answers: the `address`, by the name that a runner knows it by."""
        return self.address

    def last_lines(self) -> list[str]:
        """What it wrote last, oldest first."""
        return list(self._lines)

    async def ready(self) -> None:
        """Return when it answers; raises `EngineFailed` when it says that it will not, or ends first."""
        news = asyncio.ensure_future(self._news())
        ended = asyncio.ensure_future(self._process.wait())
        try:
            await asyncio.wait({news, ended}, return_when=asyncio.FIRST_COMPLETED)
            if self._tells:
                # What it wrote before it ended may still lie in the pipe, and says more than its exit code.
                await asyncio.wait({news}, timeout=_LAST_WORDS_S)
            if news.done():
                news.result()
            else:
                raise await self.failure()
        finally:
            for task in (news, ended):
                task.cancel()
            await asyncio.gather(news, ended, return_exceptions=True)

    async def exited(self) -> EngineFailed:
        """Wait for its end; the error says how it ended, in its own last words."""
        await self._process.wait()
        return await self.failure()

    async def failure(self) -> EngineFailed:
        """Describe an end that nobody asked for."""
        code = await self._process.wait()
        self._bury()
        await asyncio.wait({self._reader}, timeout=_LAST_WORDS_S)
        spent = self._clock.now() - self._started_at
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
        words = " / ".join(list(self._lines)[-_LINES_IN_MESSAGE:]) or "it wrote nothing"
        hint = "it may have run out of memory: use a smaller model, context or parallel" if code in (-9, 137) else None
        return EngineFailed(f'model "{self.spec.model}": engine {how} after {spent:.1f} s; last lines: {words}', hint=hint)

    async def stop(self, grace_s: float) -> None:
        """SIGTERM, and SIGKILL when `grace_s` is over; returns when the process and its socket are gone.

        What the engine started itself is killed with it.
        """
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            try:
                async with asyncio.timeout(grace_s):
                    await self._process.wait()
            except TimeoutError:
                self._kill()
                await self._process.wait()
            except asyncio.CancelledError:
                self._kill()  # whoever hurries us still wants it gone
                raise
        self._bury()
        # Its output ends when the last of those is gone that could write there: then their memory is free as well.
        await asyncio.wait({self._reader}, timeout=_LAST_WORDS_S)
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        if self._ready_fd is not None:  # nobody ever asked whether it is ready
            os.close(self._ready_fd)
            self._ready_fd = None
        self.spec.socket.unlink(missing_ok=True)

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: PermissionError when only zombies are left
            os.killpg(self._process.pid, signal.SIGKILL)

    def _bury(self) -> None:
        """Kill what outlived the process. Once and at its end: later the number may be another group's."""
        if not self._is_buried:
            self._is_buried = True
            self._kill()

    async def _news(self) -> None:
        if self._ready_fd is None:
            await self._probe_until_ready()
        else:
            await self._read_news(self._ready_fd)

    async def _probe_until_ready(self) -> None:
        attempt = 0
        while True:
            answer = await self._engine.probe(self.spec)
            if isinstance(answer, Ready):
                return
            if isinstance(answer, Broken):
                raise EngineFailed(f'model "{self.spec.model}": {answer.reason}')
            await self._clock.sleep(_PROBE_EVERY_S[min(attempt // 20, len(_PROBE_EVERY_S) - 1)])
            attempt += 1

    async def _read_news(self, fd: int) -> None:
        self._ready_fd = None
        reader, transport = await _pipe_reader(fd)
        try:
            while line := await reader.readline():
                news = _read_line(line)
                if news.event == "ready":
                    return
                if news.event == "failed":
                    raise EngineFailed(f'model "{self.spec.model}": {news.reason or "engine failed"}')
        finally:
            transport.close()
        raise await self.failure()

    async def _read_output(self, fd: int) -> None:
        reader, transport = await _pipe_reader(fd)
        rest = b""
        try:
            while chunk := await reader.read(1 << 16):
                *lines, rest = (rest + chunk).splitlines(keepends=True)
                if rest.endswith((b"\n", b"\r")) or len(rest) > _MAX_LINE:
                    lines, rest = [*lines, rest], b""
                self._note(lines)
        finally:
            transport.close()
        self._note([rest])

    def _note(self, lines: list[bytes]) -> None:
        texts = (line.decode(errors="replace").rstrip() for line in lines[-_LAST_LINES:])
        self._lines.extend(text[:_MAX_LINE] for text in texts if text)


async def start(engine: Engine, spec: Spec, clock: Clock) -> EngineProcess:
    """Start an engine; returns before it is ready. Raises `EngineFailed` when it cannot even be started."""
    command = await asyncio.to_thread(engine.command, spec)  # it may ask a program for its flags
    spec.socket.unlink(missing_ok=True)
    output_fd, output_end = os.pipe()
    ready_fd, ready_end = os.pipe() if command.ready_fd_flag else (None, None)
    argv = _argv(command, ready_end)
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            env={**{name: value for name, value in os.environ.items() if name not in spec.hidden}, **command.env},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output_end,
            stderr=asyncio.subprocess.STDOUT,
            pass_fds=() if ready_end is None else (ready_end,),
            # Ctrl-C in a terminal reaches the whole group; the front door decides when its engines stop.
            start_new_session=True,
        )
    except BaseException as error:
        _close(output_fd, ready_fd)
        if not isinstance(error, (OSError, ValueError)):
            raise
        raise EngineFailed(f'model "{spec.model}": engine {argv[0]} does not start: {error}') from error
    finally:
        _close(output_end, ready_end)
    return EngineProcess(engine, spec, _Child(process, output_fd, ready_fd, command.address or spec.socket), clock)


def _close(*fds: int | None) -> None:
    for fd in fds:
        if fd is not None:
            os.close(fd)


def _argv(command: Command, ready_fd: int | None) -> list[str]:
    argv = list(command.argv)
    if command.ready_fd_flag and ready_fd is not None:
        argv += [command.ready_fd_flag, str(ready_fd)]
    if command.binds_itself:
        return argv
    watch = ["--watch"] if command.has_children else []
    return [sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), *watch, *argv]


def _read_line(line: bytes) -> _News:
    try:
        return msgspec.json.decode(line, type=_News)
    except NOT_JSON:
        return _News()


async def _pipe_reader(fd: int) -> tuple[asyncio.StreamReader, asyncio.ReadTransport]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb", buffering=0))
    return reader, transport
