"""What the HTTP library raised, as one of our errors. Its own texts stay here: they quote addresses and headers, so our key."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from relight.errors import ProviderTimeout, ProviderUnavailable, RelightError
from relight.providers.retry import Fault, Outcome
from relight.providers.target import Target
from relight.values import format_duration

if TYPE_CHECKING:
    from aiohttp import ClientSSLError

_AGAIN = "try again"


@dataclass(frozen=True, slots=True)
class Failure:
    """An attempt that brought no answer: what the decision needs, and what the client gets if that was the last one."""

    outcome: Outcome
    error: RelightError

    def with_left(self, left_s: float) -> Failure:
        """The same, knowing the seconds that are left."""
        return replace(self, outcome=replace(self.outcome, left_s=left_s))


def unreachable(error: Exception, target: Target) -> Failure | None:
    """The failure of an attempt that got no connection; `None` when `error` came later."""
    from aiohttp import ClientConnectorDNSError, ClientConnectorError, ClientSSLError, ConnectionTimeoutError

    check = f"check models.{target.model}.url and the network"
    if isinstance(error, ConnectionTimeoutError):
        what = f"{target.host} could not be reached within {format_duration(target.connect_timeout_s)}"
        return Failure(Outcome(Fault.UNREACHABLE), ProviderTimeout(_said(target, what), hint=check))
    if isinstance(error, ClientSSLError):
        return _untrusted(error, target)
    if isinstance(error, ClientConnectorDNSError):
        what, reason = f"the name {target.host} is not known", error.os_error.strerror
    elif isinstance(error, ClientConnectorError):
        what, reason = f"{target.host} cannot be reached", error.os_error.strerror
    else:
        return None
    if reason:
        what = f"{what} ({reason})"
    return Failure(Outcome(Fault.UNREACHABLE), ProviderUnavailable(_said(target, what), hint=check))


def broken(target: Target, fault: Fault = Fault.BROKEN) -> Failure:
    """The provider took the request and then closed the connection. Its answer may have been generated."""
    what = f"{target.host} closed the connection before its answer was complete"
    return Failure(Outcome(fault), ProviderUnavailable(_said(target, what), hint=_AGAIN))


def not_http(target: Target) -> Failure:
    """The provider answered something that is not HTTP."""
    what = f"{target.host} answered what is not HTTP"
    return Failure(Outcome(Fault.BROKEN), ProviderUnavailable(_said(target, what), hint=f"check models.{target.model}.url"))


def silent(target: Target, waited_s: float) -> Failure:
    """The provider did not begin to answer within `waited_s`, which is the rest of its whole time or of that for a first byte."""
    if waited_s < target.first_byte_timeout_s:
        return Failure(Outcome(Fault.SLOW), late(target))
    what = f"{target.host} did not begin to answer within {format_duration(target.first_byte_timeout_s)}"
    hint = f"if it is only slow, raise models.{target.model}.first_byte_timeout"
    return Failure(Outcome(Fault.SLOW), ProviderTimeout(_said(target, what), hint=hint))


def late(target: Target) -> ProviderTimeout:
    """The whole answer took longer than it may."""
    what = f"{target.host} did not complete its answer within {format_duration(target.timeout_s)}"
    return ProviderTimeout(_said(target, what), hint=f"if it is only slow, raise models.{target.model}.timeout")


def _untrusted(error: ClientSSLError, target: Target) -> Failure:
    cause = error.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        what = f"the certificate of {target.host} is not trusted ({cause.verify_message})"
        hint = "install the CA certificates that it needs, or name their file in SSL_CERT_FILE"
    else:
        reason = getattr(cause, "reason", None)
        what = f"{target.host} does not speak TLS as it should" + (f" ({reason})" if reason else "")
        hint = f"check whether models.{target.model}.url should begin with http://"
    return Failure(Outcome(Fault.UNTRUSTED), ProviderUnavailable(_said(target, what), hint=hint))


def _said(target: Target, what: str) -> str:
    return f'model "{target.model}": {what}'
