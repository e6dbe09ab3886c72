"""The routes of the pages and of the widget."""

from __future__ import annotations

from collections.abc import Mapping

from relight.errors import PathNotFound
from relight.serve import pages
from relight.serve.http import Headers, Request

_NO_CACHE = (b"cache-control", b"no-cache")


class Pages:
    """Serves the page, what it loads, and the widget; all of it lies in the package.

    `assistant` is what the service says of its assistant (`title`, `greeting`, `suggestions`, `accent`, each where there is one),
    or `None` when it has none: then the page is the chat page, and there is no widget.
    """

    def __init__(self, assistant: Mapping[str, object] | None = None) -> None:
        self._page = pages.page(pages.CHAT if assistant is None else pages.ASSISTANT)
        self._assistant = assistant
        self._widget: pages.Asset | None = None

    async def index(self, request: Request) -> None:
        """The page."""
        await _send(request, self._page, _OWN)

    async def asset(self, request: Request) -> None:
        """A file that the page loads."""
        asset = pages.asset(request.path.removeprefix("/assets/"))
        if asset is None:
            raise PathNotFound(f"{request.path}: there is nothing here")
        await _send(request, asset, _OWN)

    async def widget(self, request: Request) -> None:
        """The script that puts the assistant on anybody's page. It holds no secret; who may ask is for `/chat` to say."""
        if self._assistant is None:
            raise PathNotFound("/widget.js: this service has no assistant", hint="add [assistant] to relight.toml")
        if self._widget is None:
            self._widget = pages.widget(self._assistant)
        # What answers a request with an origin names that origin already, which would be in the way of what a cache keeps.
        request.extra = [header for header in request.extra if not header[0].startswith(b"access-control-")]
        await _send(request, self._widget, _ANYBODYS)


_OWN: Headers = [(b"content-security-policy", pages.CSP.encode()), (b"referrer-policy", b"no-referrer")]
_ANYBODYS: Headers = [(b"access-control-allow-origin", b"*"), (b"cross-origin-resource-policy", b"cross-origin")]


async def _send(request: Request, asset: pages.Asset, headers: Headers) -> None:
    kept = [(b"etag", asset.etag.encode()), _NO_CACHE]
    if request.headers.get(b"if-none-match") == asset.etag.encode():
        await request.start(304, [*kept, *headers])
        await request.send({"type": "http.response.body", "body": b""})
    else:
        kind = [(b"content-type", asset.content_type.encode()), (b"x-content-type-options", b"nosniff")]
        await request.answer(200, asset.body, [*kind, *kept, *headers])
