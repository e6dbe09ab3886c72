"""JSON as small models write it, read as far as it can be read in one way only; must not know what it is for. No I/O.

json-repair guesses; what it guesses is taken only where nothing was lost or invented: every letter and digit is still there, no
text is open at the end, every key was one, and no quotation mark inside a text could as well have ended it. A command that was
cut off is another command. The library is imported when something is broken, and not before.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from relight.decoding import NOT_JSON

MOST: Final = 1 << 16
"""Characters of broken JSON that are looked at: the library reads slowly."""

_ESCAPED: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|[\"\\/bfnrt])")
_STRUCTURAL: Final = re.compile(r"[\"']\s*[,:}\]]")
_SIGNS: Final = re.compile(r"[\W_]+")
_WORDS: Final = (("true", "true"), ("false", "false"), ("none", "null"), ("undefined", "null"))
_DEEPEST: Final = 60


def loads(text: str) -> Any:
    """The value of JSON text; raises `ValueError` where it is none."""
    try:
        return msgspec.json.decode(text)
    except NOT_JSON as error:
        raise ValueError(str(error)) from error


def repaired(text: str) -> Any:
    """The value that broken JSON can only have meant; raises `ValueError` where that is not clear."""
    text = text.strip()
    if len(text) > MOST or text[:1] not in ("{", "[") or _is_open(text):
        raise ValueError("cannot be read in one way only")
    import json_repair

    try:
        value = json_repair.loads(text, skip_json_loads=True)
    except (ValueError, RecursionError, IndexError, TypeError) as error:
        raise ValueError("cannot be repaired") from error
    is_same = isinstance(value, dict | list) and _letters(_flat(value)) == _letters(text)
    if not is_same or any(map(_STRUCTURAL.search, _texts(value))) or not all(_is_key(key, text) for key in _keys(value)):
        raise ValueError("cannot be read in one way only")
    return value


def read(text: str) -> Any:
    """The value of JSON text, repaired where it has to be; raises `ValueError`."""
    try:
        return loads(text)
    except ValueError:
        return repaired(text)


def _is_open(text: str) -> bool:
    """Whether the end may be missing: a text, a number or a word that stops in the middle. Missing brackets are no such thing."""
    bare = _ESCAPED.sub("", text)
    return bare.count('"') % 2 == 1 or not bare.endswith(('"', "'", "}", "]"))


def _letters(text: str) -> str:
    """What no repair may change."""
    told = _SIGNS.sub("", _ESCAPED.sub(_unescaped, text)).casefold()
    for word, written in _WORDS:
        told = told.replace(word, written)
    return told


def _unescaped(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16)) if escape[1] else ""


def _is_key(key: str, text: str) -> bool:
    return re.search(rf"{re.escape(key)}[\"']?\s*:", text) is not None


def _keys(value: Any) -> list[str]:
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return [*(value if isinstance(value, dict) else ()), *(key for one in inner for key in _keys(one))]


def _flat(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _texts(value: Any, depth: int = 0) -> list[str]:
    if isinstance(value, str):
        return [value]
    if depth > _DEEPEST:
        raise ValueError("nested too deeply")
    inner = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    return [text for one in inner for text in _texts(one, depth + 1)]
