"""Cloud Run's Admin API v2: services, the revisions that they make, the traffic these get, and who may call them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from google.cloud.run_v2 import Condition, ListRevisionsResponse, ListServicesResponse, Revision, Service
from google.cloud.run_v2.types import TrafficTargetStatus
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from tests.cloud.fake.policies import Policies
from tests.cloud.fake.run_rules import LATEST, REVISION, check, filled, invalid
from tests.cloud.fake.server import Api, Fake, Refused, Request, Route, packed

_PLACE = r"/v2/(?P<parent>projects/[^/]+/locations/[^/]+)"
_SERVICE = r"/v2/(?P<name>projects/[^/]+/locations/[^/]+/services/[^/:]+)"
_OF = r"/v2/(?P<parent>projects/[^/]+/locations/[^/]+/services/[^/:]+)/revisions"
_REVISION = r"/v2/(?P<name>projects/[^/]+/locations/[^/]+/services/[^/:]+/revisions/[^/:]+)"
INPUTS: Final = (
    "description",
    "labels",
    "annotations",
    "client",
    "client_version",
    "ingress",
    "launch_stage",
    "binary_authorization",
    "template",
    "traffic",
    "scaling",
    "invoker_iam_disabled",
    "default_uri_disabled",
    "iap_enabled",
    "custom_audiences",
    "build_config",
)
"""The fields of a service that somebody may set."""
_OF_TEMPLATE = (
    "labels",
    "annotations",
    "scaling",
    "vpc_access",
    "max_instance_request_concurrency",
    "timeout",
    "service_account",
    "containers",
    "volumes",
    "execution_environment",
    "session_affinity",
    "node_selector",
    "gpu_zonal_redundancy_disabled",
)


@dataclass(frozen=True)
class Outcome:
    """What becomes of a revision after so many more requests: it is ready, or it failed for a `reason` of the platform's."""

    reason: str | None = None
    message: str = ""
    requests: int = 2


UNHEALTHY: Final = Outcome(
    "HEALTH_CHECK_CONTAINER_ERROR",
    "The user-provided container failed to start and listen on the port defined provided by the PORT=8080 environment variable "
    "within the allocated timeout. This can happen when the container port is misconfigured or if the timeout is too short.",
)
UNAUTHORIZED: Final = Outcome(
    "CONTAINER_IMAGE_UNAUTHORIZED", "Google Cloud Run Service Agent must have permission to read the image."
)
NO_SECRET: Final = Outcome(
    "SECRETS_ACCESS_CHECK_FAILED",
    "Permission denied on secret: projects/123456789012/secrets/x/versions/1 for Revision service account",
)
TOO_LATE: Final = Outcome("PROGRESS_DEADLINE_EXCEEDED", "Revision was not ready within the deadline.")


class Run(Api):
    """Its state can be read, and set, by tests; names are whole (`projects/P/locations/R/services/S`)."""

    def __init__(self, fake: Fake) -> None:
        super().__init__(fake)
        self.services: dict[str, Service] = {}
        self.revisions: dict[str, Revision] = {}
        self.policies = Policies()
        self.outcomes: list[Outcome] = []
        """Of the next revisions, in order; after them all are ready."""
        self.rules: list[Callable[[Service], None]] = []
        """What an organisation forbids: each raises `Refused` for a service that it does not want."""
        self.quotas: dict[str, int] = {}
        """The limits that are checked, by id, in the unit of each."""
        self.address_of: Callable[[str, str], str] = lambda service, tag: (
            f"{self._others.address}/serving/{service}/{tag}".rstrip("/")
        )
        """Where a service (and a tag of it, or `""`) is reached."""
        self.page = 100
        self._pending: dict[str, int] = {}
        self._writes = 0

    def routes(self) -> list[Route]:
        return [
            ("POST", f"{_PLACE}/services", self._create),
            ("GET", f"{_PLACE}/services", self._list),
            ("GET", _SERVICE, self._get),
            ("PATCH", _SERVICE, self._patch),
            ("DELETE", _SERVICE, self._delete),
            ("GET", f"{_SERVICE}:getIamPolicy", self._policy),
            ("POST", f"{_SERVICE}:setIamPolicy", self._set_policy),
            ("GET", _OF, self._list_revisions),
            ("GET", _REVISION, self._get_revision),
            ("DELETE", _REVISION, self._delete_revision),
        ]

    # --- what tests ask

    def service(self, name: str, region: str = "europe-west4") -> Service:
        """A service by its short name."""
        return self.services[f"projects/{self.fake.project}/locations/{region}/services/{name}"]

    def serving(self, name: str) -> dict[str, int]:
        """The percent of the requests that each revision gets at this moment, whatever is wished."""
        service, found = self.service(name), dict[str, int]()
        for status in service.traffic_statuses:
            revision = status.revision or service.latest_ready_revision.rpartition("/")[2]
            if status.percent:
                found[revision] = found.get(revision, 0) + status.percent
        return found

    # --- services

    def _create(self, request: Request, parent: str) -> dict[str, Any]:
        query = request.only("serviceId", "validateOnly")
        self._open(parent)
        short = query.get("serviceId", "")
        if not re.fullmatch(r"[a-z]([a-z0-9-]{0,47}[a-z0-9])?", short):
            raise invalid(f"service_id: {short!r} is not a valid name of a service")
        name = f"{parent}/services/{short}"
        if name in self.services:
            raise Refused(409, "ALREADY_EXISTS", f"Resource '{short}' already exists.")
        body = request.message(Service)
        return self._put(Service(name=name), body, INPUTS, is_dry=query.get("validateOnly") == "true")

    def _patch(self, request: Request, name: str) -> dict[str, Any]:
        query = request.only("updateMask", "validateOnly", "allowMissing")
        self._open(name)
        body = request.message(Service)
        if body.name and body.name != name:
            raise invalid("service.name: differs from the path")
        old = self.services.get(name)
        if old is None and query.get("allowMissing") != "true":
            raise _missing(name)
        if old is not None and body.etag and body.etag != old.etag:
            raise Refused(
                409,
                "ABORTED",
                f"Conflict for resource '{name.rpartition('/')[2]}': version '{body.etag}' was specified "
                f"but current version is '{old.etag}'.",
            )
        mask = FieldMask()
        mask.FromJsonString(query.get("updateMask", ""))
        paths = _known(tuple(mask.paths))
        return self._put(old or Service(name=name), body, paths, is_dry=query.get("validateOnly") == "true")

    def _put(self, old: Service, body: Service, paths: tuple[str, ...], *, is_dry: bool) -> dict[str, Any]:
        new = Service(Service.pb(old))
        FieldMask(paths=paths).MergeMessage(
            Service.pb(body), Service.pb(new), replace_message_field=True, replace_repeated_field=True
        )
        filled(new, self.fake.number)
        self._check(old, new)
        if is_dry:
            return {"name": "", "done": True, "response": packed(Service.pb(new))}
        return self._written(old, new)

    def _check(self, old: Service, new: Service) -> None:
        check(new, self.quotas)
        for rule in self.rules:
            rule(new)
        named = f"{new.name}/revisions/{new.template.revision}"
        is_same = Service.pb(old).template == Service.pb(new).template
        if new.template.revision and not is_same and named in self.revisions:
            raise Refused(
                409, "ALREADY_EXISTS", f"Revision named '{new.template.revision}' with different configuration already exists."
            )
        for target in new.traffic:
            revision = f"{new.name}/revisions/{target.revision}"
            if target.type_ == REVISION and revision not in {*self.revisions, named}:
                raise invalid(f"traffic: Revision {target.revision!r} does not exist")
        self._things(new)

    def _things(self, service: Service) -> None:
        """What a service names must be there, and its account may read its secrets."""
        template, fake = service.template, self._others
        self._account(template.service_account)
        for container in template.containers:
            is_ours = f"-docker.pkg.dev/{self.fake.project}/" in container.image
            if is_ours and not fake.registry.has(container.image):
                raise invalid(f"template.containers.image: Image '{container.image}' not found.")
            for var in container.env:
                ref = var.value_source.secret_key_ref
                if ref.secret:
                    self._secret(ref.secret.rpartition("/")[2], ref.version, template.service_account)
        for volume in template.volumes:
            if "gcs" in volume and not fake.storage.has(volume.gcs.bucket):
                raise invalid(f"template.volumes.gcs.bucket: bucket {volume.gcs.bucket!r} does not exist")

    def _account(self, email: str) -> None:
        try:
            self._others.iam.demand(f"serviceAccount:{email}")
        except Refused:
            raise Refused(
                403,
                "PERMISSION_DENIED",
                f"Permission 'iam.serviceaccounts.actAs' denied on service account {email} (or it may not exist).",
            ) from None

    def _secret(self, secret: str, version: str, account: str) -> None:
        where, name = "template.containers.env", f"projects/{self.fake.number}/secrets/{secret}/versions/{version}"
        if not self._others.secrets.has(secret, version):
            raise invalid(f"{where}: Secret {name} was not found")
        if f"serviceAccount:{account}" not in self._others.secrets.members(secret, "roles/secretmanager.secretAccessor"):
            raise invalid(
                f"{where}: Permission denied on secret: {name} for Revision service account {account}. The service account "
                "used must be granted the 'Secret Manager Secret Accessor' role."
            )

    @property
    def _others(self) -> Any:
        """The project with all of its APIs."""
        return self.fake

    def _written(self, old: Service, new: Service) -> dict[str, Any]:
        name = new.name
        new.uid = new.uid or f"uid-{self._writes}"
        new.creator = new.creator or "someone@example.com"
        new.generation = old.generation + 1
        new.reconciling = True
        new.terminal_condition = Condition(
            type_="Ready", state=Condition.State.CONDITION_RECONCILING, message="Deploying Revision."
        )
        outcome, made = Outcome(requests=1), None
        if Service.pb(old).template != Service.pb(new).template:
            outcome = self.outcomes.pop(0) if self.outcomes else Outcome()
            made = self._revision(new)
            new.latest_created_revision = made
        self._store(new)
        self._pending[name] = self._pending.get(name, 0) + 1
        parent = name.partition("/services/")[0]
        finish = lambda: self._finished(name, made, outcome)  # noqa: E731 - an operation takes no arguments
        return self.fake.operation(parent, requests=outcome.requests, metadata=Service.pb(new), finish=finish)

    def _store(self, service: Service) -> None:
        self._writes += 1
        service.etag = f'"etag-{self._writes}"'
        self.services[service.name] = service

    def _revision(self, service: Service) -> str:
        short = service.template.revision or f"{service.name.rpartition('/')[2]}-{service.generation:05d}-abc"
        name = f"{service.name}/revisions/{short}"
        revision = Revision(name=name, service=service.name.rpartition("/")[2], generation=1, reconciling=True)
        revision.create_time = {"seconds": 1_700_000_000 + self.fake.now}
        source, sink = Service.pb(service).template, Revision.pb(revision)
        for field in _OF_TEMPLATE:
            _copied(source, sink, field)
        revision.conditions = [Condition(type_="Ready", state=Condition.State.CONDITION_RECONCILING)]
        self.revisions[name] = revision
        return name

    def _finished(self, name: str, made: str | None, outcome: Outcome) -> Message | Refused:
        if made is not None and made in self.revisions:
            _ended(self.revisions[made], outcome)
        service = self.services.get(name)
        if service is None:
            return Refused(404, "NOT_FOUND", "the service was deleted")
        self._pending[name] -= 1
        if self._pending[name]:
            return Refused(409, "ABORTED", "another change of the service came in between")
        return self._reconciled(service)

    def _reconciled(self, service: Service) -> Message | Refused:
        latest = self.revisions[service.latest_created_revision]
        service.reconciling = False
        if _is_ready(latest):
            service.latest_ready_revision = latest.name
        if all(self._serves(service, target.revision) for target in service.traffic):
            service.traffic_statuses = [self._status(service, target) for target in service.traffic]
            service.uri = self.address_of(service.name.rpartition("/")[2], "")
            service.urls = [service.uri]
        short = latest.name.rpartition("/")[2]
        said = f"Revision '{short}' is not ready and cannot serve traffic. {latest.conditions[0].message}"
        if _is_ready(latest):
            service.observed_generation = service.generation
            service.terminal_condition = Condition(type_="Ready", state=Condition.State.CONDITION_SUCCEEDED)
        else:
            service.terminal_condition = Condition(
                type_="Ready",
                state=Condition.State.CONDITION_FAILED,
                message=said,
                reason=Condition.CommonReason.REVISION_FAILED,
            )
        self._store(service)
        return Service.pb(service) if _is_ready(latest) else Refused(400, "FAILED_PRECONDITION", said)

    def _serves(self, service: Service, short: str) -> bool:
        found = self.revisions.get(f"{service.name}/revisions/{short}" if short else service.latest_ready_revision)
        return found is not None and _is_ready(found)

    def _status(self, service: Service, target: Any) -> TrafficTargetStatus:
        uri = self.address_of(service.name.rpartition("/")[2], target.tag) if target.tag else ""
        return TrafficTargetStatus(type_=target.type_, revision=target.revision, percent=target.percent, tag=target.tag, uri=uri)

    def _get(self, request: Request, name: str) -> Message:
        request.only()
        self._open(name)
        if name not in self.services:
            raise _missing(name)
        return _shown(self.services[name])

    def _list(self, request: Request, parent: str) -> Message:
        query = request.only("pageSize", "pageToken", "showDeleted")
        self._open(parent)
        names = sorted(name for name in self.services if name.startswith(f"{parent}/services/"))
        some, token = self._paged(names, query)
        return ListServicesResponse.pb(
            ListServicesResponse(services=[Service.wrap(_shown(self.services[name])) for name in some], next_page_token=token)
        )

    def _delete(self, request: Request, name: str) -> dict[str, Any]:
        query = request.only("etag", "validateOnly")
        self._open(name)
        service = self.services.get(name)
        if service is None:
            raise _missing(name)
        if query.get("etag", service.etag) != service.etag:
            raise Refused(409, "ABORTED", "the etag is not that of the service")

        def gone() -> Message:
            self.services.pop(name, None)
            self.policies.bindings.pop(name, None)
            self.policies.conditional.pop(name, None)
            self.revisions = {one: found for one, found in self.revisions.items() if not one.startswith(f"{name}/")}
            return Service.pb(service)

        if query.get("validateOnly") == "true":
            return {"name": "", "done": True, "response": packed(Service.pb(service))}
        return self.fake.operation(name.partition("/services/")[0], metadata=Service.pb(service), finish=gone)

    def _paged(self, names: list[str], query: dict[str, str]) -> tuple[list[str], str]:
        start, size = int(query.get("pageToken") or 0), min(int(query.get("pageSize") or self.page), self.page)
        return names[start : start + size], str(start + size) if start + size < len(names) else ""

    # --- who may call

    def _policy(self, request: Request, name: str) -> dict[str, Any]:
        query = request.only("options.requestedPolicyVersion")
        self._open(name)
        if name not in self.services:
            raise _missing(name)
        return self.policies.get(name, int(query.get("options.requestedPolicyVersion") or 1))

    def _set_policy(self, request: Request, name: str) -> dict[str, Any]:
        request.only()
        self._open(name)
        if name not in self.services:
            raise _missing(name)
        body = request.json()
        if strange := set(body) - {"policy", "updateMask", "resource"}:
            raise invalid(f"Invalid JSON payload received. Unknown name {sorted(strange)}")
        members = {member for one in body["policy"].get("bindings", []) for member in one["members"]}
        for member in members:
            self._others.iam.demand(member)
        return self.policies.set(name, body["policy"])

    # --- revisions

    def _list_revisions(self, request: Request, parent: str) -> Message:
        query = request.only("pageSize", "pageToken", "showDeleted")
        self._open(parent)
        place, _, short = parent.rpartition("/")
        start = f"{place}/" if short == "-" else f"{parent}/"
        names = [name for name in reversed(self.revisions) if name.startswith(start)]
        some, token = self._paged(names, query)
        found = ListRevisionsResponse(revisions=[self.revisions[name] for name in some], next_page_token=token)
        return ListRevisionsResponse.pb(found)

    def _get_revision(self, request: Request, name: str) -> Message:
        request.only()
        self._open(name)
        if name not in self.revisions:
            raise _missing(name)
        return Revision.pb(self.revisions[name])

    def _delete_revision(self, request: Request, name: str) -> dict[str, Any]:
        request.only("etag", "validateOnly")
        self._open(name)
        if name not in self.revisions:
            raise _missing(name)
        service = self.services[name.partition("/revisions/")[0]]
        if name.rpartition("/")[2] in self.serving(service.name.rpartition("/")[2]) or name == service.latest_created_revision:
            raise Refused(400, "FAILED_PRECONDITION", f"Revision {name.rpartition('/')[2]!r} has traffic, or is the latest")
        found = self.revisions.pop(name)
        return self.fake.operation(name.partition("/services/")[0], requests=1, finish=lambda: Revision.pb(found))

    def _open(self, name: str) -> None:
        """The project must be ours, and the API enabled."""
        project = name.split("/")[1]
        if project not in (self.fake.project, self.fake.number):
            raise Refused(403, "PERMISSION_DENIED", f"Permission denied on resource project {project}.")
        self._others.usage.demand("run.googleapis.com")


def _known(paths: tuple[str, ...]) -> tuple[str, ...]:
    """The paths of a mask, all of them fields that may be set; without a mask every one of them."""
    for path in paths:
        if not FieldMask(paths=[path]).IsValidForDescriptor(Service.pb().DESCRIPTOR) or path.partition(".")[0] not in INPUTS:
            raise invalid(f"update_mask: {path!r} is not a field that can be updated")
    return paths or INPUTS


def _copied(source: Message, sink: Message, field: str) -> None:
    mask = FieldMask(paths=[field])
    mask.MergeMessage(source, sink, replace_message_field=True, replace_repeated_field=True)


def _ended(revision: Revision, outcome: Outcome) -> None:
    revision.reconciling = False
    if outcome.reason is None:
        revision.conditions = [Condition(type_="Ready", state=Condition.State.CONDITION_SUCCEEDED)]
        return
    is_common = hasattr(Condition.CommonReason, outcome.reason)
    why: dict[str, Any] = {"reason" if is_common else "revision_reason": outcome.reason}
    kinds = ("Ready", "ResourcesAvailable" if is_common else "ContainerHealthy")
    revision.conditions = [
        Condition(type_=kind, state=Condition.State.CONDITION_FAILED, message=outcome.message, **why) for kind in kinds
    ]


def _is_ready(revision: Revision) -> bool:
    return bool(revision.conditions[0].state == Condition.State.CONDITION_SUCCEEDED)


def _shown(service: Service) -> Message:
    """As it is answered: which network may reach it is what is observed, so nothing while no revision is ready."""
    shown = Service(Service.pb(service))
    if not service.latest_ready_revision:
        Service.pb(shown).ClearField("ingress")
    return Service.pb(shown)


def _missing(name: str) -> Refused:
    return Refused(
        404, "NOT_FOUND", f"Resource '{name.rpartition('/')[2]}' of kind '{name.split('/')[-2].upper()}' does not exist."
    )


__all__ = ["INPUTS", "LATEST", "NO_SECRET", "REVISION", "TOO_LATE", "UNAUTHORIZED", "UNHEALTHY", "Outcome", "Run"]
