"""What the routes share: the configuration, one runner a model, the sinks and the counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from relight.clock import Clock
from relight.config.schema import Config, Content
from relight.engines.base import Capabilities
from relight.errors import InvalidRequest, ModelNotFound, RelightError
from relight.lifecycle.runner import Runner
from relight.serve.http import Request
from relight.telemetry.interaction import HttpFacts, Interaction, Origin, Phase, parse_trace
from relight.telemetry.metrics import Metrics
from relight.telemetry.redact import change_all, redact
from relight.telemetry.sinks import Sink

_MAX_NAME: Final = 80  # characters of a name that somebody else chose


@dataclass(frozen=True, slots=True)
class Served:
    """A model behind the front door."""

    name: str
    runner: Runner
    capabilities: Capabilities
    context: int
    engine: str


@dataclass(slots=True)
class Front:
    """The state of one front door. `stopping` is set once, when the server begins to shut down."""

    config: Config
    models: Mapping[str, Served]
    sink: Sink
    clock: Clock
    origin: Origin
    metrics: Metrics = field(default_factory=Metrics)
    is_stopping: bool = False

    def model(self, name: str | None) -> Served:
        """The model of that name, or the default one; raises `ModelNotFound` or `InvalidRequest`."""
        wanted = name or self.config.default_model()
        known = ", ".join(self.models)
        if wanted is None:
            raise InvalidRequest("model: is missing, and no default_model is configured", hint=f"use one of: {known}")
        if wanted not in self.models:
            raise ModelNotFound(f'model: there is no "{wanted[:_MAX_NAME]}"; there is: {known}')
        return self.models[wanted]

    def open(self, request: Request) -> Interaction:
        """Open the record of an interaction; its id goes out with every answer."""
        agent = request.headers.get(b"user-agent", b"").decode("latin-1")
        facts = HttpFacts(request.method, request.path, request.remote, agent)
        it = Interaction(self.clock, self.origin, facts, parse_trace(request.headers))
        it.session = request.headers.get(b"x-session-id", b"").decode("latin-1")[:64]
        request.extra.append((b"x-relight-interaction", it.id.encode()))
        self.sink.opened(it)
        return it

    def close(self, it: Interaction) -> None:
        """Close the record, count it and write it."""
        record = it.close()
        self.metrics.count(record)
        self.sink.closed(record)

    @property
    def keeps_content(self) -> bool:
        """Whether `log.content` asks for what was said."""
        return self.config.log.content is not Content.NONE

    def keep_content(self, it: Interaction, **content: Any) -> None:
        """Add what was said to the record, as far as `log.content` allows."""
        if self.keeps_content:
            change = str if self.config.log.content is Content.FULL else redact
            it.content = {**(it.content or {}), **change_all(content, change)}

    def refuse(self, it: Interaction, error: RelightError) -> None:
        """Note a refusal in the record."""
        it.fail(error)
        it.status = error.http_status


def timing_headers(it: Interaction) -> list[tuple[bytes, bytes]]:
    """`server-timing` with the phases that are over, and `x-relight-wake-ms` when there was a wake among them."""
    phases = it.finished()
    if not phases:
        return []
    shown = ", ".join(f"{phase};dur={seconds * 1000:.1f}" for phase, seconds in phases.items())
    headers = [(b"server-timing", shown.encode())]
    if Phase.WAKE in phases:
        headers.append((b"x-relight-wake-ms", f"{phases[Phase.WAKE] * 1000:.0f}".encode()))
    return headers
