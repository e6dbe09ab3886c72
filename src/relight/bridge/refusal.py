"""What an answer that is no success means: who says no, and whether asking again is safe and may help. Pure.

A platform in front of a service answers for it where it has no instance, or does not know who asks, in pages for people. So an
error that is neither JSON nor marked by a front door of ours is the platform's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

import msgspec

from relight.decoding import NOT_JSON
from relight.errors import (
    ContextOverflow,
    Forbidden,
    InvalidRequest,
    ProviderRejected,
    ProviderUnavailable,
    QueueFull,
    RateLimited,
    RelightError,
    Unauthorized,
)
from relight.wire.dialect import words

MOST_ERROR: Final = 64 * 1024
"""Bytes of an error that are read; what matters stands in its first lines."""
_OURS: Final = ("x-relight-interaction", "x-relight-model")
_SUSPECT: Final = frozenset({401, 403, 429, 500, 503})
# An instance had the request when these happened: what it has done of it, nobody knows.
_BEGUN: Final = re.compile(rb"reset reason|before headers|malformed|connection to the instance", re.IGNORECASE)
_NO_INSTANCE: Final = re.compile(rb"no available instance|not available yet", re.IGNORECASE)


class Verdict(Enum):
    """What is done about an answer."""

    PASS = "pass"  # it is the service's: the client gets it  # noqa: S105 - no password
    STRANGER = "stranger"  # the platform does not let this identity in
    AWAY = "away"  # the platform has no instance: nothing was done, asking again may help


def is_suspect(status: int, headers: Mapping[str, str]) -> bool:
    """Whether an answer may be the platform's, so that its first bytes are to be looked at."""
    is_json = headers.get("content-type", "").partition(";")[0].strip().lower().endswith("json")
    return status in _SUSPECT and not is_json and not any(name in headers for name in _OURS)


def verdict(status: int, headers: Mapping[str, str], body: bytes) -> Verdict:
    """What is done about an answer whose body begins with `body`."""
    if not is_suspect(status, headers):
        return Verdict.PASS
    if status in {401, 403}:
        return Verdict.STRANGER
    if status == 500:
        return Verdict.AWAY if _NO_INSTANCE.search(body) else Verdict.PASS
    return Verdict.PASS if _BEGUN.search(body) else Verdict.AWAY


def is_busy(status: int, headers: Mapping[str, str]) -> bool:
    """Whether the service itself did not take the request, and says when to come back."""
    return status == 503 and "retry-after" in headers


def stranger(status: int, service: str, account: str | None, problem: RelightError | None) -> RelightError:
    """The platform refused who asks. `service` is its address, `account` whose token was shown, if there was one."""
    kind = Unauthorized if status == 401 else Forbidden
    if account is not None:
        role = f"--member={_member(account)} --role=roles/run.invoker"
        grant = f"somebody who may: gcloud run services add-iam-policy-binding SERVICE --region=REGION {role}"
        does = "does not take the token of" if status == 401 else "does not let"
        what = f"bridge: Google {does} {account}{' for' if status == 401 else ' call'} {service} (status {status})"
        return kind(
            f"{what}; this is about the identity, not the API key",
            hint="name the service's own address (https://….run.app) with --audience" if status == 401 else grant,
        )
    if problem is not None:
        return kind(f"bridge: {service} wants to know who asks, and there is no identity: {problem.message}", hint=problem.hint)
    return kind(
        f"bridge: the platform in front of {service} wants to know who asks (status {status}), and no identity was shown",
        hint="sign in with gcloud, or name the service's own address with --audience",
    )


def told(status: int, body: bytes, retry_after_s: float | None) -> RelightError:
    """An error of the service's as one of ours, for a client that has been given the headers of a success already."""
    said = _error_of(body)
    message = words(said.get("message")) or f"the service answered with status {status}"
    hint, code = words(said.get("hint")) or None, words(said.get("code"))
    if code == ContextOverflow.code:
        return ContextOverflow(message)
    kind = _BY_STATUS.get(status)
    if kind is not None:
        return kind(message, hint=hint, retry_after_s=retry_after_s)
    if status < 500:
        return InvalidRequest(message, hint=hint) if status < 429 else ProviderRejected(message, status=status, hint=hint)
    return ProviderUnavailable(message, hint=hint, retry_after_s=retry_after_s)


_BY_STATUS: Final[dict[int, type[RelightError]]] = {
    401: Unauthorized,
    403: Forbidden,
    429: RateLimited,
    503: QueueFull,
}


def _member(account: str) -> str:
    return f"{'serviceAccount' if account.endswith('.gserviceaccount.com') else 'user'}:{account}"


def _error_of(body: bytes) -> dict[str, Any]:
    """The fields of an error in any dialect."""
    try:
        said = msgspec.json.decode(body, type=dict[str, Any])
    except (*NOT_JSON, msgspec.ValidationError):
        return {}
    error = said.get("error")
    return error if isinstance(error, dict) else {**said, "message": error}
