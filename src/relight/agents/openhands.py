"""OpenHands' command line: its model in `agent_settings.json`, and from the environment what is not to be in a file, the key."""

from __future__ import annotations

from typing import Final

from relight.agents.profile import NO_KEY, PATIENCE_MS, Asked, Profile
from relight.agents.wiring import Edit, Format, Scope, Setting, Wiring

# Told of a smaller one it takes its own file for broken, and goes on without it and without a word (1.16).
_LEAST_CONTEXT: Final = 16_384


def _settings(asked: Asked) -> Edit:
    endpoint = asked.endpoint
    settings = [
        Setting(("kind",), "Agent", is_default=True),
        Setting(("llm", "usage_id"), "agent", is_default=True),
        Setting(("llm", "model"), f"openai/{endpoint.model}", "openai/ says which dialect is spoken"),
        Setting(("llm", "base_url"), asked.v1),
        Setting(
            ("llm", "timeout"),
            PATIENCE_MS // 1000,
            "it does not stream: the whole answer has to be there by then; by default 300",
        ),
        Setting(("llm", "max_output_tokens"), asked.output),
    ]
    if (room := _room(asked)) is not None:
        settings.append(Setting(("llm", "max_input_tokens"), room, "it knows the contexts of the models in its list alone"))
    return Edit("~/.openhands/agent_settings.json", Format.JSON, tuple(settings))


def _room(asked: Asked) -> int | None:
    """Tokens of a prompt; None where nobody knows."""
    return None if asked.endpoint.context is None else asked.endpoint.context - asked.output


def lay(asked: Asked) -> Wiring:
    """The file, and what `--override-with-envs` takes."""
    endpoint = asked.endpoint
    variable, room = endpoint.key_variable, _room(asked)
    is_short = room is not None and room < _LEAST_CONTEXT
    return Wiring(
        edits=(_settings(asked),),
        environment={
            "LLM_MODEL": f"openai/{endpoint.model}",
            "LLM_BASE_URL": asked.v1,
            "LLM_API_KEY": f"${variable}" if variable else NO_KEY,
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            **({"ALLOW_SHORT_CONTEXT_WINDOWS": "true"} if is_short else {}),
        },
        start="openhands --override-with-envs",
        notes=(
            "it does not stream, so nothing can keep a slow answer alive but server.hold_json (see configuration)",
            "it asks github.com for skills at each start even so; without LITELLM_LOCAL_MODEL_COST_MAP for prices too",
            f"with less than {_LEAST_CONTEXT:,} tokens for a prompt it wants ALLOW_SHORT_CONTEXT_WINDOWS, or ignores its file",
            "a prompt that is too long --headless shows with --json alone",
            "saving its settings in the program writes the key into its file",
        ),
    )


OPENHANDS = Profile(
    slug="openhands",
    name="OpenHands",
    dialect="chat",
    tested=("1.16",),
    version_command=("openhands", "--version"),
    scopes=(Scope.USER,),
    context_need=8_500,
    slim_need=None,
    lay=lay,
)
