"""A connection of an agent on its way: what was found, what it changes, how that is told. `connect` asks, and has it written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import click
from msgspec import Struct

from relight.agents.connect import Ask, Plan, plan
from relight.agents.receipt import Places, places, read_receipt
from relight.agents.version import installed, warning
from relight.agents.wiring import Agent, Endpoint, Scope, Wiring
from relight.check.needs import roomy
from relight.cli.connected import is_attended
from relight.cli.endpoint import Reached
from relight.cli.wired import FileReport, described, report, show_after, show_change, show_files


class Connected(Struct, frozen=True, kw_only=True):
    """A connection, as `--json` prints it: `written` says whether files were changed just now."""

    agent: str
    scope: str
    url: str
    model: str
    context: int | None
    output: int | None
    key_variable: str | None
    slim: bool
    version: str | None
    written: bool
    files: tuple[FileReport, ...]
    environment: dict[str, str]
    start: str
    notes: tuple[str, ...]
    snippet: str
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody asked for: `is_slim` None where nothing was said; `is_quiet` where nobody is to be asked."""

    scope: Scope
    is_slim: bool | None
    is_quiet: bool


@dataclass(frozen=True, slots=True)
class Connection:
    """An agent, a service, and what brings them together; nothing of it is written yet."""

    agent: Agent
    ask: Ask
    wiring: Wiring
    plan: Plan
    places: Places
    version: str | None
    said: tuple[str, ...]

    def show(self) -> None:
        """Print what is connected with what, and what changes."""
        for text in self.said:
            click.echo(f"note: {text}", err=True)
        slim = ", with its slim profile" if self.ask.is_slim else ""
        whose = "this user" if self.ask.scope is Scope.USER else f"the project in {self.places.project}"
        click.echo(f"{self.agent.name} → {described(self.ask.endpoint)}{slim}, for {whose}\n")
        for result in self.plan.results:
            show_change(result.change, result.settings)

    def show_text(self) -> None:
        """Print the files as they would be."""
        for text in self.said:
            click.echo(f"note: {text}", err=True)
        show_files([result.change for result in self.plan.results])
        show_after(self.wiring, self.ask.endpoint.key_variable)

    def show_done(self) -> None:
        """Print what was written, and what is left to do."""
        if not self.plan.results:
            click.echo("nothing to write: it is set up by what follows")
        elif self.plan.is_empty:
            click.echo("connected already: nothing changed")
        else:
            click.echo(f"\nwritten; take it back: relight connect {self.agent.slug} --undo{self._scope_option()}")
        show_after(self.wiring, self.ask.endpoint.key_variable)

    def report(self, *, is_written: bool) -> Connected:
        """All of it for a program; with the files' texts where they were not written."""
        endpoint, wiring = self.ask.endpoint, self.wiring
        return Connected(
            agent=self.agent.slug,
            scope=self.ask.scope.value,
            url=endpoint.url,
            model=endpoint.model,
            context=endpoint.context,
            output=endpoint.output,
            key_variable=endpoint.key_variable,
            slim=self.ask.is_slim,
            version=self.version,
            written=is_written and not self.plan.is_empty,
            files=tuple(report(each.change, each.settings, with_text=not is_written) for each in self.plan.results),
            environment=dict(wiring.environment),
            start=wiring.start,
            notes=wiring.notes,
            snippet=wiring.snippet,
            warnings=self.said,
        )

    def _scope_option(self) -> str:
        return "" if self.ask.scope is Scope.USER else f" --scope {self.ask.scope.value}"


def prepared(agent: Agent, reached: Reached, wish: Wish) -> Connection:
    """Work out what connecting changes; writes nothing. Raises `UsageError` and `ConfigError`."""
    found, where = installed(agent), places()
    said = [text for text in (*reached.said, warning(agent, found)) if text is not None]
    is_slim = _is_slim(agent, reached.endpoint, wish, said)
    wiring = agent.wire(reached.endpoint, wish.scope, is_slim=is_slim)
    ask = Ask(agent.slug, reached.endpoint, wish.scope, is_slim, datetime.now(UTC))
    made = plan(ask, wiring, where, read_receipt(where, agent.slug, wish.scope))
    return Connection(agent, ask, wiring, made, where, found.version, tuple(said))


def _is_slim(agent: Agent, endpoint: Endpoint, wish: Wish, said: list[str]) -> bool:
    """Whether the slim profile is used: as somebody says, else where the context calls for it; `said` gets the reason."""
    context, need, slim = endpoint.context, agent.context_need, agent.slim_need
    if context is None or not _is_tight(context, need):
        return bool(wish.is_slim)
    short = f"{agent.name}'s first request takes about {need:,} of the {context:,} tokens that {endpoint.model} has"
    enough = f"raise models.{endpoint.model}.context to {roomy(need if slim is None else slim):,} or more"
    if slim is None:
        said.append(f"too small: {short}; {enough}, or choose an agent that needs less (relight connect lists them)")
        return bool(wish.is_slim)
    is_slim = wish.is_slim
    if is_slim is None and not wish.is_quiet and is_attended():
        is_slim = click.confirm(f"{short}. Use its slim profile ({slim:,})?", default=True, err=True)
    elif is_slim is None:
        said.append(f"{short}: its slim profile is used, which takes {slim:,} (--stock for its own)")
        is_slim = True
    if is_slim and _is_tight(context, slim):
        said.append(f"too small: even the slim profile of {agent.name} takes {slim:,} of {context:,} tokens; {enough}")
    elif not is_slim:
        said.append(f"too small: {short}; --slim takes {slim:,}")
    return is_slim


def _is_tight(context: int, need: int) -> bool:
    """Whether a first request of `need` tokens leaves too little to work with."""
    return context < roomy(need)
