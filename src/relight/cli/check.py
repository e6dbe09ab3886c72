"""`relight check`: whether an endpoint does what agents need. Knows what was wanted; `relight.check` knows what is asked."""

from __future__ import annotations

import asyncio
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from relight.cli.output import DurationType, config_option, json_option
from relight.cli.talk import KEY_VARIABLE
from relight.errors import UsageError
from relight.values import Duration, Secret

if TYPE_CHECKING:
    from relight.check.examination import Examination
    from relight.check.needs import Catalogued, Need
    from relight.check.verdict import Report
    from relight.cli.check_page import Wanted
    from relight.cli.progress import Progress

_DIALECTS: Final = ("chat", "responses", "messages", "ollama")
_PATIENT_S: Final = 60.0
_HURRIED_S: Final = 30.0
"""What a request may take once the model is awake; few answers decide, and are short, where somebody is in a hurry."""
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
@click.option("--quick", is_flag=True, help="Only what decides whether agents work, in the dialect that most of them speak.")
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

    Without URL: the service of the configuration file, else http://127.0.0.1:8080. The model is asked some dozens of short
    questions, a dozen with --quick. Exit code 0 when all is fine (with --agent: all that this agent needs), 1 when something
    failed, 5 when the server cannot be reached.
    """
    from relight.check.examination import Examination, Target
    from relight.check.needs import needs
    from relight.check.unit import Settings
    from relight.cli.check_page import Wanted
    from relight.cli.progress import Progress

    known = needs(_catalogue())
    is_hurried = quick and not only
    wanted = Wanted(_agents(agents, known), known, is_quick=is_hurried, chose_dialect=is_hurried and not dialects)
    settings = Settings(
        timeout_s=float(timeout),
        request_s=_HURRIED_S if wanted.is_quick else _PATIENT_S,
        dialects=_spoken(dialects, wanted),
        context=context_size,
        is_quick=quick,
        agents=agents,
        puts_to_sleep=sleeps,
        only=_known(only),
    )
    found = where(url, config_file)
    target = Target(found.url, key_for(found, key_variable), model)
    if found.said:
        click.echo(found.said, err=True)
    progress = Progress()
    examination = Examination(target, settings, catalogue=_catalogue(), doing=_Stages(progress).show)
    context.exit(_examined(examination, progress, wanted, as_json=as_json))


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


def _examined(examination: Examination, progress: Progress, wanted: Wanted, *, as_json: bool) -> int:
    """Run it and print what came; when it is stopped, print what is known so far. Returns the exit code."""
    from relight.check.examination import exit_code
    from relight.cli.check_page import print_report

    try:
        with progress:
            asyncio.run(examination.run())
    finally:  # Ctrl-C as well
        print_report(examination.report(), wanted, as_json=as_json)
    report: Report = examination.report()
    return exit_code(report, wanted.agents)


# --- whom it is for ---------------------------------------------------------------------------------------------------


def _catalogue() -> list[Catalogued]:
    from relight.agents.catalog import AGENTS
    from relight.check.needs import Catalogued

    return [Catalogued(one.slug, one.name, one.dialect, one.context_need, one.slim_need) for one in AGENTS.values()]


def _agents(slugs: tuple[str, ...], known: list[Need]) -> list[Need]:
    from relight.config.suggest import instead

    by_slug = {need.slug: need for need in known}
    for slug in slugs:
        if slug not in by_slug:
            raise UsageError(f'check: no agent is called "{slug}"', hint=instead(slug, by_slug))
    return [by_slug[slug] for slug in slugs]


def _spoken(dialects: tuple[str, ...], wanted: Wanted) -> tuple[str, ...]:
    """The dialects to ask: those that were named, else those of the wanted agents, else all; in a hurry, one."""
    from relight.check.needs import dialect_of_most

    if dialects:
        return tuple(dict.fromkeys(dialects))
    if wanted.is_quick:
        return (dialect_of_most(wanted.agents or wanted.known),)
    return tuple(dict.fromkeys(need.dialect for need in wanted.agents)) or _DIALECTS


def _known(only: tuple[str, ...]) -> frozenset[str]:
    from relight.check.examination import ASIDE, CHECKS, WAY
    from relight.config.suggest import instead

    names = {*WAY, *(check.name for check in CHECKS), *(layer.name for layer in ASIDE)}
    full = {f"{dialect}.{check.name}" for check in CHECKS for dialect in check.dialects}
    for name in only:
        if name not in names and name not in full:
            raise UsageError(f'check: no check is called "{name}"', hint=instead(name, names))
    return frozenset(only)


# --- where it is, and what opens it -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Where:
    """An address, and how it was found, where nobody named it."""

    url: str
    said: str = ""

    @property
    def may_have_key(self) -> bool:
        """A key goes in the clear only where somebody named the address: a folder's file is not enough."""
        from relight.cli.endpoint import goes_in_the_clear

        return not self.said or not goes_in_the_clear(self.url)


def where(url: str | None, config_file: str) -> Where:
    """Where to ask, as `relight connect` finds it. Raises as loading a configuration does, and `UsageError`."""
    from relight.check.examination import base_of
    from relight.cli.endpoint import Wanted, address

    if url is not None:
        return Where(base_of(url))
    try:
        found = base_of(address(Wanted(config_file=config_file)))
    except UsageError as error:
        error.hint = "name the address that relight serve prints: relight check URL"
        raise
    if Path(config_file).exists():
        return Where(found, f"asking {found}, where the service of {config_file} listens")
    return Where(found, f"no URL was named, and there is no {config_file}: asking {found}, where relight serve usually listens")


def key_for(found_at: Where, variable: str | None) -> Secret | None:
    """The key in the variable, if it may go there.

    Raises `UsageError` when the variable that was named is empty, or holds what no key is.
    """
    name = variable or KEY_VARIABLE
    found = os.environ.get(name, "").strip()
    if not found:
        if variable is None:
            return None
        raise UsageError(f"--key-variable: {shown_name(name)} is not set", hint="export the key, and name its variable")
    if not _A_KEY.fullmatch(found):
        raise UsageError(f"{name}: has characters that no key has", hint="copy the key again")
    if not found_at.may_have_key:
        click.echo(f"the key in {name} stays here: it would go in the clear (relight check URL sends it)", err=True)
        return None
    return Secret(name, found)


def shown_name(name: str) -> str:
    """A variable's name; somebody may have put the key there itself, which is not shown."""
    return name if _A_NAME.fullmatch(name) else "what was named"
