"""A body on its way to somebody else's server, as aiohttp takes it."""

from __future__ import annotations

from io import BytesIO
from typing import Final

_WHOLE: Final = 1 << 20


def payload(body: bytes) -> bytes | BytesIO:
    """`body` as it is where it is small: it leaves with its head, not 40 ms later (Nagle's algorithm). A large one as a file:
    it is sent in pieces, between which others get their turn; the library warns of one that is bytes."""
    return body if len(body) < _WHOLE else BytesIO(body)
