"""What can be said about a host or a URL by looking at it. Knows no key and asks no network."""

from __future__ import annotations

from typing import Final
from urllib.parse import SplitResult, urlsplit

from relight.loopback import is_loopback

# What an endpoint's documentation shows, and a base URL does not end in.
_ENDPOINTS: Final = ("/chat/completions", "/completions", "/embeddings", "/responses", "/messages")


def split(url: str) -> SplitResult | None:
    """`url` in its parts, if it is one with a host and a sane port."""
    try:
        parts = urlsplit(url)
        is_whole = bool(parts.hostname) and parts.port != 0 and url.isprintable() and " " not in url
    except ValueError:
        return None
    return parts if is_whole else None


def provider_fault(url: str, *, has_key: bool) -> str | None:
    """Why `url` cannot be a provider's base address; never shows what a URL may carry as a secret."""
    parts = split(url)
    if parts is None or parts.scheme not in ("http", "https"):
        return 'should be the base address of a provider, like "https://api.openai.com/v1"'
    if parts.username is not None or parts.password is not None:
        return 'should hold no user name or password; name the provider\'s key: api_key = { secret = "NAME" }'
    if parts.fragment:
        return "should not hold a #"
    ending = next((end for end in _ENDPOINTS if parts.path.rstrip("/").endswith(end)), None)
    if ending is not None:
        return f"should be the base address, to which {ending} is added; leave that out"
    if has_key and parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        return "is not encrypted, so the key would travel in the clear; use https://, or leave out api_key"
    return None
