"""How a connection of an agent stands: what its files say by now, and what the service behind it says. Asks; writes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from shlex import quote
from typing import Final

from msgspec import Struct

from relight.agents.discover import Candidate
from relight.agents.receipt import Places, Receipt, read_receipt
from relight.agents.undo import lost
from relight.agents.version import Installed, warning
from relight.agents.wiring import Agent, Scope
from relight.cli.endpoint import Listing, Wanted, address, listing
from relight.cli.talk import KEY_VARIABLE
from relight.errors import ConfigError, RelightError
from relight.values import counted


class State(StrEnum):
    """How an agent stands, the best first."""

    CONNECTED = "connected"
    ELSEWHERE = "elsewhere"  # with another service than that of this folder's configuration
    CHANGED = "changed"  # somebody has set something else since
    BROKEN = "broken"  # a file, or our own note of it, cannot be read
    NOT_CONNECTED = "not connected"


class Link(Struct, frozen=True, kw_only=True):
    """One connection, as `--json` prints it; `lost` are the places that say something else by now."""

    scope: str
    state: State
    url: str = ""
    model: str = ""
    slim: bool = False
    lost: tuple[str, ...] = ()


class Holds(StrEnum):
    """What is known of one point."""

    PASS = "PASS"  # noqa: S105 - no password
    FAIL = "FAIL"
    UNSURE = "UNSURE"


class Point(Struct, frozen=True, kw_only=True):
    """One thing that a connection rests on: what was seen of it, and the command to run where it does not hold."""

    about: str
    holds: Holds
    seen: str
    next: str | None = None


_WORST: Final = (State.BROKEN, State.CHANGED, State.ELSEWHERE, State.CONNECTED)


# --- the files --------------------------------------------------------------------------------------------------------


def links(agent: Agent, where: Places, here: str | None) -> tuple[Link, ...]:
    """An agent's connections for this user and this project; `here` is where the service of this folder listens, if known."""
    return tuple(link for scope in Scope if (link := _link(agent, where, scope, here)) is not None)


def worst(found: tuple[Link, ...]) -> State:
    """How an agent stands with all its connections."""
    states = {link.state for link in found}
    return next((state for state in _WORST if state in states), State.NOT_CONNECTED)


def listens_here() -> str | None:
    """Where the service of this folder's configuration listens; None where none says so, or it cannot be read."""
    try:
        return address(Wanted()) if Path(Wanted().config_file).exists() else None
    except RelightError:
        return None


def _link(agent: Agent, where: Places, scope: Scope, here: str | None) -> Link | None:
    try:
        receipt = read_receipt(where, agent.slug, scope)
    except ConfigError as error:
        return Link(scope=scope.value, state=State.BROKEN, lost=(error.message,))
    if receipt is None:
        return None
    gone = lost(receipt)
    state = State.ELSEWHERE if here is not None and receipt.url != here else State.CONNECTED
    if gone:
        state = State.BROKEN if any(one.is_broken for one in gone) else State.CHANGED
    return Link(
        scope=scope.value,
        state=state,
        url=receipt.url,
        model=receipt.model,
        slim=receipt.is_slim,
        lost=tuple(one.what for one in gone),
    )


# --- the files and the service ----------------------------------------------------------------------------------------


def points(agent: Agent, receipt: Receipt, found: Installed, named: str | None = None) -> Iterator[Point]:
    """All that a connection rests on, in the order in which it breaks; asks the service once or twice.

    `named` is an address that somebody named: there a key may go in the clear.
    """
    is_here = receipt.url == listens_here()
    again = _again(agent, receipt, is_here=is_here)
    yield _settings(receipt, again)
    variable = receipt.key_variable or KEY_VARIABLE
    told = listing(receipt.url, variable, is_named=named == receipt.url)
    yield _service(told, receipt, is_here=is_here)
    yield _key(told, receipt, variable, again)
    model = next((one for one in told.models or () if one.name == receipt.model), None)
    yield _model(told, model, agent, receipt)
    yield _context(model, receipt, again)
    said = warning(agent, found)
    yield Point(
        about="version",
        holds=Holds.UNSURE if said else Holds.PASS,
        seen=said or f"{agent.name} {found.version or 'of a version that it does not say'}",
    )


def _again(agent: Agent, receipt: Receipt, *, is_here: bool) -> str:
    """The command that connects it as it was; `is_here`: the service is that of this folder."""
    scope = "" if receipt.scope is Scope.USER else f" --scope {receipt.scope.value}"
    slim = " --slim" if receipt.is_slim else ""
    url = "" if is_here else f" --url {quote(receipt.url)}"
    key = f" --key-variable {quote(variable)}" if (variable := receipt.key_variable or KEY_VARIABLE) != KEY_VARIABLE else ""
    return f"relight connect {agent.slug}{scope}{slim}{url} --model {quote(receipt.model)}{key}"


def _settings(receipt: Receipt, again: str) -> Point:
    gone = lost(receipt)
    count = sum(len(file.settings) for file in receipt.files)
    where = ", ".join(file.where for file in receipt.files)
    if not gone:
        return Point(about="settings", holds=Holds.PASS, seen=f"{counted(count, 'setting')} in {where}")
    broken = any(one.is_broken for one in gone)
    return Point(
        about="settings",
        holds=Holds.FAIL,
        seen="; ".join(one.what for one in gone),
        next=f"correct the file, then: {again}" if broken else again,
    )


def _service(told: Listing, receipt: Receipt, *, is_here: bool) -> Point:
    # Who asks for a key has answered.
    if told.models is not None or told.wants_key:
        return Point(about="service", holds=Holds.PASS, seen=f"{receipt.url} answers")
    start = "relight serve" if is_here else f"relight check {quote(receipt.url)}"
    return Point(about="service", holds=Holds.FAIL, seen=f"{receipt.url} {told.why}", next=start)


def _key(told: Listing, receipt: Receipt, variable: str, again: str) -> Point:
    if told.wants_key is None:
        return Point(about="key", holds=Holds.UNSURE, seen="nobody answered who could ask for one")
    if not told.wants_key:
        return Point(about="key", holds=Holds.PASS, seen="none is asked for")
    if receipt.key_variable is None:
        seen = "one is asked for by now, and the agent was told of none"
        return Point(about="key", holds=Holds.FAIL, seen=seen, next=again)
    if told.models is not None:
        return Point(about="key", holds=Holds.PASS, seen=f"that in {variable} is accepted")
    if told.is_refused:
        seen, do = f"that in {variable} is not accepted", "where the service runs: relight keys create NAME"
        return Point(about="key", holds=Holds.FAIL, seen=seen, next=do)
    is_missing = f"{variable} is not set" in told.why
    do = f"export {quote(variable)}=…   # the service's key" if is_missing else f"relight check {quote(receipt.url)}"
    return Point(about="key", holds=Holds.FAIL if is_missing else Holds.UNSURE, seen=told.why, next=do)


def _model(told: Listing, model: Candidate | None, agent: Agent, receipt: Receipt) -> Point:
    choose = f"relight connect {agent.slug} --url {quote(receipt.url)}"
    if told.models is None:
        return Point(about="model", holds=Holds.UNSURE, seen="the service did not list what it has")
    if model is None:
        names = ", ".join(one.name for one in told.models if one.chats) or "none that chats"
        seen = f"{receipt.model} is not listed; there is {names}"
        return Point(about="model", holds=Holds.FAIL, seen=seen, next=f"{choose} --model NAME")
    if not model.chats:
        return Point(about="model", holds=Holds.FAIL, seen=f"{model.name} does not chat", next=f"{choose} --model NAME")
    if agent.dialect not in model.dialects:
        seen = f"{model.name} does not speak {agent.dialect}, which {agent.name} does"
        return Point(about="model", holds=Holds.FAIL, seen=seen, next="relight connect   # lists the agents and what they speak")
    mute = "" if model.has_tools else ", and is not said to call tools"
    return Point(about="model", holds=Holds.PASS, seen=f"{model.name} is listed{mute}")


def _context(model: Candidate | None, receipt: Receipt, again: str) -> Point:
    told = "nothing" if receipt.context is None else f"{receipt.context:,} tokens"
    if model is None:
        return Point(about="context", holds=Holds.UNSURE, seen=f"the agent was told {told}")
    if model.context is None:
        return Point(
            about="context", holds=Holds.UNSURE, seen=f"the agent was told {told}; the service does not say what there is"
        )
    if receipt.context == model.context:
        return Point(about="context", holds=Holds.PASS, seen=f"{told}, as the agent was told")
    return Point(
        about="context",
        # With less than there is it works.
        holds=Holds.PASS if receipt.context is not None and receipt.context < model.context else Holds.FAIL,
        seen=f"the agent was told {told}, and there are {model.context:,}",
        next=again,
    )


def next_of(found: list[Point]) -> str | None:
    """The command to run next: that of the first point that does not hold."""
    return next((point.next for point in found if point.holds is Holds.FAIL and point.next), None)
