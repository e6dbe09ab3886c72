"""How each agent is asked one question without a person, so that its beginning can be recorded. Pure; starts nothing."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from typing import Final

from relight.agents.receipt import Receipt
from relight.agents.wiring import Agent, Endpoint
from relight.bridge.recorder import Start
from relight.cli.talk import KEY_VARIABLE
from relight.errors import UsageError

QUESTION: Final = "Say done."
_ASKED_BY: Final[dict[str, tuple[str, ...]]] = {
    "qwen-code": ("-p", QUESTION),
    "opencode": ("run", QUESTION),
    "kilo": ("run", QUESTION),
    "claude-code": ("-p", QUESTION),
    "claude-code-router": ("-p", QUESTION),
    "codex": ("exec", "--skip-git-repo-check", QUESTION),
    "openhands": ("--headless", "-t", QUESTION),
    "cline": (QUESTION,),
    "continue": ("-p", QUESTION),
    "pi": ("-p", QUESTION),
    "aider": ("--message", QUESTION, "--no-check-update", "--yes-always"),
}
"""What comes after the command that starts it."""


def start_of(agent: Agent, receipt: Receipt, environ: Mapping[str, str]) -> Start:
    """The agent as it was connected, asked one question: its own settings, its own folder. Raises `UsageError` when it cannot
    be asked without a person."""
    words = _ASKED_BY.get(agent.slug)
    if words is None:
        raise UsageError(
            f"record: {agent.name} cannot be asked without a person",
            hint=f"leave --run out, and ask it anything: relight prefixes record --agent {agent.slug} --port PORT",
        )
    wiring = agent.wire(Endpoint(receipt.url, receipt.model), receipt.scope, is_slim=receipt.is_slim)
    env = {name: _expanded(text, environ) for name, text in wiring.environment.items()}
    # Settings name this variable; whether it holds the right key is nothing that the recorder asks.
    env.setdefault(KEY_VARIABLE, environ.get(KEY_VARIABLE) or "none")
    return Start((*map(os.path.expanduser, shlex.split(wiring.start)), *words), env)


def _expanded(text: str, environ: Mapping[str, str]) -> str:
    """Values may name other variables: `$RELIGHT_KEY`."""
    return environ.get(text[1:], "none") if text.startswith("$") else text
