"""The routes of the chat page."""

from __future__ import annotations

from relight.errors import PathNotFound
from relight.serve import pages
from relight.serve.http import Request


class Pages:
    """Serves the page and what it loads; all of it lies in the package."""

    async def index(self, request: Request) -> None:
        """The chat page."""
        await _send(request, pages.page(), cache=b"no-cache")

    async def asset(self, request: Request) -> None:
        """A file that the page loads."""
        asset = pages.asset(request.path.removeprefix("/assets/"))
        if asset is None:
            raise PathNotFound(f"{request.path}: there is nothing here")
        await _send(request, asset, cache=b"no-cache")


async def _send(request: Request, asset: pages.Asset, *, cache: bytes) -> None:
    headers = [
        (b"content-type", asset.content_type.encode()),
        (b"etag", asset.etag.encode()),
        (b"cache-control", cache),
        (b"content-security-policy", pages.CSP.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
    ]
    if request.headers.get(b"if-none-match") == asset.etag.encode():
        await request.start(304, headers[1:3])
        await request.send({"type": "http.response.body", "body": b""})
    else:
        await request.answer(200, asset.body, headers)
