"""What all agents of the catalogue have in common: how one is described, and what is checked before its settings are laid out.

Pure; knows no agent by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from relight.agents.wiring import Endpoint, Scope, Wiring
from relight.errors import UsageError

NO_KEY = "none"
"""Stands where an agent insists on a key and the service asks for none."""

PATIENCE_MS = 1_800_000
"""How long an agent is told to wait for a model that wakes and reads: half an hour, beyond any that is of use."""

DEFAULT_OUTPUT = 4096
"""Tokens of an answer that an agent is told where it wants a figure and the service did not say one."""

BRIEF_PROMPT = (
    "You are a coding agent in this directory. Use the tools to look, change and run; do not guess. "
    "Do what is asked and nothing else, then say in a sentence what you did."
)
"""The system prompt of slim profiles, ours."""

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")


@dataclass(frozen=True, slots=True)
class Asked:
    """What an agent is to be wired for."""

    endpoint: Endpoint
    scope: Scope
    is_slim: bool

    @property
    def url(self) -> str:
        """The front door, without a path and a slash at its end."""
        return self.endpoint.url.rstrip("/")

    @property
    def v1(self) -> str:
        """Where the dialects of OpenAI begin."""
        return f"{self.url}/v1"

    @property
    def output(self) -> int:
        """Tokens of an answer: as said, else a quarter of the context, at most `DEFAULT_OUTPUT`."""
        endpoint = self.endpoint
        return endpoint.output or min(DEFAULT_OUTPUT, (endpoint.context or 4 * DEFAULT_OUTPUT) // 4)

    def at(self, user: str, project: str) -> str:
        """The path of this scope."""
        return user if self.scope is Scope.USER else project

    @property
    def why_key(self) -> str:
        """What to say of the place where a key stands."""
        has_key = self.endpoint.key_variable is not None
        return "the key stays in the environment" if has_key else "something has to stand here; no key is asked for"

    def key(self, reference: str) -> str:
        """`reference` with the name of the key's variable in the place of `{}`; `NO_KEY` where the service asks for none."""
        variable = self.endpoint.key_variable
        return reference.format(variable) if variable else NO_KEY


@dataclass(slots=True)
class Profile:
    """One agent; `lay` says its settings. Not frozen only because the protocol that it fulfils declares plain attributes."""

    slug: str
    name: str
    dialect: str
    tested: tuple[str, ...]
    version_command: tuple[str, ...]
    scopes: tuple[Scope, ...]
    context_need: int
    slim_need: int | None
    lay: Callable[[Asked], Wiring]
    needs_tools: bool = True

    def wire(self, endpoint: Endpoint, scope: Scope, *, is_slim: bool) -> Wiring:
        """The settings for this endpoint.

        Raises UsageError when the endpoint lacks the dialect, the agent lacks the scope or a slim profile, or what may be a
        secret stands where a name or an address should.
        """
        self._refuse(endpoint, scope, is_slim=is_slim)
        wiring = self.lay(Asked(endpoint, scope, is_slim))
        if not self.needs_tools or endpoint.has_tools:
            return wiring
        mute = f"{endpoint.model} is not said to call tools: {self.name} can talk with it, but change nothing"
        return replace(wiring, notes=(mute, *wiring.notes))

    def _refuse(self, endpoint: Endpoint, scope: Scope, *, is_slim: bool) -> None:
        if self.dialect not in endpoint.dialects:
            has = ", ".join(sorted(endpoint.dialects)) or "none"
            raise UsageError(
                f'{self.slug}: speaks the dialect "{self.dialect}", which {endpoint.url} lacks (it has {has})',
                hint="choose an agent that speaks one of these",
            )
        if scope not in self.scopes:
            raise UsageError(f"{self.slug}: cannot be set up per {scope.value}", hint=f"use the scope {self.scopes[0].value}")
        if is_slim and self.slim_need is None:
            raise UsageError(f"{self.slug}: has no slim profile", hint="connect it without one")
        refuse_secrets(endpoint)


def refuse_secrets(endpoint: Endpoint) -> None:
    """Raise UsageError when a key stands where the name of its variable should, or in the address; the message quotes neither."""
    if endpoint.key_variable is not None and not _VARIABLE.fullmatch(endpoint.key_variable):
        raise UsageError(
            "key: should be the name of an environment variable, in capitals, got something else",
            hint='export the key, and give the variable\'s name, such as "RELIGHT_KEY"',
        )
    parts = urlsplit(endpoint.url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UsageError("url: should begin with http:// or https:// and name a host", hint='such as "http://127.0.0.1:8080"')
    if parts.username or parts.password or parts.query or parts.fragment or parts.path.strip("/"):
        raise UsageError(
            "url: should be scheme, host and port alone, got more", hint=f'such as "{parts.scheme}://{parts.hostname}"'
        )
