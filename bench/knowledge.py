"""How well passages are found: recall by words, by meaning and by both, and what a question costs."""

from __future__ import annotations

import functools
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from tests.assistant.questions import ASKED, FRESH, FRESH_UNRELATED, UNRELATED, Asked

from bench.report import Report
from relight.assistant.embedding import Embedder
from relight.assistant.knowledge import Document, documents
from relight.assistant.library import Library
from relight.assistant.passages import Found

MIRA: Final = Path(__file__).parents[1] / "tests" / "assistant" / "mira"
PASSAGES: Final = 4
LARGE: Final = 500

Find = Callable[[str, Sequence[tuple[str, str]]], Sequence[Found]]
"""A question and what was said before, to passages."""


def run() -> Report:
    """Recall on hand-written questions, and times on 500 passages."""
    report = Report("knowledge: passages found for questions")
    found = documents(["*"], MIRA)
    embedder = _embedder()
    ways: dict[str, Library] = {"words": Library(found)}
    if embedder is not None:
        ways["both"] = Library(found, embedder)
        report.add("build, with vectors of all passages", "ms", [_ms(ways["both"].build)])
    else:
        report.notes.append("no embedder is prepared on this machine: by words only")
    for name, library in ways.items():
        _recall(report, name, library.find)
        if name == "both":
            _recall(report, "meaning", functools.partial(_by_meaning, library))
    report.notes.append(f"{len(ways['words'].passages)} passages of {len(found)} documents")
    _times(report, found, embedder)
    return report


def _recall(report: Report, name: str, find: Find) -> None:
    for which, asked, unrelated in (("", ASKED, UNRELATED), (", fresh", FRESH, FRESH_UNRELATED)):
        hits = [any(one.answer in each.passage.text for each in _asked(find, one)) for one in asked]
        report.add(f"recall@{PASSAGES} by {name}{which}, of {len(asked)}", "%", [100 * sum(hits) / len(hits)])
        answered = sum(bool(find(question, ())) for question in unrelated)
        report.add(f"unrelated that get passages by {name}{which}, of {len(unrelated)}", "%", [100 * answered / len(unrelated)])


def _asked(find: Find, one: Asked) -> Sequence[Found]:
    return find(one.question, [("user", one.before), ("assistant", "…")] if one.before else ())


def _by_meaning(library: Library, question: str, history: Sequence[tuple[str, str]]) -> list[Found]:
    """Of all that is found, what the vectors alone would have put first."""
    found = [each for each in library.find(question, history, LARGE) if each.by_meaning is not None]
    return sorted(found, key=lambda each: each.by_meaning or 0)[:PASSAGES]


def _times(report: Report, found: Sequence[Document], embedder: Embedder | None) -> None:
    """A library of some 500 passages: these documents again and again, under other names."""
    copies = LARGE // len(Library(found).passages)
    many = [
        Document(f"{n}/{each.path}", f"{each.title} {n}", each.text.replace("Mira", f"Mira{n}"), each.url)
        for n in range(copies + 1)
        for each in found
    ]
    words = Library(many)
    report.add(f"build by words, {len(words.passages)} passages", "ms", [_ms(Library(many).build) for _ in range(3)])
    words.build()
    report.add("question by words", "ms", _asking(words), "p50 < 5")
    if embedder is None:
        return
    folder = Path(tempfile.mkdtemp(prefix="relight-bench-"))
    try:
        report.add("build with vectors, nothing kept", "s", [_ms(Library(many, embedder, cache=folder).build) / 1000])
        both = Library(many, embedder, cache=folder)
        report.add("build with vectors, all kept", "ms", [_ms(both.build)])
        report.add("question by both", "ms", _asking(both))
    finally:
        shutil.rmtree(folder)


def _asking(library: Library) -> list[float]:
    return [_ms(functools.partial(library.find, one.question)) for _ in range(5) for one in ASKED]


def _embedder() -> Embedder | None:
    """The one that ships, if it was prepared (`relight modes prepare`)."""
    from relight.assistant.embedding import home
    from relight.assistant.minilm import NAME, MiniLM, Sentences
    from relight.errors import WeightsError

    try:
        return Sentences(MiniLM(home("~/.cache/relight/weights") / NAME))
    except WeightsError:
        return None


def _ms(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1000
