"""Who gives the bridge its identity tokens: Google's libraries as whoever is signed in, an account acted for, or `gcloud`."""

from __future__ import annotations

import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from relight.errors import CloudError, ConfigError, RelightError

if TYPE_CHECKING:
    from relight.cloud.calls import Sleep
    from relight.cloud.google import Google

_GCLOUD_S: Final = 60.0
GOOGLES: Final = ".run.app"
"""How the hosts of Google's own services end."""
_SIGN_IN: Final = "run: gcloud auth login, or set GOOGLE_APPLICATION_CREDENTIALS to a key file"


def audience_of(url: str) -> str | None:
    """What a token for a service has to name: its own address, without a revision's tag; None where it is not Google's.

    Nobody else is shown a token, for that of a user is good for every service that they may call.
    """
    host = urlsplit(url).hostname or ""
    if not host.endswith(GOOGLES):
        return None
    return f"https://{host.rpartition('---')[2]}"


class Gcloud:
    """Tokens of whoever is signed in to the `gcloud` command; `account` is a service account that they act for."""

    def __init__(self, audience: str, account: str | None = None) -> None:
        self._audience, self._account = audience, account

    def mint(self) -> str | None:
        """See `Tokens`. Raises `CloudError` with what gcloud says."""
        program = shutil.which("gcloud")
        if program is None:
            raise CloudError("cloud: nobody is signed in to Google, and there is no gcloud on the PATH", hint=_SIGN_IN)
        argv = [program, "auth", "print-identity-token", "--quiet"]
        if self._account is not None:
            # Only accounts have tokens for an audience; a user's own are taken by every service that lets them in.
            argv += [f"--impersonate-service-account={self._account}", f"--audiences={self._audience}", "--include-email"]
        try:
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_GCLOUD_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CloudError(f"cloud: gcloud does not work ({type(error).__name__})", hint=_SIGN_IN) from None
        if done.returncode:
            said = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), f"exit code {done.returncode}")
            raise CloudError(f"cloud: gcloud gives no identity token: {said.strip()[:300]}", hint=_SIGN_IN)
        return done.stdout.strip() or None


class Googles:
    """Tokens had by Google's libraries, and by `gcloud` where nobody is signed in for them. Loads them when first asked."""

    def __init__(
        self, audience: str, account: str | None = None, *, google: Google | None = None, sleep: Sleep = time.sleep
    ) -> None:
        self._audience, self._account, self._google, self._sleep = audience, account, google, sleep
        self._gcloud: Gcloud | None = None

    def mint(self) -> str | None:
        """See `Tokens`. Raises `CloudError` when everybody who could give one refuses."""
        if self._gcloud is not None:
            return self._gcloud.mint()
        from relight.cloud.google import NotSignedIn
        from relight.cloud.tokens import Tokens

        missing: RelightError | None = None
        try:
            # Made anew each time: it keeps what it had, and a token that was refused is not wanted again.
            found = Tokens(self._signed_in()).identity(self._audience)
            if found is not None:
                return found
        except NotSignedIn as error:
            missing = error
        try:
            token = Gcloud(self._audience, self._account).mint()
        except CloudError:
            if missing is not None:
                raise
            raise CloudError("cloud: whoever is signed in has no identity token, and gcloud gives none", hint=_SIGN_IN) from None
        self._gcloud = Gcloud(self._audience, self._account)
        return token

    def _signed_in(self) -> Google:
        if self._google is None:
            from relight.cloud.google import signed_in

            self._google = acting_for(signed_in("", "", sleep=self._sleep), self._account)
        return self._google


def acting_for(google: Google, account: str | None) -> Google:
    """Whoever is signed in, as the service account that they act for, if there is one."""
    if account is None:
        return google
    from google.auth.impersonated_credentials import Credentials

    from relight.cloud.google import SCOPES, Google

    source: Any = google.credentials
    acts: Any = Credentials(source, target_principal=account, target_scopes=list(SCOPES))
    return Google(acts, project=google.project, region=google.region, endpoint=google.endpoint, sleep=google.sleep)


def check_account(account: str | None) -> None:
    """Raises `ConfigError` for what is no e-mail address."""
    if account is not None and "@" not in account:
        raise ConfigError(f'--account: should be the e-mail address of a service account, got "{account}"')
