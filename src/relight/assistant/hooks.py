"""The author's own functions: found by name, given typed arguments and a time, and never able to take the service down.

A hook is a plain or an async function. Plain ones run in threads of their own; one that never returns keeps its thread, and when
too many do, the hook is passed over.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from msgspec import Struct

from relight.assistant.conversation import Said
from relight.background import in_background
from relight.config.assistant import Hooks as Section
from relight.errors import ConfigError

_MOST_AT_ONCE: Final = 16
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
        self._running = 0
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
        if said is None or isinstance(said, str):
            return said
        self._note(f"assistant.hooks.{name}: returned a {type(said).__name__}; it should return text or None")
        return None

    async def _call(self, name: str, argument: object) -> Any:
        hook = self._found.get(name)
        if hook is None:
            return None
        if self._running >= _MOST_AT_ONCE:
            self._note(f"assistant.hooks.{name}: passed over, {_MOST_AT_ONCE} hooks have not returned yet")
            return None
        try:
            async with asyncio.timeout(self._timeout_s):
                return await (hook(argument) if inspect.iscoroutinefunction(hook) else self._in_thread(name, hook, argument))
        except TimeoutError:
            self._note(f"assistant.hooks.{name}: took longer than {self._timeout_s:g} s; went on without it (hooks.timeout)")
        except Exception as error:  # the author's code: whatever it raises is told, and harms nobody
            self._note(f"assistant.hooks.{name}: {_where(error)}; went on without it")
        return None

    async def _in_thread(self, name: str, hook: Callable[[Any], Any], argument: object) -> Any:
        self._running += 1

        def run() -> Any:
            try:
                return hook(argument)
            finally:
                self._running -= 1

        return await in_background(run, f"hook-{name}")


def _where(error: Exception) -> str:
    """Kind and place of an error: its text may quote what a visitor said."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"raised {type(error).__name__} at {Path(last.filename).name}:{last.lineno}"


def _find(name: str, where: str, folder: Path, modules: dict[str, ModuleType]) -> Callable[[Any], Any]:
    module_name, _, function = where.partition(":")
    key = f"assistant.hooks.{name}"
    try:
        module = modules.get(module_name) or _module(module_name, folder)
    except Exception as error:  # importing runs the author's code
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
