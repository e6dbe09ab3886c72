"""Who may use the bridge: programs on this machine that mean it, and no page in a browser. Pure.

The bridge lends out an identity, so it must not be had by whoever gets a browser here to send a request: a page of somebody
else's (`Origin`, `Sec-Fetch-Site`), or one whose name was made to point at this machine (`Host`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from relight.errors import Forbidden

HERE: Final = frozenset({"127.0.0.1", "localhost", "::1"})
"""Hosts that a URL can only mean this machine by."""
_OWN: Final = frozenset({"same-origin", "none"})


def refusal(headers: Mapping[str, str], target: str) -> Forbidden | None:
    """Why a request is refused, if it is. `headers` know no case; `target` stands in the request's first line."""
    host = headers.get("Host", "")
    if not target.startswith("/") or _name(host) not in HERE:
        return Forbidden(
            "bridge: a request should be for 127.0.0.1 or localhost, and this one names another host",
            hint="point the agent at the address that relight bridge shows",
        )
    origin = headers.get("Origin")
    is_foreign = origin is not None and _place(origin) != _place(f"http://{host}")
    if is_foreign or headers.get("Sec-Fetch-Site", "none").lower() not in _OWN:
        return Forbidden(
            "bridge: a page of another site may not use it", hint="the bridge is for programs on this machine, not for browsers"
        )
    return None


def of_others() -> Forbidden:
    """Why a program of another user is refused."""
    return Forbidden(
        "bridge: it is for programs of the user who started it",
        hint="start one as yourself, or have it started with --all-users",
    )


def _name(host: str) -> str | None:
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # raises for what is no number
    except ValueError:
        return None
    return None if parts.username is not None or parts.path else parts.hostname


def _place(origin: str) -> tuple[str, str | None, int]:
    try:
        parts = urlsplit(origin)
        return parts.scheme, parts.hostname, parts.port or 80
    except ValueError:
        return "", None, 0
