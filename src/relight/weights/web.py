"""One GET as weights need it: proxies, redirects, tokens that stay with their host, and errors that say what to do.

The only place that knows urllib3. Must not know files.
"""

from __future__ import annotations

import contextlib
import email.utils
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import urljoin, urlsplit

from relight.errors import NetworkError
from relight.values import Secret
from relight.weights.progress import Phase, Report, Update
from relight.weights.source import is_loopback

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

_T = TypeVar("_T")
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_TRANSIENT: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_MOST_REDIRECTS: Final = 10
_BLOCK: Final = 1 << 18


class Busy(NetworkError):
    """The attempt failed in a way that another one may not; `retry_after_s` is what the server asked for."""

    code = "network_busy"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to try. `attempts` counts failures in a row without a single new byte; times are in seconds."""

    attempts: int = 6
    first_wait_s: float = 1.0
    longest_wait_s: float = 120.0
    connect_timeout_s: float = 15.0
    read_timeout_s: float = 60.0
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = field(default=random.SystemRandom().random)

    def wait_s(self, failures: int, asked_s: float | None) -> float:
        """How long to wait after the `failures`-th failure: doubling, spread over its upper half; never less than asked for."""
        backoff = min(self.first_wait_s * 2.0 ** (failures - 1), self.longest_wait_s)
        return max(backoff * (0.5 + self.jitter() / 2), asked_s or 0.0)


@dataclass(frozen=True, slots=True)
class Request:
    """What to get.

    `label` names it in messages (URLs may hold secrets and are not shown); `token_hint` says how to get access.
    """

    url: str
    label: str
    headers: Mapping[str, str] = field(default_factory=dict)
    token: Secret | None = None
    token_hint: str | None = None


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
        from urllib3.exceptions import HTTPError

        try:
            while block := self.body.read1(_BLOCK, decode_content=False):
                yield block
        except HTTPError as error:
            raise Busy(f"{self.label}: the transfer broke off ({_reason(error)})") from error


@contextlib.contextmanager
def opened(request: Request, patience: Patience) -> Iterator[Reply]:
    """Send the request, follow redirects, and hand out the reply.

    Raises `Busy` for what may pass (no connection, 429, 5xx …) and `NetworkError` for what will not. 416 is handed out.
    """
    url, token, seen = request.url, request.token, dict[str, str]()
    with contextlib.ExitStack() as stack:
        for _ in range(_MOST_REDIRECTS):
            body = _send(stack, url, _headers(request, token), patience, request.label)
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


def persistently(attempt: Callable[[], _T], *, patience: Patience, report: Report, mark: Callable[[], int] = lambda: 0) -> _T:
    """Call `attempt` until it succeeds.

    Raises `NetworkError` after too many `Busy` in a row; a growing `mark()` starts the count anew.
    """
    failures, before = 0, mark()
    while True:
        try:
            return attempt()
        except Busy as error:
            now = mark()
            failures = 1 if now > before else failures + 1
            before = now
            wait = patience.wait_s(failures, error.retry_after_s)
            if failures >= patience.attempts or wait > patience.longest_wait_s:
                raise _given_up(error, failures, patience) from error
            report(Update(Phase.WAIT, note=f"{error.message}; trying again in {wait:.0f} s"))
            patience.sleep(wait)


def _given_up(error: Busy, failures: int, patience: Patience) -> NetworkError:
    if error.retry_after_s is not None and error.retry_after_s > patience.longest_wait_s:
        hint = f"the server asks to come back in {error.retry_after_s:.0f} s; run the same command again then"
    else:
        hint = f"gave up after {failures} failures; run the same command again to go on from here"
    return NetworkError(error.message, hint=hint, retry_after_s=error.retry_after_s)


def _headers(request: Request, token: Secret | None) -> dict[str, str]:
    from relight import __version__

    headers = {"user-agent": f"relight/{__version__}", "accept-encoding": "identity", **request.headers}
    if token is not None:
        headers["authorization"] = f"Bearer {token.reveal()}"
    return headers


def _send(stack: contextlib.ExitStack, url: str, headers: dict[str, str], patience: Patience, label: str) -> BaseHTTPResponse:
    import urllib3

    timeout = urllib3.Timeout(connect=patience.connect_timeout_s, read=patience.read_timeout_s)
    pool = stack.enter_context(_pool(url))
    host = urlsplit(url).hostname
    try:
        body = pool.request("GET", url, headers=headers, timeout=timeout, retries=False, redirect=False, preload_content=False)
    except urllib3.exceptions.SSLError as error:
        raise NetworkError(
            f"{label}: no secure connection to {host} ({_reason(error)})",
            hint="behind a company proxy, set SSL_CERT_FILE to its certificate",
        ) from error
    except urllib3.exceptions.HTTPError as error:
        raise Busy(f"{label}: no answer from {host} ({_reason(error)})") from error
    stack.callback(body.close)
    return body


def _pool(url: str) -> PoolManager:
    """A connection pool through the proxy that the environment names for this URL, or none."""
    import urllib.request

    import urllib3

    parts = urlsplit(url)
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if proxy is None or urllib.request.proxy_bypass(parts.netloc):
        return urllib3.PoolManager()
    address = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if address.scheme not in {"http", "https"}:
        raise NetworkError(
            f"proxy: {address.scheme}:// is not supported", hint="set an http:// proxy in HTTPS_PROXY, or NO_PROXY for this host"
        )
    user = f"{address.username}:{address.password or ''}" if address.username else None
    where = f"{address.scheme}://{address.netloc.rpartition('@')[2]}"
    return urllib3.ProxyManager(where, proxy_headers=urllib3.make_headers(proxy_basic_auth=user))


def _check_redirect(before: str, after: str, label: str) -> None:
    parts = urlsplit(after)
    if parts.scheme == "https" or (
        parts.scheme == "http" and is_loopback(urlsplit(before).hostname or "") and is_loopback(parts.hostname or "")
    ):
        return
    raise NetworkError(f"{label}: {urlsplit(before).hostname} redirects to an insecure address on {parts.hostname}")


def _check(body: BaseHTTPResponse, request: Request) -> None:
    status, host = body.status, urlsplit(request.url).hostname
    if status in {200, 206, 416}:
        return
    said = f"{request.label}: {host} answered {status}"
    if status in _TRANSIENT:
        raise Busy(said, retry_after_s=_retry_after_s(body.headers.get("retry-after")))
    if status in {401, 403}:
        raise NetworkError(f"{said}: access denied", hint=request.token_hint)
    if status in {404, 410}:
        raise NetworkError(f"{said}: there is no such file", hint="check the spelling of models.NAME.source")
    raise NetworkError(said)


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


def _reason(error: Exception) -> str:
    """The innermost words of an urllib3 error, without addresses of objects and without URLs."""
    inner: BaseException = error
    while (cause := getattr(inner, "reason", None) or inner.__cause__) is not None and isinstance(cause, BaseException):
        inner = cause
    words = getattr(inner, "strerror", None) or (str(inner).rpartition(">: ")[2] if ">: " in str(inner) else type(inner).__name__)
    return str(words).partition("http")[0].strip(" :") or type(inner).__name__
