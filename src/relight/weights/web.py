"""One GET as weights need it: proxies, redirects, tokens that stay with their host, and errors that say what to do.

With `metadata`, the only place that knows urllib3. Must not know files.
"""

from __future__ import annotations

import contextlib
import email.utils
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol, Self
from urllib.parse import urljoin, urlsplit

from relight.errors import NetworkError
from relight.loopback import is_loopback
from relight.weights.patience import Busy, Patience

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_TRANSIENT: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_MOST_REDIRECTS: Final = 10
_BLOCK: Final = 1 << 18


class Bearer(Protocol):
    """What a request shows to be let in."""

    def reveal(self) -> str | None:
        """The token, asked for where it has to be; `None` to come without one."""


def _unexplained(status: int) -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class Request:
    """What to get.

    `label` names it in messages (URLs may hold secrets and are not shown); `hint` says what to do about a status that refuses.
    """

    url: str
    label: str
    headers: Mapping[str, str] = field(default_factory=dict)
    token: Bearer | None = None
    hint: Callable[[int], str | None] = _unexplained


@dataclass(frozen=True, slots=True)
class Reply:
    """A response whose body has not been read.

    `headers` have lower-case names; `x-linked-…` ones that were seen on a redirect are among them.
    """

    status: int
    headers: Mapping[str, str]
    body: BaseHTTPResponse
    label: str

    def blocks(self) -> Iterator[bytes]:
        """The body as it arrives; raises `Busy` when it ends early."""
        return self._read(lambda: self.body.read1(_BLOCK, decode_content=False))

    def full_blocks(self, size: int) -> Iterator[bytes]:
        """The body in blocks of `size` bytes, which costs less and says less often how far it is; else like `blocks`."""
        return self._read(lambda: self.body.read(size, decode_content=False))

    def _read(self, read: Callable[[], bytes]) -> Iterator[bytes]:
        from urllib3.exceptions import HTTPError

        try:
            while block := read():
                yield block
        except HTTPError as error:
            raise Busy(f"{self.label}: the transfer broke off ({reason(error)})") from error


class Lines:
    """Connections that are kept from one request to the next, `kept` at most: for whoever asks a server often, from several
    threads. A context manager."""

    def __init__(self, kept: int = 1) -> None:
        self._kept = kept
        self._guard = threading.Lock()
        self._pools: dict[str | None, PoolManager] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for pool in self._pools.values():
            pool.clear()

    def pool(self, url: str) -> PoolManager:
        """The pool that leads to `url`: directly, or through the proxy that the environment names."""
        proxy = _proxy(url)
        with self._guard:
            if proxy not in self._pools:
                self._pools[proxy] = _pool(proxy, self._kept)
            return self._pools[proxy]


@contextlib.contextmanager
def opened(request: Request, patience: Patience, lines: Lines | None = None) -> Iterator[Reply]:
    """Send the request, follow redirects, and hand out the reply.

    Raises `Busy` for what may pass (no connection, 429, 5xx …) and `NetworkError` for what will not. 412 and 416 are handed out.
    """
    url, token, seen = request.url, request.token, dict[str, str]()
    with contextlib.ExitStack() as stack:
        lines = lines or stack.enter_context(Lines())
        for _ in range(_MOST_REDIRECTS):
            body = _send(lines.pool(url), url, _headers(request, token), patience, request.label)
            stack.callback(body.close)
            seen |= {name.lower(): value for name, value in body.headers.items()}
            target = body.headers.get("location")
            if body.status not in _REDIRECTS or target is None:
                _check(body, request)
                yield Reply(body.status, seen, body, request.label)
                return
            after = urljoin(url, target)
            _check_redirect(url, after, request.label)
            if _origin(after) != _origin(url):
                token = None
            # Only what was said about the file itself outlives a redirect.
            seen = {name: value for name, value in seen.items() if name.startswith("x-linked-")}
            url = after
    raise NetworkError(f"{request.label}: more than {_MOST_REDIRECTS} redirects")


def _headers(request: Request, token: Bearer | None) -> dict[str, str]:
    from relight import __version__

    headers = {"user-agent": f"relight/{__version__}", "accept-encoding": "identity", **request.headers}
    if token is not None and (text := token.reveal()):
        if not (text.isascii() and text.isprintable()):
            # Whoever sends it would say so, and quote all of it.
            raise NetworkError(
                f"{request.label}: the token for it holds what no token can: a line's end, or a letter with an accent",
                hint="set the variable that it comes from anew",
            )
        headers["authorization"] = f"Bearer {text}"
    return headers


def _send(pool: PoolManager, url: str, headers: dict[str, str], patience: Patience, label: str) -> BaseHTTPResponse:
    import urllib3

    timeout = urllib3.Timeout(connect=patience.connect_timeout_s, read=patience.read_timeout_s)
    host = urlsplit(url).hostname
    try:
        return pool.request("GET", url, headers=headers, timeout=timeout, retries=False, redirect=False, preload_content=False)
    except urllib3.exceptions.SSLError as error:
        raise NetworkError(
            f"{label}: no secure connection to {host} ({reason(error)})",
            hint="behind a company proxy, set SSL_CERT_FILE to its certificate",
        ) from error
    except urllib3.exceptions.HTTPError as error:
        raise Busy(f"{label}: no answer from {host} ({reason(error)})") from error


def _proxy(url: str) -> str | None:
    """The proxy that the environment names for this URL."""
    import urllib.request

    parts = urlsplit(url)
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    return None if urllib.request.proxy_bypass(parts.netloc) else proxy


def _pool(proxy: str | None, kept: int) -> PoolManager:
    import urllib3

    if proxy is None:
        return urllib3.PoolManager(maxsize=kept)
    address = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if address.scheme not in {"http", "https"}:
        raise NetworkError(
            f"proxy: {address.scheme}:// is not supported", hint="set an http:// proxy in HTTPS_PROXY, or NO_PROXY for this host"
        )
    user = f"{address.username}:{address.password or ''}" if address.username else None
    where = f"{address.scheme}://{address.netloc.rpartition('@')[2]}"
    return urllib3.ProxyManager(where, proxy_headers=urllib3.make_headers(proxy_basic_auth=user), maxsize=kept)


def _check_redirect(before: str, after: str, label: str) -> None:
    parts = urlsplit(after)
    if not is_plain(after):
        raise NetworkError(f"{label}: {urlsplit(before).hostname} redirects to an address that programs read differently")
    if parts.scheme == "https" or (
        parts.scheme == "http" and is_loopback(urlsplit(before).hostname or "") and is_loopback(parts.hostname or "")
    ):
        return
    raise NetworkError(f"{label}: {urlsplit(before).hostname} redirects to an insecure address on {parts.hostname}")


def is_plain(url: str) -> bool:
    """Whether the host of an address is the same for whoever checks it and whoever connects: with a backslash, or a user before
    the host, it need not be, and a token would go to another."""
    authority = url.partition("://")[2].partition("/")[0].partition("?")[0].partition("#")[0]
    return url.isprintable() and not {"\\", "@", " "} & set(authority)


def _check(body: BaseHTTPResponse, request: Request) -> None:
    status, host = body.status, urlsplit(request.url).hostname
    if status in {200, 206, 412, 416}:
        return
    said = f"{request.label}: {host} answered {status}"
    if status in _TRANSIENT:
        raise Busy(said, retry_after_s=_retry_after_s(body.headers.get("retry-after")))
    hint = request.hint(status)
    if status in {401, 403}:
        raise NetworkError(f"{said}: access denied", hint=hint)
    if status in {404, 410}:
        raise NetworkError(f"{said}: there is no such file", hint=hint or "check the spelling of models.NAME.source")
    raise NetworkError(said, hint=hint)


def _retry_after_s(value: str | None) -> float | None:
    """Seconds of a Retry-After header, which holds either seconds or a date."""
    if value is None:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


def reason(error: Exception) -> str:
    """The innermost words of an urllib3 error, without addresses of objects and without URLs."""
    inner: BaseException = error
    while (cause := getattr(inner, "reason", None) or inner.__cause__) is not None and isinstance(cause, BaseException):
        inner = cause
    words = getattr(inner, "strerror", None) or (str(inner).rpartition(">: ")[2] if ">: " in str(inner) else type(inner).__name__)
    return str(words).partition("http")[0].strip(" :") or type(inner).__name__
