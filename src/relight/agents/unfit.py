"""What keeps a text from being read or edited. Knows no file: who opens one says which."""

from __future__ import annotations

from typing import Final


class Unfit(Exception):
    """A text cannot be read, or not be edited as asked; `line` and `column` count from one, where they are known.

    `path` is the place of what does not fit, for whoever can look up its line.
    """

    def __init__(
        self, what: str, *, line: int | None = None, column: int | None = None, path: tuple[str | int, ...] = ()
    ) -> None:
        super().__init__(what)
        self.what = what
        self.line = line
        self.column = column
        self.path = path

    @classmethod
    def at(cls, text: str, offset: int, what: str) -> Unfit:
        """`what` is wrong at this offset of `text`."""
        before = text[:offset]
        return cls(what, line=before.count("\n") + 1, column=offset - (before.rfind("\n") + 1) + 1)


DEEPEST: Final = 100
"""Levels of a file of settings; deeper ones are an attack or an accident."""


def newline_of(text: str) -> str:
    """How the lines of `text` end: as most of them do."""
    crlf = text.count("\r\n")
    return "\r\n" if crlf * 2 > text.count("\n") else "\n"
