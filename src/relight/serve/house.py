"""The engines of one service: where they lie, how they are started, what they share. Knows no request."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from relight.background import in_background
from relight.clock import Clock
from relight.config.kinds import Kind, kind
from relight.config.load import Loaded
from relight.config.schema import Model
from relight.engines.base import Engine
from relight.engines.kinds import engine_for, folder_of_weights, spec_for
from relight.engines.memory import machine_memory
from relight.engines.process import start
from relight.engines.slots import Slots
from relight.errors import EngineFailed, RelightError
from relight.lifecycle.budget import Limit
from relight.lifecycle.eta import WakeTimes
from relight.lifecycle.keeper import Facts, Keeper
from relight.lifecycle.learner import Learner
from relight.lifecycle.machine import Limits, State
from relight.lifecycle.measured import Measured
from relight.lifecycle.runner import Launch, Runner, Started
from relight.lifecycle.shelf import Means, Shelf
from relight.serve.front import Served, engine_speech
from relight.serve.snapshots import MEASURED, ground_of, open_store
from relight.serve.template import Template
from relight.telemetry.metrics import Metrics
from relight.telemetry.sinks import Sink
from relight.weights.description import Description, describe, header_of
from relight.weights.fit import memory_needed
from relight.weights.readahead import read_ahead
from relight.weights.wanted import keeps_weights, locate, require

_PREFIX: Final = "relight-"
_DOWNLOAD_LIMIT_S: Final = 24 * 3600.0


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


class House:
    """What the engines of one service share. It is also the observer of their runners, and what the keeper knows of them."""

    def __init__(self, loaded: Loaded, sink: Sink, clock: Clock) -> None:
        self.sink, self.clock, self.metrics = sink, clock, Metrics()
        self._loaded = loaded
        self._weights_dir = loaded.weights_dir
        self._times = WakeTimes(self._weights_dir / "wake-times.json")
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        config = loaded.config
        named = [
            config.auth.keys,
            config.prefixes.key,
            config.assistant.key,
            *(model.api_key for model in config.models.values()),
        ]
        self._secrets = frozenset(name.secret for name in named if name.secret)
        self._store = open_store(loaded, self._warn)
        self._runners: dict[str, Runner] = {}
        self._templates: dict[str, Template] = {}
        self._asking: set[asyncio.Task[None]] = set()
        self._beginning: asyncio.Task[None] | None = None
        self._keeper = self._make_keeper()

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
            start_limit_s=_DOWNLOAD_LIMIT_S if self._may_download(model) else max(600.0, 5 * model.wake_timeout),
        )
        engine = engine_for(model.engine, model.task)
        means = self._means(name) if engine.capabilities.snapshots else None
        shelf = None if means is None else Shelf(means)
        runner = self._runners[name] = Runner(name, limits, self._launch(engine, name, model, shelf), self.clock, self)
        template = self._templates[name] = Template(name, model, self._loaded.folder, self._weights_dir, self._warn)
        prefixes = self._loaded.config.prefixes
        learns, history = prefixes.learn, prefixes.include_history
        return Served(
            name,
            runner,
            engine.capabilities,
            model.context,
            engine.name,
            engine_speech(name, engine.capabilities, model, prefixes, self.clock, shown=template.shown),
            parallel=model.parallel,
            bridge=model.bridge,
            shelf=shelf,
            learner=None if shelf is None or means is None else Learner(runner, shelf, means, learns=learns, history=history),
        )

    def describe(self, name: str) -> Description:
        """What is known of a model's weights."""
        model = self._loaded.config.models[name]
        return describe(locate(name, model, self._loaded.folder, self._weights_dir) if keeps_weights(model) else None, model)

    def lacking(self) -> list[str]:
        """The models whose weights have yet to be downloaded."""
        if not self._loaded.config.weights.download:
            return []
        return [name for name in self._runners if self._is_lacking(name)]

    def begin(self) -> None:
        """Where an instance starts because somebody asks, do not wait for the question: fetch what is lacking, and wake the model
        that will be asked."""
        self._beginning = asyncio.create_task(self._begin(), name="begin")

    async def _begin(self) -> None:
        for name in self.lacking():
            await self._fetch(name)
        first = self._first()
        if first in self._runners and not self._is_lacking(first):
            self._runners[first].wake()

    def _first(self) -> str:
        """Who is asked first by whoever names no model; nobody of ours where that is not clear, or somebody else."""
        config = self._loaded.config
        name = config.answering_model() or ""
        return next(iter(config.models[name].fallback), name) if name in config.models else name

    async def _fetch(self, name: str) -> None:
        self.sink.note("INFO", f"{name}: downloading its weights")
        try:
            await in_background(self._download(name, self._loaded.config.models[name]), "download")
        except RelightError as error:
            # The first wake tries again, and says it to whoever asked.
            self.sink.note("ERROR", str(error))
        else:
            self.sink.note("INFO", f"{name}: its weights are here")

    def _is_lacking(self, name: str) -> bool:
        model = self._loaded.config.models[name]
        return keeps_weights(model) and locate(name, model, self._loaded.folder, self._weights_dir) is None

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
        # Beside the first answer, which need not wait for it.
        asking = asyncio.create_task(self._templates[model].ask(self._socket(model)), name=f"template {model}")
        self._asking.add(asking)
        asking.add_done_callback(self._asking.discard)

    def slept(self, model: str) -> None:
        """See `Observer.slept`."""
        self.sink.note("INFO", f"{model} is asleep; its memory is free")

    def failed(self, model: str, failure: EngineFailed) -> None:
        """See `Observer.failed`."""
        self.metrics.engine_failed(model)
        self.sink.note("ERROR", str(failure))

    # --- the keeper's house

    def facts(self, model: str) -> Facts:
        """See `keeper.House.facts`."""
        status = self._runners[model].status()
        is_idle = status.state is State.AWAKE and not status.running and not status.waiting
        return Facts(self._memory_needed(model), is_idle, self.expect(model))

    def sleep(self, model: str) -> None:
        """See `keeper.House.sleep`."""
        self.sink.note("INFO", f"{model} goes to sleep to make room in memory")
        self._runners[model].sleep()

    def used(self, model: str) -> None:
        """Note a request: what is used often and lately stays longer."""
        if self._keeper is not None:
            self._keeper.used(model)

    def _make_keeper(self) -> Keeper | None:
        """One engine that may take what there is needs nobody to share with."""
        config = self._loaded.config
        memory, ours = config.server.memory, [model for model in config.models.values() if kind(model) is Kind.OURS]
        if memory is None and len(ours) < 2:
            return None
        return Keeper(Limit.of(memory, machine_memory().total), self, self.clock, self._warn)

    def _memory_needed(self, name: str) -> int:
        """Bytes, as well as they are known: nothing for weights that the engine keeps itself."""
        model = self._loaded.config.models[name]
        if not keeps_weights(model):
            return 0
        try:
            path = locate(name, model, self._loaded.folder, self._weights_dir)
            return 0 if path is None else memory_needed(header_of(path, path.stat().st_mtime), model)
        except (RelightError, OSError):
            return 0  # what is wrong with them is told by the engine's start

    # --- engines

    def _means(self, name: str) -> Means:
        def note(severity: str, text: str) -> None:
            self.sink.note(severity, f"{name}: {text}")

        return Means(
            self._store,
            lambda: self._slots(name),
            lambda: ground_of(name, self._loaded),
            Slots,
            self.clock,
            note,
            measured=Measured(self._weights_dir / MEASURED),
            fact=lambda text, fields: self.sink.note("INFO", f"{name}: {text}", **fields),
        )

    def _slots(self, name: str) -> Path:
        folder = self._sockets() / f"{self._number(name)}.slots"
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def _socket(self, name: str) -> Path:
        return self._sockets() / f"{self._number(name)}.sock"

    def _warn(self, text: str) -> None:
        self.sink.note("WARNING", text)

    def _number(self, name: str) -> int:
        """Short, for paths of sockets are."""
        return list(self._loaded.config.models).index(name)

    def _launch(self, engine: Engine, name: str, model: Model, shelf: Shelf | None) -> Launch:
        async def launch() -> Started:
            weights = await self._weights(name, model)
            spec = replace(spec_for(name, model, weights, self._socket(name)), hidden=self._secrets)
            if weights is not None and weights.is_file():
                read_ahead(weights)
            if shelf is not None:
                spec = replace(spec, snapshots=self._slots(name))
                shelf.begin()
            if self._keeper is None:
                return await start(engine, spec, self.clock)
            return await self._keeper.keep(name, lambda: start(engine, spec, self.clock))

        return launch

    def _may_download(self, model: Model) -> bool:
        return self._loaded.config.weights.download or (bool(model.source) and not keeps_weights(model))

    async def _weights(self, name: str, model: Model) -> Path | None:
        if not keeps_weights(model):
            return folder_of_weights(model, self._loaded.folder)
        here = locate(name, model, self._loaded.folder, self._weights_dir)
        if here is None and self._loaded.config.weights.download:
            await in_background(self._download(name, model), "download")
        return require(name, model, self._loaded.folder, self._weights_dir)

    def _download(self, name: str, model: Model) -> Callable[[], object]:
        from relight.weights.fetch import fetch, wanted

        return lambda: fetch(wanted(name, model, self._loaded.folder, self._weights_dir))
