"""A plan and its findings as a person reads them."""

from __future__ import annotations

import shutil
import textwrap
from typing import Final

import click

from relight.cli.output import print_table
from relight.cli.target import seen
from relight.deploy.facts import Costs
from relight.deploy.findings import Finding, Severity
from relight.deploy.plan import Plan
from relight.deploy.price import usd
from relight.deploy.steps import DeployRevision, SetSchedule, UpdateService

_SHOWN: Final = 60
_WIDTH: Final = 100
"""Columns where nobody says how many there are."""
_ORDER: Final = (Severity.ERROR, Severity.WARNING, Severity.UNKNOWN, Severity.NOTE)
_COLOURS: Final = {Severity.ERROR: "red", Severity.WARNING: "yellow"}


def show_plan(
    plan: Plan, findings: tuple[Finding, ...], costs: Costs | None, *, unasked: str | None = None, is_brief: bool = False
) -> None:
    """Print all of it; `unasked` is why nobody asked the cloud, None when somebody did.

    `is_brief` leaves out the fields of a service that is not there yet.
    """
    guess = f"; {unasked}: as if the project were empty" if unasked else ""
    click.echo(f"{plan.service} in {plan.project}, {plan.region}{guess}\n")
    if not plan.steps:
        show_findings(tuple(found for found in findings if found.severity is not Severity.NOTE))
        click.echo("nothing to do: everything is as the configuration says")
        return
    show_findings(findings)
    _show_steps(plan)
    _show_changes(plan, is_brief=is_brief)
    if costs is not None:
        click.echo(_folded("", _prices(plan, costs)))
        for caveat in costs.caveats:
            click.echo(_folded("", caveat))


def show_findings(findings: tuple[Finding, ...]) -> None:
    """Print those that are not simply fine, the worst first."""
    shown = [found for severity in _ORDER for found in findings if found.severity is severity]
    if not shown:
        return
    click.echo(click.style("Before anything is spent", italic=True))
    for found in shown:
        head = f"  {found.severity}: {found.check}: {seen(found)}"
        click.echo(click.style(_folded("", head, "      "), fg=_COLOURS.get(found.severity)))
        for line in (found.fit or "").splitlines():
            click.echo(f"        {line}")
        if found.do:
            click.echo(_folded("      ", found.do))
    click.echo()


def _show_steps(plan: Plan) -> None:
    click.echo(click.style("Steps", italic=True))
    for number, step in enumerate(plan.steps, 1):
        click.echo(_folded(f"{number:>3}  ", f"{step.kind}: {step.target}"))
        about = f"{step.reason}; cost: {step.cost}; undo: {step.undo}"
        click.echo(click.style(_folded("     ", about), dim=True))
    click.echo()


def _folded(start: str, text: str, later: str | None = None) -> str:
    """`text` in lines that fit, broken between words; what is longer than a line (an address, a command) stays whole."""
    indent = " " * len(start) if later is None else later
    width = max(40, shutil.get_terminal_size((_WIDTH, 50)).columns)
    return textwrap.fill(
        text, width, initial_indent=start, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
    )


def _show_changes(plan: Plan, *, is_brief: bool) -> None:
    for step in plan.steps:
        is_new = isinstance(step, DeployRevision) and step.settings is not None
        if isinstance(step, DeployRevision | UpdateService) and not (is_brief and is_new):
            rows = [(change.field, _cell(change.old), _cell(change.new)) for change in step.changes]
            if rows:
                print_table(("field", "is", "becomes"), rows, title=f"{step.kind} {step.name}")


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = "–" if value is None else str(value)
    place, at, digest = text.partition("@sha256:")
    if at:
        # Two images differ by their digests, and lie in the same place.
        return f"{place.rpartition('/')[2]}@sha256:{f'{digest[:12]}…' if digest[:1].isalnum() else digest}"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _prices(plan: Plan, costs: Costs) -> str:
    is_kept = any(isinstance(step, SetSchedule) for step in plan.steps)
    idle = "nothing when idle, but for what is kept awake" if is_kept else "nothing when idle"
    parts = [
        f"{usd(costs.hour)} an hour awake",
        f"{usd(costs.wake)} a wake",
        f"{usd(costs.tail)} idle after each visit" if costs.tail else idle,
        f"{usd(costs.thousand)} for a thousand answers of ten seconds",
    ]
    free = f"; {costs.free_hours:.1f} hours a month are free" if costs.free_hours else ""
    return f"{'; '.join(parts)} (prices of {costs.as_of}){free}"
