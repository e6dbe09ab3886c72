"""The list of agents: which there are, what is installed here, what each needs, how each stands. Asks them; writes nothing."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from relight.agents.catalog import AGENTS
from relight.agents.receipt import places
from relight.agents.version import Installed, all_installed
from relight.agents.wiring import Agent, Endpoint
from relight.cli.standing import Link, State, links, listens_here, worst

_PATIENCE_S: Final = 10.0
_ANYWHERE: Final = Endpoint("http://127.0.0.1:8080", "model")
COLUMNS: Final = ("agent", "installed", "speaks", "needs, tokens", "state")


class Row(Struct, frozen=True, kw_only=True):
    """One agent, as the table and `--json` show it; `installed` None: nobody can tell. Needs are in tokens.

    `state` is the worst of its `connections`; None where it has no file that could be looked at.
    """

    agent: str
    name: str
    installed: bool | None
    version: str | None
    tested: tuple[str, ...]
    dialect: str
    context_need: int
    slim_need: int | None
    scopes: tuple[str, ...]
    state: State | None
    connections: tuple[Link, ...]


def roster() -> list[Row]:
    """All agents, in the order of the catalogue."""
    agents, here = list(AGENTS.values()), listens_here()
    return [_row(agent, found, here) for agent, found in zip(agents, all_installed(agents, patience_s=_PATIENCE_S), strict=True)]


def cells(row: Row) -> tuple[str, ...]:
    """A row of the table."""
    here = {None: "–", False: "no", True: row.version or "yes"}[row.installed]
    need = (f"{row.context_need:,}" if row.context_need else "–") + (f", slim {row.slim_need:,}" if row.slim_need else "")
    stands = "; ".join(map(_told, row.connections)) or ("–" if row.state is None else str(row.state))
    return row.agent, here, row.dialect, need, stands


def has_files(agent: Agent) -> bool:
    """Whether anything of an agent's set-up is in a file, so that it can be looked at."""
    return any(agent.wire(_ANYWHERE, scope, is_slim=False).edits for scope in agent.scopes)


def _row(agent: Agent, found: Installed, here: str | None) -> Row:
    connections = links(agent, places(), here)
    return Row(
        agent=agent.slug,
        name=agent.name,
        installed=found.is_here,
        version=found.version,
        tested=agent.tested,
        dialect=agent.dialect,
        context_need=agent.context_need,
        slim_need=agent.slim_need,
        scopes=tuple(scope.value for scope in agent.scopes),
        state=worst(connections) if connections or has_files(agent) else None,
        connections=connections,
    )


def _told(link: Link) -> str:
    if not link.url:
        return f"{link.state} ({link.scope}): {'; '.join(link.lost)}"
    return f"{link.state}: {link.model} at {link.url} ({link.scope}{', slim' if link.slim else ''})"
