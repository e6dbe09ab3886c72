"""A file that is one text, such as instructions for a model: put there whole, taken away whole. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

Path = Sequence[str | int]

WHOLE: Final = ("text",)
"""The one place in such a file."""


def read(text: str) -> Any:
    """The text at its place; nothing where there is none."""
    return {WHOLE[0]: text} if text else {}


def put(text: str, path: Path, value: object) -> str:
    """The new text, whatever was there."""
    return str(value)


def remove(text: str, path: Path) -> str:
    """No text."""
    return ""


def line_of(text: str, path: Path) -> int | None:
    """Where it begins."""
    return 1
