"""Codex: a provider in `config.toml`. It speaks the responses dialect alone, and lets no project choose a provider."""

from __future__ import annotations

from typing import Final

from relight.agents.profile import BRIEF_PROMPT, PATIENCE_MS, Asked, Profile
from relight.agents.wiring import Edit, Format, Scope, Setting, Wiring

INSTRUCTIONS: Final = "~/.codex/relight-instructions.md"

# What a small model has no use for, and has to read before the first word.
SPARE = ("goals", "apps", "plugins", "view_image")


def lay(asked: Asked) -> Wiring:
    """The provider, and what goes out besides."""
    endpoint = asked.endpoint
    provider = ("model_providers", "relight")
    settings = [
        Setting(("model",), endpoint.model),
        Setting(("model_provider",), "relight"),
        Setting((*provider, "name"), "Relight"),
        Setting((*provider, "base_url"), asked.v1),
        Setting((*provider, "wire_api"), "responses"),
        Setting(
            (*provider, "stream_idle_timeout_ms"),
            PATIENCE_MS,
            "a long prompt is read in silence; by default it gives up after five minutes",
        ),
        Setting((*provider, "supports_websockets"), value=False, why="it would try a WebSocket first"),
        Setting(("web_search",), "disabled", "the search runs at OpenAI; the model is not told of it"),
        Setting(("check_for_update_on_startup",), value=False),
        Setting(("analytics", "enabled"), value=False, why="it reports usage to its makers otherwise"),
    ]
    if endpoint.key_variable:
        settings.append(Setting((*provider, "env_key"), endpoint.key_variable, "the key stays in this environment variable"))
    if endpoint.context:
        settings += [
            Setting(("model_context_window",), endpoint.context, "it knows the windows of OpenAI's models alone"),
            Setting(
                ("model_auto_compact_token_limit",),
                endpoint.context - asked.output,
                "it compacts when less than the answer is left",
            ),
        ]
    if asked.is_slim:
        why = "fewer tools, fewer tokens to read"
        settings.append(Setting(("agents", "enabled"), value=False, why=why))
        settings += [Setting(("features", name), value=False, why=why) for name in SPARE]
        settings.append(Setting(("model_instructions_file",), INSTRUCTIONS, "a short system prompt in the place of its own"))
    edits = [Edit("~/.codex/config.toml", Format.TOML, tuple(settings))]
    if asked.is_slim:
        edits.append(Edit(INSTRUCTIONS, Format.TEXT, (Setting(("text",), f"{BRIEF_PROMPT}\n"),)))
    return Wiring(
        edits=tuple(edits),
        start="codex",
        notes=(
            "it warns that it has no metadata for the model: harmless",
            "it asks api.github.com and chatgpt.com for updates and plug-ins at each start even so; harmless without an answer",
        ),
    )


CODEX = Profile(
    slug="codex",
    name="Codex",
    dialect="responses",
    tested=("0.169",),
    version_command=("codex", "--version"),
    scopes=(Scope.USER,),
    context_need=8_900,
    slim_need=2_000,
    lay=lay,
)
