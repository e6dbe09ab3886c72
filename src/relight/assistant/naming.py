"""Whom "you" means: a question about somebody, put with a name or without any. English only."""

from __future__ import annotations

import re
from typing import Final

_VERBS: Final = {"do": "does", "have": "has", "are": "is", "were": "was"}
_YOU: Final = re.compile(
    r"\b(?:(do|did|have|are|were|can|could|would|will) )?(you|u|ya)\b(?: (are|were|have|do)\b)?", re.IGNORECASE
)
_ALONE: Final = re.compile(r"\b(?:you|u|ya)\b", re.IGNORECASE)
_YOUR: Final = re.compile(r"\b(?:yours|your|ur)\b", re.IGNORECASE)


def about(question: str, subject: str) -> str:
    """`question` with `subject` where it says "you": what is written about somebody says a name."""
    text = _YOUR.sub(f"{subject}'s", question)
    return _YOU.sub(lambda match: _third(match, subject), text)


def _third(match: re.Match[str], subject: str) -> str:
    before, after = match[1], match[3]
    words = [_VERBS.get(before.lower(), before)] if before else []
    words.append(subject)
    words += [_VERBS.get(after.lower(), after)] if after else []
    return " ".join(words)


def unnamed(text: str, subject: str) -> str:
    """`text` without `subject` and without the words for "you": what is left tells one text about somebody from another."""
    name = re.compile(rf"\b{re.escape(subject)}\b(?:['’]s\b)?", re.IGNORECASE)
    return " ".join(_YOUR.sub(" ", _ALONE.sub(" ", name.sub(" ", text))).split())
