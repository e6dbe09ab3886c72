"""Payloads and what is said of them, for the tests of this folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

from relight.prefixes.snapshot import About

GROUND = hashlib.sha256(b"ground").hexdigest()


def digest(text: str) -> str:
    """What a key looks like."""
    return hashlib.sha256(text.encode()).hexdigest()


def about(name: str = "one", *, ground: str = GROUND, prefill_s: float = 2.0) -> About:
    """What the maker of the prefix `name` knows."""
    return About(ground=ground, prefix=digest(name), label=name, tokens=300, prefill_s=prefill_s, made_at=1_790_000_000.5)


def payload(path: Path, data: bytes = b"GGSQ engine state " * 5) -> Path:
    """A file as an engine leaves it."""
    path.write_bytes(data)
    return path
