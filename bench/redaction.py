"""How much of what should be starred is, and how much of what should not: over the cases in tests/telemetry/redaction.jsonl.

A case is `{"text", "hidden": [what must vanish], "kind", "set"}`. The rules were written with the cases of the set *tuned* in
sight; those of *fresh* were written after them, and the rules not changed for what they missed. "¦" in a case stands for
nothing: it keeps invented keys from looking like real ones to whoever scans the repository.
"""

from __future__ import annotations

import importlib
import json
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from bench.report import Report
from relight.telemetry.redact import redact

CASES: Final = Path(__file__).parents[1] / "tests/telemetry/redaction.jsonl"
KINDS: Final = ("email", "phone", "key", "card", "ip", "account")
_LABEL: Final = re.compile(r"\[(private key|key|token|secret|email|phone|card|ip|account)\]")
_AS_KEY: Final = frozenset({"private key", "token", "secret"})
_ROUNDS: Final = 5
_SIZE: Final = 256 << 10
# Regions whose national forms phonenumbers is given, one after the other, for its side of the comparison.
_REGIONS: Final = (None, "US", "GB", "DE", "FR", "IN")


class Case(Struct, frozen=True):
    """A text, the parts of it that must vanish, and what they are (`none`: the text must stay as it is)."""

    text: str
    hidden: tuple[str, ...]
    kind: str
    set: str


class Score(Struct, frozen=True):
    """Parts that were to vanish, those of them that did; stars of that kind, those of them that stand for one of the parts."""

    parts: int
    gone: int
    stars: int
    right: int

    @property
    def recall(self) -> float:
        """Of what was to vanish, the part that did."""
        return self.gone / self.parts

    @property
    def precision(self) -> float:
        """Of the stars, those that stand for what was to vanish."""
        return self.right / self.stars


def cases(name: str | None = None) -> list[Case]:
    """The committed cases, or those of the set called `name`."""
    lines = CASES.read_text(encoding="utf-8").replace("¦", "").splitlines()
    found = [Case(**{**json.loads(line), "hidden": tuple(json.loads(line)["hidden"])}) for line in lines]
    return [case for case in found if name in (None, case.set)]


def scores(among: Iterable[Case]) -> dict[str, Score]:
    """Recall and precision by kind."""
    parts, gone, stars, right = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for case in among:
        shown = redact(case.text)
        vanished = sum(part not in shown for part in case.hidden)
        found = Counter("key" if label in _AS_KEY else label for label in _LABEL.findall(shown))
        parts[case.kind] += len(case.hidden)
        gone[case.kind] += vanished
        stars += found
        right[case.kind] += min(vanished, found[case.kind])
    return {kind: Score(parts[kind], gone[kind], stars[kind], right[kind]) for kind in KINDS if parts[kind]}


def kept(among: Iterable[Case]) -> tuple[int, int]:
    """Texts with nothing to hide that stayed as they were, and all of them."""
    plain = [case for case in among if case.kind == "none"]
    return sum(redact(case.text) == case.text for case in plain), len(plain)


def run() -> Report:
    """Measure quality, once, and speed on prose, on a log, and on what costs the rules most."""
    report = Report("What is starred in logs with content = redacted")
    for name in ("tuned", "fresh"):
        among = cases(name)
        for kind, score in scores(among).items():
            report.add(f"{name}: {kind}, recall of {score.parts}", "%", [100 * score.recall])
            report.add(f"{name}: {kind}, precision of {score.stars}", "%", [100 * score.precision])
        stayed, plain = kept(among)
        report.add(f"{name}: harmless texts kept, of {plain}", "%", [100 * stayed / plain])
    for what, text in _texts().items():
        report.add(f"time for 256 KiB of {what}", "ms", [_spent(redact, text) for _ in range(_ROUNDS)])
    _compare(report)
    return report


def _texts() -> dict[str, str]:
    prose = (CASES.parents[2] / "docs/design.md").read_text(encoding="utf-8")
    dice = random.Random(5)  # noqa: S311 - no secret hangs on it
    log = "".join(f"2026-11-22 08:38:48,123 INFO {n} 203.0.113.7 GET /x?id={dice.randrange(10**9)} 200\n" for n in range(4000))
    return {"prose": _long(prose), "a log with addresses": _long(log), "nothing but `secret-`": _long("secret-")}


def _long(text: str) -> str:
    return (text * (_SIZE // len(text) + 1))[:_SIZE]


def _spent(act: Callable[[str], object], text: str) -> float:
    began = time.process_time()
    act(text)
    return (time.process_time() - began) * 1000


def _compare(report: Report) -> None:
    """What phonenumbers finds by itself, where it is installed; and ours on its own examples of every region's numbers."""
    try:
        phonenumbers = importlib.import_module("phonenumbers")
    except ImportError:
        report.notes.append("phonenumbers is not installed (pip install phonenumbers), so it is not compared")
        return
    phones = [case for case in cases() if case.kind == "phone"]
    others = [case for case in cases() if case.kind != "phone"]
    parts = sum(len(case.hidden) for case in phones)
    for region in _REGIONS:
        right, wrong = (
            sum(len(list(phonenumbers.PhoneNumberMatcher(case.text, region))) for case in some) for some in (phones, others)
        )
        told = f"told {region}" if region else "told no country"
        report.add(f"phonenumbers, {told}: found of {parts}", "%", [100 * right / parts])
        report.add(f"phonenumbers, {told}: found where no phone is", "", [wrong])
    prose = _texts()["prose"]
    spent = [_spent(lambda text: list(phonenumbers.PhoneNumberMatcher(text, "US")), prose) for _ in range(_ROUNDS)]
    report.add("phonenumbers, told US: time for 256 KiB of prose", "ms", spent)
    for form, style in (("international", "INTERNATIONAL"), ("national", "NATIONAL")):
        examples = list(_examples(phonenumbers, getattr(phonenumbers.PhoneNumberFormat, style)))
        for lead in ("call me: ", "it is "):
            starred = sum("[phone]" in redact(lead + example) for example in examples)
            report.add(f"its {len(examples)} examples, {form}, after {lead!r}: starred", "%", [100 * starred / len(examples)])


def _examples(phonenumbers: Any, style: int) -> Iterator[str]:
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        for kind in (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE):
            number = phonenumbers.example_number_for_type(region, kind)
            if number is not None:
                yield phonenumbers.format_number(number, style)
