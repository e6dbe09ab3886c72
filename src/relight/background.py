"""Blocking work beside the event loop, in threads that do not keep the process. Knows nothing of what the work is."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

_T = TypeVar("_T")


async def in_background(work: Callable[[], _T], name: str) -> _T:
    """The result of `work`, done in a daemon thread called `name`: a process that stops does not wait for it, as it would for
    a thread of asyncio's own. Cancelling only stops the waiting."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[_T] = loop.create_future()

    def succeed(result: _T) -> None:
        if not done.done():
            done.set_result(result)

    def fail(error: BaseException) -> None:
        if not done.done():
            done.set_exception(error)

    def run() -> None:
        with suppress(RuntimeError):  # the loop is closed, nobody waits any more
            try:
                result = work()
            except BaseException as error:
                loop.call_soon_threadsafe(fail, error)
            else:
                loop.call_soon_threadsafe(succeed, result)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await done
