"""Who may pass the door, before anything is spent on them. Knows no model."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from relight.access.keys import Keys, presented
from relight.config.checks import is_loopback
from relight.errors import Forbidden, Unauthorized
from relight.serve.http import Request

# What answers anybody: probes, and the page, which holds nothing and asks for the key itself.
_OPEN: Final = frozenset({"/livez", "/readyz", "/", "/api/hello"})


class Visitor(Struct, frozen=True):
    """Who asks: the name of the key, if one was needed, and whom limits are counted for."""

    key: str
    who: str


class Gate:
    """Asks for a key when there are keys; else serves only this machine, unless `server.public` is set."""

    def __init__(self, keys: Keys | None, *, public: bool) -> None:
        self._keys = keys
        self._is_public = public

    @property
    def is_open_to_pages(self) -> bool:
        """Whether pages of any origin may call: a key is not sent by a browser of itself, so nobody can be tricked into it."""
        return self._keys is not None or self._is_public

    def admit(self, request: Request) -> Visitor:
        """Raises `Unauthorized` without a right key, or `Forbidden` for whoever only seems to be on this machine."""
        if self._keys is not None:
            return self._by_key(self._keys, request)
        if not self._is_public:
            _check_local(request)
        return Visitor("", request.remote)

    def admit_to(self, path: str, request: Request) -> None:
        """As `admit`, for a route that is no model's."""
        if path in ("/livez", "/readyz") or (self._keys is not None and (path in _OPEN or path.startswith("/assets/"))):
            return
        self.admit(request)

    def _by_key(self, keys: Keys, request: Request) -> Visitor:
        secret = presented(request.headers)
        if secret is None:
            raise Unauthorized(
                "request: has no key", hint="send it as Authorization: Bearer KEY or as x-api-key: KEY (relight keys create)"
            )
        key = keys.find(secret)
        if key is None:
            raise Unauthorized("request: its key is not known here", hint="make one with relight keys create, or correct it")
        return Visitor(key.name, key.name)


def _check_local(request: Request) -> None:
    """A web page from elsewhere can make this machine's browser send requests here, by its own name made to point at the
    loopback address (then `Host` tells) or straight across origins (then `Origin` tells)."""
    came_through = next((name for name in (b"x-forwarded-for", b"forwarded") if name in request.headers), None)
    if (request.remote and not is_loopback(request.remote)) or came_through is not None:
        raise Forbidden(
            "request: comes from another machine, and this server answers only this one",
            hint="make a key (relight keys create), or set server.public = true",
        )
    host = _name(request.headers.get(b"host", b""))
    if host and not is_loopback(host):
        raise Forbidden(
            f'request: addressed to "{host}", and this server answers only this machine',
            hint="call it by 127.0.0.1 or localhost; or make a key (relight keys create), or set server.public = true",
        )
    if request.method not in ("GET", "HEAD") and request.headers.get(b"sec-fetch-site") == b"cross-site":
        raise Forbidden(
            "request: sent by a page of another site, and this server answers only this machine",
            hint="if that page shall use it, make a key (relight keys create) or set server.public = true",
        )
    origin = request.headers.get(b"origin")
    if origin is not None and not is_loopback(_name(origin.partition(b"://")[2])):
        raise Forbidden(
            f"request: sent by a page of {origin.decode('latin-1')}, and this server answers only this machine",
            hint="if that page shall use it, make a key (relight keys create) or set server.public = true",
        )


def _name(authority: bytes) -> str:
    text = authority.decode("latin-1").lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") <= 1 else text
