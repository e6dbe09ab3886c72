"""What must hold for the assistant and between it and the models. Pure: configuration in, problems out; opens no file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from relight.config.address import split
from relight.config.assistant import ASSISTANT, Assistant, Mode
from relight.config.keys import Path
from relight.config.leaf import shown
from relight.config.origin import Origin, Problem
from relight.config.schema import Config, Task

_HOOK: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def assistant_problems(config: Config, origin: Callable[[Path], Origin]) -> Iterator[Problem]:
    """Everything that is wrong with `[assistant]`."""
    for path, text in _found(config):
        place = ("assistant", *path)
        yield Problem(origin(place), place, text)
    for name in config.models:
        if config.assistant.is_there and name.partition(":")[0] == ASSISTANT:
            place = ("models", name)
            yield Problem(origin(place), place, f'"{ASSISTANT}" is what clients call the assistant; give this model another name')


def _found(config: Config) -> Iterator[tuple[Path, str]]:
    said = config.assistant
    if not said.is_there:
        return
    if said.model is None and len(config.models) > 1:
        yield ("model",), f"missing: there are several models; name the one that answers: {', '.join(config.models)}"
    for path, name in _models_named(config):
        if fault := _model_fault(name, config):
            yield path, fault
    if said.default_mode is not None and said.default_mode not in said.modes:
        from relight.config.suggest import instead

        known = instead(said.default_mode, said.modes) if said.modes else "there is no mode"
        yield ("default_mode",), f"no mode is called {shown(said.default_mode)}; {known}"
    for name, mode in said.modes.items():
        yield from _pattern_faults(name, mode)
    yield from _site_faults(said)
    yield from _hook_faults(said)


def _site_faults(said: Assistant) -> Iterator[tuple[Path, str]]:
    for site in said.origins:
        parts = split(site)
        if parts is None or parts.scheme not in ("http", "https") or site.count("/") != 2:
            yield ("origins",), f'should be a site like "https://mira.example", without a path, got {shown(site)}'


def _hook_faults(said: Assistant) -> Iterator[tuple[Path, str]]:
    for name in ("detect", "before_prompt", "after_answer"):
        hook = getattr(said.hooks, name)
        if hook is not None and not _HOOK.fullmatch(hook):
            yield ("hooks", name), f'should be MODULE:FUNCTION, like "hooks:{name}", got {shown(hook)}'


def _models_named(config: Config) -> Iterator[tuple[Path, str]]:
    said = config.assistant
    for key in ("model", "decider"):
        if (name := getattr(said, key)) is not None:
            yield (key,), name
    for mode_name, mode in said.modes.items():
        if mode.model is not None:
            yield ("modes", mode_name, "model"), mode.model


def _model_fault(name: str, config: Config) -> str | None:
    """Why the assistant cannot ask the model `name`."""
    if name not in config.models:
        from relight.config.suggest import instead

        return f"no model is called {shown(name)}; {instead(name, config.models)}"
    task = config.models[name].task
    return f'names {shown(name)}, which has task = "{task}"; name one that chats' if task is not Task.CHAT else None


def _pattern_faults(name: str, mode: Mode) -> Iterator[tuple[Path, str]]:
    for pattern in mode.patterns:
        try:
            re.compile(pattern, re.IGNORECASE)
        except re.error as error:
            yield ("modes", name, "patterns"), f"{shown(pattern)} is no regular expression: {error}"
