"""A connection of an agent on its way: what was found, what it changes, how that is told. `connect` asks, and has it written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import click
from msgspec import Struct

from relight.agents.connect import Ask, Plan, plan
from relight.agents.receipt import Places, places, read_receipt
from relight.agents.version import installed, warning
from relight.agents.wiring import Agent, Endpoint, Scope, Wiring
from relight.check.needs import roomy
from relight.cli.connected import is_attended
from relight.cli.endpoint import Reached
from relight.cli.output import folded
from relight.cli.wired import FileReport, described, report, show_after, show_change, show_files

SLIM: Final = "slim"
STOCK: Final = "stock"
_BY: Final = {
    "option": "as you said",
    "answer": "as you answered",
    "context": "which nobody was asked about",
    "default": "as it comes",
}


class Chosen(Struct, frozen=True, kw_only=True):
    """Which of an agent's profiles is used, as `--json` prints it, who chose it, and why where nobody said so.

    `by` is `option` (--slim, --stock), `answer` (somebody was asked), `context` (nobody was, and the model's called for it) or
    `default`.
    """

    name: str
    by: str
    why: str | None = None

    @property
    def is_slim(self) -> bool:
        """Whether it is the smaller one."""
        return self.name == SLIM

    @property
    def told(self) -> str | None:
        """It in a line for people; None where there is nothing to say."""
        if self.name == STOCK and self.by == "default":
            return None
        return f"profile: {self.name}, {_BY[self.by]}{f': {self.why}' if self.why else ''}"


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
    profile: Chosen
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
    profile: Chosen
    said: tuple[str, ...]

    def show(self) -> None:
        """Print what is connected with what, and what changes."""
        self._show_said()
        slim = ", with its slim profile" if self.ask.is_slim else ""
        whose = "this user" if self.ask.scope is Scope.USER else f"the project in {self.places.project}"
        click.echo(folded(f"{self.agent.name} → {described(self.ask.endpoint)}{slim}, for {whose}", later="  "))
        if self.profile.told:
            click.echo(folded(self.profile.told, later="  "))
        click.echo()
        for result in self.plan.results:
            show_change(result.change, result.settings)

    def show_text(self) -> None:
        """Print the files as they would be."""
        self._show_said()
        if self.profile.told:
            click.echo(folded(self.profile.told, later="  ", err=True), err=True)
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
            profile=self.profile,
            version=self.version,
            written=is_written and not self.plan.is_empty,
            files=tuple(report(each.change, each.settings, with_text=not is_written) for each in self.plan.results),
            environment=dict(wiring.environment),
            start=wiring.start,
            notes=wiring.notes,
            snippet=wiring.snippet,
            warnings=self.said,
        )

    def _show_said(self) -> None:
        for text in self.said:
            click.echo(folded(text, start="note: ", err=True), err=True)

    def _scope_option(self) -> str:
        return "" if self.ask.scope is Scope.USER else f" --scope {self.ask.scope.value}"


def prepared(agent: Agent, reached: Reached, wish: Wish) -> Connection:
    """Work out what connecting changes; writes nothing. Raises `UsageError` and `ConfigError`."""
    found, where = installed(agent), places()
    said = [text for text in (*reached.said, warning(agent, found)) if text is not None]
    profile = _profile(agent, reached.endpoint, wish, said)
    wiring = agent.wire(reached.endpoint, wish.scope, is_slim=profile.is_slim)
    ask = Ask(agent.slug, reached.endpoint, wish.scope, profile.is_slim, datetime.now(UTC))
    made = plan(ask, wiring, where, read_receipt(where, agent.slug, wish.scope))
    return Connection(agent, ask, wiring, made, where, found.version, profile, tuple(said))


def _profile(agent: Agent, endpoint: Endpoint, wish: Wish, said: list[str]) -> Chosen:
    """As somebody says, else as the context calls for; `said` gets what does not fit all the same."""
    context, need, slim = endpoint.context, agent.context_need, agent.slim_need
    name, by = (SLIM if wish.is_slim else STOCK), "default" if wish.is_slim is None else "option"
    if context is None or not _is_tight(context, need):
        return Chosen(name=name, by=by)
    short = f"{agent.name}'s first request takes about {need:,} of the {context:,} tokens that {endpoint.model} has"
    enough = f"raise models.{endpoint.model}.context to {roomy(need if slim is None else slim):,} or more"
    if slim is None:
        said.append(f"too small: {short}; {enough}, or choose an agent that needs less (relight connect lists them)")
        return Chosen(name=name, by=by)
    chosen = _chosen(short, slim, wish) if wish.is_slim is None else Chosen(name=name, by=by)
    if chosen.is_slim and _is_tight(context, slim):
        said.append(f"too small: even the slim profile of {agent.name} takes {slim:,} of {context:,} tokens; {enough}")
    elif not chosen.is_slim:
        said.append(f"too small: {short}; --slim takes {slim:,}")
    return chosen


def _chosen(short: str, slim: int, wish: Wish) -> Chosen:
    """What somebody at the terminal answers; where nobody is to be asked, the slim one."""
    if wish.is_quiet or not is_attended():
        return Chosen(name=SLIM, by="context", why=f"{short}, the slim profile {slim:,} (--stock for its own)")
    is_slim = click.confirm(f"{short}. Use its slim profile ({slim:,})?", default=True, err=True)
    return Chosen(name=SLIM if is_slim else STOCK, by="answer")


def _is_tight(context: int, need: int) -> bool:
    """Whether a first request of `need` tokens leaves too little to work with."""
    return context < roomy(need)
