"""The script language of the scripted engine: what one answer says and how it goes wrong. Knows no dialect and no I/O.

A client writes `#script tokens=50 delay=10ms` into its last user message. The script goes on as long as words read
`key=value`, at most to the end of the line; values with spaces are JSON strings, `args` is JSON as it stands.

A script may be a plan, for agents that call tools: `text=a-title step=0 tool=write args={…} step=1 tool=read args={…}
step=2 text="done: {result}"`. What follows `step=N` is said once N results of tools have come since that message;
what stands before the first step holds for all steps but for words, calls and fault, which are each step's own, and
answers a request that offers no tools. `{result}` in a text stands for the last result.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from relight.errors import InvalidRequest
from relight.values import Duration


class FaultKind(StrEnum):
    """How an answer breaks off."""

    STALL = "stall"  # silence, the connection stays open
    DROP = "drop"  # the connection is closed, the stream is not ended
    GARBAGE = "garbage"  # bytes that are not HTTP, then the end
    CRASH = "crash"  # the process exits


@dataclass(frozen=True, slots=True)
class Fault:
    """Break off once `after` tokens are out."""

    kind: FaultKind
    after: int


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call as the model would write it; `arguments` is text and need not be valid JSON."""

    name: str
    arguments: str = "{}"


@dataclass(frozen=True, slots=True)
class Script:
    """What one answer does. Times in seconds; a token is a whitespace-separated word."""

    tokens: int | None = None  # length of the text: its words are repeated or cut
    text: str | None = None
    empty: bool = False
    reasoning: str | None = None
    tools: tuple[ToolCall, ...] = ()
    finish: str | None = None
    cached: int = 0  # prompt tokens that are reported as cached
    first: float = 0.0  # before the first byte, the HTTP head included
    prefill: float = 0.0  # after the head, before the first token
    comments: float = 0.0  # during prefill a comment this often; 0: none
    delay: float = 0.0  # between two tokens
    status: int | None = None
    fault: Fault | None = None
    exit: int = 139
    blind: bool = False  # the template leaves tools out: they are no tokens of the prompt
    unicode: bool = False  # text in many scripts, its characters cut in two on the wire
    chunk: int | None = None  # bytes that are written at once
    steps: tuple[Step, ...] = ()  # of a plan, in the order of their results

    def turn(self, results: int, *, has_tools: bool, is_answered: bool) -> Script:
        """What to say after so many results of tools; a script that is no plan calls its tools once."""
        if not self.steps:
            return replace(self, tools=()) if is_answered else self
        reached = [step for step in self.steps if step.results <= results] if has_tools else []
        return reached[-1].script if reached else replace(self, steps=())


@dataclass(frozen=True, slots=True)
class Step:
    """What a plan says once so many results have come."""

    results: int
    script: Script


def find_script(message: str, base: Script) -> tuple[Script, str]:
    """Script in a user's message, over `base`, and the message without it; raises `InvalidRequest` naming the keys."""
    start = _START.search(message)
    if start is None:
        return base, message
    pairs = list(_pairs(message, start.end()))
    end = pairs[-1][2] if pairs else start.end()
    script = _apply(base, [(key, value) for key, value, _ in pairs])
    return script, (message[: start.start()] + message[end:]).strip()


def has_script(message: str) -> bool:
    """Whether there is a script in it."""
    return _START.search(message) is not None


def has_plan(message: str) -> bool:
    """Whether a script in it goes over several turns."""
    start = _START.search(message)
    return start is not None and any(key == "step" for key, _, _ in _pairs(message, start.end()))


def parse_script(text: str, base: Script | None = None) -> Script:
    """Read pairs that stand alone (`delay=10ms tokens=20`); raises `InvalidRequest` when anything else is there."""
    pairs = list(_pairs(text, 0))
    rest = text[pairs[-1][2] if pairs else 0 :].strip()
    if rest:
        raise InvalidRequest(f'#script: should be key=value pairs, got "{rest}"')
    return _apply(base or Script(), [(key, value) for key, value, _ in pairs])


_START: Final = re.compile(r"(?<!\S)#script(?!\S)")
_KEY: Final = re.compile(r"[ \t]*([A-Za-z_]+)=")
_WORD: Final = re.compile(r"\S*")
_AFTER: Final = re.compile(r"after:(\d+)")
_DECODER: Final = json.JSONDecoder()


def _pairs(text: str, at: int) -> Iterator[tuple[str, str, int]]:
    """Key, value and the position behind it, as long as there are any."""
    while match := _KEY.match(text, at):
        value, at = _value(text, match.end(), match[1])
        yield match[1], value, at


def _value(text: str, at: int, key: str) -> tuple[str, int]:
    if text[at : at + 1] in ("{", "[", '"'):
        try:
            value, end = _DECODER.raw_decode(text, at)
        except json.JSONDecodeError as error:
            raise InvalidRequest(f"#script: {key}: should be JSON, got {text[at : at + 40]!r} ({error.msg})") from error
        return (value if isinstance(value, str) else text[at:end]), end
    word = _WORD.match(text, at)
    return (word[0], word.end()) if word else ("", at)


def _apply(base: Script, pairs: list[tuple[str, str]]) -> Script:
    """`base`, changed by the pairs up to the first step, and by those of each step."""
    starts = [place for place, (key, _) in enumerate(pairs) if key == "step"]
    base = replace(base, steps=()) if pairs else base
    if not starts:
        return _changed(base, pairs)
    script = _changed(base, pairs[: starts[0]])
    own = replace(script, text=None, tokens=None, tools=(), fault=None, steps=())
    parts = [pairs[start:end] for start, end in itertools.pairwise([*starts, len(pairs)])]
    steps = [Step(_change(*part[0])["step"], _changed(own, part[1:])) for part in parts]
    return replace(script, steps=tuple(sorted(steps, key=lambda step: step.results)))


def _changed(base: Script, pairs: list[tuple[str, str]]) -> Script:
    changes: dict[str, Any] = {}
    tools: list[ToolCall] = []
    for key, value in pairs:
        if key == "tool":
            tools.append(ToolCall(value))
        elif key == "args":
            if not tools:
                raise InvalidRequest("#script: args: should follow the tool=NAME that it belongs to")
            tools[-1] = replace(tools[-1], arguments=value)
        else:
            changes |= _change(key, value)
    if tools:
        changes["tools"] = tuple(tools)
    return replace(base, **changes)


def _change(key: str, value: str) -> dict[str, Any]:
    read = _READERS.get(key)
    if read is None:
        raise InvalidRequest(f'#script: unknown key "{key}"', hint=f"known keys: {', '.join(KEYS)}")
    try:
        result = read(value)
    except ValueError as error:
        raise InvalidRequest(f"#script: {key}: {error}") from error
    if key in _FAULTS:
        return {"fault": Fault(_FAULTS[key], result)}
    return {key: result}


def _count(value: str) -> int:
    if not value.isdecimal():
        raise ValueError(f'should be a whole number, got "{value}"')
    return int(value)


def _positive(value: str) -> int:
    if _count(value) == 0:
        raise ValueError("should be at least 1, got 0")
    return int(value)


def _seconds(value: str) -> float:
    return float(Duration.parse(value))


def _switch(value: str) -> bool:
    if value not in ("0", "1"):
        raise ValueError(f'should be 0 or 1, got "{value}"')
    return value == "1"


def _status(value: str) -> int:
    if not 400 <= _count(value) <= 599:
        raise ValueError(f"should be an error status from 400 to 599, got {value}")
    return int(value)


def _exit_code(value: str) -> int:
    if _count(value) > 255:
        raise ValueError(f"should be an exit code from 0 to 255, got {value}")
    return int(value)


def _finish(value: str) -> str:
    if value not in ("stop", "length", "tool_calls", "content_filter"):
        raise ValueError(f'should be stop, length, tool_calls or content_filter, got "{value}"')
    return value


def _after(value: str) -> int:
    match = _AFTER.fullmatch(value)
    if match is None:
        raise ValueError(f'should be after:TOKENS like "after:5", got "{value}"')
    return int(match[1])


_FAULTS: Final = {kind.value: kind for kind in FaultKind}
_READERS: Final[dict[str, Callable[[str], Any]]] = {
    "tokens": _count,
    "text": str,
    "blind": _switch,
    "empty": _switch,
    "reasoning": str,
    "finish": _finish,
    "cached": _count,
    "first": _seconds,
    "prefill": _seconds,
    "comments": _seconds,
    "delay": _seconds,
    "status": _status,
    **dict.fromkeys(_FAULTS, _after),
    "exit": _exit_code,
    "unicode": _switch,
    "chunk": _positive,
    "step": _count,
}
KEYS: Final = tuple(sorted([*_READERS, "tool", "args"]))
