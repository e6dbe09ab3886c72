"""Stars out what looks like a secret or a person in logged content. A courtesy, not a guarantee."""

from __future__ import annotations

import re
from typing import Any, Final

_PATTERNS: Final = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL), "[private key]"),
    (re.compile(r"\b(?:sk|pk|rk|ghp|gho|xox[abp]|AKIA|AIza|hf)[-_]?[A-Za-z0-9_\-]{12,}"), "[key]"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"), "[token]"),
    (re.compile(r"(?i)\b(bearer|password|passwd|secret|api[_-]?key)(\s*[:=]\s*|\s+is\s+|\s+)(\S{6,})"), r"\1\2[secret]"),
    (re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), "[email]"),
    (re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}\b"), "[ip]"),
    (re.compile(r"(?<![\w.])\+?\d(?:[ ()-]?\d){8,17}(?![\w.])"), "[number]"),
)


def redact(text: str) -> str:
    """`text` with keys, tokens, passwords, mail addresses, IP addresses and long numbers replaced by their kind."""
    for pattern, label in _PATTERNS:
        text = pattern.sub(label, text)
    return text


def redact_all(value: Any) -> Any:
    """The same for every string in a JSON value."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: redact_all(item) for key, item in value.items()}
    if isinstance(value, list):
        return [redact_all(item) for item in value]
    return value
