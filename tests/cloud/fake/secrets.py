"""Secret Manager: secrets with their versions, labels and policies."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import google_crc32c
from google.cloud.secretmanager_v1 import types as sm
from google.protobuf.message import Message

from tests.cloud.fake.paging import paged
from tests.cloud.fake.policies import Policies
from tests.cloud.fake.server import Api, Fake, Refused, Request, Route

_SECRET = r"/v1/projects/(?P<project>[^/]+)/secrets/(?P<secret>[^/:]+)"
_VERSION = _SECRET + r"/versions/(?P<version>[^/:]+)"
_MOST_BYTES = 65536
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
_LABEL = re.compile(r"[a-z][a-z0-9_-]{0,62}=[a-z0-9_-]{0,63}")
_TERM = re.compile(r"labels\.([a-z0-9_-]+)=([a-z0-9_-]+)")


@dataclass
class Version:
    """A version; one that is destroyed has no data any more."""

    data: bytes
    created: datetime
    state: str = "ENABLED"


@dataclass
class Held:
    """A secret and all of its versions; number 1 comes first."""

    secret: sm.Secret
    versions: list[Version] = field(default_factory=list)


class Secrets(Api):
    """Secrets of the project by their short names."""

    def __init__(self, fake: Fake) -> None:
        super().__init__(fake)
        self.held: dict[str, Held] = {}
        self.policies = Policies()
        """By the short name of the secret."""
        self.damages = False
        """Whether payloads are damaged on their way to whoever reads them."""
        self.page = 3
        """Entries of a page; few, so that everybody has to turn it."""
        self.filters = True
        """Whether a filter leaves anything out; as a search, it may find more than was meant."""
        self.locations: set[str] | None = None
        """Where the organisation lets secrets be kept; None: anywhere."""

    # --- for tests, and for the other APIs

    def make(self, name: str, *texts: str, labels: dict[str, str] | None = None) -> None:
        """A secret that is there, with a version for each of `texts`."""
        replication = sm.Replication(automatic=sm.Replication.Automatic())
        self.held[name] = Held(sm.Secret(name=self._name(name), labels=labels or {}, replication=replication))
        for text in texts:
            self._add(name, text.encode())

    def text(self, name: str, version: int = -1) -> str:
        """What a version holds; without a number the last one."""
        versions = self.held[name].versions
        return versions[version - 1 if version > 0 else version].data.decode()

    def set_state(self, name: str, version: int, state: str) -> None:
        """`DISABLED`, `DESTROYED`, `ENABLED`."""
        found = self.held[name].versions[version - 1]
        found.state = state
        if state == "DESTROYED":
            found.data = b""

    def has(self, name: str, version: str) -> bool:
        """Whether there is such a version (a number, or `latest`), and it is enabled."""
        versions = self.held[name].versions if name in self.held else []
        number = len(versions) if version == "latest" else int(version) if version.isdigit() else 0
        return 1 <= number <= len(versions) and versions[number - 1].state == "ENABLED"

    def members(self, name: str, role: str) -> set[str]:
        """Who has a role on a secret."""
        return self.policies.members(name, role)

    # --- the API

    def routes(self) -> list[Route]:
        found: list[Route] = [
            ("GET", r"/v1/projects/(?P<project>[^/]+)/secrets", self._list),
            ("POST", r"/v1/projects/(?P<project>[^/]+)/secrets", self._create),
            ("GET", _SECRET, self._get),
            ("DELETE", _SECRET, self._delete),
            ("POST", _SECRET + ":addVersion", self._add_version),
            ("GET", _SECRET + ":getIamPolicy", self._get_policy),
            ("POST", _SECRET + ":setIamPolicy", self._set_policy),
            ("GET", _SECRET + "/versions", self._list_versions),
            ("GET", _VERSION, self._get_version),
            ("GET", _VERSION + ":access", self._access),
            ("POST", _VERSION + r":(?P<verb>enable|disable|destroy)", self._change),
        ]
        return [(method, path, self._guarded(handler)) for method, path, handler in found]

    def _guarded(self, handler: Any) -> Any:
        def guarded(request: Request, project: str, **named: str) -> Any:
            if project not in {self.fake.project, self.fake.number}:
                raise Refused(403, "PERMISSION_DENIED", f"Permission denied on resource project {project}.")
            usage = getattr(self.fake, "usage", None)
            if usage is not None:
                usage.demand("secretmanager.googleapis.com")
            return handler(request, **named)

        return guarded

    def _list(self, request: Request) -> Message:
        query = request.only("pageSize", "pageToken", "filter")
        passing = [one.secret for one in self.held.values() if _passes(one.secret, query.get("filter", ""))]
        found = passing if self.filters else [one.secret for one in self.held.values()]
        part, token = paged(found, query, most=self.page)
        return _pb(sm.ListSecretsResponse(secrets=part, next_page_token=token, total_size=len(found)))

    def _create(self, request: Request) -> Message:
        name, secret = request.only("secretId").get("secretId", ""), request.message(sm.Secret)
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,255}", name):
            raise Refused(400, "INVALID_ARGUMENT", f"The provided Secret ID [{name}] does not match the expected format.")
        if sm.Secret.pb(secret).replication.WhichOneof("replication") is None:
            raise Refused(400, "INVALID_ARGUMENT", "Secret.replication must be provided.")
        self._check_locations(secret)
        if strange := [one for one in secret.labels.items() if not _LABEL.fullmatch("=".join(one))]:
            raise Refused(400, "INVALID_ARGUMENT", f"Invalid labels {strange}.")
        if name in self.held:
            raise Refused(409, "ALREADY_EXISTS", f"Secret [{self._name(name)}] already exists.")
        secret.name = self._name(name)
        secret.create_time = self._now()
        self.held[name] = Held(secret)
        return _pb(secret)

    def _get(self, request: Request, secret: str) -> Message:
        request.only()
        return _pb(self._held(secret).secret)

    def _delete(self, request: Request, secret: str) -> dict[str, Any]:
        request.only("etag")
        self._held(secret)
        del self.held[secret]
        self.policies.bindings.pop(secret, None)
        self.policies.conditional.pop(secret, None)
        return {}

    def _add_version(self, request: Request, secret: str) -> Message:
        request.only()
        self._held(secret)
        payload = request.message(sm.AddSecretVersionRequest).payload
        is_summed = "data_crc32c" in payload
        if not payload.data:
            raise Refused(400, "INVALID_ARGUMENT", "Secret Payload cannot be empty.")
        if len(payload.data) > _MOST_BYTES:
            raise Refused(400, "INVALID_ARGUMENT", f"The payload exceeds the limit of {_MOST_BYTES} bytes.")
        if is_summed and payload.data_crc32c != google_crc32c.value(payload.data):
            raise Refused(400, "INVALID_ARGUMENT", "The payload does not match its checksum.")
        self._add(secret, payload.data)
        added = self._version_of(secret, len(self.held[secret].versions))
        added.client_specified_payload_checksum = is_summed
        return _pb(added)

    def _list_versions(self, request: Request, secret: str) -> Message:
        query = request.only("pageSize", "pageToken", "filter")
        numbers = range(len(self._held(secret).versions), 0, -1)
        part, token = paged([self._version_of(secret, number) for number in numbers], query, most=self.page)
        return _pb(sm.ListSecretVersionsResponse(versions=part, next_page_token=token, total_size=len(numbers)))

    def _get_version(self, request: Request, secret: str, version: str) -> Message:
        request.only()
        return _pb(self._version_of(secret, self._number(secret, version)))

    def _access(self, request: Request, secret: str, version: str) -> Message:
        request.only()
        number = self._number(secret, version)
        name, found = f"{self._name(secret)}/versions/{number}", self.held[secret].versions[number - 1]
        if found.state != "ENABLED":
            raise Refused(400, "FAILED_PRECONDITION", f"Secret Version [{name}] is in {found.state} state.")
        sent = bytes([found.data[0] ^ 1]) + found.data[1:] if self.damages else found.data
        payload = sm.SecretPayload(data=sent, data_crc32c=google_crc32c.value(found.data))
        return _pb(sm.AccessSecretVersionResponse(name=name, payload=payload))

    def _change(self, request: Request, secret: str, version: str, verb: str) -> Message:
        request.only()
        number = self._number(secret, version)
        if self.held[secret].versions[number - 1].state == "DESTROYED":
            raise Refused(400, "FAILED_PRECONDITION", "The version is in DESTROYED state.")
        self.set_state(secret, number, {"enable": "ENABLED", "disable": "DISABLED", "destroy": "DESTROYED"}[verb])
        return _pb(self._version_of(secret, number))

    def _get_policy(self, request: Request, secret: str) -> dict[str, Any]:
        query = request.only("options.requestedPolicyVersion")
        self._held(secret)
        return self.policies.get(secret, int(query.get("options.requestedPolicyVersion", 1)))

    def _set_policy(self, request: Request, secret: str) -> dict[str, Any]:
        request.only()
        self._held(secret)
        return self.policies.set(secret, asked_policy(self.fake, request))

    # --- what it is made of

    def _name(self, name: str) -> str:
        return f"projects/{self.fake.number}/secrets/{name}"

    def _now(self) -> datetime:
        return _EPOCH + timedelta(seconds=self.fake.now)

    def _check_locations(self, secret: sm.Secret) -> None:
        replicas = {one.location for one in secret.replication.user_managed.replicas} or {"global"}
        if self.locations is not None and not replicas <= self.locations:
            raise Refused(
                400,
                "FAILED_PRECONDITION",
                f"Constraint constraints/gcp.resourceLocations violated for [orgpolicy:projects/{self.fake.number}] attempting "
                f"to create a secret in {sorted(replicas)}.",
            )

    def _add(self, name: str, data: bytes) -> None:
        self.held[name].versions.append(Version(data, self._now()))

    def _held(self, name: str) -> Held:
        if name not in self.held:
            raise Refused(404, "NOT_FOUND", f"Secret [{self._name(name)}] not found.")
        return self.held[name]

    def _number(self, name: str, version: str) -> int:
        count = len(self._held(name).versions)
        number = count if version == "latest" else int(version) if version.isdigit() else 0
        if not 1 <= number <= count:
            raise Refused(404, "NOT_FOUND", f"Secret Version [{self._name(name)}/versions/{version}] not found.")
        return number

    def _version_of(self, name: str, number: int) -> sm.SecretVersion:
        found = self.held[name].versions[number - 1]
        return sm.SecretVersion(name=f"{self._name(name)}/versions/{number}", create_time=found.created, state=found.state)


def asked_policy(fake: Fake, request: Request) -> dict[str, Any]:
    """The policy that a `:setIamPolicy` sends; its members have to exist."""
    body = request.json()
    if strange := set(body) - {"policy", "updateMask"}:
        raise Refused(400, "INVALID_ARGUMENT", f"Invalid JSON payload received. Unknown name {sorted(strange)}")
    policy: dict[str, Any] = body.get("policy", {})
    iam = getattr(fake, "iam", None)
    if iam is not None:
        for member in (one for binding in policy.get("bindings", []) for one in binding.get("members", [])):
            iam.demand(member)
    return policy


def _passes(secret: sm.Secret, filter: str) -> bool:  # noqa: A002 - as the API calls it
    """Whether all of `labels.KEY=VALUE AND …` hold; whatever else a filter can say is refused."""
    terms = [_TERM.fullmatch(term.strip()) for term in filter.split(" AND ")] if filter else []
    if None in terms:
        raise Refused(400, "INVALID_ARGUMENT", f"the fake knows no such filter: {filter}")
    return all(secret.labels.get(term[1]) == term[2] for term in terms if term is not None)


def _pb(message: Any) -> Message:
    found: Message = type(message).pb(message)
    return found
