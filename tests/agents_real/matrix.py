"""The page that says which client gets through what. Renders what the tests noted; judges nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_PAGE = _ROOT / "docs" / "matrix.md"
_BAKED = _ROOT / "bench" / "results" / "agents.json"
_HEAD = """\
# Which agents work

Written by the tests (`RELIGHT_MATRIX=1 make test`). Each client runs without a person, in an empty folder, against
`relight serve` on this machine. The task: make a file, read it back, say done, with the client's own tools (aider has none: it
is answered with an edit).

| client | version | dialect | from asleep | engine dies | too long | small model | first token | largest request | own prompt |
| - | - | - | - | - | - | - | - | - | - |"""
_TAIL = """
- **from asleep**: set up by `relight connect`; the engine sleeps when the client begins, and takes 20 s to wake for some, 3 s for
  others; the other scenes are set up by hand, with nothing but what the client needs. *First token*
  counts from the request, the wake included.
- **engine dies**: once, in the middle of the task, while it says the second call.
- **too long**, a prompt: the client ends, and says so in words that a user understands.
- **small model**: SmolLM2-135M; it calls no tools by itself, so all that is asked is that requests are answered. –: not played,
  for the prompt takes two cores minutes to read.
- **largest request**: of the task from asleep. A token is about four bytes of it.
- **own prompt**: what its requests begin with (`relight connect --record`), and how long Gemma 3 270M reads it, or takes it back
  from a snapshot (`python -m bench agents`, two cores)."""


@dataclass(slots=True)
class Row:
    """What was found out about one client; a scene that was not played is not there."""

    name: str
    version: str
    dialect: str
    passed: dict[str, bool] = field(default_factory=dict)
    wake_s: float | None = None  # what the engine took to wake
    first_token_s: float | None = None  # from the request to the first token, the wake included
    request_bytes: int | None = None


class Matrix:
    """Rows by client."""

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}

    def row(self, name: str, version: str, dialect: str) -> Row:
        """The row of that client."""
        return self._rows.setdefault(name, Row(name, version, dialect))

    def write(self, gaps: Iterable[str]) -> None:
        """Replace the page."""
        _PAGE.write_text("\n".join(self.lines(gaps)) + "\n", encoding="utf-8")

    def lines(self, gaps: Iterable[str]) -> Iterator[str]:
        """The page; `gaps` are sentences on what does not work."""
        yield _HEAD
        baked = own_prompts()
        yield from (f"| {' | '.join(_cells(row, baked))} |" for row in self._rows.values())
        yield _TAIL
        yield from (f"- {gap}" for gap in gaps)


def own_prompts(file: Path = _BAKED) -> dict[str, dict[str, float]]:
    """What the bench measured, by client and version: `prefix` in tokens, `read` and `taken back` in seconds."""
    found: dict[str, dict[str, float]] = {}
    for figure in json.loads(file.read_text(encoding="utf-8"))["figures"] if file.exists() else []:
        client, _, what = figure["name"].partition(": ")
        found.setdefault(client, {})[what] = figure["median"]
    return found


def _cells(row: Row, baked: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    yield from (row.name, row.version, row.dialect)
    for scene in ("asleep", "crash", "too-long", "real"):
        yield {True: "yes", False: "**no**", None: "–"}[row.passed.get(scene)]
    yield "–" if row.first_token_s is None else f"{row.first_token_s:.1f} s, of which {row.wake_s:.0f} s loading"
    yield "–" if row.request_bytes is None else f"{row.request_bytes / 1000:.0f} kB"
    own = baked.get(f"{row.name} {row.version}")
    yield f"{own['prefix']:,.0f} tokens: {own['read']:.0f} s, or {own['taken back']:.2f} s" if own else "–"
