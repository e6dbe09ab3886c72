"""Examine an endpoint for coding agents: the way there, the first answer, then each dialect, as far as it goes.

Every check is declared beside its like (`answers`, `tools`, …); here is their order, and when to stop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from relight.check import answers, dialects, limits, seen, sharing, tools
from relight.check.chat import Chat
from relight.check.cold import first_answer
from relight.check.http import Line, Reply
from relight.check.messages import Messages
from relight.check.models import BESIDE, LISTED
from relight.check.needs import Catalogued, Need, conclude, is_judged, needs, touched
from relight.check.ollama import Ollama
from relight.check.question import Tongue
from relight.check.reach import LAYERS
from relight.check.responses import Responses
from relight.check.unit import Check, Layer, Place, Session, Settings
from relight.check.vectors import EMBEDDINGS
from relight.check.verdict import Finding, Outcome, Report, Status, shown, skipped
from relight.clock import Clock, SystemClock
from relight.errors import ExitCode, UsageError
from relight.values import Secret

CHECKS: Final = (
    *answers.CHECKS,
    *seen.CHECKS,
    *tools.CHECKS,
    *dialects.CHECKS,
    *limits.CHECKS,
    *sharing.CHECKS,
)
"""Those of a dialect, in their order."""
ASIDE: Final = (*BESIDE, EMBEDDINGS)
"""What concerns no dialect, and keeps nobody from going on."""
WAY: Final = (*(layer.name for layer in (*LAYERS, LISTED)), "wake", "keepalive")
"""What comes before all others, whatever is asked."""
TONGUES: Final[tuple[Tongue, ...]] = (Chat(), Responses(), Messages(), Ollama())
_NETWORK: Final = ("name", "tcp", "tls", "identity")
_SILENT: Final = 3
_ENDINGS: Final = ("/chat/completions", "/responses", "/messages", "/models", "/v1")
_WAKE: Final = ("wake", "the first answer", "every agent; nothing else can be known before it", "")
_KEEPALIVE: Final = (
    "keepalive",
    "clients are kept while it wakes",
    "agents leave in the middle of a wake, come again, and wait behind themselves",
    "",
)


@dataclass(frozen=True, slots=True)
class Target:
    """What is examined."""

    url: str
    """Without a path of a dialect; see `base_of`."""
    key: Secret | None = None
    model: str | None = None


def base_of(url: str) -> str:
    """The address that all paths are put behind, of one as people have it at hand; raises `UsageError`."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    try:
        is_good = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_good = False
    if not is_good:
        raise UsageError(f"check: should be an address like http://127.0.0.1:8080, got {shown(url, 80)!r}")
    if parts.username or parts.password or parts.query:
        raise UsageError(
            "check: the address holds more than a host and a path", hint="name the key's variable: --key-variable NAME"
        )
    path = parts.path.rstrip("/")
    for ending in _ENDINGS:
        path = path.removesuffix(ending)
    return f"{parts.scheme}://{parts.netloc}{path.rstrip('/')}"


class Examination:
    """One run. What is known so far can be told at any moment, also when it was stopped."""

    def __init__(
        self,
        target: Target,
        settings: Settings,
        *,
        catalogue: Sequence[Catalogued] = (),
        clock: Clock | None = None,
        doing: Callable[[str], None] | None = None,
    ) -> None:
        self.needs: list[Need] = needs(catalogue)
        self.findings: list[Finding] = []
        self._target, self._settings = target, settings
        self._clock = clock or SystemClock()
        self._doing = doing or (lambda _: None)
        self._session: Session | None = None
        self._is_complete = False

    async def run(self) -> Report:
        """Ask until all is asked, or something breaks behind which nothing can be known. Raises nothing for what it finds."""
        async with Line(self._target.url, self._target.key, self._clock) as line:
            session = Session(line, self._settings, self._clock, model=self._target.model or "")
            self._session = session
            if await self._reach(session):
                await self._beside(session, BESIDE)
                if not self._chats() or await self._wake(session):
                    for tongue in self._tongues():
                        await self._dialect(session, tongue)
                    await self._beside(session, (EMBEDDINGS,))  # last: its model may take the memory of the one that chats
        self._is_complete = True
        return self.report()

    def report(self) -> Report:
        """What is known so far."""
        session = self._session
        context = session.context if session else None
        is_reached = any(finding.check == "wake" and finding.status is Status.PASS for finding in self.findings)
        speaking = [need for need in self.needs if need.dialect in self._settings.dialects] if is_reached else []
        judged = [need for need in speaking if is_judged(need, self.findings, self._settings.only)]
        agents = tuple(conclude(need, self.findings, context) for need in judged)
        model = session.model if session and session.model else self._target.model
        spoken = tuple(tongue.name for tongue in self._tongues())
        return Report(self._target.url, model, context, tuple(self.findings), agents, self._is_complete, spoken)

    async def _reach(self, session: Session) -> bool:
        for layer in (*LAYERS, LISTED):
            if not await self._layer(session, layer):
                return False
        return True

    async def _beside(self, session: Session, layers: Sequence[Layer]) -> None:
        only = self._settings.only
        for layer in layers:
            if layer.name in only or not (only or self._settings.is_quick):
                await self._layer(session, layer)

    def _chats(self) -> bool:
        """Whether anything is asked that a chat has to work for."""
        return not self._settings.only or bool(self._settings.only - {layer.name for layer in ASIDE})

    async def _layer(self, session: Session, layer: Layer) -> bool:
        self._begin(session, layer.title)
        began = self._clock.now()
        outcome = await layer.run(session)
        self._note(session, layer.name, (layer.title, layer.why, layer.advice), outcome, began)
        return not layer.is_gate or outcome.status is not Status.FAIL

    async def _wake(self, session: Session) -> bool:
        self._begin(session, f"waiting for the first answer of {session.model}")
        began = self._clock.now()
        first, wait = await first_answer(session, self._tongues())
        for (name, *about), outcome in ((_WAKE, first), (_KEEPALIVE, wait)):
            self._note(session, name, (about[0], about[1], about[2]), outcome, began)
        return first.status is Status.PASS

    def _tongues(self) -> list[Tongue]:
        return [tongue for tongue in TONGUES if tongue.name in self._settings.dialects]

    async def _dialect(self, session: Session, tongue: Tongue) -> None:
        silent = 0
        for check in self._chosen(tongue.name):
            unmet = self._unmet(session, tongue.name, check)
            if unmet is not None and session.found.get(unmet) is Status.UNSUPPORTED:
                continue  # a dialect that is not there is said once
            self._begin(session, f"{tongue.name}: {check.title}")
            began = self._clock.now()
            if unmet is not None:
                outcome = skipped(f"{unmet} did not pass")
            elif silent >= _SILENT:
                outcome = skipped(f"{_SILENT} checks in a row got no answer")
            else:
                outcome = await check.run(Place(session, tongue, check.name))
                silent = silent + 1 if _is_silent(session.line.log) else 0
            self._note(session, f"{tongue.name}.{check.name}", (check.title, check.why, check.advice), outcome, began)

    def _chosen(self, dialect: str) -> list[Check]:
        able = [check for check in CHECKS if dialect in check.dialects]
        only = self._settings.only
        if not only and not self._settings.is_quick:
            return able
        wanted = {check.name for check in able if {check.name, f"{dialect}.{check.name}"} & only}
        if not only:
            wanted = self._deciding(dialect)
        before: set[str] = set()
        while before != wanted:
            before = set(wanted)
            wanted |= {name for check in able if check.name in before for need in check.needs for name in need.split("|")}
        return [check for check in able if check.name in wanted]

    def _deciding(self, dialect: str) -> set[str]:
        """What the wanted agents cannot do without, or all of the dialect's."""
        speaking = [need for need in self.needs if need.dialect == dialect]
        wanted = [need for need in speaking if need.slug in self._settings.agents] or speaking
        return {name for need in wanted for name in need.must}

    def _unmet(self, session: Session, dialect: str, check: Check) -> str | None:
        """The first check that this one needs and that did not pass."""
        for need in check.needs:
            names = [f"{dialect}.{name}" for name in need.split("|")]
            if not any(session.found.get(name) in (Status.PASS, Status.UNSURE) for name in names):
                return names[0]
        return None

    def _begin(self, session: Session, what: str) -> None:
        self._doing(what)
        session.tell = lambda said: self._doing(f"{what}: {said}")
        session.line.log.clear()

    def _note(self, session: Session, name: str, about: tuple[str, str, str], outcome: Outcome, began: float) -> None:
        title, why, advice = about
        star, log = session.line.star, session.line.log
        telling = next((reply for reply in reversed(log) if not reply.is_fine), log[-1] if log else None)
        is_good = outcome.status in (Status.PASS, Status.SKIPPED)
        session.found[name] = outcome.status
        self.findings.append(
            Finding(
                check=name,
                status=outcome.status,
                title=title,
                seen=shown(star(outcome.seen), 400),
                sent=star(shown(telling.sent)) if telling else "",
                came=star(telling.came) if telling else "",
                why="" if is_good else why,
                advice="" if is_good else star(outcome.advice or advice),
                seconds=round(self._clock.now() - began, 3),
            )
        )


def _is_silent(log: Sequence[Reply]) -> bool:
    return bool(log) and (log[-1].status is None or log[-1].was_late)


def exit_code(report: Report, only: Iterable[Need] = ()) -> int:
    """0: all that is needed is fine; 5: it could not be reached; 1: something else failed. `only`: for these agents."""
    for finding in report.findings:
        if finding.check in _NETWORK and finding.status is Status.FAIL:
            return ExitCode.NETWORK
    wanted = list(only)
    asked = {need.slug: need for need in wanted}
    judged = [touched(need, report.findings) for need in wanted] if wanted else [list(report.findings)]
    is_bad = any(one.status is Status.FAIL for findings in judged for one in findings)
    is_bad |= any(one.agent in asked and one.status in (Status.FAIL, Status.UNSUPPORTED) for one in report.agents)
    return ExitCode.FOUND if is_bad else ExitCode.OK
