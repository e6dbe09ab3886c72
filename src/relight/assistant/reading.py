"""One file of knowledge as Markdown-like text: Markdown, plain text, HTML or PDF. Knows no pattern and no prompt."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from msgspec import Struct

from relight.assistant.blocks import Kind, blocks, plain, seen, without_comments
from relight.assistant.embedding import need
from relight.errors import ConfigError
from relight.values import format_bytes

MAX_FILE: Final = 16 << 20
MAX_TEXT: Final = 4 << 20

_FRONT: Final = re.compile(r"\A(?P<mark>---|\+\+\+)[ \t]*\n(?P<said>\s*[\w-]+[ \t]*[:=].*?)\n(?P=mark)[ \t]*(?:\n|\Z)", re.DOTALL)
_FIELD: Final = re.compile(r"^(title|url)[ \t]*[:=][ \t]*(\S.*?)[ \t]*$", re.MULTILINE | re.IGNORECASE)
_FOLDED: Final = re.compile(r"[|>][-+]?")
_ADDRESS: Final = re.compile(r"(?:https?://|/(?!/))[^\s<>\"'\\]*")
_CHARSET: Final = re.compile(rb"charset\s*=\s*[\"']?([\w.:-]+)", re.IGNORECASE)
# As browsers read them (WHATWG Encoding Standard): pages that say so are mostly written on Windows.
_SAID_OTHERWISE: Final = {"iso-8859-1": "cp1252", "latin1": "cp1252", "ascii": "utf-8", "us-ascii": "utf-8"}


class Reading(Struct, frozen=True):
    """What a file says. `title` and `url` where it says them; page n of a PDF begins at character `pages[n - 1]`."""

    text: str
    title: str | None = None
    url: str | None = None
    pages: tuple[int, ...] = ()


def read(path: Path, where: str) -> Reading:
    """Read a file whose suffix is in `KINDS`; blocks. `where` begins every message.

    Raises `ConfigError` when it cannot be read, is larger than 16 MiB (4 MiB of text), has no text, or is encrypted, and
    `WeightsError` when the library for its kind is not installed.
    """
    try:
        size = path.stat().st_size
        if size > MAX_FILE:
            raise ConfigError(
                f"{where}: is {format_bytes(size)}, and a file of knowledge may have {format_bytes(MAX_FILE)}",
                hint="split it, or leave it out",
            )
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{where}: cannot be read: {error.strerror or error}", hint="see who may read it") from error
    found = KINDS[path.suffix.lower()](raw, where)
    if not found.text.strip():
        raise ConfigError(f"{where}: has no text", hint="write some, or leave it out")
    if len(found.text) > MAX_TEXT:
        raise ConfigError(
            f"{where}: has {format_bytes(len(found.text))} of text, and a file of knowledge may have {format_bytes(MAX_TEXT)}",
            hint="split it, or leave it out",
        )
    return found


def _markdown(raw: bytes, where: str) -> Reading:
    text = seen(_decoded(raw, where))
    fields: dict[str, str] = {}
    if front := _FRONT.match(text):
        fields = {name.lower(): _unquoted(value) for name, value in _FIELD.findall(front["said"])}
        text = text[front.end() :]
    text = without_comments(text).strip("\n")
    title = None if _FOLDED.fullmatch(fields.get("title", "|")) else plain(fields["title"])
    return Reading(text, title or heading(text), _address(fields.get("url"), where))


def _plain_text(raw: bytes, where: str) -> Reading:
    return Reading(seen(_decoded(raw, where)).strip("\n"))


def _webpage(raw: bytes, where: str) -> Reading:
    need("selectolax")
    from relight.assistant import webpage

    said = _CHARSET.search(raw[:1024])
    page = webpage.read(_decoded(raw, where, encoding=said[1].decode("ascii") if said else "utf-8"))
    title = seen(page.title) if page.title else None
    return Reading(seen(page.text), title, page.url)


def _printed(raw: bytes, where: str) -> Reading:
    need("pypdf")
    from relight.assistant import pdf

    found = pdf.read(raw, where)
    return Reading(found.text, found.title, pages=found.starts)


KINDS: Final[dict[str, Callable[[bytes, str], Reading]]] = {
    ".md": _markdown,
    ".markdown": _markdown,
    ".txt": _plain_text,
    ".html": _webpage,
    ".htm": _webpage,
    ".pdf": _printed,
}


def heading(text: str) -> str | None:
    """The first heading of the first level in `text`."""
    found = (block.text for block in blocks(text) if block.kind is Kind.HEADING and block.level == 1)
    return next((title for title in found if title), None)


def _decoded(raw: bytes, where: str, encoding: str = "utf-8") -> str:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    try:
        return raw.decode(_SAID_OTHERWISE.get(encoding.lower(), encoding))
    except LookupError:
        return _decoded(raw, where)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{where}: is not {error.encoding.upper()}: byte 0x{raw[error.start]:02X} at offset {error.start} (line {line})",
            hint="save it as UTF-8, for example: iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW",
        ) from error


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value


def _address(said: str | None, where: str) -> str | None:
    if said is None or _ADDRESS.fullmatch(said):
        return said
    raise ConfigError(
        f'{where}: url should be like "https://example.org/page" or "/page", got "{said}"', hint="visitors follow it"
    )
