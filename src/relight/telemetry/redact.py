"""Stars out what looks like a secret or a person in logged content. A courtesy, not a guarantee."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

_MAX_DEPTH: Final = 100
# Each pattern starts only where a word starts and is bounded or runs to the end of the word: time stays linear in the text.
_PATTERNS: Final = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL), "[private key]"),
    # A key has digits; `sk-learn-compatible` and `skeletonization` have none.
    (re.compile(r"(?<![\w-])(?:(?:sk|pk|rk|gsk|hf|gh[oprsu]|github_pat|glpat|xox[abprs])[-_])(?=[\w-]*\d)[\w-]{12,}"), "[key]"),
    (re.compile(r"(?<![\w-])(?:AKIA[A-Z0-9]{12,}|AIza[\w-]{12,})"), "[key]"),
    (re.compile(r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), "[token]"),
    (re.compile(r"(?i)\b(bearer)(\s+)(?=\S*\d)[^\s\"',;]{6,}"), r"\1\2[secret]"),
    # `password: x`, `"api_key": "x"`, `password is x1`; not `secret = load(…)`, which is code, nor "the password is required".
    (
        re.compile(
            r"(?i)\b(password|passwd|secret|api[_-]?key)([\"']?\s*[:=]\s*[\"']?|\s+is\s+(?=\S*[\d_!@#$%^&*]))"
            r"(?![\w.]+[(\[])[^\s\"']{6,}"
        ),
        r"\1\2[secret]",
    ),
    # The last part of a host is letters: `lodash@4.17.21` is a version.
    (re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[A-Za-z]{2,24}\b"), "[email]"),
    (re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?!\w|\.\d)"), "[ip]"),
    # Nine digits and more, in groups as people write them; not a date with a time after it.
    (re.compile(r"(?<![\w.-])(?!\d{4}-\d\d-\d\d)\+?\(?\d(?:[ ()-]{0,2}\d){8,17}(?!\w|\.\d)"), "[number]"),
)


def redact(text: str) -> str:
    """`text` with keys, tokens, passwords, mail addresses, IP addresses and long numbers replaced by their kind."""
    for pattern, label in _PATTERNS:
        text = pattern.sub(label, text)
    return text


def change_all(value: Any, change: Callable[[str], str], depth: int = 0) -> Any:
    """A JSON value with `change` made to every string in it; what is nested deeper than anybody reads is left out."""
    if depth > _MAX_DEPTH:
        return "[nested too deeply]"
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: change_all(item, change, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [change_all(item, change, depth + 1) for item in value]
    return value
