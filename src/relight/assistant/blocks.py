"""Markdown-like text as blocks: headings, code and paragraphs, each with its place. Knows no document and no passage."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Final

from msgspec import Struct

_FENCE: Final = r"[ \t]*+(?:`{3}|~{3})"
_HEADING: Final = r"[ ]{0,3}\#{1,6}[ \t]"
# Nothing in these patterns is tried twice (`*+`): a file of one kind of sign must not hold up the start.
_BLOCK: Final = re.compile(
    rf"""
      ^(?P<code>[ \t]*+(?P<fence>`{{3,}}+|~{{3,}}+)[^\n]*+\n   # an opening fence …
        (?:(?![ \t]*+(?P=fence))[^\n]*+\n)*+             # … lines that do not close it …
        [^\n]*+)                                        # … and the one that does, or the last
    | ^(?P<heading>{_HEADING}[^\n]*)
    | ^(?P<text>[^\n]*\S[^\n]*(?:\n(?!{_FENCE}|{_HEADING})[^\n]*\S[^\n]*)*)
    """,
    re.MULTILINE | re.VERBOSE,
)
_UNDERLINED: Final = re.compile(r"(?P<title>\S[^\n]*)\n(?P<line>=+|-{2,})[ \t]*")
# A comment is not shown to readers of the page; one inside code is code.
_COMMENT: Final = re.compile(
    r"(^[ \t]*+(?P<fence>`{3,}+|~{3,}+)[^\n]*+\n.*?(?:^[ \t]*+(?P=fence)[^\n]*+$|\Z)|`[^`\n]++`)|<!--.*?(?:-->|\Z)",
    re.MULTILINE | re.DOTALL,
)
# What nobody sees, and a model reads: control characters, directions turned over, tags that spell hidden words. And halves of a
# character, which cannot be written anywhere.
_UNSEEN: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)
_LONGEST: Final = 200
_LINK: Final = re.compile(r"!?\[([^\]\n]*)\]\([^)\n]*\)")
_MARKS: Final = re.compile(r"\s*\{#[^}]*\}\s*$|[`*]|(?<!\w)_+|_+(?!\w)")


class Kind(StrEnum):
    """What a block is."""

    HEADING = "heading"
    CODE = "code"
    TEXT = "text"


class Block(Struct, frozen=True):
    """A piece of a text that begins at character `start`; `level` is that of a heading, 1 to 6, whose title is `text`."""

    kind: Kind
    text: str
    start: int
    level: int = 0


def blocks(text: str) -> Iterator[Block]:
    """The blocks of `text` in order. A fence that is never closed reaches to the end."""
    for match in _BLOCK.finditer(text):
        if match["code"]:
            yield Block(Kind.CODE, match["code"].rstrip("\n"), match.start())
        elif match["heading"]:
            said = match["heading"].strip()
            marks = len(said) - len(said.lstrip("#"))
            yield Block(Kind.HEADING, plain(said.strip("#")), match.start(), marks)
        elif line := _UNDERLINED.fullmatch(match["text"]):
            yield Block(Kind.HEADING, plain(line["title"]), match.start(), 1 if line["line"][0] == "=" else 2)
        else:
            yield Block(Kind.TEXT, match["text"].rstrip(), match.start())


def plain(title: str) -> str:
    """A heading's words, 200 signs of them, without the marks of Markdown."""
    short = " ".join(title[: 4 * _LONGEST].split())[:_LONGEST]
    return " ".join(_MARKS.sub("", _LINK.sub(r"\1", short)).split())


def seen(text: str) -> str:
    """`text` as somebody sees it: lines end in one way, and what is invisible is left out."""
    return _UNSEEN.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def without_comments(text: str) -> str:
    """`text` without HTML comments, which a reader of the page does not see either."""
    return _COMMENT.sub(lambda match: match[1] or "", text) if "<!--" in text else text
