"""Which hosts are this machine itself: keys may travel to them in the clear, and they need no key to ask."""

from __future__ import annotations

import socket


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`. A name other than `localhost` may resolve to anything, so it is not."""
    if host.lower() == "localhost":
        return True
    # Addresses are read as the socket layer reads them: "127.1" or "127.0.0.1.example.org" are names to it.
    for family, is_ours in ((socket.AF_INET, _is_ours_v4), (socket.AF_INET6, _is_ours_v6)):
        try:
            return is_ours(socket.inet_pton(family, host))
        except (OSError, ValueError):
            continue
    return False


def _is_ours_v4(packed: bytes) -> bool:
    return packed[0] == 127


def _is_ours_v6(packed: bytes) -> bool:
    # ::1, or an IPv4 loopback address written as IPv6 (::ffff:127.0.0.1).
    return packed == bytes(15) + b"\x01" or (packed[:12] == bytes(10) + b"\xff\xff" and _is_ours_v4(packed[12:]))
