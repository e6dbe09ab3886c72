"""`relight deploy`: what it would take to put this service on Cloud Run, step by step. In this version it only says so."""

from __future__ import annotations

from pathlib import Path

import click
from msgspec import Struct

from relight.cli.output import config_option, json_option, print_json, print_table
from relight.cli.target import judged, seen
from relight.config.load import load
from relight.deploy.facts import Costs
from relight.deploy.findings import Finding, Severity
from relight.deploy.observed import read_observed
from relight.deploy.plan import Plan
from relight.deploy.preflight import preflight, stops
from relight.deploy.price import usd
from relight.deploy.steps import DeployRevision, Step, UpdateService
from relight.errors import ExitCode, UsageError

_SHOWN = 60


class Report(Struct, frozen=True, kw_only=True):
    """What `--json` prints. `is_observed` False: nobody asked the cloud, so the project counts as empty."""

    project: str
    region: str
    service: str
    is_observed: bool
    can_be_applied: bool
    findings: tuple[Finding, ...]
    steps: tuple[Step, ...]
    costs: Costs | None


@click.command()
@config_option
@json_option
@click.option("--plan", "plans", is_flag=True, help="Say what would be done, and do nothing.")
@click.option(
    "--observed",
    "observed_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Take what is in the cloud from a JSON file, instead of an empty project.",
)
@click.pass_context
def deploy(context: click.Context, config_file: str, *, as_json: bool, plans: bool, observed_file: Path | None) -> None:
    """Plan a deployment to Cloud Run: each step with its reason, its cost and how it is undone; exit code 1 when it would fail.

    Nothing is asked of the cloud and nothing is changed. Applying is not in this version.
    """
    if not plans:
        raise UsageError("deploy: applying is not in this version", hint="see what it would do: relight deploy --plan")
    observed = None if observed_file is None else read_observed(observed_file)
    case, steps = judged(load(config_file), observed)
    findings = preflight(case)
    if as_json:
        print_json(_report(steps, findings, case.costs, is_observed=observed is not None))
    else:
        _show(steps, findings, case.costs, is_observed=observed is not None)
    context.exit(ExitCode.FOUND if stops(findings) else ExitCode.OK)


def _report(plan: Plan, findings: tuple[Finding, ...], costs: Costs | None, *, is_observed: bool) -> Report:
    return Report(
        project=plan.project,
        region=plan.region,
        service=plan.service,
        is_observed=is_observed,
        can_be_applied=is_observed and not stops(findings),
        findings=tuple(finding for finding in findings if finding.severity is not Severity.PASS),
        steps=plan.steps,
        costs=costs,
    )


def _show(plan: Plan, findings: tuple[Finding, ...], costs: Costs | None, *, is_observed: bool) -> None:
    click.echo(
        f"{plan.service} in {plan.project}, {plan.region}"
        + ("" if is_observed else "; nobody asked the cloud: as if the project were empty")
    )
    rows = [
        (found.severity, found.check, seen(found), "\n".join(filter(None, (found.fit, found.do))))
        for found in findings
        if _matters(found)
    ]
    if rows:
        print_table(("", "check", "what was seen", "what would fit"), rows, title="Before anything is spent")
    if plan.steps:
        columns = ("", "step", "what", "why", "cost", "undo")
        lines = [(n, step.kind, step.target, step.reason, step.cost, step.undo) for n, step in enumerate(plan.steps, 1)]
        print_table(columns, lines, title="Steps")
        _show_changes(plan)
    else:
        click.echo("nothing to do: everything is as the configuration says")
    if costs is not None:
        click.echo(_prices(costs))


def _show_changes(plan: Plan) -> None:
    for step in plan.steps:
        if isinstance(step, DeployRevision | UpdateService):
            rows = [(change.field, _cell(change.old), _cell(change.new)) for change in step.changes]
            if rows:
                print_table(("field", "is", "becomes"), rows, title=f"{step.kind} {step.name}")


def _cell(value: object) -> str:
    text = "–" if value is None else str(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _matters(finding: Finding) -> bool:
    return finding.severity is not Severity.PASS


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
