"""The account that a container of Google's runs as, asked of the metadata server beside it: its name, and tokens that show it.

Stands in for google-auth, which takes most of a second to import, and is not there where weights are fetched at a start.
Source: https://docs.cloud.google.com/run/docs/container-contract#metadata-server
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from relight.decoding import NOT_JSON
from relight.errors import NetworkError
from relight.weights.patience import Busy
from relight.weights.web import reason

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

_HOST: Final = "metadata.google.internal"
_PATH: Final = "/computeMetadata/v1/instance/service-accounts/default"
_HOST_VARIABLE: Final = "GCE_METADATA_HOST"
_PLATFORM: Final = ("K_SERVICE", "CLOUD_RUN_JOB")
# It is on the same machine: whoever waits longer waits for nobody.
_CONNECT_S: Final = 2.0
_READ_S: Final = 10.0
# The server itself hands out another one five minutes before the end.
_SOON_S: Final = 60.0
_MOST_NAME_BYTES: Final = 320


class _Token(msgspec.Struct, frozen=True):
    access_token: str
    expires_in: float


class MachineToken:
    """A token that is asked for when it is needed, and again when it is about to expire. Any thread may ask."""

    def __init__(self, host: str, label: str, *, is_certain: bool, now: Callable[[], float] = time.monotonic) -> None:
        self._base = f"http://{host}{_PATH}"
        self._label = label
        self._is_certain = is_certain
        self._now = now
        self._guard = threading.Lock()
        self._text: str | None = None
        self._until = 0.0

    def __repr__(self) -> str:
        return "MachineToken(***)"

    def reveal(self) -> str | None:
        """The token; `None` where no metadata server is: on a Knative of somebody else's, whose buckets may be open.

        Raises `Busy` when the server does not answer, `NetworkError` when it has no token for us.
        """
        with self._guard:
            if self._text is None or self._now() >= self._until:
                asked_at = self._now()
                token = self._ask()
                self._text = None if token is None else token.access_token
                self._until = asked_at + (_SOON_S if token is None else token.expires_in - _SOON_S)
            return self._text

    def account(self) -> str | None:
        """The e-mail address of the account, for messages; `None` when it cannot be had."""
        try:
            answer = self._get("/email")
        except (NetworkError, OSError):
            return None
        text = answer.data[:_MOST_NAME_BYTES].decode("ascii", "replace").strip()
        return text if answer.status == 200 and "@" in text and text.isprintable() else None

    def _ask(self) -> _Token | None:
        try:
            answer = self._get("/token")
        except socket.gaierror:
            return None
        if answer.status == 404:
            raise NetworkError(
                f"{self._label}: the metadata server knows no account of this container",
                hint="set deploy.cloudrun.service_account, or GOOGLE_OAUTH_ACCESS_TOKEN",
            )
        if answer.status != 200:
            raise Busy(f"{self._label}: the metadata server answered {answer.status} when asked for a token")
        try:
            if answer.headers.get("metadata-flavor") != "Google":
                raise ValueError("it is not Google's")
            return msgspec.json.decode(answer.data, type=_Token)
        except (ValueError, *NOT_JSON) as error:
            raise NetworkError(
                f"{self._label}: what answers as the metadata server gave no token ({error})",
                hint=f"check {_HOST_VARIABLE}, or set GOOGLE_OAUTH_ACCESS_TOKEN",
            ) from None

    def _get(self, path: str) -> BaseHTTPResponse:
        """Raises `socket.gaierror` where there certainly is no such server."""
        import urllib3

        timeout = urllib3.Timeout(connect=_CONNECT_S, read=_READ_S)
        try:
            # Never through a proxy: what it answers is a secret, and it is on this machine.
            with urllib3.PoolManager() as pool:
                return pool.request(
                    "GET",
                    self._base + path,
                    headers={"metadata-flavor": "Google"},
                    timeout=timeout,
                    retries=False,
                    redirect=False,
                )
        except urllib3.exceptions.HTTPError as error:
            if (
                not self._is_certain
                and isinstance(cause := error.__cause__, socket.gaierror)
                and cause.errno == socket.EAI_NONAME
            ):
                raise cause from None
            raise Busy(f"{self._label}: no answer from the metadata server ({reason(error)})") from error


def machine_token(env: Mapping[str, str], label: str) -> MachineToken | None:
    """The token of the account that we run as, where the environment says that there is one; asks nobody yet."""
    host = env.get(_HOST_VARIABLE, "").strip()
    if host or any(env.get(name) for name in _PLATFORM):
        return MachineToken(host or _HOST, label, is_certain=bool(host))
    return None
