"""The author's own functions: found by name, given typed arguments and a time, and never able to take the service down.

A hook is a plain or an async function. Plain ones run in threads of their own, so many calls at once; the next waits for a place.
One that never returns keeps its thread and its place: when it has all of them, that hook, and no other, is passed over.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from msgspec import Struct

from relight.assistant.conversation import Said
from relight.background import in_background
from relight.config.assistant import Hooks as Section
from relight.errors import ConfigError

_MOST_AT_ONCE: Final = 16  # calls of one hook
_NAMES: Final = ("detect", "before_prompt", "after_answer")


class Message(Struct, frozen=True):
    """What `detect` is given: what a visitor says, and what was said before."""

    text: str
    history: tuple[Said, ...]
    session: str
    modes: tuple[str, ...]
    """The names it may return."""


class Draft(Struct, frozen=True):
    """What `before_prompt` is given: the message, and the mode that was found for it."""

    text: str
    history: tuple[Said, ...]
    session: str
    mode: str | None
    confidence: float | None


class Answered(Struct, frozen=True):
    """What `after_answer` is given; `error` is the category of a failure, and then `reply` is what was said until then."""

    interaction: str
    session: str
    message: str
    reply: str
    mode: str | None
    error: str | None
    tokens: int
    seconds: float


Note = Callable[[str], None]


class Hooks:
    """The hooks of one service. `note` hears what went wrong."""

    def __init__(self, section: Section, folder: Path, note: Note) -> None:
        """Find every function that is named; raises `ConfigError` for one that is not there."""
        self._timeout_s = float(section.timeout)
        self._note = note
        self._places = {name: asyncio.Semaphore(_MOST_AT_ONCE) for name in _NAMES}
        modules: dict[str, ModuleType] = {}  # once each: what hooks of one module share stays shared
        self._found = {
            name: _find(name, where, folder, modules) for name in _NAMES if (where := getattr(section, name)) is not None
        }

    def has(self, name: str) -> bool:
        """Whether the hook is configured."""
        return name in self._found

    async def detect(self, message: Message) -> str | None:
        """The mode that the author's own detector names; `None` when it names none that there is."""
        mode = await self._text("detect", message)
        if mode is not None and mode not in message.modes:
            self._note(
                f"assistant.hooks.detect: named {mode[:40]!r}, which is no mode; it may return: {', '.join(message.modes)}"
            )
            return None
        return mode

    async def before_prompt(self, draft: Draft) -> str | None:
        """Text that goes with the question."""
        return await self._text("before_prompt", draft)

    async def after_answer(self, answered: Answered) -> None:
        """Told of an answer."""
        await self._call("after_answer", answered)

    async def _text(self, name: str, argument: object) -> str | None:
        said = await self._call(name, argument)
        if said is None:
            return None
        if isinstance(said, str):
            return said.encode("utf-8", "replace").decode("utf-8")  # half of a pair could be sent to no model
        self._note(f"assistant.hooks.{name}: returned a {type(said).__name__}; it should return text or None")
        return None

    async def _call(self, name: str, argument: object) -> Any:
        hook = self._found.get(name)
        if hook is None:
            return None
        limit, is_async, is_begun = asyncio.timeout(self._timeout_s), inspect.iscoroutinefunction(hook), False
        try:
            async with limit:
                if not is_async:
                    await self._places[name].acquire()
                is_begun = True
                return await (hook(argument) if is_async else self._in_thread(name, hook, argument))
        except BaseException as error:  # the author's code: whatever it raises is told, and harms nobody
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            told = self._late(is_begun=is_begun) if limit.expired() else _where(error)
            self._note(f"assistant.hooks.{name}: {told}; went on without it")
        return None

    async def _in_thread(self, name: str, hook: Callable[[Any], Any], argument: object) -> Any:
        """Call a plain hook that has a place; the place is given back when the hook returns, not when nobody waits any more."""
        places, loop = self._places[name], asyncio.get_running_loop()

        def run() -> Any:
            try:
                return hook(argument)
            except BaseException as error:  # a future cannot hold a StopIteration, and a SystemExit would end the loop
                raise _Raised(error) from None
            finally:
                with suppress(RuntimeError):  # the loop is closed, nobody waits any more
                    loop.call_soon_threadsafe(places.release)

        try:
            return await in_background(run, f"hook-{name}")
        except RuntimeError:  # there was no thread to be had, so nobody else gives the place back
            places.release()
            raise

    def _late(self, *, is_begun: bool) -> str:
        if is_begun:
            return f"took longer than {self._timeout_s:g} s (hooks.timeout)"
        return f"passed over after {self._timeout_s:g} s (hooks.timeout): {_MOST_AT_ONCE} calls of it have not returned yet"


class _Raised(Exception):
    """Carries what a hook raised out of its thread."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.error = error


def _where(error: BaseException) -> str:
    """Kind and place of an error: its text may quote what a visitor said."""
    error = error.error if isinstance(error, _Raised) else error
    if isinstance(error.__cause__, StopIteration):  # which no coroutine can raise: Python makes a RuntimeError of it
        error = error.__cause__
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"raised {type(error).__name__} at {Path(last.filename).name}:{last.lineno}"


def _find(name: str, where: str, folder: Path, modules: dict[str, ModuleType]) -> Callable[[Any], Any]:
    module_name, _, function = where.partition(":")
    key = f"assistant.hooks.{name}"
    try:
        module = modules.get(module_name) or _module(module_name, folder)
    except (Exception, SystemExit) as error:  # importing runs the author's code
        raise ConfigError(
            f"{key}: {module_name} cannot be imported: {type(error).__name__}: {error}",
            hint="it is looked for beside relight.toml, then among the installed packages",
        ) from error
    modules[module_name] = module
    found: Callable[[Any], Any] | None = getattr(module, function, None)
    if not callable(found):
        raise ConfigError(f"{key}: {module_name} has no function {function}", hint="write it as MODULE:FUNCTION")
    return found


def _module(name: str, folder: Path) -> ModuleType:
    file = folder / Path(*name.split(".")).with_suffix(".py")
    if not file.is_file():
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickles look it up
    spec.loader.exec_module(module)
    return module
