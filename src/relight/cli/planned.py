"""A plan and its findings as a person reads them."""

from __future__ import annotations

import shutil
import sys
import textwrap
from typing import Final

import click

from relight.cli.output import print_table
from relight.cli.target import seen
from relight.deploy.facts import Costs
from relight.deploy.findings import Finding, Severity
from relight.deploy.plan import Plan
from relight.deploy.price import usd
from relight.deploy.steps import DeployRevision, UpdateService

_SHOWN: Final = 60
_TABLE_WIDTH: Final = 180
"""Columns that a table of steps takes to be read."""


def show_plan(plan: Plan, findings: tuple[Finding, ...], costs: Costs | None, *, unasked: str | None = None) -> None:
    """Print all of it; `unasked` is why nobody asked the cloud, None when somebody did."""
    click.echo(
        f"{plan.service} in {plan.project}, {plan.region}" + (f"; {unasked}: as if the project were empty" if unasked else "")
    )
    show_findings(findings)
    if plan.steps:
        _show_steps(plan)
        _show_changes(plan)
    else:
        click.echo("nothing to do: everything is as the configuration says")
    if costs is not None:
        click.echo(_prices(costs))


def show_findings(findings: tuple[Finding, ...]) -> None:
    """Print those that are not simply fine."""
    rows = [
        (found.severity, found.check, seen(found), "\n".join(filter(None, (found.fit, found.do))))
        for found in findings
        if found.severity is not Severity.PASS
    ]
    if rows:
        print_table(("", "check", "what was seen", "what would fit"), rows, title="Before anything is spent")


def _show_steps(plan: Plan) -> None:
    """A table where there is room for one, else a paragraph a step."""
    width = shutil.get_terminal_size().columns
    if width >= _TABLE_WIDTH or not sys.stdout.isatty():
        columns = ("", "step", "what", "why", "cost", "undo")
        lines = [(n, step.kind, step.target, step.reason, step.cost, step.undo) for n, step in enumerate(plan.steps, 1)]
        print_table(columns, lines, title="Steps")
        return
    click.echo(click.style("Steps", italic=True))
    for number, step in enumerate(plan.steps, 1):
        click.echo(_folded(f"{number:>3}  ", f"{step.kind}: {step.target}", width))
        about = f"{step.reason[:1].upper()}{step.reason[1:]}. Cost: {step.cost}. Undo: {step.undo}."
        click.echo(click.style(_folded("     ", about, width), dim=True))
    click.echo()


def _folded(start: str, text: str, width: int) -> str:
    return textwrap.fill(text, width, initial_indent=start, subsequent_indent=" " * len(start), break_on_hyphens=False)


def _show_changes(plan: Plan) -> None:
    for step in plan.steps:
        if isinstance(step, DeployRevision | UpdateService):
            rows = [(change.field, _cell(change.old), _cell(change.new)) for change in step.changes]
            if rows:
                print_table(("field", "is", "becomes"), rows, title=f"{step.kind} {step.name}")


def _cell(value: object) -> str:
    text = "–" if value is None else str(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _prices(costs: Costs) -> str:
    parts = [
        f"{usd(costs.hour)} an hour awake",
        f"{usd(costs.wake)} a wake",
        f"{usd(costs.tail)} idle after each visit" if costs.tail else "nothing when idle",
        f"{usd(costs.thousand)} for a thousand answers of ten seconds",
    ]
    if costs.free_hours:
        parts.append(f"{costs.free_hours:.1f} hours a month are free")
    said = f"{'; '.join(parts)} (prices of {costs.as_of}, before the free tier)"
    return "\n".join([said, *costs.caveats])
