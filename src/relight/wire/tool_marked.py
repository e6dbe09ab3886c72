"""Calls in a model's own tags: where one ends, and what it says. Knows one form at a time; no I/O."""

from __future__ import annotations

import re
from typing import Final

from relight.wire.tool_check import Call, Toolset, checked
from relight.wire.tool_forms import FORMS, Form
from relight.wire.tool_json import Brackets, NoCall
from relight.wire.tool_repair import loads

HEAD: Final = 400
"""Characters behind an opener that say whether it is one; they are looked at with every piece that comes."""
_NOT_BLANK: Final = re.compile(r"\S")
_CLOSERS: Final = {form: re.compile("|".join(map(re.escape, form.closers))) for form in FORMS}
_WHOLE_END: Final = re.compile(r"(?:[}\])]|</(?:function|parameter|invoke|arg_value)>|<[^<>\s]*end[^<>\s]*>)\s*\Z")


class Marked:
    """A text in tags whose end is looked for, as it grows."""

    __slots__ = ("_brackets", "_seen", "_tracked", "_value_end", "form", "is_inline")

    def __init__(self, form: Form, *, is_inline: bool) -> None:
        self.form, self.is_inline = form, is_inline
        self._brackets: Brackets | None = None
        self._seen = self._tracked = 0
        self._value_end: int | None = None

    def closer(self, text: str, body: int) -> tuple[int, int] | None:
        """Where what is read ends, and where the text goes on; a closer inside a JSON string is part of that."""
        self._begin(text, body)
        for match in _CLOSERS[self.form].finditer(text, max(body, self._seen)):
            if not self._is_in_string(text, match.start()):
                return self._found(match)
        longest = max(map(len, self.form.closers))
        self._seen = max(body, len(text) - longest)
        return None

    def last_chance(self, text: str, body: int) -> tuple[int, int] | None:
        """The first closer wherever it stands: what is broken may not know where its strings end."""
        match = _CLOSERS[self.form].search(text, body)
        return None if match is None else self._found(match)

    def _found(self, match: re.Match[str]) -> tuple[int, int]:
        return match.start(), match.start() if match[0] == self.form.opener else match.end()

    def _begin(self, text: str, body: int) -> None:
        if self.form.is_json and self._brackets is None and (first := _NOT_BLANK.search(text, body)):
            if first[0] in "{[":
                self._brackets, self._tracked = Brackets(), first.start()
            else:
                self._value_end = 0

    def _is_in_string(self, text: str, at: int) -> bool:
        if self._brackets is None or self._value_end is not None:
            return False
        if at > self._tracked:
            self._value_end = self._brackets.feed(text[:at], self._tracked)
            self._tracked = at
        return self._value_end is None and self._brackets.in_text

    def read(self, text: str, body: int, closer: tuple[int, int] | None, tools: Toolset, *, is_cut: bool) -> list[Call] | None:
        """The calls between the opener and its closer, or the end of the answer; `None` where one may not be passed on."""
        said = text[body : len(text) if closer is None else closer[0]]
        if closer is None and not _is_whole(said, is_cut=is_cut):
            return None
        try:
            return checked(self.form.read(self.form.opener + said if self.form.keeps_opener else said), tools)
        except NoCall:
            return None


def _is_whole(text: str, *, is_cut: bool) -> bool:
    """Whether nothing can be missing from a call that nothing closes."""
    if not is_cut:
        return _WHOLE_END.search(text) is not None
    try:
        loads(text)
    except ValueError:
        return False
    return True
