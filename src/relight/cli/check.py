"""`relight check`: whether an endpoint does what coding agents need. Knows how it looks; `agents.check` knows what is asked."""

from __future__ import annotations

import asyncio
import os
import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import click

from relight.check.verdict import Status
from relight.cli.output import DurationType, config_option, json_option, print_json, print_table
from relight.cli.talk import KEY_VARIABLE
from relight.errors import UsageError
from relight.values import Duration, Secret, counted

if TYPE_CHECKING:
    from relight.check.examination import Examination
    from relight.check.needs import Catalogued, Need
    from relight.check.verdict import Finding, Report
    from relight.cli.progress import Progress

_DIALECTS: Final = ("chat", "responses", "messages", "ollama")
_A_KEY: Final = re.compile(r"[!-~]+")
_A_NAME: Final = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")


@click.command()
@click.argument("url", required=False)
@click.option("--model", help="Model to ask; left out: the server's default, else the first that chats.")
@click.option(
    "--key-variable", metavar="NAME", help=f"Environment variable that holds the key; left out: {KEY_VARIABLE}, if set."
)
@click.option("--dialect", "dialects", multiple=True, type=click.Choice(_DIALECTS), help="Dialect to check; may be given again.")
@click.option("--agent", "agents", multiple=True, metavar="SLUG", help="Agent that has to work; may be given again.")
@click.option("--timeout", type=DurationType(), default="5m", show_default=True, help="What the model may take to wake.")
@click.option("--context", "context_size", type=click.IntRange(1), help="Tokens one request may use, if the server does not say.")
@click.option("--only", multiple=True, metavar="CHECK", help="Check to run, with what it needs; may be given again.")
@click.option("--quick", is_flag=True, help="Only what agents cannot do without.")
@click.option(
    "--sleep", "sleeps", is_flag=True, help="Have a Relight server put the model to sleep first, to see the cold start."
)
@config_option
@json_option
@click.pass_context
def check(  # noqa: PLR0913 - one parameter an option
    context: click.Context,
    url: str | None,
    *,
    model: str | None,
    key_variable: str | None,
    dialects: tuple[str, ...],
    agents: tuple[str, ...],
    timeout: Duration,
    context_size: int | None,
    only: tuple[str, ...],
    config_file: str,
    quick: bool,
    sleeps: bool,
    as_json: bool,
) -> None:
    """Check whether the server at URL (any that speaks OpenAI's, Anthropic's or Ollama's dialect) does what coding agents need.

    Without URL: the service of the configuration file. The model is asked some dozens of short questions. Exit code 0 when all is
    fine (with --agent: all that this agent needs), 1 when something failed, 5 when the server cannot be reached.
    """
    from relight.check.examination import Examination, Target, base_of, exit_code
    from relight.check.needs import needs
    from relight.check.unit import Settings
    from relight.cli.progress import Progress

    wanted = _wanted(agents, needs(_catalogue()))
    spoken = dialects or tuple(dict.fromkeys(need.dialect for need in wanted)) or _DIALECTS
    settings = Settings(
        timeout_s=float(timeout),
        dialects=spoken,
        context=context_size,
        is_quick=quick,
        puts_to_sleep=sleeps,
        only=_known(only),
    )
    target = Target(base_of(url or _configured(config_file)), _key(key_variable), model)
    progress = Progress()
    examination = Examination(target, settings, catalogue=_catalogue(), doing=_Stages(progress).show)
    report = _examined(examination, progress, wanted, as_json=as_json)
    context.exit(exit_code(report, wanted))


class _Stages:
    """What is asked just now, where lines move; where they stay, a line for each stage."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._stage = ""

    def show(self, what: str) -> None:
        """Implements the examination's `doing`."""
        stage, _, rest = what.partition(": ")
        if stage != self._stage:
            self._stage = stage
            self._progress.doing(stage)
        if rest:
            self._progress.hint(what)


def _examined(examination: Examination, progress: Progress, wanted: list[Need], *, as_json: bool) -> Report:
    """Run it and print what came; when it is stopped, print what is known so far."""
    try:
        with progress:
            asyncio.run(examination.run())
    finally:  # Ctrl-C as well
        _print(examination.report(), wanted, as_json=as_json)
    return examination.report()


def _catalogue() -> list[Catalogued]:
    from relight.agents.catalog import AGENTS
    from relight.check.needs import Catalogued

    return [Catalogued(one.slug, one.name, one.dialect, one.context_need, one.slim_need) for one in AGENTS.values()]


def _wanted(slugs: tuple[str, ...], known: list[Need]) -> list[Need]:
    by_slug = {need.slug: need for need in known}
    for slug in slugs:
        if slug not in by_slug:
            raise UsageError(f'check: no agent is called "{slug}"', hint=f"there is {', '.join(by_slug)}")
    return [by_slug[slug] for slug in slugs]


def _known(only: tuple[str, ...]) -> frozenset[str]:
    from relight.check.examination import CHECKS

    names = {check.name for check in CHECKS}
    names |= {f"{dialect}.{check.name}" for check in CHECKS for dialect in check.dialects}
    for name in only:
        if name not in names:
            raise UsageError(f'check: no check is called "{name}"', hint=f"there is {', '.join(check.name for check in CHECKS)}")
    return frozenset(only)


def _configured(config_file: str) -> str:
    """Where the service of the configuration listens on this machine."""
    from relight.config.load import load

    server = load(config_file).config.server
    if server.port == 0:
        raise UsageError("check: server.port is 0, so nobody knows where the service listens", hint="name the address")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(server.host, server.host)  # noqa: S104 - where it listens, not where we do
    return f"http://[{host}]:{server.port}" if ":" in host else f"http://{host}:{server.port}"


def _key(variable: str | None) -> Secret | None:
    """The key in the variable; raises `UsageError` when the variable that was named is empty, or holds what no key is."""
    name = variable or KEY_VARIABLE
    found = os.environ.get(name, "").strip()
    if not found:
        if variable is None:
            return None
        raise UsageError(f"--key-variable: {shown_name(name)} is not set", hint="export the key, and name its variable")
    if not _A_KEY.fullmatch(found):
        raise UsageError(f"{name}: has characters that no key has", hint="copy the key again")
    return Secret(name, found)


def shown_name(name: str) -> str:
    """A variable's name; somebody may have put the key there itself, which is not shown."""
    return name if _A_NAME.fullmatch(name) else "what was named"


# --- how it looks ---------------------------------------------------------------------------------------------------


def _print(report: Report, wanted: list[Need], *, as_json: bool) -> None:
    if as_json:
        print_json(report)
        return
    model = f", model {report.model}" if report.model else ""
    size = f", context {report.context:,} tokens" if report.context else ""
    click.echo(f"{report.url}{model}{size}")
    rows = [(one.status, one.check, f"{one.title}: {one.seen}") for one in report.findings if one.status is not Status.SKIPPED]
    print_table(("", "check", "what was seen"), rows)
    _print_faults(report.findings)
    _print_skipped(report.findings)
    slugs = {need.slug for need in wanted}
    agents = [(one.name, one.dialect, one.says) for one in report.agents if not slugs or one.agent in slugs]
    if agents:
        print_table(("agent", "dialect", ""), agents, title="Agents")
    click.echo(_total(report))


def _print_faults(findings: Sequence[Finding]) -> None:
    """What failed, with its evidence."""
    for one in findings:
        if one.status is not Status.FAIL:
            continue
        click.echo(f"{one.check}: {one.seen}")
        for label, said in (("sent", one.sent), ("came", one.came), ("breaks", one.why), ("do", one.advice)):
            if said:
                click.echo(f"  {label:<7} {said}")
        click.echo()


def _print_skipped(findings: Sequence[Finding]) -> None:
    """What was not asked, by its reason."""
    reasons: dict[str, list[str]] = {}
    for one in findings:
        if one.status is Status.SKIPPED:
            reasons.setdefault(one.seen, []).append(one.check)
    for reason, checks in reasons.items():
        click.echo(f"not asked ({reason}): {', '.join(checks)}")


def _total(report: Report) -> str:
    counts = Counter(one.status for one in report.findings)
    told = ", ".join(f"{counts[status]} {status}" for status in Status if counts[status])
    return f"{counted(len(report.findings), 'check')}: {told}" + ("" if report.is_complete else "; stopped before the end")
