"""Who may pass the door, before anything is spent on them. Knows no model."""

from __future__ import annotations

from relight.config.checks import is_loopback
from relight.config.schema import Server
from relight.errors import Forbidden
from relight.serve.http import Request


def admit(request: Request, server: Server) -> None:
    """Without keys only this machine is served: raises `Forbidden` for whoever only seems to be on it.

    A web page from elsewhere can make this machine's browser send requests here, by its own name made to point at the
    loopback address (then `Host` tells) or straight across origins (then `Origin` tells).
    """
    if server.public:
        return
    host = _name(request.headers.get(b"host", b""))
    if host and not is_loopback(host):
        raise Forbidden(
            f'request: addressed to "{host}", and this server answers only this machine',
            hint="call it by 127.0.0.1 or localhost, or set server.public = true",
        )
    if request.method not in ("GET", "HEAD") and request.headers.get(b"sec-fetch-site") == b"cross-site":
        raise Forbidden(
            "request: sent by a page of another site, and this server answers only this machine",
            hint="set server.public = true if that page shall use it",
        )
    origin = request.headers.get(b"origin")
    if origin is not None and not is_loopback(_name(origin.partition(b"://")[2])):
        raise Forbidden(
            f"request: sent by a page of {origin.decode('latin-1')}, and this server answers only this machine",
            hint="set server.public = true if that page shall use it",
        )


def _name(authority: bytes) -> str:
    text = authority.decode("latin-1").lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") <= 1 else text
