"""OpenCode, and Kilo, which took its form: a provider of its own in `opencode.json` and `kilo.json`."""

from __future__ import annotations

from relight.agents.profile import BRIEF_PROMPT, PATIENCE_MS, Asked, Profile
from relight.agents.wiring import Edit, Format, Scope, Setting, Wiring

NEEDED_TOOLS = ("bash", "edit", "glob", "grep", "read", "write")


PROVIDER = ("provider", "relight")


def _settings(asked: Asked, key: Setting) -> list[Setting]:
    endpoint = asked.endpoint
    provider = PROVIDER
    options = (*provider, "options")
    model = (*provider, "models", endpoint.model)
    settings = [
        Setting(("model",), f"relight/{endpoint.model}"),
        Setting(("small_model",), f"relight/{endpoint.model}", "titles are asked of this service too, and of nobody else"),
        Setting((*provider, "npm"), "@ai-sdk/openai-compatible"),
        Setting((*provider, "name"), "Relight"),
        Setting((*options, "baseURL"), asked.v1),
        key,
        Setting((*options, "timeout"), value=False, why="a whole answer may take as long as it takes"),
        Setting((*options, "headerTimeout"), PATIENCE_MS, "the model may have to wake; five minutes otherwise"),
        Setting((*options, "chunkTimeout"), PATIENCE_MS, "a long prompt may be read in silence; OpenCode gives it five minutes"),
        Setting((*model, "name"), endpoint.model),
        Setting((*model, "tool_call"), endpoint.has_tools),
        Setting(("share",), "disabled", "conversations are not uploaded"),
        Setting(
            ("autoupdate",),
            value=False,
            why="these settings are for this version; the prompt, and what is baked of it, stays too",
        ),
    ]
    if endpoint.context:
        why = "it compacts when less than the output is left; without both it never does, and asks for 32,000 tokens"
        settings += [
            Setting((*model, "limit", "context"), endpoint.context, why),
            Setting((*model, "limit", "output"), asked.output),
        ]
    return settings


def _slim(agent: str) -> list[Setting]:
    return [
        Setting(("agent", agent, "prompt"), BRIEF_PROMPT, "a short system prompt in the place of its own"),
        Setting(("agent", agent, "tools", "*"), value=False, why="the schema of every tool is read before the first word"),
        *(Setting(("agent", agent, "tools", tool), value=True) for tool in NEEDED_TOOLS),
    ]


def _lay_opencode(asked: Asked) -> Wiring:
    key = Setting((*PROVIDER, "options", "apiKey"), asked.key("{{env:{}}}"), asked.why_key)
    settings = _settings(asked, key) + (_slim("build") if asked.is_slim else [])
    return Wiring(
        edits=(Edit(asked.at("~/.config/opencode/opencode.json", "opencode.json"), Format.JSON, tuple(settings)),),
        environment={"OPENCODE_DISABLE_MODELS_FETCH": "1"},
        start="opencode",
        notes=(
            "it asks the npm registry for its plug-ins at each start; OPENCODE_DISABLE_MODELS_FETCH spares the list of models",
        ),
    )


def _lay_kilo(asked: Asked) -> Wiring:
    # A project's kilo.json with {env:...} in it is skipped whole (7.7.7); this form it takes in both places.
    variable = asked.endpoint.key_variable
    key = Setting((*PROVIDER, "env"), [variable] if variable else [], "the key stays in this environment variable")
    settings = _settings(asked, key) + (_slim("code") if asked.is_slim else [])
    return Wiring(
        edits=(Edit(asked.at("~/.config/kilo/kilo.json", "kilo.json"), Format.JSON, tuple(settings)),),
        environment={"KILO_DISABLE_MODELS_FETCH": "1", "KILO_TELEMETRY_LEVEL": "off"},
        start="kilo",
        notes=("it asks api.kilo.ai at each start even so; it does nothing there without an account",),
    )


OPENCODE = Profile(
    slug="opencode",
    name="OpenCode",
    dialect="chat",
    tested=("1.18",),
    version_command=("opencode", "--version"),
    scopes=(Scope.USER, Scope.PROJECT),
    context_need=7_600,
    slim_need=3_400,
    lay=_lay_opencode,
)

KILO = Profile(
    slug="kilo",
    name="Kilo",
    dialect="chat",
    tested=("7.7",),
    version_command=("kilo", "--version"),
    scopes=(Scope.USER, Scope.PROJECT),
    context_need=12_600,
    slim_need=4_300,
    lay=_lay_kilo,
)
