"""The pages' files and the policy they are served under. Must not know who serves them, nor any model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The `Content-Security-Policy` of the pages: nothing inline, nothing from another origin, in nobody's frame."""

CHAT: Final = "index.html"
"""The page where a model is picked and chatted with."""
ASSISTANT: Final = "assistant.html"
"""The page of a service that has an assistant."""

ASSETS: Final = frozenset(
    {
        "assistant.css",
        "base.css",
        "chat.css",
        "panel.css",
        "turn.css",
        "assistant.js",
        "chat.js",
        "conversation.js",
        "countdown.js",
    }
    | {
        "dialogue.js",
        "events.js",
        "icons.js",
        "key.js",
        "lamp.js",
        "light.js",
        "markdown.js",
        "node.js",
        "panel.js",
        "reply.js",
        "safe.js",
    }
    | {"scheme.js", "service.js", "stream.js", "theme.js", "turn.js", "words.js"}
)
"""Every file under `/assets/`; a name that is not here is never looked for on the disk."""

WIDGET_STYLES: Final = ("base.css", "turn.css", "panel.css", "widget.css")
WIDGET_SCRIPTS: Final = (
    *("countdown.js", "events.js", "node.js", "icons.js", "safe.js", "words.js", "conversation.js", "service.js"),
    *("light.js", "dialogue.js", "reply.js", "panel.js", "embed.js"),
)
"""What `/widget.js` is made of, each after those that it imports from. They share one scope there: a name is used once."""

_TYPES: Final = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "html": "text/html; charset=utf-8"}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it goes over the wire; `etag` is quoted already."""

    body: bytes
    content_type: str
    etag: str


@cache
def page(name: str = CHAT) -> Asset:
    """The document at `/`: `CHAT` or `ASSISTANT`."""
    return _asset(_read(name), "html")


@cache
def asset(name: str) -> Asset | None:
    """The file at `/assets/NAME`, or `None` when there is no such file."""
    return _asset(_read(name), name.rpartition(".")[2]) if name in ASSETS else None


def widget(service: Mapping[str, object]) -> Asset:
    """The widget as one classic script. `service` is what it can say before it has asked anybody: `title`, `greeting`,
    `suggestions` (a list) and `accent`, each where there is one."""
    import msgspec

    # A length of the page's root element would be somebody else's idea of a length.
    style = re.sub(r"(?<![\w.#-])(-?\d*\.?\d+)rem\b", r"calc(var(--relight-size, 16px) * \1)", "".join(map(_text, WIDGET_STYLES)))
    scripts = "".join(re.sub(r"(?m)^(?:import .*$|export )", "", _text(name)) for name in WIDGET_SCRIPTS)
    given = "".join(
        f"const {name} = {msgspec.json.encode(value).decode()};\n" for name, value in (("STYLE", style), ("SERVICE", service))
    )
    return _asset(f'(() => {{\n"use strict";\n{given}{scripts}}})();\n'.encode(), "js")


def _text(name: str) -> str:
    return _read(name).decode("utf-8")


def _asset(body: bytes, kind: str) -> Asset:
    from hashlib import sha256

    return Asset(body, _TYPES[kind], f'"{sha256(body).hexdigest()[:20]}"')


@cache
def _read(name: str) -> bytes:
    # Indentation and comments are for whoever reads the source. Lines stay, so that a browser's error names the right one.
    return re.sub(rb"(?m)^ *(?:(?://|/\*|\*[ /]).*)?", b"", (Path(__file__).parent / name).read_bytes())
