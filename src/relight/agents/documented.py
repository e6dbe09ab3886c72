"""Crush, Goose and Zed: written from their documentation. None of them could be installed here, and each wiring says so."""

from __future__ import annotations

from relight.agents.profile import NO_KEY, PATIENCE_MS, Asked, Profile
from relight.agents.wiring import Edit, Format, Json, Member, Scope, Setting, Wiring

UNTRIED = "written from its documentation, not tried with it: look at the first answer before you rely on it"

ASSUMED_NEED = 12_000
"""Tokens of a first request that nobody measured: what agents of this kind (Kilo, Claude Code) take."""

ASSUMED_CONTEXT = 32_768
"""Tokens told to an agent that insists on a figure, where the service did not say one."""


def lay_crush(asked: Asked) -> Wiring:
    """A provider in crush.json, for its large and its small model."""
    endpoint = asked.endpoint
    provider = ("providers", "relight")
    model = (*provider, "models", Member("id", endpoint.model))
    settings = (
        Setting((*provider, "name"), "Relight"),
        Setting((*provider, "type"), "openai-compat"),
        Setting((*provider, "base_url"), asked.v1),
        Setting((*provider, "api_key"), asked.key("${}"), asked.why_key),
        Setting((*model, "name"), endpoint.model),
        Setting((*model, "context_window"), endpoint.context or ASSUMED_CONTEXT),
        Setting((*model, "default_max_tokens"), asked.output),
        Setting(("models", "large", "provider"), "relight"),
        Setting(("models", "large", "model"), endpoint.model),
        Setting(("models", "small", "provider"), "relight", "titles and summaries are asked of this service too"),
        Setting(("models", "small", "model"), endpoint.model),
        Setting(("options", "disable_metrics"), value=True, why="it reports usage to its makers otherwise"),
        Setting(
            ("options", "disable_provider_auto_update"), value=True, why="it fetches a list of providers at each start otherwise"
        ),
    )
    path = asked.at("~/.config/crush/crush.json", "crush.json")
    return Wiring(edits=(Edit(path, Format.JSON, settings),), start="crush", notes=(UNTRIED,))


def lay_goose(asked: Asked) -> Wiring:
    """A provider of its own in `custom_providers`, chosen in config.yaml."""
    endpoint = asked.endpoint
    model = ("models", Member("name", endpoint.model))
    provider = (
        Setting(("name",), "relight"),
        Setting(("engine",), "openai"),
        Setting(("display_name",), "Relight"),
        Setting(("description",), "A model of your own"),
        Setting(("api_key_env",), endpoint.key_variable or "RELIGHT_KEY", "the key stays in this environment variable"),
        Setting(("base_url",), f"{asked.v1}/chat/completions"),
        Setting((*model, "context_limit"), endpoint.context or ASSUMED_CONTEXT),
        Setting(("timeout_seconds",), PATIENCE_MS // 1000, "the model may have to wake, and to read a long prompt"),
        Setting(("supports_streaming",), value=True),
    )
    chosen = (
        Setting(("GOOSE_PROVIDER",), "relight"),
        Setting(("GOOSE_MODEL",), endpoint.model),
        Setting(("GOOSE_MAX_TOKENS",), asked.output),
        Setting(("GOOSE_TELEMETRY_ENABLED",), value=False, why="it may report usage to its makers otherwise"),
    )
    return Wiring(
        edits=(
            Edit("~/.config/goose/custom_providers/relight.json", Format.JSON, provider),
            Edit("~/.config/goose/config.yaml", Format.YAML, chosen),
        ),
        environment={} if endpoint.key_variable else {"RELIGHT_KEY": NO_KEY},
        start="goose session",
        notes=(UNTRIED,),
    )


def lay_zed(asked: Asked) -> Wiring:
    """A provider of the OpenAI-compatible kind; Zed makes the name of the key's variable from the provider's."""
    endpoint = asked.endpoint
    provider = ("language_models", "openai_compatible", "relight")
    model = (*provider, "available_models", Member("name", endpoint.model))
    capabilities: dict[str, Json] = {
        "tools": endpoint.has_tools,
        "images": False,
        "parallel_tool_calls": False,
        "prompt_cache_key": False,
    }
    settings = (
        Setting((*provider, "api_url"), asked.v1),
        Setting((*model, "display_name"), f"{endpoint.model} (Relight)"),
        Setting(
            (*model, "max_tokens"), endpoint.context or ASSUMED_CONTEXT, "the whole context; it compacts before this is full"
        ),
        Setting((*model, "max_output_tokens"), asked.output),
        Setting((*model, "capabilities"), capabilities),
        Setting(("agent", "default_model", "provider"), "relight"),
        Setting(("agent", "default_model", "model"), endpoint.model),
        Setting(("telemetry", "metrics"), value=False, why="it reports usage to its makers otherwise"),
        Setting(("telemetry", "diagnostics"), value=False, why="it reports crashes to its makers otherwise"),
    )
    variable = endpoint.key_variable
    return Wiring(
        edits=(Edit("~/.config/zed/settings.json", Format.JSON, settings),),
        environment={"RELIGHT_API_KEY": f"${variable}" if variable else NO_KEY},
        start="zed .",
        notes=(
            "it reads RELIGHT_API_KEY where it is started: set it for the session, or enter the key in its settings once",
            UNTRIED,
        ),
    )


CRUSH = Profile(
    slug="crush",
    name="Crush",
    dialect="chat",
    tested=(),
    version_command=("crush", "--version"),
    scopes=(Scope.USER, Scope.PROJECT),
    context_need=ASSUMED_NEED,
    slim_need=None,
    lay=lay_crush,
)

GOOSE = Profile(
    slug="goose",
    name="Goose",
    dialect="chat",
    tested=(),
    version_command=("goose", "--version"),
    scopes=(Scope.USER,),
    context_need=ASSUMED_NEED,
    slim_need=None,
    lay=lay_goose,
)

ZED = Profile(
    slug="zed",
    name="Zed",
    dialect="chat",
    tested=(),
    version_command=("zed", "--version"),
    scopes=(Scope.USER,),
    context_need=ASSUMED_NEED,
    slim_need=None,
    lay=lay_zed,
)
