"""The service's own keys: made, written down as digests, found again. Knows no file, no configuration and no request body.

A key is 256 random bits, so one SHA-256 is enough to store it: slow password hashes exist for texts that people choose and
machines can guess, and nobody can guess one of 2^256. It also costs a microsecond a request instead of a tenth of a second.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from relight.errors import ConfigError, UsageError

PREFIX: Final = "rl_"
NAME_PATTERN: Final = "[a-z0-9][a-z0-9._-]*"
_BYTES: Final = 32
_ENTRY: Final = re.compile(rf"(?P<name>{NAME_PATTERN}):(?:(?P<created>\d{{4}}-\d\d-\d\d):)?(?P<digest>[0-9a-fA-F]{{64}})")
_FORM: Final = "NAME:SHA256 or NAME:DATE:SHA256"


@dataclass(frozen=True, slots=True)
class Key:
    """What is kept of a key: its name, the day it was made (if known) and its SHA-256."""

    name: str
    digest: bytes
    created: str | None = None

    def __str__(self) -> str:
        """The entry, as it is written down."""
        return ":".join(part for part in (self.name, self.created, self.digest.hex()) if part)


class Keys:
    """The keys that are known, in the order they were written down."""

    def __init__(self, keys: tuple[Key, ...] = ()) -> None:
        self._keys = keys

    @classmethod
    def parse(cls, text: str, *, where: str = "RELIGHT_KEYS") -> Keys:
        """Read entries between commas, spaces or line breaks; raises `ConfigError` that names an entry by its position.

        No entry is shown: somebody may have put the key itself there.
        """
        found: dict[str, Key] = {}
        for number, entry in enumerate(re.split(r"[,\s]+", text.strip(", \t\r\n")) if text.strip(", \t\r\n") else [], start=1):
            match = _ENTRY.fullmatch(entry)
            if match is None:
                what = "is a key itself, not the entry of one" if entry.startswith(PREFIX) else f"is not {_FORM}"
                raise ConfigError(f"{where}: entry {number} {what}", hint="make one with: relight keys create NAME")
            if match["name"] in found:
                raise ConfigError(f'{where}: entry {number} is a second one called "{match["name"]}"', hint="take one out")
            found[match["name"]] = Key(match["name"], bytes.fromhex(match["digest"]), match["created"])
        return cls(tuple(found.values()))

    def find(self, presented: str) -> Key | None:
        """The key that `presented` is. Takes as long for a wrong key as for a right one."""
        digest = _digest(presented)
        found = None
        for key in self._keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found

    def named(self, name: str) -> Key | None:
        """The key called `name`."""
        return next((key for key in self._keys if key.name == name), None)

    def with_key(self, key: Key) -> Keys:
        """These and `key`."""
        return Keys((*self._keys, key))

    def without(self, name: str) -> Keys:
        """These but the one called `name`."""
        return Keys(tuple(key for key in self._keys if key.name != name))

    def __iter__(self) -> Iterator[Key]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __str__(self) -> str:
        """The entries, as they are written down."""
        return ",".join(str(key) for key in self._keys)


def create(name: str, day: str) -> tuple[str, Key]:
    """A new key called `name`, made on `day` (2026-11-22): the text that its owner presents, and what is kept of it.

    The text is nowhere afterwards but with its owner. Raises `UsageError` when `name` cannot be one.
    """
    if not re.fullmatch(NAME_PATTERN, name):
        raise UsageError(f'keys: "{name}" is no name for a key', hint="use small letters, digits and . _ -")
    text = PREFIX + secrets.token_urlsafe(_BYTES)
    return text, Key(name, _digest(text), day)


def presented(headers: Mapping[bytes, bytes]) -> str | None:
    """The key that a request presents: `Authorization: Bearer KEY`, else `x-api-key: KEY`; None when there is neither.

    `headers` are in lower case. The query is not looked at: addresses end up in logs and histories.
    """
    scheme, _, credentials = headers.get(b"authorization", b"").strip().partition(b" ")
    if scheme.lower() == b"bearer" and credentials.strip():
        return credentials.strip().decode("latin-1")
    return headers.get(b"x-api-key", b"").strip().decode("latin-1") or None


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
