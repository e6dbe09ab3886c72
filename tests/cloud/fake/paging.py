"""Lists in pages, as Google's APIs give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from tests.cloud.fake.server import Refused

T = TypeVar("T")


def paged(found: Sequence[T], query: Mapping[str, str], *, most: int) -> tuple[list[T], str]:
    """One page of `found` and the token of the next one, empty after the last; a page has `most` at the most."""
    token = query.get("pageToken", "") or "0"
    if not token.isdigit() or int(token) > len(found):
        raise Refused(400, "INVALID_ARGUMENT", "Invalid page token.")
    start, size = int(token), min(int(query.get("pageSize", 0)) or most, most)
    end = start + size
    return list(found[start:end]), str(end) if end < len(found) else ""
