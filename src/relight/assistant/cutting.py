"""Documents cut into passages along headings and paragraphs, and passages into windows. Knows no question and no prompt."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from msgspec import Struct

from relight.assistant.blocks import Block, Kind, blocks
from relight.assistant.knowledge import Document
from relight.assistant.passages import Passage

# In words. Small sections are put together up to LEAST; nothing but code is longer than MOST. Larger ones
# find the same answers in nearly twice as many words of prompt (bench/knowledge.py).
LEAST: Final = 40
MOST: Final = 180
OVERLAP: Final = 25
# A sentence or two: what one vector says well. A whole passage in one vector hides the sentence that answers.
WINDOW: Final = 30
# Code is never cut below this, in characters: half a function explains nothing, but one file must not fill the prompt.
MOST_CODE: Final = 6000

# Scripts without spaces: two signs are about a word.
_UNSPACED: Final = "\u0e00-\u0eff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_SIGN: Final = re.compile(f"[{_UNSPACED}]")
# What is longer is no word, but a table's line, an address, or data: it counts for several.
_WORD: Final = re.compile(rf"[^\s{_UNSPACED}]{{1,40}}")
_SENTENCE: Final = re.compile(r".+?(?:[.!?…]+[\"'”’)\]]*(?=\s)|[。！？]+|\n(?=\s*(?:[-*+•]|\d+[.)])\s)|\Z)\s*", re.DOTALL)


class _Piece(Struct, frozen=True):
    """What is not cut further: where it stands, under which headings."""

    headings: tuple[str, ...]
    text: str
    start: int
    words: int
    is_code: bool = False


def cut(found: Iterable[Document], *, paragraphs: bool = False) -> tuple[Passage, ...]:
    """The passages of all documents in order: the same for the same documents. With `paragraphs` each is one.

    A passage has at most about 180 words, and 40 where its neighbours have them; it begins with the last sentence of the one
    before when both are of one section. A block of code is whole, unless it alone is longer than 6,000 characters.
    """
    if paragraphs:
        pieces = ((document, piece) for document in found for piece in _pieces(document))
        return tuple(Passage(document, piece.headings, piece.text, document.page(piece.start)) for document, piece in pieces)
    return tuple(passage for document in found for passage in _cut(document))


def windows(passage: Passage) -> list[str]:
    """What a passage says, a sentence or two at a time, each behind the innermost heading."""
    heading = passage.headings[-1] if passage.headings else passage.document.title
    said: list[str] = []
    for sentence in sentences(passage.text):
        if said and words(said[-1]) + words(sentence) <= WINDOW:
            said[-1] += f" {sentence}"
        else:
            said.append(sentence)
    return [f"{heading}: {each}" for each in said] or [heading]


def words(text: str) -> int:
    """How many words a text has; in scripts without spaces two signs are one."""
    signs = len(_SIGN.findall(text))
    return len(_WORD.findall(text)) + (signs + 1) // 2


def sentences(text: str) -> list[str]:
    """The sentences of a text, and the items of its lists."""
    return [match[0].strip() for match in _SENTENCE.finditer(text) if match[0].strip()]


def _cut(document: Document) -> Iterator[Passage]:
    before: _Piece | None = None
    for group in _groups(_pieces(document)):
        headings = functools.reduce(_shared, (piece.headings for piece in group))
        text = "\n\n".join(_told(group, len(headings)))
        if before is not None and before.headings == group[0].headings and (last := _last(before)):
            text = f"{last}\n\n{text}"
        yield Passage(document, headings, text, document.page(group[0].start))
        before = group[-1]


def _told(group: Sequence[_Piece], shared: int) -> Iterator[str]:
    """The pieces' texts, and those headings between them that not all of them share."""
    above: tuple[str, ...] = group[0].headings[:shared]
    for piece in group:
        same = len(_shared(above, piece.headings))
        yield from (f"{'#' * (level + 1)} {title}" for level, title in enumerate(piece.headings) if level >= same)
        yield piece.text
        above = piece.headings


def _shared(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    """The headings that both stand under."""
    count = next((n for n, (mine, yours) in enumerate(zip(one, other, strict=False)) if mine != yours), min(len(one), len(other)))
    return one[:count]


def _groups(pieces: Iterable[_Piece]) -> Iterator[list[_Piece]]:
    """Pieces that become one passage: of one section, or small neighbours."""
    group: list[_Piece] = []
    for piece in pieces:
        size = sum(each.words for each in group)
        same = bool(group) and group[-1].headings == piece.headings
        if group and (size + piece.words > MOST or not (same or size < LEAST)):
            yield group
            group = []
        group.append(piece)
    if group:
        yield group


def _last(piece: _Piece) -> str:
    """The end of a piece that the next passage begins with: its last sentence, unless that is long, or code."""
    said = [] if piece.is_code else sentences(piece.text)
    return said[-1] if len(said) > 1 and words(said[-1]) <= OVERLAP else ""


def _pieces(document: Document) -> Iterator[_Piece]:
    headings: list[tuple[int, str]] = []
    is_bare = False
    for block in blocks(document.text):
        if block.kind is not Kind.HEADING:
            yield from _parts(block, tuple(title for _, title in headings))
            is_bare = False
            continue
        if is_bare and headings and headings[-1][0] >= block.level:
            yield _bare(headings, block)
        headings = [(level, title) for level, title in headings if level < block.level]
        headings.append((block.level, block.text))
        is_bare = True
    if is_bare:
        yield _bare(headings, None)


def _bare(headings: Sequence[tuple[int, str]], following: Block | None) -> _Piece:
    """A heading with nothing below it says what it says."""
    *above, (_, title) = headings
    return _Piece(tuple(each for _, each in above), title, following.start - 1 if following else 0, words(title))


def _parts(block: Block, headings: tuple[str, ...]) -> Iterator[_Piece]:
    """A block whole, or in parts of about half of what a passage may have."""
    if block.kind is Kind.CODE:
        for text in _code(block.text):
            yield _Piece(headings, text, block.start, words(text), is_code=True)
        return
    if words(block.text) <= MOST:
        yield _Piece(headings, block.text, block.start, words(block.text))
        return
    for text in _split(block.text):
        yield _Piece(headings, text, block.start, words(text))


def _split(text: str) -> Iterator[str]:
    """Sentences of a long paragraph, put together again up to half of what a passage may have."""
    part, size = "", 0
    for said in (each for match in _SENTENCE.finditer(text) for each in _short(match[0])):
        count = words(said)
        if part and size + count > MOST // 2:
            yield part.rstrip()
            part, size = "", 0
        part += said
        size += count
    if part.strip():
        yield part.rstrip()


def _short(sentence: str) -> Iterator[str]:
    """A sentence, or what is none (a table, a list of names, data) in pieces of a word."""
    if words(sentence) <= MOST // 2:
        yield sentence
    else:
        yield from re.findall(r"\S{1,40}\s*", sentence)


def _code(text: str) -> Iterator[str]:
    """A block of code whole; one beyond all measure by lines, each part between its fences."""
    if len(text) <= MOST_CODE:
        yield text
        return
    first, *lines = text.split("\n")
    fence = re.match(r"\s*([`~]+)", first)
    close = fence[1] if fence else "```"
    if lines and lines[-1].strip() == close:
        lines.pop()
    part: list[str] = []
    for line in (each[place : place + MOST_CODE] for each in lines for place in range(0, max(len(each), 1), MOST_CODE)):
        if part and sum(map(len, part)) + len(line) > MOST_CODE:
            yield "\n".join((first, *part, close))
            part = []
        part.append(line)
    if part:
        yield "\n".join((first, *part, close))
