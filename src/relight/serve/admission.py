"""Who may pass the door, before anything is spent on them. Knows no model."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from relight.access.keys import Keys, presented
from relight.config.assistant import Assistant
from relight.errors import Forbidden, Unauthorized
from relight.loopback import is_loopback
from relight.serve.http import Request

# What answers anybody: probes, and the page, which holds nothing and asks for the key itself.
_OPEN: Final = frozenset({"/livez", "/readyz", "/", "/api/hello", "/widget.js"})
# What a visitor needs to talk to the assistant.
_ASSISTANTS: Final = frozenset({"/chat", "/feedback", "/assistant", "/assistant/wake"})


class Visitor(Struct, frozen=True):
    """Who asks: the name of the key, if one was needed, and whom limits are counted for."""

    key: str
    who: str


class Gate:
    """Asks for a key when there are keys; else serves only this machine, unless `server.public` is set."""

    def __init__(self, keys: Keys | None, *, public: bool, assistant: Assistant | None = None, trusted_hops: int = 0) -> None:
        self._keys = keys
        self._is_public = public
        self._assistant_is_public = assistant is not None and assistant.public
        self._sites = frozenset(() if assistant is None else assistant.origins)
        self._trusted_hops = trusted_hops

    def address(self, request: Request) -> str:
        """Where a request comes from, as the nearest proxy that is trusted saw it."""
        if not self._trusted_hops:
            return request.remote
        from relight.access.visitors import visitor_address

        forwarded = [value for name, value in request.scope["headers"] if name == b"x-forwarded-for"]
        return visitor_address(request.remote, forwarded, self._trusted_hops)

    def admit(self, request: Request) -> Visitor:
        """Raises `Unauthorized` without a right key, or `Forbidden` for whoever only seems to be on this machine."""
        is_assistants = request.path in _ASSISTANTS
        if is_assistants and self._sites:
            self._check_site(request)
        if self._keys is not None and not (is_assistants and self._assistant_is_public and presented(request.headers) is None):
            return self._by_key(self._keys, request)
        if not self._is_public and not (is_assistants and self._assistant_is_public):
            _check_local(request)
        return Visitor("", self._group(request))

    def is_open_to_page(self, request: Request) -> bool:
        """Whether a page of another origin may call at all; a key is not sent by a browser of itself."""
        return self._keys is not None or self._is_public or (self._assistant_is_public and request.path in _ASSISTANTS)

    def admit_to(self, path: str, request: Request) -> None:
        """As `admit`, for a route that is no model's."""
        is_page = path in _OPEN or path.startswith("/assets/")
        if path in ("/livez", "/readyz") or ((self._keys is not None or self._assistant_is_public) and is_page):
            return
        self.admit(request)

    def _group(self, request: Request) -> str:
        """Whom limits are counted for: an address, or the network that one visitor has for himself."""
        if not self._trusted_hops and ":" not in request.remote:
            return request.remote
        from relight.access.visitors import limit_group

        return limit_group(self.address(request))

    def _check_site(self, request: Request) -> None:
        """Raises `Forbidden` for a page of a site that may not embed the assistant."""
        site = request.headers.get(b"origin")
        if site is None or site.decode("latin-1") in self._sites:
            return
        if site.partition(b"://")[2] == request.headers.get(b"host"):
            return
        raise Forbidden(
            f"request: sent by a page of {site.decode('latin-1')[:100]}, which is none of assistant.origins",
            hint="add it to assistant.origins if it shall embed the assistant",
        )

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
