"""Cline: its command line's provider in `providers.json`, the model's size beside it in `models.json`, the rest beside these."""

from __future__ import annotations

from relight.agents.profile import NO_KEY, PATIENCE_MS, Asked, Profile
from relight.agents.wiring import Edit, Format, Json, Scope, Setting, Wiring

PROVIDER = "openai-compatible"

WRITTEN = "2026-01-01T00:00:00.000Z"
"""Its file must say when an entry was written; one day is as good as another, and the same settings stay the same file."""


def _provider(asked: Asked) -> Edit:
    endpoint = asked.endpoint
    entry = ("providers", PROVIDER)
    settings = [
        Setting(("version",), 1, is_default=True),
        Setting(("modes",), {}, is_default=True),
        Setting(("lastUsedProvider",), PROVIDER),
        Setting((*entry, "settings", "provider"), PROVIDER),
        Setting((*entry, "settings", "model"), endpoint.model),
        Setting((*entry, "settings", "baseUrl"), asked.v1),
        Setting(
            (*entry, "settings", "timeout"), PATIENCE_MS, "its own time for a request; that of its HTTP client stays (see below)"
        ),
        Setting((*entry, "settings", "maxTokens"), asked.output),
        Setting((*entry, "updatedAt"), WRITTEN, is_default=True),
        Setting((*entry, "tokenSource"), "manual", is_default=True),
    ]
    if endpoint.context:
        settings.append(Setting((*entry, "settings", "contextWindow"), endpoint.context, "it compacts before this is full"))
    return Edit("~/.cline/data/settings/providers.json", Format.JSON, tuple(settings), is_private=True)


def _models(asked: Asked) -> Edit:
    endpoint = asked.endpoint
    entry = ("providers", PROVIDER)
    model = (*entry, "models", endpoint.model)
    capabilities: list[Json] = ["tools", "streaming"] if endpoint.has_tools else ["streaming"]
    settings = [
        Setting(("version",), 1, is_default=True),
        Setting((*model, "id"), endpoint.model),
        Setting((*model, "name"), endpoint.model),
        Setting((*model, "maxTokens"), asked.output),
        Setting((*model, "capabilities"), capabilities),
    ]
    if endpoint.context:
        settings.append(Setting((*model, "contextWindow"), endpoint.context))
    return Edit("~/.cline/data/settings/models.json", Format.JSON, tuple(settings))


def _general() -> Edit:
    settings = (
        Setting(("telemetryOptOut",), value=True, why="it reports usage to its makers otherwise"),
        Setting(("autoUpdateEnabled",), value=False, why="it replaces itself otherwise, at a start"),
    )
    return Edit("~/.cline/data/settings/global-settings.json", Format.JSON, settings)


def lay(asked: Asked) -> Wiring:
    """The files, and the key in the variable that this provider of Cline's looks at."""
    variable = asked.endpoint.key_variable
    return Wiring(
        edits=(_provider(asked), _models(asked), _general()),
        environment={"OPENAI_API_KEY": f"${variable}" if variable else NO_KEY},
        start=f"cline -P {PROVIDER}",
        notes=(
            "of all variables it reads OPENAI_API_KEY alone for such a provider: set it in the shell that starts cline",
            "with its size known, it asks for all that is left of the context as its answer; the service makes less of it",
            "its HTTP client gives up after five minutes without a byte, whatever it is told (3.0.65)",
            "it leaves a process running when it ends (its hub)",
        ),
    )


CLINE = Profile(
    slug="cline",
    name="Cline",
    dialect="chat",
    tested=("3.0",),
    version_command=("cline", "--version"),
    scopes=(Scope.USER,),
    context_need=5_600,
    slim_need=None,
    lay=lay,
)
