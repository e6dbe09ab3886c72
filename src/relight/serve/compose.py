"""From a configuration to an app: who answers for each model, who may ask, and how much."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from relight.access.keys import Keys
from relight.access.limits import Limiter
from relight.clock import Clock, SystemClock
from relight.config.kinds import Kind, kind
from relight.config.load import Loaded, load
from relight.config.schema import Model
from relight.config.secrets import resolve
from relight.serve.admission import Gate
from relight.serve.app import App
from relight.serve.front import Front, Provided, Recorder, provider_speech
from relight.serve.house import House
from relight.telemetry.interaction import Origin
from relight.telemetry.sinks import JsonLines, Sink, to_stdout

if TYPE_CHECKING:
    from relight.serve.desk import Desk


def create_app(
    config: Loaded | str | Path, *, sink: Sink | None = None, clock: Clock | None = None, recorder: Recorder | None = None
) -> App:
    """An ASGI app that serves what `config` (a loaded configuration, or the path of a file) describes.

    Mount it into any ASGI application and forward the lifespan, or call `stop()` at the end: the engines are processes
    that it owns. Records go to standard output as JSON lines unless a `sink` is given; a `recorder` is told what requests share.
    Raises `ConfigError`.
    """
    loaded = config if isinstance(config, Loaded) else load(config)
    house = House(loaded, sink or JsonLines(to_stdout), clock or SystemClock())
    models = loaded.config.models
    origin = Origin.from_environment(loaded.config.service.name)
    front = Front(
        config=loaded.config,
        models={name: house.serve(name, model) for name, model in models.items() if kind(model) is Kind.OURS},
        providers={
            name: _hire(name, model, loaded, house.clock) for name, model in models.items() if kind(model) is Kind.PROVIDER
        },
        sink=house.sink,
        clock=house.clock,
        origin=origin,
        gate=_gate(loaded),
        limiter=_limiter(loaded, house),
        describe=house.describe,
        used=house.used,
        lacking=house.lacking if origin.revision else tuple,
        recorder=recorder,
        metrics=house.metrics,
        desk=_desk(loaded, house) if loaded.config.assistant.is_there else None,
    )
    # On the platform an instance starts because somebody asks: what is fetched and loaded by then nobody waits for.
    return App(front, started=house.begin if origin.revision else None, stopped=house.tidy)


def _hire(name: str, model: Model, loaded: Loaded, clock: Clock) -> Provided:
    """A model of somebody else."""
    from relight.providers.provider import Provider
    from relight.providers.target import Target

    key = resolve(model.api_key, loaded.folder, os.environ, key=f"models.{name}.api_key")
    target = Target.of(name, model, key)
    return Provided(name, Provider(target, clock), target.host, provider_speech(target.name, model.mend), model.price)


def _desk(loaded: Loaded, house: House) -> Desk:
    """The assistant; raises `ConfigError` for prompts and hooks that are not there."""
    from relight.serve.equip import desk

    return desk(loaded, house.clock, lambda text: house.sink.note("WARNING", text))


def _gate(loaded: Loaded) -> Gate:
    """Who may pass."""
    secret = resolve(loaded.config.auth.keys, loaded.folder, os.environ, key="auth.keys")
    keys = None if secret is None else Keys.parse(secret.reveal(), where=secret.name)
    config = loaded.config
    assistant = config.assistant if config.assistant.is_there else None
    return Gate(keys, public=config.server.public, assistant=assistant, trusted_hops=config.server.trusted_hops)


def _limiter(loaded: Loaded, house: House) -> Limiter:
    """How much each may use; raises `ConfigError` for a shared store that could never count."""
    limits, service = loaded.config.limits, loaded.config.service.name
    limiter = Limiter(limits, house.clock, service=service, note=lambda text: house.sink.note("ERROR", text))
    if limits.store != "memory":
        limiter.prepare()  # now, and not beside the first requests: they would all fail for it
    return limiter
