"""An answer of a deployed service, or of whoever answers in its place: read as far as one needs, and told in a few words.

Knows neither what was asked nor what would be right.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from relight.cloud.calls import printable
from relight.decoding import NOT_JSON

if TYPE_CHECKING:
    from requests import Response

_MOST_READ: Final = 1 << 20
"""Bytes of an answer: a model that greets, or one vector, takes less."""
_PIECE: Final = 1 << 16
_MOST_SAID: Final = 300
_TITLE: Final = re.compile(r"<title[^>]*>(.*?)</title", re.IGNORECASE | re.DOTALL)


class Reply(NamedTuple):
    """An answer; of a body that is too long its beginning. Names of `headers` are in any case."""

    status_code: int
    headers: Mapping[str, str]
    content: bytes


class TooSlow(Exception):
    """An answer came bit by bit for longer than a request may take."""


def read(response: Response, clock: Callable[[], float], until: float) -> Reply:
    """The answer with its body, which was not asked to be packed.

    Raises `TooSlow` when more is to come at `until`, and what urllib3 raises when the connection breaks.
    """
    body, raw = bytearray(), response.raw
    while len(body) < _MOST_READ and (piece := raw.read1(_PIECE, decode_content=False)):
        body += piece
        if raw.length_remaining == 0:
            break
        if clock() > until:
            raise TooSlow
    return Reply(response.status_code, response.headers, bytes(body[:_MOST_READ]))


def told(reply: Reply) -> dict[str, Any]:
    """Its JSON object; empty where it is none."""
    try:
        return msgspec.json.decode(reply.content, type=dict[str, Any])
    except (*NOT_JSON, msgspec.ValidationError):
        return {}


def said(reply: Reply) -> str:
    """The first words of an answer: of our error, the title of a page, or the first line; without the status once more."""
    text = _text(reply)
    if (title := _TITLE.search(text)) is None:
        found = _plain(text)
    else:
        found = _plain(title[1])
        found = re.sub(rf"^(Error )?{reply.status_code}\b", "", found).removesuffix("!!1").strip(" ():") or found
    return found[:_MOST_SAID].rstrip(".") or "nothing"


def words(reply: Reply) -> str:
    """All of its words, by which the cause behind it is known."""
    return _plain(_text(reply))


def _text(reply: Reply) -> str:
    error = told(reply).get("error")
    return str(error.get("message") or error) if isinstance(error, dict) else reply.content.decode(errors="replace")


def _plain(text: str) -> str:
    """Its words, without what makes a page of them or drives a terminal."""
    return printable(re.sub(r"<[^>]*>", " ", text))


__all__ = ["Reply", "TooSlow", "read", "said", "told", "words"]
