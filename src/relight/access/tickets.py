"""Tickets that say who may speak about an interaction: whoever got its answer. Knows no route and no record.

A ticket is the day of its issue and an HMAC over the day and the interaction, so nothing has to be kept: an instance checks what
another one issued when both have the same secret.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from base64 import urlsafe_b64encode
from typing import Final

from relight.errors import ConfigError, Forbidden

VALID_DAYS: Final = 7
LEAST_SECRET: Final = 16
_DAY_S: Final = 86400
# 128 bits: as hard to guess as any key, and half as long as the whole digest.
_TAG_BYTES: Final = 16
# So that the same secret, used for something else, never makes a ticket by accident.
_PURPOSE: Final = b"relight/feedback-ticket/v1"
_FORM: Final = re.compile(r"([0-9a-f]{1,6})\.[A-Za-z0-9_-]{22}")


class Tickets:
    """Issues tickets and checks them. Times are seconds since the Unix epoch; days are those of UTC.

    Without a `secret` a random one is taken: tickets then die with the process, and other instances refuse them.
    Raises `ConfigError` for a secret of fewer than `LEAST_SECRET` bytes, which somebody could guess.
    """

    def __init__(self, secret: bytes | None = None, *, where: str = "tickets") -> None:
        if secret is not None and len(secret) < LEAST_SECRET:
            raise ConfigError(
                f"{where}: the secret has {len(secret)} bytes, and {LEAST_SECRET} are the least",
                hint="make one with: openssl rand -hex 32",
            )
        self._is_shared = secret is not None
        # Its own key for its own purpose, of a fixed length whatever the secret's is.
        self._key = hmac.digest(secret or secrets.token_bytes(32), _PURPOSE, hashlib.sha256)

    def ticket(self, interaction_id: str, now: float) -> str:
        """The ticket for an interaction, valid from `now` until the end of the seventh day after; safe in an address."""
        return self._ticket(interaction_id, int(now // _DAY_S))

    def check(self, interaction_id: str, ticket: str, now: float) -> None:
        """Raises `Forbidden` unless `ticket` is one for this interaction, and not too old. No message says what would be."""
        match = _FORM.fullmatch(ticket)
        if match is None:
            raise Forbidden("ticket: is none of ours", hint="send the ticket that came with the answer, unchanged")
        day = int(match[1], 16)
        # The tag first: what is said about a day is only said of a day that we wrote.
        if not hmac.compare_digest(self._ticket(interaction_id, day).encode(), ticket.encode()):
            raise Forbidden("ticket: does not belong to this interaction", hint=self._advice())
        age = int(now // _DAY_S) - day
        if age > VALID_DAYS:
            raise Forbidden(
                f"ticket: is {age} days old, and {VALID_DAYS} is the most", hint="ask again; the new answer brings a new ticket"
            )
        if age < -1:  # a day is what clocks of two instances may differ by around midnight
            raise Forbidden("ticket: is from the future", hint="set this machine's clock")

    def _ticket(self, interaction_id: str, day: int) -> str:
        # The day stands in front, with an end of its own: no other pair of day and id makes the same text.
        told = f"{day:x}.{interaction_id}".encode("utf-8", "surrogatepass")
        tag = hmac.digest(self._key, told, hashlib.sha256)[:_TAG_BYTES]
        return f"{day:x}.{urlsafe_b64encode(tag).decode().rstrip('=')}"

    def _advice(self) -> str:
        same = "send the ticket that came with the answer to this very interaction"
        if self._is_shared:
            return same
        return f"{same}; without a configured secret, tickets do not survive a restart and are not known to other instances"
