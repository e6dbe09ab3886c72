"""Examinations in tests: what the user says so that the scripted engine answers as a willing model would, and what came of it."""

from __future__ import annotations

import asyncio
from typing import Any

from relight.check.examination import Examination, Target
from relight.check.unit import Settings
from relight.check.verdict import Report, Status
from relight.clock import ManualClock
from relight.values import Secret

CALL = 'tool=weather args={"city": "Oslo"}'
WORDS = {
    "tools.auto": f"#script {CALL}",
    "tools.parallel": f'#script {CALL} tool=weather args={{"city": "Lima"}}',
    # A demanded call is enforced as JSON, which the scripted engine does not do by itself.
    "tools.forced": '#script text={"city": "Oslo"}',
    "tools.required": '#script text={"name": "weather", "arguments": {"city": "Oslo"}}',
    "schema": '#script text={"answer": "yes"}',
    "unicode": "#script unicode=1",
    "gone": "#script tokens=200 delay=5ms",
}


async def examine(
    url: str, *dialects: str, key: str | None = None, model: str | None = None, clock: ManualClock | None = None, **settings: Any
) -> Report:
    """What `relight check` finds there."""
    if dialects:
        settings["dialects"] = dialects
    settings = {"words": WORDS, **settings}
    secret = None if key is None else Secret("TEST_KEY", key)
    return await Examination(Target(url, secret, model), Settings(**settings), clock=clock).run()


class Hurried(ManualClock):
    """A clock whose hands jump for whoever sleeps."""

    async def sleep(self, seconds: float) -> None:
        self._now += seconds
        await asyncio.sleep(0)


def of(report: Report, status: Status) -> set[str]:
    """The checks that came to this."""
    return {finding.check for finding in report.findings if finding.status is status}


def fails(report: Report) -> set[str]:
    """The checks that failed."""
    return of(report, Status.FAIL)


def seen(report: Report, check: str) -> str:
    """What was seen there."""
    (finding,) = [one for one in report.findings if one.check == check]
    return finding.seen
