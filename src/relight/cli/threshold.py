"""One value into a configuration file, whose comments and order stay. Pure; knows the key `assistant.threshold`."""

from __future__ import annotations

import re
import tomllib
from typing import Final

from relight.errors import UsageError

_TABLE: Final = re.compile(r"^\s*\[assistant\]\s*(#.*)?$")
_ANY_TABLE: Final = re.compile(r"^\s*\[")
_KEY: Final = re.compile(r"^(\s*threshold\s*=\s*)[^#\n]*?(\s*(?:#.*)?)$")


def with_threshold(text: str, threshold: float) -> str:
    """`text`, with `assistant.threshold` set. Raises `UsageError` when that cannot be done by changing one line."""
    lines = text.split("\n")
    start = next((number for number, line in enumerate(lines) if _TABLE.match(line)), None)
    if start is not None:
        _set(lines, start, threshold)
        changed = "\n".join(lines)
        if _is_all_that_changed(text, changed, threshold):
            return changed
    raise UsageError(
        "modes fit: assistant.threshold cannot be put into this file without risk",
        hint=f"write it yourself: threshold = {threshold}",
    )


def _set(lines: list[str], start: int, threshold: float) -> None:
    for number in range(start + 1, len(lines)):
        if _ANY_TABLE.match(lines[number]):
            break
        if match := _KEY.match(lines[number]):
            lines[number] = f"{match[1]}{threshold}{match[2]}"
            return
    lines.insert(start + 1, f"threshold = {threshold}")


def _is_all_that_changed(before: str, after: str, threshold: float) -> bool:
    """Whether both files say the same but for the threshold: a line in a text of several lines may look like a key."""
    try:
        old, new = tomllib.loads(before), tomllib.loads(after)
    except tomllib.TOMLDecodeError:
        return False
    wanted = {**old, "assistant": {**old.get("assistant", {}), "threshold": threshold}}
    return new == wanted
