"""The answer of a provider as it arrives. Knows no dialect; changes no byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

from relight.errors import ProviderUnavailable, RelightError
from relight.providers.failure import broken, late
from relight.providers.target import Target
from relight.values import format_bytes

if TYPE_CHECKING:
    from aiohttp import ClientResponse

_LIMIT: Final = 16 << 20
# The library takes both off: what arrives here is neither compressed nor counted as it was on the way.
_ENCODED: Final = frozenset({b"content-encoding", b"content-length"})


class Answer:
    """Status, headers and body. `piece()`, `chunks()` or `read()` once; `close()` at any time, more than once if need be.

    `retries` is how often the provider had to be asked again. Once read to its end, its connection is kept for another request.
    """

    def __init__(self, response: ClientResponse, target: Target, *, first: bytes, left_s: float) -> None:
        self.status = response.status
        self.headers = _headers(response)
        self.retries = 0
        self._response = response
        self._target = target
        self._first = first
        self._is_late = False
        self._timer = asyncio.get_running_loop().call_later(max(left_s, 0.0), self._expire)

    def get(self, name: bytes) -> bytes | None:
        """The first header of that name (in lower case)."""
        return next((value for key, value in self.headers if key == name), None)

    async def piece(self) -> bytes:
        """The next bytes of the body, with all that has piled up; nothing at its end. The provider is held back meanwhile.

        Raises `ProviderTimeout` when the whole answer takes too long, `ProviderUnavailable` when it breaks off.
        """
        if self._first:
            first, self._first = self._first, b""
            return first
        chunk = await self._arrived()
        if chunk is None:
            self.close()
            # Raised outside the handler: the library's error holds the request's headers, and goes no further.
            raise self._failure()
        if not chunk:
            self._timer.cancel()
        return chunk

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body piece by piece."""
        while piece := await self.piece():
            yield piece

    async def read(self, limit: int = _LIMIT) -> bytes:
        """The whole body; raises as `piece` does, and `ProviderUnavailable` when it has more than `limit` bytes."""
        parts, size = [], 0
        async for chunk in self.chunks():
            size += len(chunk)
            if size > limit:
                self.close()
                raise ProviderUnavailable(
                    f'model "{self._target.model}": {self._target.host} sent an answer larger than {format_bytes(limit)}'
                )
            parts.append(chunk)
        return b"".join(parts)

    def close(self) -> None:
        """Drop the connection; an answer still running is cancelled by it."""
        self._timer.cancel()
        self._response.close()

    async def _arrived(self) -> bytes | None:
        """What has arrived, nothing at the end, `None` when it broke off."""
        from aiohttp import ClientError

        try:
            return await self._response.content.readany()
        except (ClientError, OSError, RuntimeError):
            return None  # the library's RuntimeError says that the connection had been closed before
        except BaseException:
            self.close()
            raise

    def _failure(self) -> RelightError:
        return late(self._target) if self._is_late else broken(self._target).error

    def _expire(self) -> None:
        self._is_late = True
        self._response.close()


def _headers(response: ClientResponse) -> list[tuple[bytes, bytes]]:
    headers = [(name.lower(), value) for name, value in response.raw_headers]
    if all(name != b"content-encoding" for name, _ in headers):
        return headers
    return [(name, value) for name, value in headers if name not in _ENCODED]
