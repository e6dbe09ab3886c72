"""The port, before everything else: clients that connect while the rest is imported wait instead of being refused.

Imports next to nothing: a TOML parser alone would take longer than all that is done here. So the file is skimmed, and
read again with all checks once the port is bound. Nothing is accepted before that, and a port that was read wrongly is
given back and the right one bound.
"""

from __future__ import annotations

import os
import socket
import sys

_BACKLOG = 2048
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def bind(argv: list[str]) -> socket.socket | None:
    """A listening socket for `relight serve ARGV`; `None` when it is better bound later, with a proper error.

    Only addresses of this machine's loopback, or with `public` set, are bound before the configuration is checked.
    """
    try:
        server = skim(_option(argv, "--config", "-c") or "relight.toml")
        host = _option(argv, "--host") or os.environ.get("RELIGHT_SERVER__HOST") or server.get("host", "127.0.0.1")
        port = _option(argv, "--port", "-p") or os.environ.get("PORT") or os.environ.get("RELIGHT_SERVER__PORT")
        is_public = "true" in (os.environ.get("RELIGHT_SERVER__PUBLIC", "").lower(), server.get("public"))
        if host not in _LOOPBACK and "--public" not in argv and not is_public:
            return None
        return listen(host, int(port or server.get("port", "8080")))
    except (OSError, ValueError):
        return None


def heed_signals() -> None:
    """In a container this is the first process, to which the kernel delivers no signal that it does not handle: until the server
    does, SIGTERM ends it at once."""
    if os.getpid() == 1:
        import signal

        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))


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


def skim(file: str) -> dict[str, str]:
    """The plain `key = value` lines of the `[server]` section, unquoted; raises `OSError`, `ValueError`."""
    found, is_inside = {}, False
    with open(file, encoding="utf-8") as lines:  # noqa: PTH123 - pathlib costs more than this function
        for line in lines:
            text = line.partition("#")[0].strip()
            if text.startswith("["):
                is_inside = text == "[server]"
            elif is_inside and "=" in text:
                key, _, value = text.partition("=")
                found[key.strip()] = value.strip().strip("\"'")
    return found


def wants_early(argv: list[str]) -> bool:
    """True for `relight serve …` that will really serve."""
    return len(argv) > 1 and argv[1] == "serve" and not {"--help", "-h"} & set(argv) and sys.platform != "win32"


def _option(argv: list[str], *names: str) -> str | None:
    for position, word in enumerate(argv):
        for name in names:
            if word == name and position + 1 < len(argv):
                return argv[position + 1]
            if word.startswith(f"{name}="):
                return word.partition("=")[2]
    return None
