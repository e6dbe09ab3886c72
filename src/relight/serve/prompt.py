"""How much text a request asks to be read. Knows the names of the fields that hold prompts, and nothing else of a dialect."""

from __future__ import annotations

from typing import Final

import msgspec

from relight.errors import BodyTooLarge
from relight.values import format_bytes
from relight.wire.mending import Fields

_PROMPTS: Final = ("messages", "prompt", "input", "system", "instructions", "tools", "documents", "query")
_SKIPPED: Final = frozenset({"data", "url", "image_url", "images", "file_data"})


def check_size(found: Fields, limit: int) -> None:
    """Raises `BodyTooLarge` when the texts of the prompt have more than `limit` bytes together; images do not count."""
    total = sum(_text_bytes(msgspec.json.decode(found[name])) for name in _PROMPTS if name in found)
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
            rest += [item for name, item in one.items() if name not in _SKIPPED]
        elif isinstance(one, list):
            rest += one
    return total
