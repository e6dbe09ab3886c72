"""A PDF file as text with known pages. Knows no other kind of file; imports pypdf when the first PDF is read."""

from __future__ import annotations

import io
import itertools
import logging
import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from relight.assistant.blocks import seen
from relight.errors import ConfigError

if TYPE_CHECKING:
    from pypdf import PdfReader

_GAP: Final = "\n\n"
_MIN_LETTERS: Final = 20
_RUNNING_PAGES: Final = 3
_HYPHEN: Final = re.compile(r"(?<=[^\W\d_])-\n(?=[a-zß-ÿ])")
_NUMBER: Final = re.compile(r"[\s\-–—|]*(?:page|seite|p\.)?\s*\d{1,4}(?:\s*(?:/|of|von)\s*\d{1,4})?[\s\-–—|]*", re.IGNORECASE)
_ENDS: Final = (".", "!", "?", ":", ";", "。", "！", "？")
_BULLET: Final = re.compile(r"(?:[•◦▪‣·–*-]|\d{1,2}[.)])\s+")
_SOFT: Final = re.compile(rf"(?<!\n)\n(?!\n|{_BULLET.pattern})")


class Pages(Struct, frozen=True):
    """The text of a PDF file; page n begins at character `starts[n - 1]`."""

    title: str | None
    text: str
    starts: tuple[int, ...]


def read(raw: bytes, where: str) -> Pages:
    """The text of the PDF file `raw`. Blocks: a page takes some 10 ms. Raises `ConfigError` that begins with `where`.

    Lines that stand on most pages (running titles) and page numbers are left out; a word divided at a line's end is joined.
    """
    from pypdf import PdfReader

    # It says on standard error what it repaired.
    logging.getLogger("pypdf").setLevel(logging.ERROR)
    try:
        reader = PdfReader(io.BytesIO(raw))
        _open(reader, where)
        title = reader.metadata.title if reader.metadata is not None else None
        found = [seen(page.extract_text()).split("\n") for page in reader.pages]
    except ConfigError:
        raise
    except Exception as error:
        # pypdf raises nearly anything at a damaged file: its own errors, KeyError, ValueError, RecursionError …
        reason = str(error) or type(error).__name__
        raise ConfigError(f"{where}: cannot be read as PDF: {reason}", hint="export it anew, or leave it out") from error
    texts = [_flowing(lines) for lines in _without_running_lines(found)]
    if sum(letter.isalnum() for text in texts for letter in text) < _MIN_LETTERS:
        raise ConfigError(
            f"{where}: has no text, on {len(texts)} page(s); it is probably scanned",
            hint="recognise its text first, for example: ocrmypdf IN.pdf OUT.pdf",
        )
    starts = itertools.accumulate((len(text) + len(_GAP) for text in texts[:-1]), initial=0)
    return Pages(" ".join(seen(title).split()) or None if title else None, _GAP.join(texts), tuple(starts))


def _open(reader: PdfReader, where: str) -> None:
    """Many files are encrypted with no password, only to forbid changes; the others are for their owner to open."""
    if not reader.is_encrypted:
        return
    from pypdf.errors import DependencyError

    hint = "save a copy without a password, for example: qpdf --decrypt IN.pdf OUT.pdf"
    try:
        if reader.decrypt(""):
            return
    except DependencyError as error:
        raise ConfigError(f"{where}: is encrypted with AES, and cryptography is not installed", hint=hint) from error
    raise ConfigError(f"{where}: is encrypted, and needs a password", hint=hint)


def _without_running_lines(pages: Sequence[Sequence[str]]) -> list[list[str]]:
    """The pages' lines without first and last ones that are a page number, or stand on most pages."""
    kept = [[" ".join(line.split()) for line in lines] for lines in pages]
    for lines in kept:
        for line in _edges(lines):
            if _NUMBER.fullmatch(line):
                lines.remove(line)
    if len(kept) < _RUNNING_PAGES:
        return kept
    edges = Counter(line for lines in kept for line in {*_edges(lines)})
    running = {line for line, count in edges.items() if count > len(kept) / 2}
    return [[line for line in lines if line not in running] for lines in kept]


def _edges(lines: Sequence[str]) -> list[str]:
    """The first and the last line that say something."""
    said = [line for line in lines if line]
    return said[:1] + said[1:][-1:]


def _flowing(lines: Sequence[str]) -> str:
    """A page's lines as paragraphs: a line that is full, or ends within a sentence, goes on in the next."""
    width = max((len(line) for line in lines), default=0)
    text = ""
    for line, following in itertools.zip_longest(lines, lines[1:], fillvalue=""):
        is_full = len(line) > width * 0.6
        is_end = line.endswith(_ENDS) and len(line) < width * 0.85
        if _BULLET.match(following) or (following and is_full and not is_end):
            text += f"{line}\n"
        else:
            text += f"{line}{_GAP}"
    joined = _HYPHEN.sub("", text.strip())
    return re.sub(r"\n{3,}", _GAP, _SOFT.sub(" ", joined))
