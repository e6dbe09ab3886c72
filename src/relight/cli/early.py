"""The port, before everything else: clients that connect while the rest is imported wait instead of being refused.

Imports as little as it can. What it reads of the configuration it reads again, with all checks, once the port is bound;
nothing is accepted before that.
"""

from __future__ import annotations

import os
import socket
import sys
import tomllib
from pathlib import Path
from typing import Any, Final

_BACKLOG: Final = 2048
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


def bind(argv: list[str]) -> socket.socket | None:
    """A listening socket for `relight serve ARGV`; `None` when it is better bound later, with a proper error.

    Only addresses of this machine's loopback, or with `public` set, are bound before the configuration is checked.
    """
    try:
        server = _server(argv)
        host, port = _address(argv, server)
        return listen(host, port) if _is_allowed(host, argv, server) else None
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def listen(host: str, port: int) -> socket.socket:
    """Bind and listen; raises `OSError`."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(_BACKLOG)
    except OSError:
        bound.close()
        raise
    return bound


def _server(argv: list[str]) -> dict[str, Any]:
    file = _option(argv, "--config", "-c") or "relight.toml"
    server: dict[str, Any] = tomllib.loads(Path(file).read_text(encoding="utf-8")).get("server", {})
    return server


def _address(argv: list[str], server: dict[str, Any]) -> tuple[str, int]:
    host = _option(argv, "--host") or os.environ.get("RELIGHT_SERVER__HOST") or server.get("host", "127.0.0.1")
    port = _option(argv, "--port", "-p") or os.environ.get("PORT") or os.environ.get("RELIGHT_SERVER__PORT")
    return host, int(port or server.get("port", 8080))


def _is_allowed(host: str, argv: list[str], server: dict[str, Any]) -> bool:
    is_public = "--public" in argv or os.environ.get("RELIGHT_SERVER__PUBLIC", "").lower() == "true" or server.get("public")
    return host in _LOOPBACK or is_public is True


def _option(argv: list[str], *names: str) -> str | None:
    for position, word in enumerate(argv):
        for name in names:
            if word == name and position + 1 < len(argv):
                return argv[position + 1]
            if word.startswith(f"{name}="):
                return word.partition("=")[2]
    return None


def wants_early(argv: list[str]) -> bool:
    """True for `relight serve …` that will really serve."""
    return len(argv) > 1 and argv[1] == "serve" and not {"--help", "-h"} & set(argv) and sys.platform != "win32"
