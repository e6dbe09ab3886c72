"""Who a visitor is when proxies stand before us: the address that the outermost trusted one saw. Pure; knows no request.

`X-Forwarded-For` is a list that every proxy appends to: what is left of our own proxies' entries is the visitor's own word, and
believing it would let anybody take any address, or a new one for each request.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final

# Longer than any honest header; the visitor may have sent it.
_MAX_HEADER: Final = 8192
_VISITOR_BITS: Final = 64


def visitor_address(remote: str, forwarded_for: Sequence[bytes], trusted_hops: int) -> str:
    """The visitor's address, in its shortest form; `remote` (of the connection) where no trusted proxy names another.

    `forwarded_for` are the values of all `X-Forwarded-For` lines in their order; `trusted_hops` is how many proxies of our own
    the request passes: 1 is right behind Cloud Run or one nginx, 0 ignores the header. The n-th entry from the right is what
    the n-th proxy, counted from us, saw. A shorter list did not come through them, and what is no address says nothing.
    """
    if trusted_hops <= 0:
        return _plain(remote) or remote
    # Counted from the right: what a visitor puts in front, however long, is not read and pushes nothing out.
    entries = b",".join(forwarded_for)[-_MAX_HEADER:].decode("latin-1").rsplit(",", trusted_hops)
    seen = _plain(entries[-trusted_hops]) if len(entries) >= trusted_hops else None
    return seen or _plain(remote) or remote


def limit_group(address: str) -> str:
    """What limits are counted for: an IPv4 address itself, of IPv6 the /64, since one visitor has a whole one to choose from."""
    try:
        found = ipaddress.ip_address(_plain(address) or address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    return str(ipaddress.IPv6Network((int(found) >> _VISITOR_BITS << _VISITOR_BITS, 128 - _VISITOR_BITS)))


def _plain(text: str) -> str | None:
    """An address without its port, brackets and zone; IPv4 written as IPv6 as the IPv4 that it is. None: it is no address."""
    text = text.strip(" \t")
    if text.startswith("["):
        text, end, port = text[1:].partition("]")
        if not end or (port and not (port[0] == ":" and _is_port(port[1:]))):
            return None
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
        if not _is_port(port):
            return None
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(mapped or found)


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and int(text[:6]) < 65536
