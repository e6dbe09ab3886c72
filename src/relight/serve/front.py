"""What the routes share: the configuration, who answers for which model, who may ask, the sinks and the counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from relight.access.limits import Limiter
from relight.clock import Clock, SystemClock
from relight.config.assistant import ASSISTANT
from relight.config.mendings import chosen
from relight.config.schema import Config, Content, Model, Prefixes, Price
from relight.engines.base import Capabilities
from relight.engines.kept import Connections
from relight.errors import InvalidRequest, ModelNotFound, RelightError
from relight.lifecycle.learner import Learner
from relight.lifecycle.runner import Runner
from relight.lifecycle.shelf import Shelf
from relight.prefixes.key import Chain
from relight.prefixes.pin import Pins, patterns
from relight.prefixes.stability import Watcher
from relight.serve.admission import Gate
from relight.serve.elsewhere import Elsewhere
from relight.serve.http import Request
from relight.serve.prepare import Speech
from relight.serve.prompt import check_size
from relight.serve.pulse import Pulse
from relight.serve.watch import Lookout
from relight.telemetry.interaction import HttpFacts, Interaction, Origin, Phase, parse_trace, session_of
from relight.telemetry.metrics import Metrics
from relight.telemetry.redact import change_all, redact
from relight.telemetry.sinks import Sink
from relight.weights.description import Description
from relight.wire.dialect import Usage
from relight.wire.mending import Fields, Needs
from relight.wire.ollama import model_name
from relight.wire.tool_prompt import Shown

if TYPE_CHECKING:
    from relight.providers.provider import Provider
    from relight.serve.desk import Desk

_MAX_NAME: Final = 80  # characters of a name that somebody else chose
_MAX_FACT: Final = 256  # characters of what the access log keeps of a request's head
_PROVIDER_PATHS: Final = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/embeddings"})


@dataclass(frozen=True, slots=True)
class Served:
    """A model whose engine is ours."""

    name: str
    runner: Runner
    capabilities: Capabilities
    context: int
    kind: str
    """The engine's name."""
    speech: Speech
    """What its engine speaks, and what has to be done for it."""
    parallel: int = 1
    bridge: str | None = None
    shelf: Shelf | None = None
    """Its prefix snapshots, where its engine can save what it read."""
    learner: Learner | None = None

    @property
    def pins_slots(self) -> bool:
        """Whether requests name the slot that they are answered in."""
        return self.capabilities.slots and self.parallel > 1


@dataclass(frozen=True, slots=True)
class Provided:
    """A model that somebody else serves."""

    name: str
    provider: Provider
    kind: str
    """The provider's host."""
    speech: Speech
    price: Price

    def cost(self, it: Interaction) -> float | None:
        """What an answer cost, in USD, if that is known."""
        return self.price_of(Usage(prompt=it.prompt_tokens, cached=it.cached_tokens, completion=it.completion_tokens))

    def price_of(self, usage: Usage) -> float | None:
        """What so many tokens cost, in USD, if that is known."""
        from relight.providers.price import cost_usd

        return cost_usd(self.price, usage)


Backend = Served | Provided


class Recorder(Protocol):
    """Keeps what requests share, for a snapshot to be made of it."""

    def saw(self, model: str, chain: Chain, body: bytes) -> None:
        """A request for `model`, as its engine is asked."""
        ...


def engine_speech(  # noqa: PLR0913 - what a request needs depends on all of it
    name: str,
    can: Capabilities,
    model: Model,
    prefixes: Prefixes | None = None,
    clock: Clock | None = None,
    *,
    shown: Callable[[], Shown | None] | None = None,
) -> Speech:
    """How an engine of ours is spoken to that serves `model` under its name; what `prefixes` names goes out of system
    messages, or stays in them as it was; what its template does not show (`shown`) is told in words."""
    prefixes = Prefixes() if prefixes is None else prefixes
    needs = Needs(
        context=model.context,
        max_tokens=model.max_tokens,
        model=None if can.grammar else name,
        include_usage=not can.grammar,
        progress=can.progress,
        images=can.images,
        strip=patterns(prefixes.strip),
        pin=Pins(patterns(prefixes.pin), clock or SystemClock(), prefixes.pin_for) if prefixes.pin else None,
        mends=chosen(model.mend, by_default=True),
        shown=shown,
    )
    return Speech(can.paths, needs, has_grammar=can.grammar)


def provider_speech(name: str, mend: tuple[str, ...] | None = None) -> Speech:
    """How a provider is spoken to that calls the model `name`: in the OpenAI dialect, and what is too long it says itself."""
    mends = chosen(mend, by_default=False)
    needs = Needs(context=None, max_tokens=None, model=name, include_usage=True, images=True, mends=mends)
    return Speech(_PROVIDER_PATHS, needs)


@dataclass(slots=True)
class Front:
    """The state of one front door. `is_stopping` is set once, when the server begins to shut down."""

    config: Config
    models: Mapping[str, Served]
    sink: Sink
    clock: Clock
    origin: Origin
    gate: Gate
    limiter: Limiter
    describe: Callable[[str], Description]
    """What is known of a model's weights."""
    used: Callable[[str], None]
    """Told of every request to a model of ours: what is used stays awake longer."""
    lacking: Callable[[], Sequence[str]] = tuple
    """The models whose weights are still on their way, where an instance starts with fetching them."""
    providers: Mapping[str, Provided] = field(default_factory=dict)
    elsewhere: Elsewhere = field(default_factory=Elsewhere)
    connections: Connections = field(default_factory=Connections)
    watcher: Watcher = field(default_factory=Watcher)
    recorder: Recorder | None = None
    """Told of what requests to engines of ours share."""
    metrics: Metrics = field(default_factory=Metrics)
    desk: Desk | None = None
    """The assistant, if there is one."""
    is_stopping: bool = False
    lookout: Lookout = field(default_factory=Lookout)
    pulse: Pulse = field(init=False)

    def __post_init__(self) -> None:
        self.pulse = Pulse(self.clock, self.config.server.heartbeat)

    def name(self, asked: str | None) -> str:
        """The model that is asked for, or the default one; raises `ModelNotFound` or `InvalidRequest`."""
        wanted = asked or self.config.default_model()
        if wanted is not None and self._is_known(wanted):
            return wanted
        known = ", ".join((*self.config.models, *((ASSISTANT,) if self.desk is not None else ())))
        if wanted is None:
            raise InvalidRequest("model: is missing, and no default_model is configured", hint=f"use one of: {known}")
        named = model_name(wanted)
        if not self._is_known(named):
            raise ModelNotFound(f'model: there is no "{named[:_MAX_NAME]}"; there is: {known}')
        return named

    def _is_known(self, name: str) -> bool:
        return name in self.config.models or self._is_assistant(name)

    def _is_assistant(self, name: str) -> bool:
        """Whether the name is `assistant`, or `assistant:MODE` with a mode that there is."""
        if self.desk is None:
            return False
        model, colon, mode = name.partition(":")
        return model == ASSISTANT and (not colon or mode in self.desk.section.modes)

    def served(self, name: str) -> Served:
        """The model of that name, which must be one of ours; raises `ModelNotFound` or `InvalidRequest`."""
        if self.name(name) not in self.models:
            raise InvalidRequest(f'model: "{name}" is not run here, so it neither wakes nor sleeps')
        return self.models[name]

    def backends(self, name: str) -> list[Backend]:
        """Who answers for a configured model, in order of preference."""
        if name in self.models:
            return [self.models[name]]
        if name in self.providers:
            return [self.providers[name]]
        found = [backend for one in self.config.models[name].fallback for backend in self.backends(one)]
        return list({backend.name: backend for backend in found}.values())

    def everybody(self) -> Iterable[Backend]:
        """All that can answer."""
        return (*self.models.values(), *self.providers.values())

    def open(self, request: Request) -> Interaction:
        """Open the record of an interaction; its id goes out with every answer."""
        agent = request.headers.get(b"user-agent", b"").decode("latin-1")
        remote = self.gate.address(request)
        facts = HttpFacts(request.method[:_MAX_NAME], request.path[:_MAX_FACT], remote, agent[:_MAX_FACT])
        it = Interaction(self.clock, self.origin, facts, parse_trace(request.headers))
        if session := request.headers.get(b"x-session-id"):
            it.session = session_of(session.decode("latin-1"))
        request.extra.append((b"x-relight-interaction", it.id.encode()))
        self.sink.opened(it)
        return it

    def close(self, it: Interaction) -> None:
        """Close the record, count it and write it."""
        record = it.close()
        self.metrics.count(record)
        self.sink.closed(record)

    def check_prompt(self, found: Fields, size: int) -> None:
        """Raises `BodyTooLarge` for a prompt with more text than `limits.max_prompt`; `size` is the body's."""
        limit = self.config.limits.max_prompt
        if limit is not None and size > limit:
            check_size(found, limit)

    @property
    def keeps_content(self) -> bool:
        """Whether `log.content` asks for what was said."""
        return self.config.log.content is not Content.NONE

    def keep_content(self, it: Interaction, **content: Any) -> None:
        """Add what was said to the record, as far as `log.content` allows."""
        if self.keeps_content:
            it.content = {**(it.content or {}), **change_all(content, self.kept)}

    def kept(self, text: str) -> str:
        """What the log may hold of a text."""
        return text if self.config.log.content is Content.FULL else redact(text)

    def refuse(self, it: Interaction, error: RelightError) -> None:
        """Note a refusal in the record."""
        it.fail(error)
        it.status = error.http_status


def timing_headers(it: Interaction) -> list[tuple[bytes, bytes]]:
    """`server-timing` with the phases that are over, and `x-relight-wake-ms` when there was a wake among them."""
    phases = it.finished()
    if not phases:
        return []
    shown = ", ".join([f"{phase};dur={seconds * 1000:.1f}" for phase, seconds in phases.items()])
    headers = [(b"server-timing", shown.encode())]
    if Phase.WAKE in phases:
        headers.append((b"x-relight-wake-ms", f"{phases[Phase.WAKE] * 1000:.0f}".encode()))
    return headers
