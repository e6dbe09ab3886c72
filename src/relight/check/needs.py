"""What each agent needs of an endpoint, by the names of checks, and what follows for it from what was found. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Final

from relight.check.verdict import Conclusion, Finding, Status

_WORKS: Final = ("tools.shown", "tools.auto", "history.tools", "extras")
_BETTER: Final = (
    "usage",
    "finish",
    "overflow",
    "history.empty",
    "history.invalid",
    "history.unknown",
    "unicode",
    "gone",
    "together",
    "keepalive",
)
# What programs use that are written with a library depends on the program.
_LIBRARY: Final = ("plain", "stream", "extras")
_STRUCTURED: Final = ("usage", "finish", "schema", "tools.shown", "tools.auto", "history.tools")


@dataclass(frozen=True, slots=True)
class Need:
    """One agent: without `must` it does not work, without `better` it works until something happens."""

    slug: str
    name: str
    dialect: str
    must: tuple[str, ...]
    better: tuple[str, ...] = _BETTER
    context: int = 0
    """Tokens of its first request with stock prompt and tools; the catalogue's figure goes before."""
    slim: int | None = None
    leaves_after_s: float | None = None
    """Where it does not stream: what it waits for an answer, which nothing can be sent in."""


# Figures: first agent request in tokens, measured with a scripted server (November 2026).
_KNOWN: Final = (
    Need("qwen-code", "Qwen Code", "chat", ("stream", *_WORKS, "parts", "clamp"), context=18_900),
    Need("opencode", "OpenCode", "chat", ("stream", *_WORKS, "roles"), context=7_600, slim=2_800),
    Need("claude-code-router", "Claude Code Router", "chat", ("stream", *_WORKS, "parts", "clamp"), context=10_500),
    Need("openhands", "OpenHands", "chat", ("plain", *_WORKS, "parts", "no_limit"), context=8_500, leaves_after_s=300.0),
    Need(
        "claude-code",
        "Claude Code",
        "messages",
        ("stream", *_WORKS, "parts", "clamp", "system_inside"),
        (*_BETTER, "schema", "key.headers"),
        context=12_800,
        slim=1_050,
    ),
    Need("codex", "Codex", "responses", ("stream", *_WORKS, "items", "kinds", "no_limit"), context=8_900),
    Need(
        "aider",
        "Aider",
        "chat",
        ("stream", "roles", "no_limit"),
        ("usage", "finish", "overflow", "unicode", "gone", "keepalive"),
        context=2_800,
    ),
    Need("cline", "Cline", "chat", ("stream", *_WORKS, "no_limit"), context=5_600),
    Need("continue", "Continue", "chat", ("stream", *_WORKS), context=1_900),
    Need("kilo", "Kilo", "chat", ("stream", *_WORKS, "roles"), context=12_600),
    Need("pi", "Pi", "chat", ("stream", *_WORKS, "newer_limit"), context=1_400),
    Need("crush", "Crush", "chat", ("stream", *_WORKS)),
    Need("goose", "Goose", "chat", ("stream", *_WORKS)),
    Need("zed", "Zed", "chat", ("stream", *_WORKS)),
    Need("open-webui", "Open WebUI", "chat", ("stream", "plain"), ("usage", "finish", "unicode", "gone"), context=1_000),
    Need("langchain", "LangChain", "chat", _LIBRARY, (*_STRUCTURED, "tools.forced")),
    Need("llamaindex", "LlamaIndex", "chat", _LIBRARY, (*_STRUCTURED, "tools.required")),
    Need("ai-sdk", "Vercel AI SDK", "chat", _LIBRARY, (*_STRUCTURED, "tools.forced")),
    Need("openai-python", "OpenAI's library for Python", "chat", _LIBRARY, _STRUCTURED),
    Need("openai-node", "OpenAI's library for JavaScript", "chat", _LIBRARY, _STRUCTURED),
    Need("anthropic-python", "Anthropic's library for Python", "messages", _LIBRARY, (*_STRUCTURED, "thread")),
    Need("ollama-python", "Ollama's library for Python", "ollama", _LIBRARY, _STRUCTURED),
)


@dataclass(frozen=True, slots=True)
class Catalogued:
    """What the catalogue knows of an agent."""

    slug: str
    name: str
    dialect: str
    context: int
    slim: int | None


def needs(catalogue: Sequence[Catalogued]) -> list[Need]:
    """What every agent needs that is known here or to the catalogue; its figures and names win."""
    known = {need.slug: need for need in _KNOWN}
    by_dialect = {"responses": known["codex"], "messages": known["claude-code"]}
    for one in catalogue:
        like = known.get(one.slug)
        if like is None or like.dialect != one.dialect:
            like = replace(by_dialect.get(one.dialect, known["cline"]), dialect=one.dialect, context=0)
        known[one.slug] = replace(like, slug=one.slug, name=one.name, context=one.context or like.context, slim=one.slim)
    return list(known.values())


def dialect_of_most(wanted: Sequence[Need]) -> str:
    """The dialect that most of these agents speak; of several, that of the one named first."""
    return Counter(need.dialect for need in wanted).most_common(1)[0][0]


def is_judged(need: Need, findings: Sequence[Finding], only: Set[str] = frozenset()) -> bool:
    """Whether enough was asked to say anything of this agent: all that it cannot do without, or something that broke.

    Where single checks were asked for (`only`, with or without their dialect), they have to concern it.
    """
    if only and not any({name, f"{need.dialect}.{name}"} & only for name in (*need.must, *need.better)):
        return False
    found = {finding.check: finding for finding in findings}
    status, _ = _verdict(need, found)
    asked = all(f"{need.dialect}.{name}" in found for name in need.must)
    return asked or status in (Status.FAIL, Status.UNSUPPORTED)


def conclude(need: Need, findings: Sequence[Finding], context: int | None) -> Conclusion:
    """Whether this agent will work."""
    found = {finding.check: finding for finding in findings}
    status, says = _verdict(need, found)
    if status in (Status.PASS, Status.UNSURE) and context is not None and context < roomy(need.context):
        status, says = _narrow(need, context)
    wake = found.get("wake")
    if status in (Status.PASS, Status.UNSURE) and wake is not None and wake.seconds > (need.leaves_after_s or wake.seconds):
        says += f"; it does not stream and leaves after {need.leaves_after_s:.0f} s, the first answer took {wake.seconds:.0f} s"
    return Conclusion(need.slug, need.name, need.dialect, status, says)


def _verdict(need: Need, found: Mapping[str, Finding]) -> tuple[Status, str]:
    roots = [found.get(f"{need.dialect}.{name}") for name in ("plain", "stream")]
    if any(roots) and all(root is None or root.status is Status.UNSUPPORTED for root in roots):
        return Status.UNSUPPORTED, f"will not work: needs {need.dialect}, missing"
    states = dict(_states(need.dialect, need.must, found))
    broken = [name for name, status in states.items() if status in (Status.FAIL, Status.UNSUPPORTED)]
    if broken:
        return Status.FAIL, f"will not work: {', '.join(broken)} {'fails' if len(broken) == 1 else 'fail'}"
    lame = [name for name, status in _states(need.dialect, need.better, found) if status is Status.FAIL]
    but = f", but {', '.join(lame)} {'fails' if len(lame) == 1 else 'fail'}" if lame else ""
    unseen = [name for name, status in states.items() if status is not Status.PASS]
    if unseen:
        return Status.UNSURE, f"should work{but}; not shown: {', '.join(unseen)}"
    return Status.PASS, f"will work{but}"


def _states(dialect: str, names: Sequence[str], found: Mapping[str, Finding]) -> Iterator[tuple[str, Status]]:
    for name in names:
        finding = found.get(f"{dialect}.{name}") or found.get(name)  # what concerns every dialect has no dialect in its name
        yield f"{dialect}.{name}" if name != "keepalive" else name, finding.status if finding else Status.SKIPPED


def roomy(tokens: int) -> int:
    """What a first request of so many tokens needs: agents shorten a conversation at three quarters of the context."""
    return tokens * 3 // 2


def _narrow(need: Need, context: int) -> tuple[Status, str]:
    lacks = f"its first request takes about {need.context:,} tokens, the model has {context:,}"
    if need.slim is not None and roomy(need.slim) <= context:
        return Status.UNSURE, f"will work with its slim profile alone: {lacks}"
    return Status.FAIL, f"will not work: {lacks}"


def touched(need: Need, findings: Sequence[Finding]) -> list[Finding]:
    """The findings that decide whether this agent works; the way there always does."""
    names = {*need.must, *need.better}
    return [one for one in findings if "." not in one.check or _name(one.check, need.dialect) in names]


def _name(check: str, dialect: str) -> str:
    return check.removeprefix(f"{dialect}.") if check.startswith(f"{dialect}.") else ""
