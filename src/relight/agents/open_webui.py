"""Open WebUI: environment alone; what it was started with first it keeps in its own database."""

from __future__ import annotations

from relight.agents.profile import NO_KEY, Asked, Profile
from relight.agents.wiring import Scope, Wiring

# Each of these is one more request for every message, and most carry the whole conversation.
EXTRAS = ("TITLE", "TAGS", "FOLLOW_UP", "AUTOCOMPLETE")

NOTES = (
    "it keeps what it was first started with: change it in Admin Settings, Connections, or add ENABLE_PERSISTENT_CONFIG=False",
    "titles, tags, follow-ups and completions are off: each is one more request for every message",
)


def lay(asked: Asked) -> Wiring:
    """The connection, and what is asked or told besides."""
    endpoint = asked.endpoint
    variable = endpoint.key_variable
    environment = {
        "OPENAI_API_BASE_URL": asked.v1,
        "OPENAI_API_KEY": f"${variable}" if variable else NO_KEY,
        "DEFAULT_MODELS": endpoint.model,
        "ENABLE_OLLAMA_API": "False",
        "AIOHTTP_CLIENT_TIMEOUT": "1800",
        **{f"ENABLE_{extra}_GENERATION": "False" for extra in EXTRAS},
        "ENABLE_VERSION_UPDATE_CHECK": "False",
    }
    return Wiring(environment=environment, start="open-webui serve", notes=NOTES)


OPEN_WEBUI = Profile(
    slug="open-webui",
    name="Open WebUI",
    dialect="chat",
    tested=("0.12",),
    version_command=(),
    scopes=(Scope.USER,),
    context_need=1_000,
    slim_need=None,
    lay=lay,
    needs_tools=False,
)
