"""One call to Google: asked again where that is safe, and told in our words when it fails. Knows no service of Google's.

Every call goes through `asked`: the clients' own retries are off, because they would also repeat what must happen once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, TypeVar

from relight.errors import CloudError, CloudLost

if TYPE_CHECKING:
    from google.api_core.exceptions import GoogleAPICallError

T = TypeVar("T")
Sleep = Callable[[float], None]
Again = Callable[["GoogleAPICallError"], bool]

TIMEOUT_S: Final = 60.0
"""Of one call; what takes longer is an operation of Google's, and is polled."""
_TRANSIENT: Final = frozenset({429, 500, 502, 503, 504})
_BACKOFF_S: Final = (1.0, 2.0, 4.0, 8.0)
# The clients put method and address before Google's own words.
_ASKED: Final = re.compile(r"^[A-Z]+ https?://\S+: ")
_MOST_SAID: Final = 1000
SETTLE_S: Final = (2.0, 4.0, 8.0, 15.0, 15.0, 15.0, 30.0, 30.0)
"""Pauses while what was done a moment ago (an account, a role, an API) reaches all of Google: two minutes."""


def asked(what: str, ask: Callable[[], T], *, sleep: Sleep, is_safe: bool = True, settles: Again | None = None) -> T:
    """What `ask` returns; `what` is the thing that is done ("make the secret x"), as errors say it.

    `is_safe`: asking twice does no harm, so lost connections and servers that are busy are asked again, for 15 s in all.
    `settles` says which refusals pass by themselves, when what was done a moment ago has reached all of Google: those are asked
    again for two minutes. Raises `CloudError`; `CloudLost` when the connection broke and it is not safe.
    """
    from google.api_core.exceptions import GoogleAPICallError, RetryError
    from google.auth.exceptions import GoogleAuthError
    from google.protobuf.json_format import ParseError
    from requests.exceptions import RequestException

    waits = {_Wait.NEVER: [], _Wait.BACKOFF: list(_BACKOFF_S), _Wait.SETTLE: list(SETTLE_S)}
    while True:
        try:
            return ask()
        except (GoogleAPICallError, GoogleAuthError, ParseError, RequestException, RetryError, OSError) as error:
            failure, wait = _judged(what, error, is_safe=is_safe, settles=settles)
            if not waits[wait]:
                raise failure from error
            sleep(waits[wait].pop(0))


class _Wait(Enum):
    """How long what failed may be asked again."""

    NEVER = auto()
    BACKOFF = auto()
    SETTLE = auto()


def _judged(what: str, error: Exception, *, is_safe: bool, settles: Again | None) -> tuple[CloudError, _Wait]:
    from google.api_core.exceptions import GoogleAPICallError
    from google.auth.exceptions import GoogleAuthError, TransportError

    if isinstance(error, GoogleAPICallError):
        if settles is not None and settles(error):
            return refused(what, error), _Wait.SETTLE
        again = error.code in _TRANSIENT and (is_safe or error.code == 429)
        return refused(what, error), _Wait.BACKOFF if again else _Wait.NEVER
    if isinstance(error, TransportError):  # while a token was fetched: the request itself was not sent
        return lost(what, error), _Wait.BACKOFF
    if isinstance(error, GoogleAuthError):
        return _unauthenticated(what, error), _Wait.BACKOFF if error.retryable else _Wait.NEVER
    return lost(what, error), _Wait.BACKOFF if is_safe else _Wait.NEVER


def refused(what: str, error: GoogleAPICallError) -> CloudError:
    """Google's refusal in our words: what was done, its own message, what to do about it."""
    from relight.deploy.causes import cause

    message = plain(_ASKED.sub("", str(error.message or error)))
    found = cause(status_of(error), message)
    told = CloudError(f"cloud: could not {what}: {message}", hint=None if found is None else found.do)
    told.__cause__ = error
    return told


def plain(text: str) -> str:
    """What a server says, as a message can quote it: no page of HTML, nothing that drives a terminal, and not without end.

    Who answers may be a proxy, or the page on which one signs in to a network.
    """
    if text.lstrip()[:1] == "<":
        text = re.sub(r"<[^>]*>", " ", text[: 20 * _MOST_SAID])
    words = printable(text[: 10 * _MOST_SAID])
    return words if len(words) <= _MOST_SAID else f"{words[: _MOST_SAID - 1]}…"


def printable(text: str) -> str:
    """Its words on one line, without what drives a terminal."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def status_of(error: GoogleAPICallError) -> str:
    """`PERMISSION_DENIED`, as Google names it; the number of HTTP where it does not."""
    found = getattr(error, "grpc_status_code", None)
    return str(found.name) if found is not None else _STATUS.get(int(error.code or 0), str(error.code))


def is_missing(error: CloudError) -> bool:
    """Whether there is no such thing."""
    return getattr(error.__cause__, "code", None) == 404


def is_disabled(error: CloudError) -> bool:
    """Whether the API that was asked is not enabled: nothing of what it keeps is there."""
    from google.api_core.exceptions import GoogleAPICallError

    return isinstance(error.__cause__, GoogleAPICallError) and FRESH_API(error.__cause__)


def is_there(error: CloudError) -> bool:
    """Whether it is there already, or was changed by somebody else at the same moment."""
    return getattr(error.__cause__, "code", None) == 409


def lost(what: str, error: Exception) -> CloudLost:
    """The connection broke, or what answered was not Google."""
    hint = "look at the connection, and run it again: what is done stays done"
    return CloudLost(f"cloud: lost the connection while trying to {what} ({type(error).__name__})", hint=hint)


def _unauthenticated(what: str, error: Exception) -> CloudError:
    from relight.deploy.causes import cause

    said = plain(str(error.args[0])) if error.args else type(error).__name__
    found = cause("UNAUTHENTICATED", said)
    return CloudError(
        f"cloud: could not {what}: the credentials were not taken ({said})",
        hint="sign in again: gcloud auth application-default login" if found is None else found.do,
    )


def unsettled(*words: str) -> Again:
    """Refusals (400, 403, 404) that hold one of `words`, for `settles`."""

    def settles(error: GoogleAPICallError) -> bool:
        text = str(error.message or "").lower()
        return error.code in {400, 403, 404, 412} and any(word in text for word in words)

    return settles


_STATUS: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    412: "FAILED_PRECONDITION",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}

FRESH_API: Final = unsettled("has not been used in", "it is disabled", "accessnotconfigured", "not enabled for")
"""An API that is not enabled, or was a moment ago; billing that is off is told in other words, and does not pass."""
FRESH_ACCOUNT: Final = unsettled("does not exist", "not found")
"""A service account that was made a moment ago, where it is named."""


def either(found: Sequence[Again]) -> Again:
    """Any of several reasons to wait."""
    return lambda error: any(settles(error) for settles in found)
