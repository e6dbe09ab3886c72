"""How the report of `relight check` looks. Asks nobody."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import click

from relight.check.needs import Need
from relight.check.verdict import Finding, Report, Status
from relight.cli.output import folded, print_json, print_table
from relight.values import counted

_LABEL: Final = 8
_LATER: Final = "  "


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody asked for: these agents (none: all that are known), and in what hurry."""

    agents: Sequence[Need]
    known: Sequence[Need]
    is_quick: bool = False
    chose_dialect: bool = False
    """Nobody named a dialect, and one was chosen."""


def print_report(report: Report, wanted: Wanted, *, as_json: bool) -> None:
    """Print all that is known."""
    if as_json:
        print_json(report)
        return
    model = f", model {report.model}" if report.model else ""
    size = f", context {report.context:,} tokens" if report.context else ""
    click.echo(folded(f"{report.url}{model}{size}"))
    rows = [(one.status, one.check, f"{one.title}: {one.seen}") for one in report.findings if one.status is not Status.SKIPPED]
    print_table(("", "check", "what was seen"), rows)
    _faults(report.findings)
    for reason, checks in _skipped(report.findings).items():
        click.echo(folded(f"not asked ({reason}): {', '.join(checks)}", later=_LATER))
    _agents(report, wanted)
    click.echo(folded(_total(report)))


def _faults(findings: Sequence[Finding]) -> None:
    """What failed, with its evidence."""
    for one in findings:
        if one.status is not Status.FAIL:
            continue
        click.echo(folded(f"{one.check}: {one.seen}", later=_LATER))
        for label, said in (("sent", one.sent), ("came", one.came), ("breaks", one.why), ("do", one.advice)):
            if said:
                click.echo(folded(said, start=f"{_LATER}{label:<{_LABEL}}"))
        click.echo()


def _skipped(findings: Sequence[Finding]) -> dict[str, list[str]]:
    """What was not asked, by its reason."""
    reasons: dict[str, list[str]] = {}
    for one in findings:
        if one.status is Status.SKIPPED:
            reasons.setdefault(one.seen, []).append(one.check)
    return reasons


def _agents(report: Report, wanted: Wanted) -> None:
    """Who will work; and of whom that is not known, if somebody asked for them."""
    slugs = {need.slug for need in wanted.agents}
    judged = [one for one in report.agents if not slugs or one.agent in slugs]
    if judged:
        print_table(("agent", "dialect", ""), [(one.name, one.dialect, one.says) for one in judged], title="Agents")
    if not any(one.check == "wake" and one.status is Status.PASS for one in report.findings):
        return
    everybody = wanted.agents or wanted.known
    elsewhere = [need for need in everybody if need.dialect not in report.dialects]
    if wanted.chose_dialect and elsewhere:
        speaking = f"{len(everybody) - len(elsewhere)} of {len(everybody)} agents speak"
        said = f"one dialect was asked, {', '.join(report.dialects)}, which {speaking}; for others: {_by_dialect(elsewhere)}"
        click.echo(folded(said, later=_LATER))
    here = [need for need in wanted.agents if need.dialect in report.dialects]
    unjudged = [need.name for need in here if need.slug not in {one.agent for one in judged}]
    if unjudged:
        click.echo(folded(f"not judged, for not all that they need was asked: {', '.join(unjudged)}", later=_LATER))
    elif not judged and not wanted.agents:
        click.echo(folded("no agent is judged: not all that any of them needs was asked"))


def _by_dialect(others: Sequence[Need]) -> str:
    """Which option asks for whom."""
    names: dict[str, list[str]] = {}
    for need in others:
        names.setdefault(need.dialect, []).append(need.name)
    return "; ".join(f"--dialect {dialect} ({', '.join(ones)})" for dialect, ones in names.items())


def _total(report: Report) -> str:
    counts = Counter(one.status for one in report.findings)
    told = ", ".join(f"{counts[status]} {status}" for status in Status if counts[status])
    return f"{counted(len(report.findings), 'check')}: {told}" + ("" if report.is_complete else "; stopped before the end")
