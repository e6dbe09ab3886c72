"""How much text a request asks to be read. Knows how dialects write images, and nothing else of them."""

from __future__ import annotations

from typing import Final

from relight.errors import BodyTooLarge
from relight.values import format_bytes
from relight.wire.mending import Fields, says

_LONGEST_TYPE: Final = 100  # characters
_LONGEST_URL: Final = 2048


def check_size(found: Fields, limit: int) -> None:
    """Raises `BodyTooLarge` when the texts of the prompt have more than `limit` bytes together; images do not count.

    Raises `InvalidRequest` for a field that is no JSON.
    """
    total = sum(_text_bytes(says(found, name)) for name in found)
    if total > limit:
        raise BodyTooLarge(
            f"prompt: its text has {format_bytes(total)}, and {format_bytes(limit)} are taken",
            hint="send less, or raise limits.max_prompt",
        )


def _text_bytes(value: object) -> int:
    """The bytes of all texts below `value`. No recursion: how deep it is nested is the client's choice."""
    total, rest = 0, [value]
    while rest:
        one = rest.pop()
        if isinstance(one, str):
            total += len(one.encode(errors="replace"))
        elif isinstance(one, dict):
            rest += [item for name, item in one.items() if not _is_media(one, name, item)]
        elif isinstance(one, list):
            rest += one
    return total


def _is_media(holder: dict[str, object], name: str, value: object) -> bool:
    """Whether a field holds an image or a document instead of words: `{"url": "data:…"}`, `{"type": "base64", "data": "…"}`."""
    if name == "data":
        return holder.get("type") == "base64" and isinstance(holder.get("media_type"), str)
    if name not in ("url", "image_url") or not isinstance(value, str):
        return False
    if value.startswith("data:"):
        return ";base64," in value[:_LONGEST_TYPE] and " " not in value
    return value.startswith(("https://", "http://")) and len(value) <= _LONGEST_URL
