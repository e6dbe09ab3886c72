"""All agents and libraries that can be pointed at a service, by the name that they have in commands."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from relight.agents.aider import AIDER
from relight.agents.claude_code import CLAUDE_CODE, CLAUDE_CODE_ROUTER
from relight.agents.cline import CLINE
from relight.agents.codex import CODEX
from relight.agents.continue_cli import CONTINUE
from relight.agents.documented import CRUSH, GOOSE, ZED
from relight.agents.libraries import LIBRARIES
from relight.agents.open_webui import OPEN_WEBUI
from relight.agents.opencode import KILO, OPENCODE
from relight.agents.openhands import OPENHANDS
from relight.agents.pi import PI
from relight.agents.qwen_code import QWEN_CODE
from relight.agents.wiring import Agent

_ALL: tuple[Agent, ...] = (
    QWEN_CODE,
    OPENCODE,
    CLAUDE_CODE_ROUTER,
    OPENHANDS,
    CLAUDE_CODE,
    CODEX,
    AIDER,
    CLINE,
    CONTINUE,
    KILO,
    CRUSH,
    GOOSE,
    PI,
    ZED,
    OPEN_WEBUI,
    *LIBRARIES,
)

AGENTS: Mapping[str, Agent] = MappingProxyType({agent.slug: agent for agent in _ALL})
"""By slug, in the order in which they are listed to users."""
