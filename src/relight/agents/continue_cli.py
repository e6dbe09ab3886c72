"""Continue: a model in `config.yaml`, for its command line and its editors' extensions alike."""

from __future__ import annotations

from relight.agents.profile import PATIENCE_MS, Asked, Profile
from relight.agents.wiring import Edit, Format, Json, Member, Scope, Setting, Wiring


def lay(asked: Asked) -> Wiring:
    """One model, for chat, edit and apply."""
    endpoint = asked.endpoint
    model = ("models", Member("name", f"{endpoint.model} (Relight)"))
    roles: list[Json] = ["chat", "edit", "apply", "summarize"]
    settings = [
        Setting(("name",), "Relight", is_default=True),
        Setting(("version",), "1.0.0", is_default=True),
        Setting(("schema",), "v1", is_default=True),
        Setting((*model, "provider"), "openai"),
        Setting((*model, "model"), endpoint.model),
        Setting((*model, "apiBase"), asked.v1),
        Setting((*model, "apiKey"), asked.key("${{{{ secrets.{} }}}}"), "looked up in the environment, or in ~/.continue/.env"),
        Setting((*model, "roles"), roles),
        Setting((*model, "defaultCompletionOptions", "maxTokens"), asked.output),
        Setting((*model, "requestOptions", "timeout"), PATIENCE_MS, "the model may have to wake, and to read a long prompt"),
    ]
    if endpoint.has_tools:
        tools: list[Json] = ["tool_use"]
        settings.append(Setting((*model, "capabilities"), tools, "it knows only by name which models call tools"))
    if endpoint.context:
        settings.append(
            Setting((*model, "defaultCompletionOptions", "contextLength"), endpoint.context, "it compacts before this is full")
        )
    return Wiring(
        edits=(Edit("~/.continue/config.yaml", Format.YAML, tuple(settings)),),
        environment={"CONTINUE_METRICS_ENABLED": "0", "CONTINUE_CLI_ENABLE_TELEMETRY": "0"},
        start="cn --config ~/.continue/config.yaml",
        notes=("it asks api.continue.dev at each start even so",),
    )


CONTINUE = Profile(
    slug="continue",
    name="Continue",
    dialect="chat",
    tested=("1.5",),
    version_command=("cn", "--version"),
    scopes=(Scope.USER,),
    context_need=1_900,
    slim_need=None,
    lay=lay,
)
