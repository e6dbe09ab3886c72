"""The scripted engine: a child process that looks like llama.cpp's server and answers what it is told to.

`python -I -m relight.engines.scripted --socket PATH [--script "delay=10ms tokens=20"] [--load 1.5s] …`. It ships for
demos and for tests of the ugly paths. What it answers: `script.py`. Here: its flags and its start, which can go wrong
on purpose. It listens before it imports what serves, so that its parent never waits for it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from relight.errors import UsageError
from relight.values import Duration

if TYPE_CHECKING:
    from relight.engines.scripted_server import Server

_MAX_SOCKET_PATH = 107  # bytes, the kernel's limit less the final zero
_LOADING_STEPS = 10


def main(argv: list[str] | None = None) -> int:
    """Listen, load, say so, serve until SIGTERM; returns the exit code."""
    options = _parser().parse_args(argv)
    try:
        listener = _bind(options)
    except (OSError, UsageError) as error:
        print(f"scripted engine: does not listen: {error}", file=sys.stderr)
        return 1
    if options.ignore_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    import asyncio

    try:
        asyncio.run(_serve(options, listener))
    except UsageError as error:
        print(f"scripted engine: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    finally:
        listener.close()
        if options.socket is not None:
            options.socket.unlink(missing_ok=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="relight.engines.scripted", description="Looks like llama.cpp's server, answers as told."
    )
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--socket", type=Path, metavar="PATH", help="listen on this Unix socket")
    place.add_argument("--port", type=int, metavar="N", help="listen on this port of 127.0.0.1; 0 picks one, see standard error")
    parser.add_argument(
        "--ready-fd", type=int, metavar="N", help="descriptor for JSON lines: loading, then ready; then it is closed"
    )
    parser.add_argument("--model", default="scripted", metavar="NAME", help="name in the answers")
    parser.add_argument("--context", type=int, default=8192, metavar="TOKENS", help="tokens (words) per request")
    parser.add_argument("--parallel", type=int, default=2, metavar="N", help="requests at once")
    parser.add_argument("--script", default="", metavar="TEXT", help='defaults for every request, such as "delay=10ms tokens=20"')
    parser.add_argument(
        "--once", type=Path, metavar="FILE", help="a scripted fault happens while FILE is not there, and makes it"
    )
    load = parser.add_argument_group("loading")
    load.add_argument("--load", type=_duration, default=0.0, metavar="TIME", help="loading takes this long; until then 503")
    load.add_argument("--load-forever", action="store_true", help="never gets loaded")
    load.add_argument("--crash-at-load", type=int, nargs="?", const=1, metavar="CODE", help="exits instead of getting loaded")
    load.add_argument(
        "--fail-loads", type=int, default=0, metavar="N", help="the first N starts exit with code 1 (needs --state)"
    )
    load.add_argument("--state", type=Path, metavar="FILE", help="counts the failed starts")
    load.add_argument("--deaf", action="store_true", help="takes connections, never answers, never says that it is ready")
    load.add_argument("--ignore-sigterm", action="store_true", help="has to be killed")
    return parser


def _duration(text: str) -> float:
    try:
        return float(Duration.parse(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _bind(options: argparse.Namespace) -> socket.socket:
    """A listening socket; whoever connects from now on waits in its backlog."""
    if options.fail_loads and options.state is None:
        raise UsageError("--fail-loads: needs --state FILE to count in")
    if options.socket is None:
        listener = socket.create_server(("127.0.0.1", options.port), backlog=1024)
        print(f"scripted engine: listening on http://127.0.0.1:{listener.getsockname()[1]}", file=sys.stderr, flush=True)
        return listener
    if len(os.fsencode(options.socket)) > _MAX_SOCKET_PATH:
        raise UsageError(f"--socket: should be at most {_MAX_SOCKET_PATH} bytes long, got {options.socket}")
    options.socket.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(os.fspath(options.socket))
        listener.listen(1024)
    except OSError:
        listener.close()
        raise
    print(f"scripted engine: listening on {options.socket}", file=sys.stderr, flush=True)
    return listener


async def _serve(options: argparse.Namespace, listener: socket.socket) -> None:
    import asyncio

    from relight.clock import SystemClock
    from relight.engines.script import parse_script
    from relight.engines.scripted_server import Server, Settings
    from relight.errors import InvalidRequest

    stopped = asyncio.Event()
    if not options.ignore_sigterm:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    if options.deaf:
        await stopped.wait()  # the kernel takes connections, nobody reads from them
        return
    try:
        script = parse_script(options.script)
    except InvalidRequest as error:
        raise UsageError(f"--script: {error}") from error
    server = Server(Settings(options.model, options.context, options.parallel, script, options.once), SystemClock())
    server.progress = 0.0
    async with server.listen(listener), asyncio.TaskGroup() as group:
        loading = group.create_task(_load(options, server))
        await stopped.wait()
        loading.cancel()


async def _load(options: argparse.Namespace, server: Server) -> None:
    import asyncio

    from relight.engines.scripted_server import crash

    if options.load_forever:
        _tell(options.ready_fd, '{"event":"loading","progress":0.0}')
        await asyncio.Event().wait()
    for step in range(_LOADING_STEPS if options.load else 0):
        server.progress = step / _LOADING_STEPS
        _tell(options.ready_fd, f'{{"event":"loading","progress":{server.progress}}}')
        await asyncio.sleep(options.load / _LOADING_STEPS)
    if options.crash_at_load is not None:
        crash(options.crash_at_load, "--crash-at-load: failed to load model")
    if options.fail_loads and (failed := _count_failure(options.state, options.fail_loads)):
        crash(1, f"--fail-loads: failed to load model, time {failed} of {options.fail_loads}")
    server.progress = None
    print("scripted engine: loaded", file=sys.stderr, flush=True)
    _tell(options.ready_fd, '{"event":"ready"}')
    if options.ready_fd is not None:
        os.close(options.ready_fd)


def _count_failure(state: Path, limit: int) -> int:
    """Which failure this start is, counted in `state`; 0 when there were enough."""
    failed = int(state.read_text()) if state.exists() else 0
    if failed >= limit:
        return 0
    state.write_text(f"{failed + 1}\n")
    return failed + 1


def _tell(fd: int | None, line: str) -> None:
    if fd is None:
        return
    with contextlib.suppress(BrokenPipeError):  # the parent has heard enough
        os.write(fd, line.encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
