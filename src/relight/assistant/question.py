"""What of a message is asked: "I loved your talk. How do I book a call?" asks for a call. Pure; knows no model."""

from __future__ import annotations

import re
from typing import Final

_ENDS: Final = re.compile(
    # After a sentence; at a dash or semicolon; where somebody comes to the point.
    r"(?<=[.!?])\s+|\s[-–—]+\s|;\s|,\s(?=(?:but|so)\b)|\b(?:anyway|though|however)\b,?\s?",
    re.IGNORECASE,
)
_SHORTEST: Final = 3  # words; "Hi there." and "Thanks!" are no part of a question
_MOST_CHARACTERS: Final = 1000


def asked(message: str) -> str | None:
    """The part of `message` that is asked: its last question, else its last sentence; None when it is all one."""
    parts = [part.strip(" ,") for part in _ENDS.split(message[-_MOST_CHARACTERS:])]
    parts = [part for part in parts if len(part.split()) >= _SHORTEST]
    if len(parts) < 2:
        return None
    return next((part for part in reversed(parts) if part.endswith("?")), parts[-1])
