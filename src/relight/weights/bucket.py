"""An object in a bucket of Google Cloud Storage: its address, who asks for it, and what to do when that is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from relight.values import Secret
from relight.weights.metadata import MachineToken, machine_token
from relight.weights.source import Source
from relight.weights.web import Request

_TOKEN: Final = "GOOGLE_OAUTH_ACCESS_TOKEN"  # noqa: S105 - a variable's name
_READS: Final = "roles/storage.objectViewer (or roles/storage.objectUser where it writes snapshots, too)"
VERSION_HEADER: Final = "x-goog-generation"
"""The header of an answer that says which version of the object it is."""


def object_request(source: Source, base: str, env: Mapping[str, str]) -> Request:
    """The request for the whole object; `base` is the server's address.

    The token is the environment's, else that of the account that the container runs as; open buckets need none.
    """
    text = env.get(_TOKEN, "").strip()
    token = Secret(_TOKEN, text) if text else machine_token(env, source.text)
    url = f"{base}/storage/v1/b/{source.place}/o/{quote(source.item, safe='')}?alt=media"
    return Request(url, source.text, token=token, hint=_Refusal(source.place, token))


def pinned(url: str, version: str) -> str:
    """The address of an object as long as it is this version; any other is answered with 412."""
    return f"{url}&ifGenerationMatch={version}"


@dataclass(frozen=True, slots=True)
class _Refusal:
    """What to do about a status, in words."""

    bucket: str
    token: Secret | MachineToken | None

    def __call__(self, status: int) -> str | None:
        if status == 404:
            return f"check models.NAME.source: there is no bucket {self.bucket}, or no such object in it"
        if status not in {401, 403}:
            return None
        if not isinstance(self.token, MachineToken):
            return f'set {_TOKEN}="$(gcloud auth print-access-token)" of an account that may read the bucket'
        who = self.token.account() or "the account of this service"
        if status == 401:
            return f"the token of {who} was not taken; check that the account exists and is not disabled"
        # Whoever may not list objects is not told that one is missing, either.
        return f"give {who} the role {_READS} on the bucket {self.bucket}, and check that the object is there"
