"""Identity tokens of Google's: who asks, said to one service. Knows no service and no request.

A token is for one audience, the root address of a service (also where a tagged revision is asked), and lasts an hour.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from relight.cloud.calls import asked

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

    from relight.cloud.google import Google

_SPARE_S: Final = 300.0
"""A token that ends sooner is not used any more: an answer may take minutes, and clocks differ."""
_CLOUD: Final = "https://www.googleapis.com/auth/cloud-platform"


class Tokens:
    """The identity tokens of whoever is signed in, each kept until shortly before it ends."""

    def __init__(self, google: Google, *, now: Callable[[], float] = time.time) -> None:
        self._google, self._now = google, now
        self._kept: dict[str, tuple[str, float]] = {}

    def identity(self, audience: str) -> str | None:
        """A token for `audience`; None where none can be had of these credentials. Raises `CloudError` when it was refused."""
        token, until = self._kept.get(audience, (None, 0.0))
        if token is None or self._now() > until - _SPARE_S:
            token = _fresh(self._google, audience)
            if token is None:
                return None
            self._kept[audience] = token, _end_of(token)
        return token


def _fresh(google: Google, audience: str) -> str | None:
    from google.auth.transport.requests import Request
    from google.oauth2.credentials import Credentials as User

    credentials, request = google.credentials, Request()
    own: Any = credentials if isinstance(credentials, User) else None
    source = own or asked("have an identity token", lambda: _issuer(credentials, audience, request), sleep=google.sleep)
    if source is None:
        return None
    asked("have an identity token", lambda: source.refresh(request), sleep=google.sleep)
    # A user's audience is whatever program signed them in, and Cloud Run takes it; other credentials are for the one asked.
    token: str | None = own.id_token if own is not None else source.token
    return token


def _issuer(credentials: Credentials, audience: str, request: Any) -> Any:
    """Credentials whose token is the identity token; None where these cannot become any."""
    from google.auth import compute_engine, external_account, impersonated_credentials
    from google.oauth2 import service_account

    if isinstance(credentials, service_account.Credentials):
        return service_account.IDTokenCredentials(
            credentials.signer,
            service_account_email=credentials.service_account_email,
            token_uri=credentials._token_uri,  # noqa: SLF001 - nothing public tells it
            target_audience=audience,
        )
    if isinstance(credentials, compute_engine.Credentials):
        return compute_engine.IDTokenCredentials(request, audience, use_metadata_identity_endpoint=True)
    if isinstance(credentials, external_account.Credentials):
        found = _federated(credentials)
        return None if found is None else _impersonated(found, audience)
    return _impersonated(credentials, audience) if isinstance(credentials, impersonated_credentials.Credentials) else None


def _impersonated(credentials: Any, audience: str) -> Any:
    from google.auth.impersonated_credentials import IDTokenCredentials

    return IDTokenCredentials(credentials, target_audience=audience, include_email=True)


def _federated(credentials: Any) -> Any:
    """Somebody from elsewhere (a build of GitHub's, say) as the service account that they act for; None where there is none."""
    from google.auth import impersonated_credentials

    email = credentials.service_account_email
    if email is None:
        return None
    info = {name: value for name, value in credentials.info.items() if not name.startswith("service_account_impersonation")}
    source = type(credentials).from_info(info, scopes=[_CLOUD])
    return impersonated_credentials.Credentials(source, target_principal=email, target_scopes=[_CLOUD])


def _end_of(token: str) -> float:
    """When a token ends, in seconds since the epoch; 0 where it does not say so, and is not kept."""
    from google.auth import jwt

    try:
        return float(jwt.decode(token, verify=False).get("exp", 0))
    except ValueError:
        return 0.0
