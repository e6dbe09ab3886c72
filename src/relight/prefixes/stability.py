"""What kept a prompt's beginning from being the same as the time before: named, without saying what stands there. No I/O.

A request is compared as text, which is soon done; what a break cost is counted on tokens later (`loss`), when nobody waits.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from msgspec import Struct, field, structs

from relight.decoding import NOT_JSON
from relight.prefixes.boundary import shared_part
from relight.prefixes.key import SETTINGS

# A prompt of which less than this is as before is another prompt, not a broken one.
_SAME: Final = 0.5
_LEAST_TEXT: Final = 2000  # characters; below, nothing worth a word is lost
_REMEMBERED: Final = 4  # prompts of one client: agents send titles and suggestions between their main requests
_CLIENTS: Final = 64
_MAX_NAME: Final = 64  # characters of a name that somebody else chose
_SORTED: Final = msgspec.json.Encoder(order="deterministic")
# What stands at the place that differs; the first that fits, looked for in the line around it.
_KINDS: Final = (
    ("an attribution header", re.compile(r"x-[a-z-]*billing-header|x-[a-z-]*attribution|cc_version=|cch=", re.IGNORECASE)),
    ("a time of day", re.compile(r"\d{1,2}:\d{2}(:\d{2})?")),
    ("a date", re.compile(r"\d{4}-\d{2}-\d{2}|\d{1,2}[./]\d{1,2}[./]\d{2,4}", re.IGNORECASE)),
    ("a date", re.compile(r"\b(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\b|[a-z]+day\b", re.IGNORECASE)),
    ("an id", re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-|\b[0-9a-f]{12,}\b|\b[A-Za-z0-9_-]{20,}\b", re.IGNORECASE)),
    ("a path", re.compile(r"(/[\w.-]+){2,}|[A-Z]:\\")),
    ("a number", re.compile(r"\d")),
)


class Break(Struct, frozen=True):
    """Where two prompts of one client part that should not."""

    what: str
    """Its kind: `a date`, `tools in another order`, …"""
    where: str
    """Its place: `messages.0, line 3`, or `tools`."""
    lost: float
    """Part of the shared text, from 0 to 1, that stands behind it and has to be read again; all of it for a setting, which may
    change a template's first line."""
    before: dict[str, Any] = field(default_factory=dict)
    """The beginning that was expected: a chat without what users said."""
    after: dict[str, Any] = field(default_factory=dict)
    """The beginning that came."""


class _Known(Struct):
    """A prompt that a client has sent."""

    prefix: str
    tools: str
    """Digest of its tools as they were written: keys in another order are the same tools, and other tokens."""
    shared: dict[str, Any]


class _Tools(Struct):
    tools: msgspec.Raw = msgspec.Raw()


class Watcher:
    """Remembers how the last prompts of each client began."""

    def __init__(self) -> None:
        self._last: OrderedDict[tuple[str, ...], list[_Known]] = OrderedDict()

    def compare(self, client: tuple[str, ...], prefix: str, chat: bytes) -> Break | None:
        """Compare a request's beginning, whose key is `prefix`, with the client's last ones, and remember it."""
        if len(chat) < _LEAST_TEXT:
            return None
        known = self._last.setdefault(client, [])
        self._last.move_to_end(client)
        while len(self._last) > _CLIENTS:
            self._last.popitem(last=False)
        tools = _written_tools(chat)
        if any((one.prefix, one.tools) == (prefix, tools) for one in known):
            # The one just seen is the last to be forgotten.
            known.sort(key=lambda one: (one.prefix, one.tools) == (prefix, tools))
            return None
        shared = shared_part(msgspec.json.decode(chat))  # what users said is not kept
        found = [broken for one in known if (broken := compare(one.shared, shared)) is not None]
        known.append(_Known(prefix, tools, shared))
        del known[:-_REMEMBERED]
        return min(found, key=lambda broken: broken.lost, default=None)


def compare(before: dict[str, Any], after: dict[str, Any]) -> Break | None:
    """Where the beginning of `after` leaves that of `before`; `None` for the same, the short, and the altogether different."""
    one, two = shared_part(before), shared_part(after)
    old, new = list(_pieces(one)), list(_pieces(two))
    total = sum(len(text) for _, text in new)
    if total < _LEAST_TEXT or _likeness(old, new) < _SAME:
        return None
    broken = _in_text(old, new, one, two) or _in_settings(one, two)
    return None if broken is None else structs.replace(broken, before=one, after=two)


def _in_text(old: list[tuple[str, str]], new: list[tuple[str, str]], one: dict[str, Any], two: dict[str, Any]) -> Break | None:
    """The first place where tools or messages differ; `one` and `two` are the chats that they are of."""
    total, passed = sum(len(text) for _, text in new), 0
    for (place, left), (where, right) in zip(old, new, strict=False):
        if left != right:
            at = _common(left, right)
            lost = 1 - (passed + at) / total
            if place.startswith("tools") or where.startswith("tools"):
                return Break(_tools(one, two), "tools", lost)
            return Break(_kind(left, right, at), f"{where}, line {right.count(chr(10), 0, at) + 1}", lost)
        passed += len(right)
    if len(old) == len(new):
        return None
    return Break("a message more" if len(new) > len(old) else "a message less", "messages", 1 - passed / total)


def _in_settings(before: dict[str, Any], after: dict[str, Any]) -> Break | None:
    """A setting that templates are rendered with; whether this one does anything with it, only its tokens tell."""
    for name in SETTINGS:
        old, new = before.get(name), after.get(name)
        if name != "tools" and _SORTED.encode(old) != _SORTED.encode(new):
            what = "a setting more" if old is None else "a setting less" if new is None else "a setting with another value"
            return Break(what, _place(name, old, new), 1.0)
    return None


def _place(name: str, old: object, new: object) -> str:
    """Where in a setting its values part, as `chat_template_kwargs.enable_thinking`."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return name
    differing = (key for key in sorted(old | new) if old.get(key) != new.get(key))
    return f"{name}.{next(differing)[:_MAX_NAME]}"


def _written_tools(chat: bytes) -> str:
    """Digest of the tools as the client wrote them; empty without tools."""
    try:
        tools = msgspec.json.decode(chat, type=_Tools).tools
    except (*NOT_JSON, msgspec.ValidationError):
        return ""
    return hashlib.sha256(bytes(tools)).hexdigest() if bytes(tools) else ""


def _pieces(chat: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The texts of a prompt's beginning in their order, with their places."""
    for place, tool in enumerate(chat.get("tools") or []):
        yield f"tools.{place}", msgspec.json.encode(tool).decode()
    for place, message in enumerate(chat.get("messages") or []):
        content = message.get("content") if isinstance(message, dict) else None
        yield f"messages.{place}", content if isinstance(content, str) else msgspec.json.encode(content).decode()


def _name(tool: Any) -> str:
    function = tool.get("function") if isinstance(tool, dict) else None
    return str(function.get("name", ""))[:_MAX_NAME] if isinstance(function, dict) else ""


def _likeness(old: list[tuple[str, str]], new: list[tuple[str, str]]) -> float:
    """Part of the new text that stands in the old one: whole pieces anywhere, else their common ends."""
    others = [text for _, text in old]
    known = set(others)
    total, same = 0, 0
    for place, (_, text) in enumerate(new):
        total += len(text)
        if text in known:
            same += len(text)
        elif place < len(others):
            left = others[place]
            head = _common(left, text)
            same += head + min(_common(left[::-1], text[::-1]), len(text) - head)
    return same / total if total else 0.0


def _common(left: str, right: str) -> int:
    """Characters that both begin with; halving, because comparing slices is the processor's work and a loop is Python's."""
    low, high = 0, min(len(left), len(right))
    while low < high:
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _tools(before: dict[str, Any], after: dict[str, Any]) -> str:
    old, new = ([_SORTED.encode(tool) for tool in chat.get("tools") or []] for chat in (before, after))
    if old == new:
        return "a tool with its keys in another order"
    if sorted(old) == sorted(new):
        return "tools in another order"
    names = [{_name(tool) for tool in chat.get("tools") or []} for chat in (before, after)]
    if more := sorted(names[1] - names[0]):
        return f"more tools: {', '.join(more[:5])}"
    if less := sorted(names[0] - names[1]):
        return f"fewer tools: {', '.join(less[:5])}"
    return "a tool that says something else"


def _kind(left: str, right: str, at: int) -> str:
    around = [_field(text, at) for text in (left, right)]
    return next((name for name, pattern in _KINDS if any(pattern.search(text) for text in around)), "words")


def _field(text: str, at: int) -> str:
    """What is written around a place: its words, and a little of the line before them."""
    start = max(text.rfind("\n", 0, at) + 1, at - 40)
    end = min((found for found in (text.find("\n", at), at + 24) if found >= 0), default=len(text))
    return text[start:end]
