"""A project of Google Cloud, and the clients that ask about it: each is made when it is first wanted, over REST."""

from __future__ import annotations

import os
import re
import time
import warnings
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeVar

from relight.cloud.calls import TIMEOUT_S, Again, Sleep, asked, lost
from relight.errors import CloudError, ConfigError

if TYPE_CHECKING:
    from google.api_core.operation import Operation
    from google.auth.credentials import Credentials
    from google.auth.transport.requests import AuthorizedSession
    from google.cloud.artifactregistry_v1 import ArtifactRegistryClient
    from google.cloud.devtools.cloudbuild_v1 import CloudBuildClient
    from google.cloud.run_v2 import RevisionsClient, ServicesClient
    from google.cloud.scheduler_v1 import CloudSchedulerClient
    from google.cloud.secretmanager_v1 import SecretManagerServiceClient
    from google.cloud.service_usage_v1 import ServiceUsageClient
    from google.cloud.storage import Client as StorageClient

T = TypeVar("T")

ENDPOINT: Final = "RELIGHT_GOOGLE_ENDPOINT"
"""Variable with an address on this machine that answers for all of Google, for tests."""
SCOPES: Final = ("https://www.googleapis.com/auth/cloud-platform", "https://www.googleapis.com/auth/userinfo.email", "openid")
_POLL_S: Final = (1.0, 1.0, 2.0, 3.0, 5.0)
_EXTRA: Final = "install what it takes to deploy: pip install 'relight[google]'"
_STORAGE: Final = "https://storage.googleapis.com"
# As plain as an address can be: programs differ in what they make of a backslash or a user before the host.
_HERE: Final = re.compile(r"https?://(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?")


class NotSignedIn(CloudError):
    """Nobody is signed in, or Google's libraries are not installed: nothing can be asked."""


class Google:
    """A project and a region of it, with credentials. Methods of clients are called through `call`, never by themselves."""

    def __init__(
        self, credentials: Credentials, *, project: str, region: str, endpoint: str | None = None, sleep: Sleep = time.sleep
    ) -> None:
        self.credentials = credentials
        self.project = project
        self.region = region
        self.endpoint = endpoint
        self.sleep = sleep

    @property
    def location(self) -> str:
        """`projects/P/locations/R`, the parent of nearly everything."""
        return f"projects/{self.project}/locations/{self.region}"

    # --- calling

    def call(
        self,
        what: str,
        method: Callable[..., T],
        *,
        is_safe: bool = True,
        settles: Again | None = None,
        **fields: Any,
    ) -> T:
        """Call a client's method with `fields`; see `calls.asked`."""
        return asked(
            what,
            lambda: method(**fields, retry=None, timeout=TIMEOUT_S),
            sleep=self.sleep,
            is_safe=is_safe,
            settles=settles,
        )

    def rest(  # noqa: PLR0913 - what a call is
        self,
        what: str,
        method: str,
        host: str,
        path: str,
        *,
        body: Any = None,
        params: Mapping[str, str] | None = None,
        is_safe: bool = True,
        settles: Again | None = None,
    ) -> Any:
        """Ask an API that none of the clients above speaks; returns its JSON. `host` is like `iam.googleapis.com`."""
        from google.api_core.exceptions import from_http_response

        def ask() -> Any:
            reply = self.session.request(
                method, f"{self.endpoint or f'https://{host}'}{path}", json=body, params=params, timeout=TIMEOUT_S
            )
            if reply.status_code >= 400:
                raise from_http_response(reply)
            return reply.json() if reply.content else {}

        return asked(what, ask, sleep=self.sleep, is_safe=is_safe, settles=settles)

    def wait(self, what: str, operation: Operation, *, limit_s: float, tick: Callable[[], None] = lambda: None) -> Any:
        """The result of an operation of Google's, asked about until it ends; `tick` is called each time in between.

        Raises `CloudError` when it failed, or took longer than `limit_s` seconds.
        """
        waits, waited = list(_POLL_S), 0.0
        while not asked(what, lambda: operation.done(retry=None), sleep=self.sleep):
            if waited >= limit_s:
                raise CloudError(
                    f"cloud: could not {what} within {limit_s:.0f} s; it may still come",
                    hint="run it again: what is done by then stays done",
                )
            tick()
            pause = waits.pop(0) if len(waits) > 1 else waits[0]
            self.sleep(pause)
            waited += pause
        return asked(what, lambda: operation.result(timeout=0, retry=None), sleep=self.sleep)

    # --- the clients

    @cached_property
    def session(self) -> AuthorizedSession:
        """For what no client below speaks: projects, billing, service accounts, quotas, metrics."""
        from google.auth.transport.requests import AuthorizedSession

        return AuthorizedSession(self.credentials)

    @cached_property
    def services(self) -> ServicesClient:
        """Cloud Run."""
        from google.cloud.run_v2 import ServicesClient

        return self._made(ServicesClient)

    @cached_property
    def revisions(self) -> RevisionsClient:
        """Cloud Run's revisions."""
        from google.cloud.run_v2 import RevisionsClient

        return self._made(RevisionsClient)

    @cached_property
    def builds(self) -> CloudBuildClient:
        """Cloud Build."""
        from google.cloud.devtools.cloudbuild_v1 import CloudBuildClient

        return self._made(CloudBuildClient)

    @cached_property
    def registry(self) -> ArtifactRegistryClient:
        """Artifact Registry."""
        from google.cloud.artifactregistry_v1 import ArtifactRegistryClient

        return self._made(ArtifactRegistryClient)

    @cached_property
    def secrets(self) -> SecretManagerServiceClient:
        """Secret Manager."""
        from google.cloud.secretmanager_v1 import SecretManagerServiceClient

        return self._made(SecretManagerServiceClient)

    @cached_property
    def schedules(self) -> CloudSchedulerClient:
        """Cloud Scheduler."""
        from google.cloud.scheduler_v1 import CloudSchedulerClient

        return self._made(CloudSchedulerClient)

    @cached_property
    def apis(self) -> ServiceUsageClient:
        """Service Usage: which APIs are enabled."""
        from google.cloud.service_usage_v1 import ServiceUsageClient

        return self._made(ServiceUsageClient)

    @cached_property
    def storage(self) -> StorageClient:
        """Cloud Storage."""
        # Else it asks for each bucket once more, in a thread and with retries of its own, for traces that nobody collects.
        os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
        from google.cloud.storage import Client

        # Always said: else an emulator's address in STORAGE_EMULATOR_HOST, for other programs, would be sent the token.
        options = {"api_endpoint": self.endpoint or _STORAGE}
        return Client(project=self.project, credentials=self.credentials, client_options=options)

    def _made(self, client: Callable[..., T]) -> T:
        options = {"api_endpoint": self.endpoint} if self.endpoint else None
        return client(credentials=self.credentials, transport="rest", client_options=options)


def signed_in(project: str, region: str, *, env: Mapping[str, str] = os.environ, sleep: Sleep = time.sleep) -> Google:
    """The project, asked with whatever credentials this machine has (a key file, `gcloud`'s, a metadata server).

    Raises `NotSignedIn` without any, and when Google's libraries are not installed; `ConfigError` for an endpoint elsewhere.
    """
    try:
        import google.auth
        import google.cloud.run_v2
        from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
        from google.oauth2.credentials import Credentials as UserCredentials
    except ImportError as error:
        raise NotSignedIn(f"cloud: Google's libraries are not here ({error.name})", hint=_EXTRA) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about the quota project, which is set below
            credentials, _ = google.auth.default(scopes=SCOPES)
    except (DefaultCredentialsError, OSError) as error:
        if named := os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
            raise CloudError(
                f"cloud: GOOGLE_APPLICATION_CREDENTIALS={named}: {_said(error)}",
                hint="name a key file that can be read, or unset it",
            ) from None
        raise NotSignedIn(
            "cloud: nobody is signed in to Google",
            hint="run: gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS to a key file",
        ) from None
    except GoogleAuthError as error:
        raise lost("sign in to Google", error) from error
    if isinstance(credentials, UserCredentials) and credentials.quota_project_id is None:
        # What a person asks is counted on a project, and some APIs refuse to guess which.
        credentials = credentials.with_quota_project(project)
    return Google(credentials, project=project, region=region, endpoint=endpoint_of(env), sleep=sleep)


def _said(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error.args[0] if error.args else error)


def endpoint_of(env: Mapping[str, str]) -> str | None:
    """The address of `RELIGHT_GOOGLE_ENDPOINT`, on this machine: a token for all of Google goes there. Raises `ConfigError`."""
    found = env.get(ENDPOINT, "").rstrip("/")
    if found and not _HERE.fullmatch(found):
        raise ConfigError(
            f'{ENDPOINT}: should be an address on this machine, got "{found}"', hint="leave it unset: it is for tests"
        )
    return found or None
