"""Aider: `.aider.conf.yml`, and the model's size beside it. It needs no tools: it asks for edits as text."""

from __future__ import annotations

from relight.agents.profile import NO_KEY, PATIENCE_MS, Asked, Profile
from relight.agents.wiring import Edit, Format, Scope, Setting, Wiring


def lay(asked: Asked) -> Wiring:
    """Both files, and the key in the variable that it reads."""
    endpoint = asked.endpoint
    model = f"openai/{endpoint.model}"
    settings = (
        Setting(("model",), model),
        Setting(("weak-model",), model, "commit messages and summaries are asked of this service too"),
        Setting(("openai-api-base",), asked.v1),
        Setting(("timeout",), PATIENCE_MS // 1000, "the model may have to wake, and to read a long prompt"),
        Setting(("check-update",), value=False, why="it asks the package index at each start otherwise"),
        Setting(("analytics",), value=False, why="it reports usage to its makers otherwise"),
        Setting(("show-model-warnings",), value=False, why="it warns of every model that its list does not have"),
    )
    edits = [Edit(asked.at("~/.aider.conf.yml", ".aider.conf.yml"), Format.YAML, settings)]
    if endpoint.context:
        size = (
            Setting(
                (model, "max_input_tokens"), endpoint.context - asked.output, "it summarises its history before this is full"
            ),
            Setting((model, "max_output_tokens"), asked.output),
            Setting((model, "litellm_provider"), "openai"),
            Setting((model, "mode"), "chat"),
        )
        edits.append(Edit(asked.at("~/.aider.model.metadata.json", ".aider.model.metadata.json"), Format.JSON, size))
    variable = endpoint.key_variable
    return Wiring(
        edits=tuple(edits),
        environment={"OPENAI_API_KEY": f"${variable}" if variable else NO_KEY, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        start="aider",
        notes=(
            "it reads OPENAI_API_KEY: set it in the shell that starts aider",
            "of a model that it does not know it asks for whole files; `--edit-format diff` takes fewer tokens, if the model can",
        ),
    )


AIDER = Profile(
    slug="aider",
    name="Aider",
    dialect="chat",
    tested=("0.86",),
    version_command=("aider", "--version"),
    scopes=(Scope.USER, Scope.PROJECT),
    context_need=2_800,
    slim_need=None,
    lay=lay,
    needs_tools=False,
)
