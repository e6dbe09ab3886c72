"""From a configuration to an app: one runner a model, each with the engine that its configuration names."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from relight.access.keys import Keys
from relight.access.limits import Limiter
from relight.clock import Clock, SystemClock
from relight.config.kinds import Kind, kind
from relight.config.load import Loaded, load
from relight.config.schema import Model
from relight.config.secrets import resolve
from relight.engines.base import Engine
from relight.engines.kinds import engine_for, spec_for
from relight.engines.process import EngineProcess, start
from relight.errors import EngineFailed, RelightError
from relight.lifecycle.eta import WakeTimes
from relight.lifecycle.machine import Limits
from relight.lifecycle.runner import Launch, Runner
from relight.providers.provider import Provider
from relight.providers.target import Target
from relight.serve.admission import Gate
from relight.serve.app import App
from relight.serve.front import Front, Provided, Served, provider_speech
from relight.telemetry.interaction import Origin
from relight.telemetry.metrics import Metrics
from relight.telemetry.sinks import JsonLines, Sink, to_stdout
from relight.weights.description import Description, describe
from relight.weights.wanted import keeps_weights, locate, require

_PREFIX: Final = "relight-"
_DOWNLOAD_LIMIT_S: Final = 24 * 3600.0


def create_app(config: Loaded | str | Path, *, sink: Sink | None = None, clock: Clock | None = None) -> App:
    """An ASGI app that serves what `config` (a loaded configuration, or the path of a file) describes.

    Mount it into any ASGI application and forward the lifespan, or call `stop()` at the end: the engines are processes
    that it owns. Records go to standard output as JSON lines unless a `sink` is given. Raises `ConfigError`.
    """
    loaded = config if isinstance(config, Loaded) else load(config)
    house = _House(loaded, sink or JsonLines(to_stdout), clock or SystemClock())
    models = loaded.config.models
    front = Front(
        config=loaded.config,
        models={name: house.serve(name, model) for name, model in models.items() if kind(model) is Kind.OURS},
        providers={name: house.hire(name, model) for name, model in models.items() if kind(model) is Kind.PROVIDER},
        sink=house.sink,
        clock=house.clock,
        origin=Origin.from_environment(loaded.config.service.name),
        gate=house.gate(),
        limiter=house.limiter(),
        describe=house.describe,
        metrics=house.metrics,
    )
    return App(front, stopped=house.tidy)


def _sweep() -> None:
    """Remove the folders of servers that were killed before they could."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdecimal() and not _is_alive(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # somebody else's, but alive
    return True


async def _in_background(work: Callable[[], object]) -> None:
    """Run blocking `work` in a thread that does not keep the process: one that stops does not wait for a download."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def settle(error: BaseException | None) -> None:
        if not done.done():
            done.set_result(None) if error is None else done.set_exception(error)

    def run() -> None:
        error: BaseException | None = None
        try:
            work()
        except BaseException as caught:
            error = caught
        with suppress(RuntimeError):  # nobody waits any more
            loop.call_soon_threadsafe(settle, error)

    threading.Thread(target=run, name="download", daemon=True).start()
    await done


class _House:
    """What the runners of one service share. It is also their observer."""

    def __init__(self, loaded: Loaded, sink: Sink, clock: Clock) -> None:
        self.sink, self.clock, self.metrics = sink, clock, Metrics()
        self._loaded = loaded
        self._weights_dir = loaded.folder / Path(loaded.config.weights.dir).expanduser()
        self._times = WakeTimes(self._weights_dir / "wake-times.json")
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def tidy(self) -> None:
        """Remove the folder of the engines' sockets; no engine may run any more."""
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _sockets(self) -> Path:
        if self._folder is None or not Path(self._folder.name).is_dir():
            # Private to this user, and short enough for a socket's path. Made anew when it is gone: a model may sleep for
            # weeks, and systems clean their temporary folders.
            self.tidy()
            _sweep()
            self._folder = tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-", ignore_cleanup_errors=True)
        return Path(self._folder.name)

    def serve(self, name: str, model: Model) -> Served:
        """One model behind the front door."""
        limits = Limits(
            slots=model.parallel,
            queue_depth=model.queue_depth,
            queue_timeout_s=model.queue_timeout,
            wake_timeout_s=model.wake_timeout,
            idle_after_s=model.idle_after,
            drain_grace_s=self._loaded.config.server.grace,
            start_limit_s=_DOWNLOAD_LIMIT_S if self._loaded.config.weights.download else max(600.0, 5 * model.wake_timeout),
        )
        engine = engine_for(model.engine, model.task)
        runner = Runner(name, limits, self._launch(engine, name, model), self.clock, self)
        return Served(
            name,
            runner,
            engine.capabilities,
            model.context,
            engine.name,
            max_tokens=model.max_tokens,
            parallel=model.parallel,
            bridge=model.bridge,
        )

    def hire(self, name: str, model: Model) -> Provided:
        """A model of somebody else."""
        key = resolve(model.api_key, self._loaded.folder, os.environ, key=f"models.{name}.api_key")
        target = Target.of(name, model, key)
        speech = provider_speech(target.name)
        return Provided(name, Provider(target, self.clock), target.host, speech, model.price)

    def describe(self, name: str) -> Description:
        """What is known of a model's weights."""
        model = self._loaded.config.models[name]
        return describe(locate(name, model, self._loaded.folder, self._weights_dir) if keeps_weights(model) else None, model)

    def gate(self) -> Gate:
        """Who may pass."""
        secret = resolve(self._loaded.config.auth.keys, self._loaded.folder, os.environ, key="auth.keys")
        keys = None if secret is None else Keys.parse(secret.reveal())
        return Gate(keys, public=self._loaded.config.server.public)

    def limiter(self) -> Limiter:
        """How much each may use."""
        limits, service = self._loaded.config.limits, self._loaded.config.service.name
        return Limiter(limits, self.clock, service=service, note=lambda text: self.sink.note("ERROR", text))

    # --- Observer

    def expect(self, model: str) -> float:
        """See `Observer.expect`."""
        section, weights = self._loaded.config.models[model], None
        if keeps_weights(section):
            with suppress(RelightError):
                weights = locate(model, section, self._loaded.folder, self._weights_dir)
        return self._times.expect(model, weights)

    def woke(self, model: str, seconds: float) -> None:
        """See `Observer.woke`."""
        self._times.add(model, seconds)
        self.metrics.woke(model, seconds)
        self.sink.note("INFO", f"{model} is awake after {seconds:.2f} s")

    def slept(self, model: str) -> None:
        """See `Observer.slept`."""
        self.sink.note("INFO", f"{model} is asleep; its memory is free")

    def failed(self, model: str, failure: EngineFailed) -> None:
        """See `Observer.failed`."""
        self.metrics.engine_failed(model)
        self.sink.note("ERROR", str(failure))

    # --- engines

    def _launch(self, engine: Engine, name: str, model: Model) -> Launch:
        async def launch() -> EngineProcess:
            weights = await self._weights(name, model)
            socket = self._sockets() / f"{list(self._loaded.config.models).index(name)}.sock"
            return await start(engine, spec_for(name, model, weights, socket), self.clock)

        return launch

    async def _weights(self, name: str, model: Model) -> Path | None:
        if not keeps_weights(model):
            return None
        here = locate(name, model, self._loaded.folder, self._weights_dir)
        if here is None and self._loaded.config.weights.download:
            await _in_background(self._download(name, model))
        return require(name, model, self._loaded.folder, self._weights_dir)

    def _download(self, name: str, model: Model) -> Callable[[], object]:
        from relight.weights.fetch import fetch, wanted

        return lambda: fetch(wanted(name, model, self._loaded.folder, self._weights_dir))
