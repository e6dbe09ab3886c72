"""What `relight doctor` looks at on the machine and in the service, each check by itself.

Prints nothing and starts nothing that stays.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec

from relight.cli.early import listen
from relight.config.load import Loaded
from relight.config.schema import Config
from relight.config.secrets import resolve
from relight.engines.cpu import available_cpus, engine_threads
from relight.errors import ConfigError
from relight.values import format_bytes

OLDEST_PYTHON: Final = (3, 11)
_ROOMY: Final = 2 * 2**30
_ASK_S: Final = 2.0


class Result(StrEnum):
    """What a check came to."""

    PASS = "PASS"  # noqa: S105 - a verdict
    WARN = "WARN"
    FAIL = "FAIL"


class Check(msgspec.Struct, frozen=True):
    """One check: what it came to, what was seen, and what to do about it. `model` is None for what concerns them all."""

    result: Result
    check: str
    seen: str
    advice: str | None = None
    model: str | None = None


def python_check(version: tuple[int, int, int] | None = None) -> Check:
    """Whether this Python is new enough; `version` None is the one that runs."""
    found = version or sys.version_info[:3]
    seen = f"{'.'.join(map(str, found))} ({platform.python_implementation()}, {platform.machine()})"
    if found < OLDEST_PYTHON:
        return Check(Result.FAIL, "python", seen, f"install Python {'.'.join(map(str, OLDEST_PYTHON))} or newer")
    return Check(Result.PASS, "python", seen)


def config_check(config_file: str, loaded: Loaded | ConfigError) -> Check:
    """What became of loading the configuration."""
    if isinstance(loaded, ConfigError):
        return Check(Result.FAIL, "configuration", loaded.message, loaded.hint or "correct it; every key: relight config example")
    default = loaded.config.default_model()
    names = ", ".join(loaded.config.models)
    return Check(Result.PASS, "configuration", f"{config_file}: {names}" + (f"; {default} is the default" if default else ""))


def cpu_check(config: Config | None, cpus: float | None = None) -> Check:
    """Whether there is a whole CPU to compute with, and no model asks for more threads than there are."""
    have = available_cpus() if cpus is None else cpus
    threads = engine_threads(have)
    seen = f"{have:g} CPUs, so an engine computes with {_plural(threads, 'thread')}"
    if have < 1:
        return Check(Result.WARN, "cpu", seen, "raise the CPU quota to 1 or more: below it, every answer is stopped and started")
    over = {name: model.threads for name, model in (config.models if config else {}).items() if model.threads > threads}
    if over:
        keys = ", ".join(f"models.{name}.threads = {asked}" for name, asked in over.items())
        return Check(Result.WARN, "cpu", seen, f"{keys}: threads without a CPU slow the others down; set {threads}, or 0 for it")
    return Check(Result.PASS, "cpu", seen)


def port_check(host: str, port: int) -> Check:
    """Whether `relight serve` could listen there."""
    where = f"{host}:{port}"
    if port == 0:
        return Check(Result.PASS, "port", f"{host}, a free port is chosen at the start")
    try:
        listen(host, port).close()
    except OSError as error:
        if (service := _running_service(host, port)) is not None:
            seen = f"{where} is taken by Relight itself, serving {service}"
            return Check(Result.WARN, "port", seen, "nothing, if that is the one you mean; a second one: relight serve --port 0")
        advice = "stop what listens there, or choose another: relight serve --port 0, or server.port"
        return Check(Result.FAIL, "port", f"{where}: {error.strerror or error}", advice)
    return Check(Result.PASS, "port", f"{where} is free")


def room_for(folder: Path) -> tuple[Path, bool]:
    """What there is of `folder` already, itself or the nearest above it, and whether something can be made there."""
    exists = folder if folder.exists() else next(parent for parent in folder.parents if parent.exists())
    return exists, exists.is_dir() and os.access(exists, os.W_OK | os.X_OK)


def folder_check(folder: Path, *, is_complete: bool) -> Check:
    """Whether weights can be written into `folder`; `is_complete` says that nothing has to be downloaded any more."""
    exists, is_writable = room_for(folder)
    free = shutil.disk_usage(exists).free
    seen = f"{folder}: {'writable' if is_writable else 'not writable'}, {format_bytes(free)} free"
    if is_complete:
        return Check(Result.PASS, "weights folder", seen + ("" if is_writable else "; nothing has to be written"))
    if not is_writable:
        return Check(Result.FAIL, "weights folder", seen, f"make {exists} writable, or set weights.dir to another folder")
    if free < _ROOMY:
        return Check(Result.WARN, "weights folder", seen, "a download may not fit: free some, or set weights.dir to another disk")
    return Check(Result.PASS, "weights folder", seen)


def keys_check(loaded: Loaded) -> Check:
    """Who may use the service, and whether the keys are there."""
    from relight.access.keys import Keys

    config = loaded.config
    try:
        secret = resolve(config.auth.keys, loaded.folder, os.environ, key="auth.keys")
        keys = None if secret is None else [key.name for key in Keys.parse(secret.reveal(), where=secret.name)]
    except ConfigError as error:
        return Check(Result.FAIL, "keys", error.message, "make one: relight keys create NAME")
    if keys is not None and not keys:
        return Check(
            Result.FAIL, "keys", "asked for, and there is none, so nobody is let in", "make one: relight keys create NAME"
        )
    if keys:
        return Check(Result.PASS, "keys", f"asked for; known: {', '.join(keys)}")
    if config.assistant.public and not config.server.public:
        return Check(Result.PASS, "keys", "none, so only this machine may use the models; the assistant answers anybody")
    if config.server.public:
        seen = "none, and server.public is set: anyone who reaches the port may use the models"
        return Check(Result.WARN, "keys", seen, "nothing, if that is meant; else make a key: relight keys create NAME")
    return Check(Result.PASS, "keys", "none, so only this machine may use the models")


def redis_check(store: str) -> Check | None:
    """Whether the Redis at `store` can count for the limits; `None` when none is configured. Waits two seconds at most.

    No message shows the address: it may hold a password.
    """
    if store == "memory":
        return None
    if importlib.util.find_spec("redis") is None:
        return Check(
            Result.FAIL,
            "limits",
            "the client for Redis is not installed",
            "run: pip install '.[redis]' in the folder of Relight's source",
        )
    from redis import Redis
    from redis.exceptions import RedisError

    try:
        with Redis.from_url(store, socket_timeout=_ASK_S, socket_connect_timeout=_ASK_S) as client:
            client.ping()
    except (RedisError, OSError, ValueError) as error:
        seen = f"limits.store does not answer ({type(error).__name__}), and until it does nothing is limited"
        return Check(Result.FAIL, "limits", seen, "start it, or correct limits.store")
    return Check(Result.PASS, "limits", "counted in Redis, which answers")


def machine_checks(config_file: str, loaded: Loaded | ConfigError) -> Iterator[Check]:
    """What can be said without looking at any model."""
    config = None if isinstance(loaded, ConfigError) else loaded.config
    yield python_check()
    yield config_check(config_file, loaded)
    yield cpu_check(config)
    if config is not None:
        yield port_check(config.server.host, config.server.port)
    if isinstance(loaded, Loaded):
        yield keys_check(loaded)
        if (check := redis_check(loaded.config.limits.store)) is not None:
            yield check


def _running_service(host: str, port: int) -> str | None:
    """The name of the service, when it is a Relight that answers there."""
    from http.client import HTTPConnection, HTTPException

    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared
    connection = HTTPConnection(reachable, port, timeout=_ASK_S)
    try:
        connection.request("GET", "/status")
        said = json.loads(connection.getresponse().read(1 << 20))
        return str(said["service"]) if {"service", "version", "models"} <= set(said) else None
    except (OSError, HTTPException, ValueError, TypeError):
        return None
    finally:
        connection.close()


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
