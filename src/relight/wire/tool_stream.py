"""Text as it comes, parted into what is said and what is called; must not know chunks, ids or dialects. No I/O.

What is decided depends on the characters alone, and not on where a text is cut. Held back is what may still become a call: of
ordinary prose nothing, of an opener its beginning, of a call all of it, up to `MOST_HELD`. Two kinds are told apart:

- *marked*: a model's own tags. They count wherever they stand, but not in code, and not in the middle of a line.
- *unmarked*: JSON or Python, alone or in a fence (`tool_bare`). They count at the beginning of a line, as the last thing that
  is said, when they name a tool that is offered and when the words before do not call them an example.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum, auto
from typing import Final

from relight.wire.tool_bare import Bare, Verdict, is_example
from relight.wire.tool_check import Call, Calls, Toolset
from relight.wire.tool_forms import ENDS, FORMS, STRAY
from relight.wire.tool_marked import HEAD, Marked

MOST_HELD: Final = 1 << 18
"""Characters; a longer call stays text."""

_HOT: Final = re.compile(r"[<\[{`]")
_NOT_BLANK: Final = re.compile(r"\S")
_BY_LENGTH: Final = tuple(sorted(FORMS, key=lambda form: -len(form.opener)))
_THINK, _THOUGHT, _FENCE = "<think>", "</think>", "```"
_BEFORE: Final = 240  # characters of what was said that are kept: the line, and the words before a call
_MOST_THOUGHT: Final = 1 << 16

MARKED, BARE, THOUGHT = "marked_calls", "bare_calls", "thought_calls"

Out = str | Calls


class _Mode(Enum):
    START = auto()
    PROSE = auto()
    CODE = auto()
    THOUGHT = auto()
    MARKED = auto()
    INLINE = auto()
    BARE = auto()


class Reader:
    """Reads one answer for the kinds of calls that are `wanted`. `refused` is called for every text that was meant as a call and
    is none that may be passed on."""

    def __init__(self, tools: Callable[[], Toolset], refused: Callable[[], None], wanted: frozenset[str]) -> None:
        self._tools, self._refused, self._wanted = tools, refused, wanted
        self._mode = _Mode.START
        self._buffer = ""
        self._out: list[Out] = []
        self._said = ""
        self._is_after_call = self._is_ended = self._is_cut = False
        self._is_fresh = True  # nothing but blanks since the beginning, a thought or a call
        self._thought = ""
        self._thought_calls: list[Call] = []
        self._lead = 0  # blanks before what may be a call; they go with it
        self._marked: Marked | None = None
        self._inline: tuple[list[Call], int] = ([], 0)
        self._bare: Bare | None = None
        self._steps = {
            _Mode.START: self._start,
            _Mode.PROSE: self._prose,
            _Mode.CODE: self._code,
            _Mode.THOUGHT: self._think,
            _Mode.MARKED: self._follow_marked,
            _Mode.INLINE: self._follow_inline,
            _Mode.BARE: self._follow_bare,
        }

    @property
    def pending(self) -> str:
        """What is held back."""
        return self._buffer

    @property
    def is_in_call(self) -> bool:
        """What is held back begins with a model's own mark."""
        return self._mode in (_Mode.MARKED, _Mode.INLINE)

    def feed(self, text: str) -> list[Out]:
        """What is decided now; nothing of it is ever taken back."""
        if self._mode is _Mode.PROSE and not self._buffer and not self._is_fresh and _HOT.search(text) is None:
            self._note(text)
            return [text] if text else []
        self._buffer += text
        return self._run()

    def finish(self, *, is_cut: bool = False) -> list[Out]:
        """The rest, at the end of the answer; `is_cut` says that its length ended it, and not the model."""
        self._is_ended, self._is_cut = True, is_cut
        out = self._run()
        if self._mode is _Mode.THOUGHT:
            self._end_thought()
        return [*out, Calls(THOUGHT, self._thought_calls)] if self._thought_calls and not is_cut else out

    def _run(self) -> list[Out]:
        while self._buffer and self._steps[self._mode]():
            pass
        if self._is_ended and self._buffer:
            self._say(len(self._buffer))
        out, self._out = self._out, []
        return out

    # --- what goes out

    def _say(self, length: int) -> None:
        text, self._buffer = self._buffer[:length], self._buffer[length:]
        self._lead = 0
        if text:
            self._out.append(text)
            self._note(text)

    def _note(self, text: str) -> None:
        self._said = (self._said + text)[-_BEFORE:]
        if _NOT_BLANK.search(text):
            self._is_fresh = self._is_after_call = False
            self._thought_calls = []

    def _call(self, kind: str, calls: list[Call], length: int) -> bool:
        self._out.append(Calls(kind, calls))
        self._buffer = self._buffer[length:]
        self._lead = 0
        self._said, self._is_fresh, self._is_after_call, self._thought_calls = "", True, True, []
        self._mode = _Mode.PROSE
        return True

    def _refuse(self, length: int, mode: _Mode = _Mode.PROSE) -> bool:
        """It stays text."""
        self._say(length)
        self._mode = mode
        return True

    # --- prose, thoughts, code

    def _start(self) -> bool:
        """The first word may begin a thought."""
        rest = self._buffer.lstrip()
        if not self._is_ended and _THINK.startswith(rest):
            return False
        self._mode = _Mode.PROSE
        if rest.startswith(_THINK):
            self._say(len(self._buffer) - len(rest) + len(_THINK))
            self._mode = _Mode.THOUGHT
        return True

    def _prose(self) -> bool:
        """Pass text up to where a call may begin. Blanks before the first word wait: nobody needs them before a call."""
        first = _NOT_BLANK.search(self._buffer)
        is_leading = self._is_fresh
        if first is None and is_leading:
            if self._is_ended and self._is_after_call:
                self._buffer = ""
            return False
        if self._is_after_call and first is not None and (is_stray := self._drop_stray(first.start())) is not None:
            return is_stray
        for hot in _HOT.finditer(self._buffer):
            at = hot.start()
            begins = self._begins(at)
            if begins is None or begins:
                self._lead = at if is_leading and first is not None and first.start() == at else 0
                if not self._lead:
                    self._say(at)
                return begins or False
        self._say(len(self._buffer))
        return False

    def _drop_stray(self, at: int) -> bool | None:
        """Leave out what has no meaning behind a call; `False`: that is not known yet, `None`: it has one."""
        rest = self._buffer[at:]
        for token in STRAY:
            if rest.startswith(token):
                self._buffer = rest[len(token) :]
                return True
        return False if not self._is_ended and any(token.startswith(rest) for token in STRAY) else None

    def _begins(self, at: int) -> bool | None:
        """Whether a call, or code, may begin here; `None`: the next character will tell."""
        line = self._line(at)
        if line.count("`") % 2:
            return False
        is_first = not line.strip()
        if self._buffer[at] == "`":
            return self._begins_fence(at) if is_first else False
        rest = self._buffer[at : at + len(_BY_LENGTH[0].opener)]
        forms = _BY_LENGTH if MARKED in self._wanted else ()
        for form in forms:
            if rest.startswith(form.opener):
                self._marked = Marked(form, is_inline=not is_first)
                self._mode = _Mode.MARKED
                return True
        if not self._is_ended and any(form.opener.startswith(rest) for form in forms):
            return None
        if rest[0] == "<" or not is_first or BARE not in self._wanted:
            return False
        self._bare, self._mode = self._new_bare(), _Mode.BARE
        return True

    def _new_bare(self) -> Bare:
        return Bare(self._tools(), STRAY if MARKED in self._wanted else ENDS)

    def _begins_fence(self, at: int) -> bool | None:
        ticks = self._buffer[at : at + 3]
        if ticks != _FENCE:
            return None if _FENCE.startswith(ticks) and not self._is_ended and at + len(ticks) == len(self._buffer) else False
        if BARE not in self._wanted:
            self._mode = _Mode.CODE
            self._say(at + 3)
        else:
            self._bare, self._mode = self._new_bare(), _Mode.BARE
        return True

    def _line(self, at: int) -> str:
        """What stands in the line before a place, as far as it is looked at."""
        before = self._buffer[max(0, at - _BEFORE) : at]
        if at < _BEFORE:
            before = self._said[at - _BEFORE :] + before
        return before.rpartition("\n")[2]

    def _code(self) -> bool:
        """Code is passed as it is, up to its closing fence."""
        at = self._buffer.find("`")
        while at >= 0:
            ticks = self._buffer[at : at + 3]
            if not self._line(at).strip():
                if ticks == _FENCE:
                    return self._refuse(at + 3)
                if _FENCE.startswith(ticks) and at + len(ticks) == len(self._buffer):
                    self._say(at)
                    return False
            at = self._buffer.find("`", at + 1)
        self._say(len(self._buffer))
        return False

    def _think(self) -> bool:
        """Thoughts are passed as they are; a call at their end counts when nothing follows."""
        at = self._buffer.find(_THOUGHT)
        if at < 0:
            end = len(self._buffer) - (0 if self._is_ended else _overlap(self._buffer, _THOUGHT))
            self._thought = (self._thought + self._buffer[:end])[-_MOST_THOUGHT:]
            self._say(end)
            return False
        self._thought += self._buffer[:at]
        self._say(at + len(_THOUGHT))
        self._end_thought()
        self._said, self._is_fresh, self._mode = "", True, _Mode.PROSE
        return True

    def _end_thought(self) -> None:
        self._thought_calls = ending_calls(self._thought, self._tools) if THOUGHT in self._wanted else []

    # --- what may be a call

    def _follow_marked(self) -> bool:
        marked, begin = self._marked, self._lead
        assert marked is not None  # noqa: S101 - the mode says so
        body = begin + len(marked.form.opener)
        if not marked.form.head.match(self._buffer[body : body + HEAD]):
            return self._refuse(body)
        closer = marked.closer(self._buffer, body)
        if closer is None and not self._is_ended:
            return self._refuse(begin + MOST_HELD) if len(self._buffer) - begin > MOST_HELD else False
        if closer is not None and closer[1] - begin > MOST_HELD:
            return self._refuse(begin + MOST_HELD)
        if closer is None:
            closer = marked.last_chance(self._buffer, body)
        calls = marked.read(self._buffer, body, closer, self._tools(), is_cut=self._is_cut)
        end = len(self._buffer) if closer is None else closer[1]
        if calls is None:
            if not marked.is_inline:
                self._refused()
            return self._refuse(end)
        if marked.is_inline:
            self._inline, self._mode = (calls, end), _Mode.INLINE
            return self._follow_inline()
        return self._call(MARKED, calls, end)

    def _follow_inline(self) -> bool:
        """A call in the middle of a line counts when the line ends with it: else somebody explains one."""
        calls, end = self._inline
        rest = self._buffer[end:].lstrip(" \t")
        is_undecided = not rest or any(form.opener.startswith(rest) for form in FORMS)
        if is_undecided and not self._is_ended:
            return False
        if not rest or rest[0] in "\r\n" or rest.startswith(tuple(form.opener for form in FORMS)):
            return self._call(MARKED, calls, end)
        return self._refuse(end)

    def _follow_bare(self) -> bool:
        bare, begin = self._bare, self._lead
        assert bare is not None  # noqa: S101 - the mode says so
        verdict = bare.look(self._buffer, begin, is_ended=self._is_ended, is_cut=self._is_cut)
        if verdict is Verdict.OPEN and len(self._buffer) - begin > MOST_HELD:
            return self._refuse(begin + MOST_HELD)
        if verdict is Verdict.OPEN:
            return False
        if verdict is Verdict.CALLS and not is_example(self._said):
            return self._call(BARE, bare.calls, len(self._buffer))
        if verdict is Verdict.REFUSED:
            self._refused()
        return self._refuse(bare.at, _Mode.CODE if bare.is_in_fence else _Mode.PROSE)


def ending_calls(thought: str, tools: Callable[[], Toolset]) -> list[Call]:
    """The marked calls that a thought ends with; none where it goes on behind them."""
    if "<" not in thought and "[" not in thought:
        return []
    reader = Reader(tools, lambda: None, frozenset((MARKED,)))
    ending: list[Call] = []
    for out in [*reader.feed(f"\n{thought.lstrip()}"), *reader.finish()]:
        if isinstance(out, Calls):
            ending += out.calls
        elif out.strip():
            ending = []
    return ending


def _overlap(text: str, mark: str) -> int:
    """How many characters at the end of `text` may be the beginning of `mark`."""
    return next((size for size in range(min(len(mark) - 1, len(text)), 0, -1) if text.endswith(mark[:size])), 0)
