"""The identity that goes with every request: a token had when it is wanted, shared by all, renewed before its end.

Knows nothing of who gives tokens (`Tokens`), and tells nobody what one says but the account and its end.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec

from relight.background import in_background
from relight.clock import Clock
from relight.decoding import NOT_JSON
from relight.errors import RelightError

HEADER: Final = "X-Serverless-Authorization"
"""Google looks at this one first, and leaves `Authorization` to the service."""
SPARE_S: Final = 300.0
"""A token that ends sooner is not used any more: an answer may take minutes, and clocks differ."""
_SERVICE_ACCOUNT: Final = ".gserviceaccount.com"
_REST_S: Final = 10.0
"""After a failure nobody is asked for a token again for so long: that takes seconds, and each request would wait."""


class Tokens(Protocol):
    """Who gives identity tokens for one audience."""

    def mint(self) -> str | None:
        """A fresh token; None where none is needed, or can be had. Blocks. Raises a `RelightError` that says why not."""
        ...


class NoTokens:
    """For a service that asks nobody who they are."""

    def mint(self) -> str | None:
        return None


@dataclass(frozen=True, slots=True)
class Token:
    """A token; `account` is an e-mail address, if it names one, and `ends_at` seconds since the Unix epoch."""

    text: str
    account: str | None
    ends_at: float
    audience: str | None = None

    @property
    def kind(self) -> str:
        """Whose it is, and how far it goes, in words."""
        if (self.account or "").endswith(_SERVICE_ACCOUNT):
            return f"a service account's, for {self.audience or 'nobody in particular'} alone"
        return "a user's, good for every service that lets them in"

    def __repr__(self) -> str:
        return f"Token({self.account!r}, ends_at={self.ends_at}, ***)"


class Identity:
    """The token of a bridge. However many ask for it at once, it is minted once."""

    def __init__(self, tokens: Tokens, clock: Clock) -> None:
        self._tokens, self._clock = tokens, clock
        self._minting: asyncio.Task[None] | None = None
        self._failed_at: float | None = None
        self.is_wanted: bool | None = False if isinstance(tokens, NoTokens) else None
        """Whether the service asks who comes; None: it has not been asked yet. Nobody is shown a token who does not."""
        self.token: Token | None = None
        self.problem: RelightError | None = None
        """Why there is none."""

    @property
    def has_any(self) -> bool:
        """Whether there is anybody who could give a token."""
        return not isinstance(self._tokens, NoTokens)

    async def current(self) -> Token | None:
        """A token that is good for a while; None where there is none to be had, and `problem` says why."""
        token = self.token
        if token is not None and self._clock.wall() < token.ends_at - SPARE_S:
            return token
        return await self._minted()

    async def renewed(self, refused: Token | None) -> Token | None:
        """Another one than that which was refused; None where there is no other."""
        if self.token is refused:
            self.token = None
        if self.token is None:
            await self._minted()
        return self.token if self.token is not refused else None

    async def _minted(self) -> Token | None:
        if self._minting is None:
            if self._failed_at is not None and self._clock.now() - self._failed_at < _REST_S:
                return None
            self._minting = asyncio.create_task(self._mint())
        # Whoever leaves takes nothing away from those who wait for the same.
        await asyncio.shield(self._minting)
        return self.token

    async def _mint(self) -> None:
        self.token, self.problem, self._failed_at = None, None, None
        try:
            text = await in_background(self._tokens.mint, "relight-identity")
        except RelightError as error:
            self.problem = error
        else:
            self.token = None if text is None else read(text)
        finally:
            self._failed_at = self._clock.now() if self.token is None else None
            self._minting = None

    async def close(self) -> None:
        """Wait for nobody any more."""
        if self._minting is not None:
            self._minting.cancel()
            await asyncio.wait({self._minting})


def read(text: str) -> Token:
    """What a token says of itself, unchecked: that is for whoever it is shown to. One that says nothing is used once."""
    said = _claims(text)
    account, ends_at, audience = said.get("email"), said.get("exp"), said.get("aud")
    return Token(
        text,
        account if isinstance(account, str) else None,
        float(ends_at) if isinstance(ends_at, int | float) else 0.0,
        audience if isinstance(audience, str) else None,
    )


def _claims(text: str) -> dict[str, Any]:
    parts = text.split(".")
    if len(parts) != 3:
        return {}
    try:
        data = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        return msgspec.json.decode(data, type=dict[str, Any])
    except (binascii.Error, *NOT_JSON, msgspec.ValidationError):
        return {}
