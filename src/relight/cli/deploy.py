"""`relight deploy`: from `relight.toml` to a private URL that scales to zero. Says what it would take, asks, and does it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from msgspec import Struct

from relight.cli.connected import is_attended, need_somebody, yes_option
from relight.cli.output import config_option, json_option, print_json
from relight.cli.planned import show_findings, show_plan
from relight.cli.receipts import keep
from relight.cli.stopping import stoppable
from relight.cli.target import judged
from relight.config.load import Loaded, load
from relight.config.schema import Task
from relight.deploy.facts import Builder, Costs
from relight.deploy.findings import Case, Finding, Severity
from relight.deploy.observed import read_observed
from relight.deploy.plan import Plan
from relight.deploy.preflight import preflight, stops
from relight.deploy.price import usd
from relight.deploy.steps import Step
from relight.errors import CloudError, ExitCode, RelightError, UsageError
from relight.values import counted

if TYPE_CHECKING:
    from relight.cli.applying import Site
    from relight.cli.progress import Progress
    from relight.cloud.receipt import Receipt

_BUILDERS: Final = {"cloud": Builder.CLOUD, "local": Builder.LOCAL}
_AS_EMPTY: Final = "nobody asked the cloud"


class Report(Struct, frozen=True, kw_only=True):
    """What `--plan --json` prints. `is_observed` False: nobody asked the cloud, so the project counts as empty."""

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
@click.option("--offline", is_flag=True, help="With --plan: do not ask the cloud, as if the project were empty.")
@click.option(
    "--observed",
    "observed_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="With --plan: take what is in the cloud from a JSON file.",
)
@yes_option
@click.option(
    "--builder",
    type=click.Choice(list(_BUILDERS)),
    default="cloud",
    show_default=True,
    help="Who builds the image: Cloud Build, or podman or docker on this machine.",
)
@click.pass_context
def deploy(  # noqa: PLR0913 - one parameter an option
    context: click.Context,
    config_file: str,
    observed_file: Path | None,
    builder: str,
    *,
    as_json: bool,
    plans: bool,
    offline: bool,
    is_sure: bool,
) -> None:
    """Put this service on Cloud Run: looks, says each step with its reason, cost and undo, asks, and does them.

    It can be stopped at any moment and run again: it goes on where it stopped, and a second run does nothing. A revision that
    fails its test gets no traffic. With --plan nothing is changed. Exit code 1 when it would fail, 6 when the cloud refuses.
    """
    loaded = load(config_file)
    if not plans:
        if offline or observed_file is not None:
            raise UsageError("deploy: --offline and --observed are for a plan", hint="add --plan")
        with stoppable():
            _apply(loaded, config_file, _BUILDERS[builder], as_json=as_json, is_sure=is_sure)
        return
    if observed_file is not None:
        case, steps = judged(loaded, read_observed(observed_file), builder=_BUILDERS[builder])
        unasked = None
    elif offline:
        case, steps = judged(loaded, None, builder=_BUILDERS[builder])
        unasked = _AS_EMPTY
    else:
        from relight.cli.applying import looked

        case, steps, unasked = looked(loaded, config_file, _BUILDERS[builder])
    findings = preflight(case)
    if as_json:
        print_json(_report(steps, findings, case))
    else:
        show_plan(steps, findings, case.costs, unasked=unasked)
        if steps.steps and not stops(findings):
            click.echo(f"\n{counted(len(steps.steps), 'step')}; do them: relight deploy")
    context.exit(ExitCode.FOUND if stops(findings) else ExitCode.OK)


def _report(plan: Plan, findings: tuple[Finding, ...], case: Case) -> Report:
    return Report(
        project=plan.project,
        region=plan.region,
        service=plan.service,
        is_observed=case.observed is not None,
        can_be_applied=case.observed is not None and not stops(findings),
        findings=tuple(finding for finding in findings if finding.severity is not Severity.PASS),
        steps=plan.steps,
        costs=case.costs,
    )


def _progress() -> Progress:
    from relight.cli.progress import Progress

    return Progress()


# --- applying


def _apply(loaded: Loaded, config_file: str, builder: Builder, *, as_json: bool, is_sure: bool) -> None:
    from relight.cli.applying import site

    need_somebody("deploy", as_json=as_json, is_sure=is_sure, hint="see relight deploy --plan, then add --yes")
    began = time.monotonic()
    with _progress() as progress:
        here = site(loaded, config_file, builder, progress)
        case, plan = here.look()
    if is_attended() and here.ask_for_secrets(case):
        with _progress() as here.progress:
            case, plan = here.look()
    findings = preflight(case)
    if stops(findings):
        if as_json:
            print_json(_report(plan, findings, case))
        else:
            show_findings(findings)
        raise RelightError("deploy: it would fail, so nothing was changed", hint="correct what is listed above, and run it again")
    if not as_json:
        show_plan(plan, findings, case.costs, is_brief=True)
    if plan.steps and not is_sure:
        click.confirm(f"Do {'this step' if len(plan.steps) == 1 else f'these {len(plan.steps)} steps'}?", abort=True, err=True)
    found = _carry_out(here, case, plan, began)
    if found.steps:
        keep(found, loaded.folder)
    if as_json:
        print_json(found)
    else:
        _show(found, case)


def _carry_out(here: Site, case: Case, plan: Plan, began: float) -> Receipt:
    from relight.cli.applying import Told, receipt
    from relight.cloud.apply import apply

    with _progress() as progress:
        here.progress = progress
        applier, told = here.applier(case.desired), Told(progress)
        try:
            steps = apply(plan, lambda: here.look()[1], applier.do, told)
        except KeyboardInterrupt:
            progress.rest()
            if told.doing is not None:
                progress.say(f"stopped in {told.doing.kind}: {told.doing.target}")
            progress.say("what is done stays done; run it again to go on, or relight destroy to take everything away")
            raise
        except CloudError:
            progress.rest()
            progress.say("what is done stays done; run it again to go on")
            raise
    return receipt(here, applier, steps=steps, seconds=time.monotonic() - began)


def _show(found: Receipt, case: Case) -> None:
    if found.steps:
        click.echo(f"{counted(found.steps, 'step')} in {found.seconds:.0f} s: {found.url or found.service}")
    else:
        click.echo(found.url or found.service)
    click.echo(f"  revision  {found.revision or 'none that is ready'}")
    click.echo(f"  image     {found.image}")
    if found.tested is not None:
        for one in found.tested.asked:
            click.echo(f"  tested    {one.what}: {one.status} after {one.seconds:.1f} s")
        if found.tested.note:
            click.echo(f"  tested    {found.tested.note}")
    click.echo(f"  cost      {_cost(found)}")
    for line in _asking(found.url, case) if found.url is not None else ():
        click.echo(f"  ask it    {line}")


def _cost(found: Receipt) -> str:
    if found.hour is None or found.wake is None:
        return "not known"
    idle = f"{usd(found.tail)} idle after each visit" if found.tail else "nothing while nobody asks"
    kept = f"; {found.kept} kept awake, and paid for" if found.kept else ""
    return f"{usd(found.hour)} an hour awake, {usd(found.wake)} a wake, {idle}{kept}"


def _asking(url: str, case: Case) -> Iterator[str]:
    """How somebody calls it now."""
    config, token = case.config, "Bearer $(gcloud auth print-identity-token)"
    has_keys, is_guarded = config.auth.keys.secret is not None, bool(config.deploy.cloudrun.invokers)
    if is_guarded and has_keys:
        yield f'curl -H "X-Serverless-Authorization: {token}" -H "Authorization: Bearer rl_…" {url}/v1/models'
    elif is_guarded:
        yield f'curl -H "Authorization: {token}" {url}/v1/models'
    elif any(model.task is Task.CHAT for model in config.models.values()):
        yield f"{'RELIGHT_KEY=rl_… ' if has_keys else ''}relight chat --url {url}"
    else:
        key = '-H "Authorization: Bearer rl_…" ' if has_keys else ""
        yield f"curl {key}{url}/v1/models"
    if config.assistant.is_there and config.assistant.public and not is_guarded:
        yield f"{url}/ in a browser"
        yield f'<script src="{url}/widget.js"></script> on a page that assistant.origins names'
