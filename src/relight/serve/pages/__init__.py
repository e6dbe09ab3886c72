"""The chat page's files and the policy they are served under. Must not know who serves them, nor any model."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The `Content-Security-Policy` of the page: nothing inline, nothing from another origin, in nobody's frame."""

ASSETS: Final = {
    "chat.css": "text/css; charset=utf-8",
    "chat.js": "text/javascript; charset=utf-8",
    "conversation.js": "text/javascript; charset=utf-8",
    "key.js": "text/javascript; charset=utf-8",
    "lamp.js": "text/javascript; charset=utf-8",
    "markdown.js": "text/javascript; charset=utf-8",
    "stream.js": "text/javascript; charset=utf-8",
    "theme.js": "text/javascript; charset=utf-8",
    "turn.js": "text/javascript; charset=utf-8",
}
"""Every file under `/assets/`, with its media type; a name that is not here is never looked for on the disk."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it goes over the wire; `etag` is quoted already."""

    body: bytes
    content_type: str
    etag: str


def page() -> Asset:
    """The document at `/`."""
    return _read("index.html", "text/html; charset=utf-8")


def asset(name: str) -> Asset | None:
    """The file at `/assets/NAME`, or `None` when there is no such file."""
    content_type = ASSETS.get(name)
    return None if content_type is None else _read(name, content_type)


@cache
def _read(name: str, content_type: str) -> Asset:
    from hashlib import sha256

    # Indentation and comments are for whoever reads the source. Lines stay, so that a browser's error names the right one.
    body = re.sub(rb"(?m)^ *(?:(?://|/\*|\*[ /]).*)?", b"", (Path(__file__).parent / name).read_bytes())
    return Asset(body, content_type, f'"{sha256(body).hexdigest()[:20]}"')
