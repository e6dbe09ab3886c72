"""What must hold between keys, once each of them is right by itself. Pure: configuration in, problems out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from relight.config.address import split
from relight.config.assistant import ASSISTANT
from relight.config.keys import KEYS_VARIABLE, Path
from relight.config.leaf import shown
from relight.config.models import model_problems
from relight.config.origin import Origin, Problem
from relight.config.schema import Config
from relight.config.talk import assistant_problems
from relight.loopback import is_loopback

_DAY: Final = "(mon|tue|wed|thu|fri|sat|sun)"
_DAYS: Final = f"{_DAY}(-{_DAY})?(,{_DAY}(-{_DAY})?)*"
_CLOCK: Final = "([01][0-9]|2[0-3]):[0-5][0-9]"
_HOURS: Final = f"{_CLOCK}-({_CLOCK}|24:00)"


def cross_checks(config: Config, origin: Callable[[Path], Origin]) -> Iterator[Problem]:
    """Everything that is wrong with `config` as a whole."""
    if config.models:
        yield from model_problems(config.models, origin)
    else:
        text = "no model is configured, so there is nothing to serve; add [models.NAME] (relight init shows one)"
        yield Problem(origin(("models",)), ("models",), text)
    yield from assistant_problems(config, origin)
    yield from _default_model(config, origin)
    yield from _host(config, origin)
    yield from _store(config, origin)
    yield from _strip(config, origin)
    yield from _windows(config, origin)


def _default_model(config: Config, origin: Callable[[Path], Origin]) -> Iterator[Problem]:
    name = config.service.default_model
    if name is None or name in config.models or not config.models:
        return
    if config.assistant.is_there and _is_assistant(name, config):
        return
    from relight.config.suggest import instead

    path = ("service", "default_model")
    yield Problem(origin(path), path, f"no model is called {shown(name)}; {instead(name, config.models)}")


def _is_assistant(name: str, config: Config) -> bool:
    model, colon, mode = name.partition(":")
    return model == ASSISTANT and (mode in config.assistant.modes if colon else True)


def _host(config: Config, origin: Callable[[Path], Origin]) -> Iterator[Problem]:
    host = config.server.host
    if config.server.public or config.assistant.public or config.auth.keys.secret is not None or is_loopback(host):
        return
    path = ("server", "host")
    text = (
        f"{shown(host)} can be reached from other machines, and no keys are configured, so anyone who reaches the port could use "
        "the models; make a key with: relight keys create NAME, and set auth.keys = "
        f'{{ secret = "{KEYS_VARIABLE}" }}; or set server.public = true if anyone may; or listen on "127.0.0.1"'
    )
    yield Problem(origin(path), path, text)


def _store(config: Config, origin: Callable[[Path], Origin]) -> Iterator[Problem]:
    store = config.limits.store
    if store == "memory":
        return
    parts = split(store)
    if parts is None or parts.scheme not in ("redis", "rediss"):
        path = ("limits", "store")
        # The text is not shown: an address of this kind often holds a password.
        text = 'should be "memory", or the address of a Redis like "redis://127.0.0.1:6379/0" (rediss:// with TLS)'
        yield Problem(origin(path), path, text)


def _strip(config: Config, origin: Callable[[Path], Origin]) -> Iterator[Problem]:
    told = [("strip", one) for one in config.prefixes.strip] + [("pin", one) for one in config.prefixes.pin]
    for key, pattern in told:
        path = ("prefixes", key)
        try:
            re.compile(pattern)
        except re.error as error:
            yield Problem(origin(path), path, f"{shown(pattern)} is no regular expression: {error}")


def _windows(config: Config, origin: Callable[[Path], Origin]) -> Iterator[Problem]:
    # Here, and not as a pattern of the key: a message would show it, and it says less than an example.
    for name, window in config.deploy.cloudrun.warm.items():
        for key, form, example in (("days", _DAYS, '"mon-fri" or "mon,wed"'), ("hours", _HOURS, '"08:00-18:00"')):
            said, path = getattr(window, key), ("deploy", "cloudrun", "warm", name, key)
            if not re.fullmatch(form, said):
                yield Problem(origin(path), path, f"should be like {example}, got {shown(said)}")
