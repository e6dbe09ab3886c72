"""Calls without a mark: JSON or Python at the beginning of a line, alone or in a fence. Knows what a call may look like; no I/O.

Such text is a call only where it cannot well be anything else, so most of this says early that it is none.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Final

from relight.wire.tool_check import Call, Toolset, checked
from relight.wire.tool_forms import FORMS
from relight.wire.tool_json import NAMES, WRAPPERS, Brackets, NoCall, Written, json_calls
from relight.wire.tool_marked import HEAD, Marked

_LABELS: Final = frozenset(
    {"", "json", "jsonc", "json5", "xml", "text", "plaintext", "tool_call", "tool_calls", "tool_code", "tool", "function_call"}
)
_CODE: Final = frozenset({"tool_code", "tool_call", "tool_calls"})  # Python, as Gemma writes it
_FENCE: Final = "```"
_LINE: Final = re.compile(r"```[ \t]*([\w+-]*)[ \t]*(\r?\n)?")
_HEAD: Final = re.compile(r"(?:\[\s*)*(?:\{\s*(?:[\"'](?P<key>\w*)(?:(?P<named>[\"']\s*(?::\s*)?)(?P<value>[\"'{\[]?))?)?)?")
_PYTHON: Final = re.compile(r"\[\s*(?P<name>[A-Za-z_][\w.]*)(?P<open>\s*\()?")
_CALLED: Final = re.compile(r"[A-Za-z_]")
_KEYS: Final = frozenset((*NAMES, *WRAPPERS, "id", "type", "arguments", "parameters", "args", "params"))
_BETWEEN: Final = re.compile(r"[\s,;]*")
_STRAY: Final = re.compile(r"[\s}\];,]*")
_EXAMPLE: Final = re.compile(
    r"\b(?:examples?|for instance|e\.g\.|would|could|might|looks? like|such as|like (?:this|so)|syntax|templates?|schemas?"
    r"|how (?:to|you|one)|(?:you|one|users?|models?) (?:can|may|should|must)|illustrat\w+|hypothetical\w*)\b",
    re.IGNORECASE,
)


class Verdict(Enum):
    """What a text is, as far as it is there."""

    OPEN = auto()
    CALLS = auto()
    TEXT = auto()
    REFUSED = auto()
    """Text that was meant as a call."""


def is_example(said: str) -> bool:
    """Whether the paragraph before a call says that it only shows one."""
    return _EXAMPLE.search(said.rstrip().rpartition("\n\n")[2]) is not None


class Bare:
    """One text that may be calls, looked at as it grows; `stray` is what may stand behind them without a meaning."""

    def __init__(self, tools: Toolset, stray: tuple[str, ...]) -> None:
        self._tools, self._stray = tools, stray
        self._begin: int | None = None  # of the value that is being read
        self._brackets = Brackets()
        self._tracked = 0
        self._marked: Marked | None = None
        self._label: str | None = None
        self.at = -1
        """Where the text goes on, when it is none."""
        self.calls: list[Call] = []
        self.is_in_fence = False

    def look(self, text: str, begin: int, *, is_ended: bool, is_cut: bool) -> Verdict:
        """What `text` is from `begin` on; it only ever grows."""
        self.at = max(self.at, begin)
        while True:
            verdict = self._between(text, is_ended=is_ended) if self._begin is None else self._value(text)
            if verdict is not None:
                break
        if verdict is Verdict.OPEN and is_ended:
            return self._conclude(text, is_cut=is_cut)
        return verdict

    # --- between two values

    def _between(self, text: str, *, is_ended: bool) -> Verdict | None:
        """Go on to the next value, or say that there is none; `None`: there is one."""
        skipped = (_STRAY if self.calls else _BETWEEN).match(text, self.at)
        at = skipped.end() if skipped else self.at
        rest = text[at:]
        if not rest:
            return Verdict.OPEN
        if rest[0] == "`":
            return self._fence(text, at, rest, is_ended=is_ended)
        if rest[0] in "{[" or (self.is_in_fence and (rest[0] == "<" or self._is_code(rest))):
            return self._starts(text, at, rest)
        if self.calls and not is_ended and any(token.startswith(rest) for token in self._stray):
            return Verdict.OPEN
        if self.calls and (token := next((one for one in self._stray if rest.startswith(one)), None)):
            self.at = at + len(token)
            return None
        return self._none(text)

    def _fence(self, text: str, at: int, rest: str, *, is_ended: bool) -> Verdict | None:
        if len(rest) < len(_FENCE) and _FENCE.startswith(rest):
            return Verdict.OPEN
        if not rest.startswith(_FENCE):
            return self._none(text)
        if self.is_in_fence:
            self.is_in_fence, self.at = False, at + len(_FENCE)
            return None
        line = _LINE.match(rest)
        label = line[1].lower() if line else ""
        if line is None or line[2] is None:
            is_line_open = line is not None and line.end() == len(rest) and any(one.startswith(label) for one in _LABELS)
            return Verdict.OPEN if is_line_open and not is_ended else self._in_code(at)
        if label not in _LABELS:
            return self._in_code(at)
        self.is_in_fence, self._label, self.at = True, label, at + line.end()
        return None

    def _in_code(self, at: int) -> Verdict:
        """A fence of something else: its opening is text, and code follows."""
        self.is_in_fence, self.at = True, at + len(_FENCE)
        return Verdict.TEXT

    def _starts(self, text: str, at: int, rest: str) -> Verdict | None:
        if rest[0] == "<":
            found = next((form for form in FORMS if rest.startswith(form.opener)), None)
            if found is None:
                is_undecided = any(form.opener.startswith(rest) for form in FORMS)
                return Verdict.OPEN if is_undecided else self._none(text)
            self._marked = Marked(found, is_inline=False)
        self._begin = self._tracked = at
        self._brackets = Brackets()
        return None

    def _is_code(self, rest: str) -> bool:
        return self._label in _CODE and _CALLED.match(rest) is not None

    def _none(self, text: str) -> Verdict:
        """It is not calls alone. Behind an opening bracket text goes on, where nothing was read yet."""
        if not self.calls and not self.is_in_fence:
            self.at = min(self.at + 1, len(text))
        return Verdict.TEXT

    # --- a value

    def _value(self, text: str) -> Verdict | None:
        begin = self._begin or 0
        if self._marked is not None:
            return self._in_tags(self._marked, text, begin)
        if not (self._may_be(text[begin : begin + 400]) or self._is_code(text[begin:])):
            return self._none(text)
        end = self._end(text, begin)
        if end is None:
            return Verdict.OPEN
        if not self._add(text[begin:end]):
            self.at = end
            return self._no_call(text[begin:end])
        self._begin, self.at = None, end
        return None

    def _in_tags(self, marked: Marked, text: str, begin: int) -> Verdict | None:
        """A call in a model's own tags, within a fence."""
        body = begin + len(marked.form.opener)
        if not marked.form.head.match(text[body : body + HEAD]):
            return self._none(text)
        if (closer := marked.closer(text, body)) is None:
            return Verdict.OPEN
        calls = marked.read(text, body, closer, self._tools, is_cut=False)
        self.at = closer[1]
        if calls is None:
            return self._no_call(text[begin : self.at])
        self.calls += calls
        self._begin = self._marked = None
        return None

    def _end(self, text: str, begin: int) -> int | None:
        if _CALLED.match(text, begin):
            end = text.find(_FENCE, begin)
            return None if end < 0 else end
        found_end = self._brackets.feed(text, self._tracked)
        self._tracked = len(text) if found_end is None else found_end
        return found_end

    def _add(self, value: str) -> bool:
        try:
            written = _python(value) if _CALLED.match(value) or _PYTHON.match(value) else json_calls(value)
        except NoCall:
            return False
        calls = checked(written, self._tools, is_marked=self._label in _CODE)
        self.calls += calls or []
        return calls is not None

    def _may_be(self, text: str) -> bool:
        """Whether JSON or a list in Python that begins so may call a tool that is offered."""
        if (python := _PYTHON.match(text)) is not None:
            if python["open"]:
                return self._tools.named(python["name"].removesuffix(".call")) is not None
            return python.end() == len(text) and self._tools.may_become(python["name"])
        head = _HEAD.match(text)
        if head is None:
            return False
        is_all, key = head.end() == len(text), head["key"]
        if head["named"] is None:
            return is_all and any(one.startswith(key or "") for one in _KEYS)
        if key not in _KEYS:
            return False
        return self._may_name(text[head.end() :], head["value"] or "") if key in NAMES else True

    def _may_name(self, rest: str, quote: str) -> bool:
        if quote in ("", "{", "["):
            return quote == "{" or (not quote and not rest)
        name, found, _ = rest.partition(quote)
        return self._tools.named(name) is not None if found else self._tools.may_become(name)

    # --- the end

    def _conclude(self, text: str, *, is_cut: bool) -> Verdict:
        """The answer is over; what is not closed may lack brackets, but not when it was cut off."""
        self.at = len(text)
        if self._begin is not None:
            value = text[self._begin :].rstrip()
            value = value.removesuffix(_FENCE).rstrip() if self.is_in_fence else value
            if is_cut or self._marked is not None or not self._add(value):
                return self._no_call(value)
        return Verdict.CALLS if self.calls else Verdict.TEXT

    def _no_call(self, value: str) -> Verdict:
        """Text, which may have been meant as a call of a tool that there is."""
        return Verdict.REFUSED if any(f'"{name}"' in value for name in self._tools.schemas) else Verdict.TEXT


def _python(text: str) -> list[Written]:
    from relight.wire.tool_python import python_calls

    return python_calls(text)
