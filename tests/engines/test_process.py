"""A started engine, with the scripted one as the real child process."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from relight.clock import SystemClock
from relight.engines.base import Address, Broken, Capabilities, Command, Loading, Probe, Ready, Spec
from relight.engines.connection import exchange
from relight.engines.kinds import Scripted
from relight.engines.process import EngineProcess, start
from relight.errors import EngineFailed

# The loop that serves has its own way with child processes.
pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"])]


SAY_READY = """os.write(READY, b'{"event":"ready"}\\n')"""


class Program:
    """An engine that is any Python program: `READY` and `SOCKET` are set for it."""

    name = "program"
    capabilities = Capabilities(paths=frozenset())

    def __init__(
        self,
        code: str,
        *,
        tells: bool = True,
        answers: list[Probe] | None = None,
        has_children: bool = False,
        address: Address | None = None,
    ) -> None:
        self._code, self._tells = code, tells
        self._answers = answers or []
        self._has_children, self._address = has_children, address
        self.asked = 0

    def build(self) -> str:
        return ""

    def command(self, spec: Spec) -> Command:
        head = f"import os, sys, time; READY = int(sys.argv[2]) if len(sys.argv) > 2 else -1; SOCKET = {str(spec.socket)!r}\n"
        argv = (sys.executable, "-I", "-S", "-c", head + self._code)
        return Command(
            argv,
            env={"ENGINE_TEST": "yes"},
            ready_fd_flag="--ready-fd" if self._tells else None,
            has_children=self._has_children,
            address=self._address,
        )

    async def probe(self, spec: Spec) -> Probe:
        self.asked += 1
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def spec(folder: Path, *args: str) -> Spec:
    return Spec(model="smol", weights=None, context=64, parallel=1, threads=1, args=args, socket=folder / "e.sock")


Launcher = Callable[..., Awaitable[EngineProcess]]


@pytest.fixture
async def launch(tmp_path: Path) -> AsyncIterator[Launcher]:
    """Starts the scripted engine with flags, or any `Program`; stops what it started."""
    started: list[EngineProcess] = []

    async def launch(*args: str, program: Program | None = None) -> EngineProcess:
        process = await start(program or Scripted(), spec(tmp_path, *args), SystemClock())
        started.append(process)
        return process

    yield launch
    for process in started:
        await process.stop(grace_s=0)


@asynccontextmanager
async def watched(pid: int) -> AsyncIterator[Callable[[], Awaitable[bool]]]:
    """Whether the process is gone, with at most ten seconds of waiting for it."""
    fd = os.pidfd_open(pid)

    async def gone() -> bool:
        ready, _, _ = await asyncio.to_thread(select.select, [fd], [], [], 10)
        return bool(ready)

    try:
        yield gone
    finally:
        os.close(fd)


async def health(process: EngineProcess) -> int:
    asked = await exchange(process.socket, "GET", "/health")
    try:
        return (await asked.head()).status
    finally:
        asked.close()
        await asked.closed()


# --- getting ready


async def test_engine_that_says_so_is_ready_and_answers(launch: Launcher) -> None:
    process = await launch("--load=50ms")
    await process.ready()
    assert await health(process) == 200
    assert process.last_lines()[-1] == "scripted engine: loaded"


async def test_engine_is_told_what_the_spec_says(launch: Launcher) -> None:
    process = await launch()
    await process.ready()
    asked = await exchange(process.socket, "GET", "/props")
    props = await asked.read()
    await asked.closed()
    assert b'"n_ctx":64' in props
    assert b'"total_slots":1' in props
    assert b'"model_alias":"smol"' in props


async def test_engine_gets_its_environment_and_this_ones(launch: Launcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FROM_HERE", "too")
    code = f'print(os.environ["ENGINE_TEST"], os.environ["FROM_HERE"], flush=True); {SAY_READY}; time.sleep(60)'
    process = await launch(program=Program(code))
    await process.ready()
    await until(lambda: process.last_lines() == ["yes too"])


async def test_engine_that_cannot_tell_is_asked_until_it_is_ready(launch: Launcher) -> None:
    program = Program("time.sleep(60)", tells=False, answers=[Loading(), Loading(0.5), Ready()])
    process = await launch(program=program)
    await process.ready()
    assert program.asked == 3


async def test_engine_that_is_broken_says_why(launch: Launcher) -> None:
    program = Program("time.sleep(60)", tells=False, answers=[Loading(), Broken("engine answers its health check with 404")])
    process = await launch(program=program)
    with pytest.raises(EngineFailed, match=r'model "smol": engine answers its health check with 404'):
        await process.ready()


async def test_lines_that_are_no_news_are_passed_over(launch: Launcher) -> None:
    news = b'what?\n[1]\n{"event":7}\n{"event":"loading","progress":0.5}\n{"event":"ready"}\n'
    code = f"os.write(READY, {news!r}); time.sleep(60)"
    process = await launch(program=Program(code))
    await process.ready()


async def test_cancelled_wait_leaves_the_engine_to_be_stopped(launch: Launcher) -> None:
    process = await launch("--load-forever")
    waiting = asyncio.create_task(process.ready())
    await until(lambda: bool(process.last_lines()))
    waiting.cancel()
    assert isinstance((await asyncio.gather(waiting, return_exceptions=True))[0], asyncio.CancelledError)
    async with watched(process.pid) as gone:
        await process.stop(grace_s=5)
        assert await gone()


# --- going wrong


async def test_crash_while_loading_is_told_with_code_and_last_words(launch: Launcher) -> None:
    process = await launch("--load=20ms", "--crash-at-load=3")
    with pytest.raises(EngineFailed) as caught:
        await process.ready()
    assert caught.value.message.startswith('model "smol": engine exited with code 3 after ')
    assert "last lines: scripted engine: listening on " in caught.value.message
    assert caught.value.message.endswith("scripted engine: exits with code 3, --crash-at-load: failed to load model")
    assert caught.value.hint is None


async def test_engine_killed_while_loading_names_the_signal_and_suspects_memory(launch: Launcher) -> None:
    process = await launch("--load-forever")
    await until(lambda: bool(process.last_lines()))
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(EngineFailed, match=r"engine killed by SIGKILL after .*; it may have run out of memory"):
        await process.ready()


async def test_engine_that_ends_in_service_is_told_the_same_way(launch: Launcher) -> None:
    process = await launch()
    await process.ready()
    os.kill(process.pid, signal.SIGSEGV)
    failure = await process.exited()
    assert "engine killed by SIGSEGV" in failure.message


async def test_reason_written_just_before_the_end_is_not_lost(launch: Launcher) -> None:
    code = 'os.write(READY, b\'{"event":"failed","reason":"no such setting: x"}\\n\'); os._exit(1)'
    process = await launch(program=Program(code))
    await process.exited()  # the end is known before the reason is read
    with pytest.raises(EngineFailed) as caught:
        await process.ready()
    assert caught.value.message == 'model "smol": no such setting: x'


async def test_engine_that_says_nothing_and_ends_is_told_as_that(launch: Launcher) -> None:
    process = await launch(program=Program("sys.exit(5)"))
    with pytest.raises(EngineFailed, match=r"exited with code 5 after .*; last lines: it wrote nothing"):
        await process.ready()


async def test_probed_engine_that_ends_is_told_with_its_code(launch: Launcher) -> None:
    process = await launch(program=Program("print('no memory', flush=True); sys.exit(5)", tells=False, answers=[Loading()]))
    with pytest.raises(EngineFailed, match=r"exited with code 5 after .*; last lines: no memory"):
        await process.ready()


async def test_program_that_is_not_there_is_named(launch: Launcher) -> None:
    class Missing(Program):
        def command(self, spec: Spec) -> Command:
            return Command(("/no/such/engine", "--x"))

    process = await launch(program=Missing("", answers=[Loading()]))
    with pytest.raises(
        EngineFailed, match=r"exited with code 127 after .*; last lines: /no/such/engine: No such file or directory$"
    ):
        await process.ready()


async def test_arguments_that_no_program_can_get_are_a_failure_that_leaves_nothing_open(launch: Launcher) -> None:
    class Huge(Program):
        def command(self, spec: Spec) -> Command:
            return Command(("engine", "x" * (4 << 20)), ready_fd_flag="--ready-fd")

    warm = await launch()
    await warm.stop(grace_s=5)
    before = open_files()
    with pytest.raises(EngineFailed, match=r"does not start: .*Argument list too long"):
        await launch(program=Huge(""))
    assert await settled_files(before) == before


# --- what it writes


async def test_only_the_last_lines_are_kept_each_of_bounded_length(launch: Launcher) -> None:
    code = "[print(n) for n in range(5000)]; print('x' * 1_000_000); print('half', end=''); sys.exit(2)"
    process = await launch(program=Program(code))
    failure = await process.exited()
    lines = process.last_lines()
    assert len(lines) == 40
    assert lines[-1] == "half"
    assert lines[0] not in {"0", "1"}
    assert max(map(len, lines)) <= 400
    assert len(failure.message) < 5000


async def test_line_written_in_pieces_is_one_line(launch: Launcher) -> None:
    pieces = ["Gr\u00fc\u00df".encode()[:3], "Gr\u00fc\u00df".encode()[3:], b"e", b"\n"]
    process = await launch(program=Program(f"[(os.write(2, piece), time.sleep(0.02)) for piece in {pieces!r}]"))
    await process.exited()
    assert process.last_lines() == ["Grüße"]


# --- the end


async def test_stop_ends_engine_and_socket(launch: Launcher) -> None:
    process = await launch()
    await process.ready()
    assert process.address == process.socket == process.spec.socket
    assert process.spec.socket.exists()
    async with watched(process.pid) as gone:
        await process.stop(grace_s=5)
        assert await gone()
    assert not process.spec.socket.exists()
    await process.stop(grace_s=5)


async def test_stop_within_its_grace_does_not_kill(launch: Launcher) -> None:
    code = "import signal; signal.signal(signal.SIGTERM, lambda *_: (print('bye', flush=True), os._exit(0)))\n"
    process = await launch(program=Program(f"{code}{SAY_READY}; time.sleep(60)"))
    await process.ready()
    await process.stop(grace_s=10)
    assert "exited with code 0" in (await process.failure()).message


async def test_engine_on_a_port_answers_there(launch: Launcher) -> None:
    process = await launch(program=Program("time.sleep(60)", tells=False, answers=[Ready()], address=("127.0.0.1", 1)))
    assert process.address == process.socket == ("127.0.0.1", 1)


# A child of the engine's own, which says its number and would live on.
WITH_CHILD = "import subprocess; child = subprocess.Popen(['sleep', '60']); print(child.pid, flush=True)\n"


async def number_said(process: EngineProcess) -> int:
    await until(lambda: any(line.isdecimal() for line in process.last_lines()))
    return next(int(line) for line in process.last_lines() if line.isdecimal())


@pytest.mark.parametrize("has_children", [False, True])
async def test_stop_ends_what_the_engine_started(launch: Launcher, *, has_children: bool) -> None:
    process = await launch(
        program=Program(f"{WITH_CHILD}time.sleep(60)", tells=False, answers=[Loading()], has_children=has_children)
    )
    async with watched(await number_said(process)) as gone:
        await process.stop(grace_s=5)
        assert await gone()


async def test_crash_ends_what_the_engine_started(launch: Launcher) -> None:
    code = f"{WITH_CHILD}os._exit(3)"
    process = await launch(program=Program(code, tells=False, answers=[Loading()], has_children=True))
    async with watched(await number_said(process)) as gone:
        assert "exited with code 3" in (await process.exited()).message
        assert await gone()


async def test_engine_with_children_is_told_to_stop_and_ends_as_it_likes(launch: Launcher) -> None:
    code = "import signal; signal.signal(signal.SIGTERM, lambda *_: (print('bye', flush=True), os._exit(0)))\n"
    process = await launch(
        program=Program(f"{code}print('up', flush=True); time.sleep(60)", tells=False, answers=[Loading()], has_children=True)
    )
    await until(lambda: "up" in process.last_lines())
    await process.stop(grace_s=10)
    assert "exited with code 0" in (await process.failure()).message


async def test_engine_with_children_that_dies_of_a_signal_says_so(launch: Launcher) -> None:
    code = "import signal; os.kill(os.getpid(), signal.SIGSEGV)"
    process = await launch(program=Program(code, tells=False, answers=[Loading()], has_children=True))
    assert "killed by SIGSEGV" in (await process.exited()).message


async def test_engine_that_ignores_sigterm_is_killed(launch: Launcher) -> None:
    process = await launch("--ignore-sigterm")
    await process.ready()
    await process.stop(grace_s=0.05)
    assert "killed by SIGKILL" in (await process.failure()).message


async def test_deaf_engine_never_gets_ready_and_can_be_stopped(launch: Launcher) -> None:
    process = await launch("--deaf")
    waiting = asyncio.create_task(process.ready())
    await until(lambda: bool(process.last_lines()))
    assert not waiting.done()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await process.stop(grace_s=5)
    assert not process.spec.socket.exists()


async def test_engine_stopped_without_ever_being_asked_leaves_nothing_open(launch: Launcher) -> None:
    warm = await launch()
    await warm.stop(grace_s=5)
    before = open_files()
    process = await launch()
    await process.stop(grace_s=5)
    assert await settled_files(before) == before


async def test_engine_does_not_get_the_terminals_interrupt(launch: Launcher) -> None:
    process = await launch()
    await process.ready()
    assert os.getpgid(process.pid) == process.pid != os.getpgid(0)


PARENT = """
import asyncio, sys
from pathlib import Path
from relight.clock import SystemClock
from relight.engines.base import Spec
from relight.engines.kinds import Scripted
from relight.engines.process import start

async def main():
    process = await start(Scripted(), Spec("smol", None, 64, 1, 1, (), Path(sys.argv[1])), SystemClock())
    await process.ready()
    print(process.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_killed_parent_leaves_no_engine(tmp_path: Path) -> None:
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, str(tmp_path / "e.sock"), stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    async with watched(pid) as gone:
        parent.kill()
        await parent.wait()
        assert await gone()


CAREFUL_PARENT = PARENT.replace("Scripted()", "Careful()").replace(
    "async def main",
    """
class Careful(Scripted):
    def command(self, spec):
        import dataclasses
        return dataclasses.replace(super().command(spec), has_children=True)

async def main""",
)


def child_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text())


async def test_killed_parent_leaves_no_engine_and_nothing_that_it_started(tmp_path: Path) -> None:
    argv = (sys.executable, "-c", CAREFUL_PARENT, str(tmp_path / "e.sock"))
    parent = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    launcher = int(await parent.stdout.readline())
    engine = child_of(launcher)
    async with watched(launcher) as launcher_gone, watched(engine) as engine_gone:
        parent.kill()
        await parent.wait()
        assert await launcher_gone()
        assert await engine_gone()


async def test_launcher_whose_parent_is_gone_already_starts_nothing(tmp_path: Path) -> None:
    launcher = Path(sys.modules["relight.engines.process"].__file__ or "").with_name("launch.py")
    argv = (sys.executable, "-I", "-S", str(launcher), "1", "/bin/sh", "-c", f"touch {tmp_path}/started")
    process = await asyncio.create_subprocess_exec(*argv)
    assert await process.wait() == 1
    assert not (tmp_path / "started").exists()


# --- waiting without a clock


async def until(condition: Callable[[], bool]) -> None:
    """Turn the loop until it holds; the test's own time limit ends it if it never does."""
    while not condition():  # noqa: ASYNC110 - another process's output, there is no event for it
        await asyncio.sleep(0.001)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names only


async def settled_files(expected: int) -> int:
    """The count of open files, once the loop has closed what it was about to."""
    for _ in range(200):
        if open_files() == expected:
            break
        await asyncio.sleep(0)
    return open_files()
