"""The catalogue as Markdown: what `relight connect` sets for each agent, and why. Pure; for the documentation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from relight.agents.place import named
from relight.agents.wiring import Agent, Edit, Endpoint, Scope

_EXAMPLE: Final = Endpoint("http://127.0.0.1:8080", "MODEL", context=32_768, output=4_096, key_variable="RELIGHT_KEY")


def overview(agents: Iterable[Agent]) -> str:
    """Every agent in a line: its name in commands, what it speaks, where its settings lie."""
    head = (
        "| agent | name in commands | speaks | for a user | for a project | written for |\n| --- | --- | --- | --- | --- | --- |"
    )
    return "\n".join((head, *(_line(agent) for agent in agents)))


def _line(agent: Agent) -> str:
    tested = ", ".join(agent.tested) or "documentation alone"
    user, project = (_files(agent, scope) for scope in (Scope.USER, Scope.PROJECT))
    return f"| {agent.name} | `{agent.slug}` | {agent.dialect} | {user} | {project} | {tested} |"


def _files(agent: Agent, scope: Scope) -> str:
    if scope not in agent.scopes:
        return "–"
    wiring = agent.wire(_EXAMPLE, scope, is_slim=False)
    return ", ".join(f"`{edit.path}`" for edit in wiring.edits) or ("text to paste" if wiring.snippet else "environment")


def sections(agents: Iterable[Agent]) -> str:
    """What is set for each agent that has files or an environment, with the reasons, and what else is good to know."""
    return "\n\n".join(
        "\n".join(_section(agent)) for agent in agents if not agent.wire(_EXAMPLE, agent.scopes[0], is_slim=False).snippet
    )


def _section(agent: Agent) -> Iterator[str]:
    stock = agent.wire(_EXAMPLE, agent.scopes[0], is_slim=False)
    yield f"### {agent.name}\n"
    for edit in stock.edits:
        yield from _reasons(edit)
    if stock.environment:
        yield f"- environment: {', '.join(f'`{name}`' for name in stock.environment)}"
    if agent.slim_need:
        slim = agent.wire(_EXAMPLE, agent.scopes[0], is_slim=True)
        known = {setting.at for edit in stock.edits for setting in edit.settings}
        more = [named(setting.at) for edit in slim.edits for setting in edit.settings if setting.at not in known]
        start = f" and started as `{slim.start}`" if slim.start != stock.start else ""
        also = f": {', '.join(f'`{name}`' for name in more)}" if more else ""
        yield f"- `--slim` ({agent.context_need:,} → {agent.slim_need:,} tokens){also}{start}"
    yield from (f"- {note}" for note in stock.notes)


def _reasons(edit: Edit) -> Iterator[str]:
    yield f"- `{edit.path}`"
    yield from (f"  - `{named(setting.at)}`: {setting.why}" for setting in edit.settings if setting.why)
