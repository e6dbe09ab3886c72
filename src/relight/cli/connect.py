"""`relight connect`: points a coding agent at a service, says what that changes, and takes it back; `agents/` works it out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
from msgspec import Struct

from relight.agents.catalog import AGENTS
from relight.agents.receipt import Places, Receipt, places, read_receipt
from relight.agents.wiring import Agent, Scope
from relight.cli.connected import need_somebody, yes_option
from relight.cli.endpoint import Wanted, address, find_endpoint
from relight.cli.output import config_option, folded, json_option, plain, print_json, print_table
from relight.cli.standing import Point
from relight.cli.wired import FileReport, report, show_change
from relight.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from relight.agents.disk import Change
    from relight.cli.connecting import Wish


class Undone(Struct, frozen=True, kw_only=True):
    """What was taken back, as `--json` prints it; `left` are places that somebody else has set since."""

    agent: str
    scope: str
    files: tuple[FileReport, ...]
    left: tuple[str, ...]


class Checked(Struct, frozen=True, kw_only=True):
    """Whether a connection still holds, as `--json` prints it: each thing that it rests on, and the command to run next."""

    agent: str
    scope: str
    url: str
    model: str
    holds: bool
    points: tuple[Point, ...]
    next: str | None
    version: str | None


def agent_names(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """The agents that begin with `incomplete`, for `shell_complete`."""
    return [slug for slug in AGENTS if slug.startswith(incomplete)]


@click.command()
@click.argument("agent", required=False, shell_complete=agent_names)
@click.option("--url", help="Address of the service; left out: where the configured one listens.")
@click.option("--model", metavar="NAME", help="Model that the agent asks; left out: the default one, if it chats.")
@click.option("--key-variable", metavar="NAME", help="Variable that will hold the key; left out: RELIGHT_KEY, if one is wanted.")
@click.option("--scope", type=click.Choice([scope.value for scope in Scope]), help="Set it up for this user, or for this folder.")
@click.option("--slim/--stock", "slim", default=None, help="A smaller prompt and fewer tools, for a small context; or its own.")
@click.option("--record", "records", is_flag=True, help="Also take down what the agent's prompts begin with, to be baked.")
@click.option("--print", "prints", is_flag=True, help="Print the files as they would be (keys starred), and write nothing.")
@click.option(
    "--check", "checks", is_flag=True, help="Say whether files and service still hold what was set up; exit code 1 if not."
)
@click.option("--undo", "undoes", is_flag=True, help="Take back what was written.")
@yes_option
@config_option
@json_option
@click.pass_context
def connect(  # noqa: PLR0913 - one parameter an option
    context: click.Context,
    *,
    agent: str | None,
    url: str | None,
    model: str | None,
    key_variable: str | None,
    scope: str | None,
    config_file: str,
    slim: bool | None,
    records: bool,
    prints: bool,
    checks: bool,
    undoes: bool,
    is_sure: bool,
    as_json: bool,
) -> None:
    """Point the coding agent AGENT at a service: shows each change with its reason, asks, and writes; without AGENT, list them.

    What is in the files stays, comments too. Keys are referred to by the name of their variable, and never written.
    """
    if sum((prints, checks, undoes, records)) > 1:
        raise UsageError("connect: --record, --print, --check and --undo exclude each other", hint="use one of them")
    if agent is None:
        _need_no_agent(prints or checks or undoes or records)
        _list(as_json=as_json)
        return
    known, where = _agent(agent), None if scope is None else Scope(scope)
    if checks:
        context.exit(_check(known, where, url, as_json=as_json))
    elif undoes:
        _undo(known, where, as_json=as_json, is_sure=is_sure)
    else:
        from relight.cli.connecting import Wish

        wish = Wish(_scope(known, where), slim, is_quiet=is_sure or as_json or prints)
        wanted = Wanted(url, model, key_variable, config_file)
        _connect(known, wanted, wish, prints=prints, records=records, as_json=as_json, is_sure=is_sure)
    if records:
        from relight.cli.prefixes import record

        how = {"port": None, "run": None, "env": (), "wanted": model, "bakes": False, "as_json": False}
        context.invoke(record, folder=None, config_file=config_file, agent=known.slug, **how)


def _need_no_agent(is_needed: bool) -> None:  # noqa: FBT001 - a guard of one word
    if is_needed:
        raise UsageError("connect: --record, --print, --check and --undo need an agent", hint=f"one of {', '.join(AGENTS)}")


def _agent(slug: str) -> Agent:
    from relight.config.suggest import instead

    found = AGENTS.get(slug)
    if found is None:
        raise UsageError(f'connect: no agent is called "{slug}"', hint=instead(slug, list(AGENTS)))
    return found


def _scope(agent: Agent, wanted: Scope | None) -> Scope:
    scope = wanted or (Scope.USER if Scope.USER in agent.scopes or not agent.scopes else agent.scopes[0])
    if agent.scopes and scope not in agent.scopes:
        raise UsageError(f"--scope: {agent.name} cannot be set up per {scope.value}", hint=f"use {agent.scopes[0].value}")
    return scope


# --- the list ---------------------------------------------------------------------------------------------------------


def _list(*, as_json: bool) -> None:
    from relight.cli.roster import COLUMNS, cells, roster

    rows = roster()
    if as_json:
        print_json(rows)
        return
    print_table(COLUMNS, [cells(row) for row in rows])
    for row in rows:
        for link in row.connections:
            for lost in link.lost:
                click.echo(folded(lost, start=f"{row.agent}: ", later="  "))
    click.echo("connect one: relight connect AGENT; look at one: relight connect AGENT --check")


# --- connecting and back ----------------------------------------------------------------------------------------------


def _connect(  # noqa: PLR0913 - what was asked for, and how
    agent: Agent, wanted: Wanted, wish: Wish, *, prints: bool, records: bool, as_json: bool, is_sure: bool
) -> None:
    from relight.cli.connecting import prepared

    if records:
        from relight.cli.recording import need_nobody

        need_nobody(address(wanted))
    found = prepared(agent, find_endpoint(wanted), wish)
    if prints and not as_json:
        found.show_text()
        return
    if not as_json:
        found.show()
    if not prints:
        if not found.plan.is_empty:
            _ask("Write this?", as_json=as_json, is_sure=is_sure, hint="see what changes with --print, then add --yes")
        _carry_out(found.plan.changes, found.places)
    if as_json:
        print_json(found.report(is_written=not prints))
    else:
        found.show_done()


def _undo(agent: Agent, scope: Scope | None, *, as_json: bool, is_sure: bool) -> None:
    from relight.agents.undo import undo

    where = places()
    receipt = _one_receipt(agent, scope, where)
    found = undo(receipt, where)
    if not as_json:
        for taken in found.files:
            show_change(taken.change)
            for place in taken.left:
                click.echo(f"  {place}: was changed since, and stays as it is")
    if any(taken.change.is_one for taken in found.files):
        _ask("Take this back?", as_json=as_json, is_sure=is_sure)
    _carry_out(found.changes, where)
    if as_json:
        left = tuple(place for taken in found.files for place in taken.left)
        files = tuple(report(taken.change) for taken in found.files)
        print_json(Undone(agent=agent.slug, scope=receipt.scope.value, files=files, left=left))
    else:
        click.echo(
            f"{agent.name}: taken back{', but for what was changed since' if any(taken.left for taken in found.files) else ''}"
        )


def _check(agent: Agent, scope: Scope | None, url: str | None, *, as_json: bool) -> int:
    from relight.agents.version import installed
    from relight.cli.standing import Holds, next_of, points

    here, named, rows = installed(agent), None if url is None else address(Wanted(url)), []
    for receipt in _receipts(agent, scope, places()):
        found = list(points(agent, receipt, here, named))
        rows.append(
            Checked(
                agent=agent.slug,
                scope=receipt.scope.value,
                url=receipt.url,
                model=receipt.model,
                holds=not any(point.holds is Holds.FAIL for point in found),
                points=tuple(found),
                next=next_of(found),
                version=here.version,
            )
        )
    if as_json:
        print_json(rows)
    else:
        _tell_checked(agent, rows)
    return ExitCode.OK if rows and all(row.holds for row in rows) else ExitCode.FOUND


def _tell_checked(agent: Agent, rows: Sequence[Checked]) -> None:
    for row in rows:
        whose = "this user" if row.scope == "user" else "this project"
        click.echo(plain(f"{agent.name} → {row.model} at {row.url}, for {whose}"))
        for point in row.points:
            click.echo(folded(point.seen, start=f"  {point.holds:<6}  {point.about:<8}  "))
        click.echo(plain(f"next: {row.next}") if row.next else "it holds")
    from relight.cli.roster import has_files

    if not rows and has_files(agent):
        click.echo(f"{agent.name} is not connected; connect it: relight connect {agent.slug}")
    elif not rows:
        click.echo(f"{agent.name}: nothing of it is in a file; what to set is shown by: relight connect {agent.slug}")


def _one_receipt(agent: Agent, scope: Scope | None, where: Places) -> Receipt:
    found = _receipts(agent, scope, where)
    if not found:
        raise UsageError(
            f"connect: {agent.name} is not connected, so there is nothing to take back", hint="relight connect lists all"
        )
    if len(found) > 1:
        raise UsageError(
            f"connect: {agent.name} is connected for this user and for this project", hint="add --scope user or --scope project"
        )
    return found[0]


def _receipts(agent: Agent, scope: Scope | None, where: Places) -> list[Receipt]:
    """The agent's connections; a receipt that cannot be read is an error to whoever asks for it."""
    scopes = Scope if scope is None else (scope,)
    return [receipt for each in scopes if (receipt := read_receipt(where, agent.slug, each)) is not None]


def _ask(question: str, *, as_json: bool, is_sure: bool, hint: str = "add --yes") -> None:
    need_somebody("connect", as_json=as_json, is_sure=is_sure, hint=hint)
    if not is_sure:
        click.confirm(question, abort=True, err=True)


def _carry_out(changes: Sequence[Change], where: Places) -> None:
    from relight.agents.disk import alone, carry_out

    if any(change.is_one for change in changes):
        with alone(where.state):
            carry_out(changes)
