"""Whose program is at the other end of a connection on this machine, as the kernel lists it. On Linux; elsewhere nobody knows.

A port of the loopback is open to every user of a machine, unlike a file: this tells them apart without anything that a client
would have to know.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

Place = tuple[str, int]
"""An IPv4 address and a port."""

_LISTS: Final = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_MAPPED: Final = bytes(10) + b"\xff\xff"
_ADMINISTRATOR: Final = 0


def owner(client: Place, here: Place) -> int | None:
    """The user whose socket `client` is, connected to `here`; None where nobody knows, or it was let go by its program."""
    wanted = [f" {_written(client, prefix)} {_written(here, prefix)} " for prefix in (b"", _MAPPED)]
    for text in _lists():
        # Of what may be a long list only the one line is taken apart.
        at = max(text.find(pair) for pair in wanted)
        if at < 0:
            continue
        # sl, local, remote, state, queues, timer, retransmissions, uid, timeout, inode
        fields = text[text.rfind("\n", 0, at) + 1 : text.find("\n", at)].split()
        # A socket without an inode has no program any more, and is listed as the administrator's.
        return int(fields[7]) if len(fields) > 9 and fields[9] != "0" else None
    return None


def may_pass(uid: int | None) -> bool:
    """Whether a program of that user may use what is this user's: their own may, and the administrator's, who could anyhow."""
    return uid is not None and uid in {os.getuid(), _ADMINISTRATOR}


def is_told() -> bool:
    """Whether this machine says whose a connection is: tried with one of our own, to a port that nobody else knows of yet. Where
    that cannot be tried, whether it should."""
    if not hasattr(os, "getuid"):
        return False
    try:
        with (
            socket.create_server(("127.0.0.1", 0)) as there,
            socket.create_connection(there.getsockname(), timeout=1.0) as ours,
        ):
            return owner(ours.getsockname(), there.getsockname()) == os.getuid()
    except OSError:
        return sys.platform.startswith("linux")


def _lists() -> Iterator[str]:
    for file in _LISTS:
        try:
            yield file.read_text(encoding="ascii")
        except (OSError, ValueError):
            continue


def _written(place: Place, prefix: bytes) -> str:
    """An address as the kernel writes it: each four bytes as a number of this machine's."""
    raw = prefix + socket.inet_aton(place[0])
    words = (int.from_bytes(raw[start : start + 4], sys.byteorder) for start in range(0, len(raw), 4))
    return f"{''.join(f'{word:08X}' for word in words)}:{place[1]:04X}"
